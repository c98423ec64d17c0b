"""What is missing of TensorRT, and the command that mends it: real imports of packages made for the purpose."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulated import write_shims

PROBE = """
import importlib.util, json, sys

real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name in sys.argv[2:] else real(name, *a)
from tuner.qdp.library import lack
found = lack(json.loads(sys.argv[1]) and tuple(json.loads(sys.argv[1])))
print(json.dumps(found and [found.what, found.mend]))
"""


def package(folder: Path, name: str, **files: str) -> None:
    (folder / name).mkdir(parents=True)
    for file, text in files.items():
        (folder / name / f"{file}.py").write_text(text)


def install(folder: Path, *distributions: str) -> None:
    """Leave what pip leaves of an installed distribution."""
    for distribution in distributions:
        info = folder / f"{distribution.replace('-', '_')}-11.4.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 11.4.0\n")


def lack(
    folder: Path, driver: tuple[int, int] | None = (13, 0), hidden: tuple[str, ...] = ()
) -> tuple[str, str] | None:
    """What is missing, to a process that looks for packages in the folder first and does not see the hidden ones."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", PROBE, json.dumps(driver), *hidden]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    found = json.loads(done.stdout)
    return None if found is None else (found[0], found[1])


def whole(folder: Path, version: str = "11.4.0") -> None:
    package(
        folder,
        "tensorrt",
        __init__=f"__version__ = {version!r}\nBuilder = Runtime = INetworkDefinition = object\n",
        plugin="register = autotune = aot_impl = None\n",
    )


def test_nothing_is_missing_of_a_whole_one(tmp_path: Path) -> None:
    whole(tmp_path)
    assert lack(tmp_path) is None


@pytest.mark.parametrize(
    ("driver", "mend"),
    [((13, 0), "pip install 'qdp-tuner[tensorrt]'"), ((12, 8), "pip install 'qdp-tuner[cuda]' tensorrt-cu12")],
)
def test_what_to_install_depends_on_the_driver(tmp_path: Path, driver: tuple[int, int], mend: str) -> None:
    assert lack(tmp_path, driver, ("tensorrt", "tensorrt_bindings")) == ("TensorRT is not installed", mend)


def test_the_bindings_alone_are_not_enough(tmp_path: Path) -> None:
    package(tmp_path, "tensorrt_bindings", __init__="")
    found = lack(tmp_path, hidden=("tensorrt",))
    assert found is not None
    assert "only TensorRT's Python layer is installed (the bindings package), without its libraries" in found[0]


def test_tensorrt_rtx_is_another_library(tmp_path: Path) -> None:
    package(tmp_path, "tensorrt_rtx", __init__="")
    found = lack(tmp_path, hidden=("tensorrt", "tensorrt_bindings"))
    assert found is not None
    assert "tensorrt-rtx is installed, which builds no engines with plugins" in found[0]


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (
            "ImportError('libnvinfer.so.11: cannot open shared object file: No such file or directory')",
            "libnvinfer.so.11",
        ),
        ("ModuleNotFoundError(\"No module named 'tensorrt_libs'\")", "tensorrt_libs"),
    ],
)
def test_missing_libraries_are_named_with_the_package_that_brings_them(
    tmp_path: Path, error: str, missing: str
) -> None:
    package(tmp_path, "tensorrt", __init__=f"raise {error}\n")
    found = lack(tmp_path)
    assert found is not None
    assert found[0] == f"TensorRT is installed without {missing}"
    assert found[1] == "pip install --force-reinstall tensorrt-cu13 tensorrt-cu13-libs"


def test_any_other_failed_import_is_passed_on(tmp_path: Path) -> None:
    package(tmp_path, "tensorrt", __init__="raise OSError('libcudart.so.13: cannot open')\n")
    found = lack(tmp_path)
    assert found is not None
    assert found[0] == "TensorRT cannot be imported (OSError: libcudart.so.13: cannot open)"


def test_a_build_for_a_newer_cuda_than_the_driver_supports(tmp_path: Path) -> None:
    whole(tmp_path)
    install(tmp_path, "tensorrt-cu13-libs")
    found = lack(tmp_path, (12, 8))
    assert found is not None
    assert found[0] == "TensorRT is installed for CUDA 13 and the NVIDIA driver supports 12.8 at most"
    assert found[1].endswith("pip install tensorrt-cu12")


def test_two_builds_over_one_another(tmp_path: Path) -> None:
    whole(tmp_path)
    install(tmp_path, "tensorrt-cu12-bindings", "tensorrt-cu13-bindings")
    found = lack(tmp_path)
    assert found is not None
    assert found[0] == "tensorrt-cu12 and tensorrt-cu13 are installed over one another"
    assert "pip uninstall tensorrt-cu12 tensorrt-cu12-bindings tensorrt-cu12-libs" in found[1]


@pytest.mark.parametrize("version", ["10.8.0.43", "8.6.1"])
def test_versions_before_10_9_cannot_compile_plugins_ahead_of_time(tmp_path: Path, version: str) -> None:
    whole(tmp_path, version)
    found = lack(tmp_path)
    assert found is not None
    assert found[0] == f"TensorRT {version} has no plugins compiled ahead of time; 10.9 or newer is needed"


@pytest.mark.parametrize(
    ("version", "numpy", "usable"),
    [
        ("10.9.0.34", "2.3.5", True),
        ("10.9.0.34", "2.4.0", False),
        ("11.1.0", "2.4.0", False),
        ("11.2.0", "2.4.0", True),
    ],
)
def test_a_numpy_with_which_attributes_are_lost(tmp_path: Path, version: str, numpy: str, usable: bool) -> None:
    whole(tmp_path, version)
    package(tmp_path, "numpy", __init__=f"__version__ = {numpy!r}\n")
    found = lack(tmp_path)
    assert (found is None) == usable
    assert found is None or found[1] == "pip install 'numpy<2.4'"


def test_something_else_that_calls_itself_tensorrt(tmp_path: Path) -> None:
    package(tmp_path, "tensorrt", __init__="__version__ = '11.4.0'\nBuilder = object\n")
    found = lack(tmp_path)
    assert found is not None
    assert found[0].startswith("the installed tensorrt lacks Runtime, INetworkDefinition, plugin (")


def test_the_simulated_one_passes(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": write_shims(tmp_path)}
    code = "from tuner.qdp.library import require; require((13, 0))"
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=60).returncode == 0
