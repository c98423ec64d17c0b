"""Code of distributions is known by name and version, all other by what it says."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tuner.frontends.origins import library_of
from tuner.frontends.python_source import source_text

RUN = "import sys; from tuner.frontends.python_source import source_text\n"


@pytest.mark.parametrize("module", ["builtins", "math", "os.path", "collections.abc", "triton.language", "tuner.gate"])
def test_the_standard_library_compilers_and_this_package_are_known_by_name(module: str) -> None:
    assert library_of(module) == ""


def test_a_distribution_is_known_by_its_version_and_a_test_by_its_text() -> None:
    assert library_of("pytest") == f" of pytest {pytest.__version__}"
    assert library_of(__name__) is None
    assert library_of("no_such_module_at_all") is None


def text_of(code: str, path: Path) -> str:
    setup = f"import sys; sys.path.insert(0, {str(path)!r})\n"
    done = subprocess.run([sys.executable, "-c", setup + RUN + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder that distributions are installed into, with one whose name is not that of its module."""
    folder = tmp_path / "site-packages"
    (folder / "act_things-1.0.dist-info").mkdir(parents=True)
    (folder / "act_things-1.0.dist-info" / "RECORD").write_text("things.py,,\n")
    version(folder, "1.0")
    (folder / "things.py").write_text("def act(x):\n    return x + 1\n")
    return folder


def version(folder: Path, number: str) -> None:
    (folder / "act_things-1.0.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: act-things\nVersion: {number}\n"
    )


PRINT = "print(source_text(things.act))"


def test_the_version_of_what_is_installed_counts(installed: Path) -> None:
    assert text_of("import things;" + PRINT, installed) == "things.act of act-things 1.0\n\n"
    version(installed, "1.1")
    assert text_of("import things;" + PRINT, installed) == "things.act of act-things 1.1\n\n"


def test_a_module_that_no_distribution_installed_is_read(installed: Path) -> None:
    (installed / "loose.py").write_text("def act(x):\n    return x + 1\n")
    assert text_of("import loose as things;" + PRINT, installed) == "def act(x):\n    return x + 1\n\n"


def test_a_module_of_the_users_that_is_called_like_a_compiler_is_read(tmp_path: Path) -> None:
    (tmp_path / "llvmlite.py").write_text("def act(x):\n    return x + 1\n")
    assert text_of("import llvmlite as things;" + PRINT, tmp_path) == "def act(x):\n    return x + 1\n\n"


def test_a_compiled_module_outside_of_distributions_is_known_by_its_content(tmp_path: Path) -> None:
    import _json

    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    built = tmp_path / f"_json{suffix}"
    if not getattr(_json, "__file__", None):
        pytest.skip("this Python has no module of the standard library in a file of its own")
    built.write_bytes(Path(str(_json.__file__)).read_bytes())
    code = (
        "import importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('_json', {str(built)!r})\n"
        "module = importlib.util.module_from_spec(spec); sys.modules['_json'] = module\n"
        "spec.loader.exec_module(module)\nprint(source_text(module.scanstring))"
    )
    before = text_of(code, tmp_path)
    assert before.startswith(f"_json.scanstring of _json{suffix} ")
    built.write_bytes(built.read_bytes() + b"\0")
    assert text_of(code, tmp_path) != before


def test_a_user_s_function_that_calls_a_library_says_its_version() -> None:
    assert "# json = module json\n" in source_text(dumps)
    assert f"# pytest = module pytest of pytest {pytest.__version__}" in source_text(skips)


def dumps(value: object) -> str:
    return json.dumps(value)


def skips() -> None:
    pytest.skip()
