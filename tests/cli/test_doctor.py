"""The doctor finds what is there and names a mend for what is not."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tuner.cli.doctor import Requirement, examine, usable_backends

doctor = importlib.import_module("tuner.cli.doctor")  # the package has a command of that name


def test_whatever_does_not_work_has_a_mend() -> None:
    checks = examine()
    assert {c.name for c in checks} == {
        "platform",
        "packages",
        "triton",
        "tactic cache",
        "compile cache",
        "cuda",
        "tensorrt",
        "rehearsal",
        "CUDA C++",
        "Numba",
        "CuTe DSL",
    }
    for check in checks:
        assert check.detail
        assert bool(check.mend) is not check.ok


def test_a_language_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version

    def without_numba(name: str) -> str:
        if name == "numba-cuda":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_numba)
    numba = next(c for c in examine() if c.name == "Numba")
    assert (numba.ok, numba.detail) == (False, "numba-cuda is missing")
    assert numba.mend == "pip install 'qdp-tuner[numba]'"


def test_here_the_model_backend_works() -> None:
    usable = usable_backends(examine())
    assert usable["model"]
    assert usable["replay"]


def test_a_cache_that_cannot_be_written_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_CACHE", "/proc/nowhere/tactics.json")
    monkeypatch.setenv("TUNER_COMPILE_CACHE", str(tmp_path))
    found = {c.name: c for c in examine()}
    assert found["compile cache"].ok
    assert found["compile cache"].detail == str(tmp_path)
    assert not found["tactic cache"].ok
    assert "TUNER_CACHE" in found["tactic cache"].mend


def test_a_cache_below_a_file_cannot_be_written_and_one_below_new_folders_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TUNER_CACHE", str(tmp_path / "new" / "folders" / "tactics.json"))
    monkeypatch.setenv("TUNER_COMPILE_CACHE", str(tmp_path / "file" / "compiled"))
    found = {c.name: c for c in examine()}
    assert found["tactic cache"].ok
    assert not found["compile cache"].ok
    assert "TUNER_COMPILE_CACHE" in found["compile cache"].mend
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_triton_that_cannot_be_imported_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)  # as Python marks a module that is not to be found
    checks = examine()
    triton = next(c for c in checks if c.name == "triton")
    assert not triton.ok
    assert triton.mend == "pip install --force-reinstall triton"
    assert not usable_backends(checks)["model"]
    assert usable_backends(checks)["replay"]


ALL = ("platform", "packages", "triton", "tactic cache", "compile cache", "cuda", "tensorrt")


@pytest.mark.parametrize(
    ("broken", "usable"),
    [
        ((), {"tensorrt", "cuda", "model", "replay"}),
        (("tensorrt",), {"cuda", "model", "replay"}),
        (("cuda",), {"model", "replay"}),
        (("triton",), {"replay"}),
        (("packages",), set()),
        (("platform",), set()),
        (("tactic cache", "compile cache"), {"tensorrt", "cuda", "model", "replay"}),
    ],
)
def test_a_backend_works_when_all_it_needs_does(broken: tuple[str, ...], usable: set[str]) -> None:
    checks = [Requirement(name, name not in broken, "", "") for name in ALL]
    assert {name for name, works in usable_backends(checks).items() if works} == usable


def rehearsal() -> Requirement:
    return next(c for c in examine() if c.name == "rehearsal")


def test_a_layer_to_rehearse_on_is_found() -> None:
    found = rehearsal()
    assert found.ok
    assert found.detail.startswith("Python layer of TensorRT 1")
    assert "outputs in place by the preview feature ALIASED_PLUGIN_IO_10_03" in found.detail


def test_a_missing_c_compiler_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    found = rehearsal()
    assert (found.ok, found.detail) == (False, "no C compiler called 'no-such-compiler'")
    assert found.mend == "install gcc, or name one with CC"


def test_a_missing_layer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_LOAD", "sys.modules['tensorrt_bindings'] = None\n" + doctor._LOAD)
    found = rehearsal()
    assert (found.ok, found.detail) == (False, "NVIDIA's Python layer is not installed")
    assert found.mend == "pip install 'qdp-tuner[rehearse]'"


def test_a_layer_that_cannot_take_numbers_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = (
        "import numpy; numpy.__version__ = '2.4.0'\n"
        "from tuner.qdp.rehearsal.bindings import load; load().__version__ = '10.15.1.29'\n"
    )
    monkeypatch.setattr(doctor, "_LOAD", changed + doctor._LOAD)
    found = rehearsal()
    assert "tensorrt 10.15.1.29 with numpy 2.4.0 cannot take the number" in found.detail
    assert found.mend == "pip install 'numpy<2.4'"


def test_nothing_in_the_current_folder_is_executed(tmp_path: Path) -> None:
    for name in ("json", "random", "re", "numpy", "tensorrt", "tensorrt_bindings", "triton", "tuner", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write('{name} ')")
    command = [str(Path(sys.executable).with_name("tuner")), "doctor", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert not (tmp_path / "executed").exists()
    checks = {c["name"]: c for c in json.loads(done.stdout)["checks"]}
    installed = importlib.util.find_spec("tensorrt_bindings") is not None
    assert checks["rehearsal"]["ok"] is installed, checks["rehearsal"]
