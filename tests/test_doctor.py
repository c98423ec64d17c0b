"""The doctor finds what is there and names a mend for what is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tuner.doctor import Check, examine, usable_backends


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
    }
    for check in checks:
        assert check.detail
        assert bool(check.mend) is not check.ok


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
    checks = [Check(name, name not in broken, "", "") for name in ALL]
    assert {name for name, works in usable_backends(checks).items() if works} == usable
