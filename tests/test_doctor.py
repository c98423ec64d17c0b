"""The doctor finds what is there and names a mend for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.doctor import examine, usable_backends


def test_whatever_does_not_work_has_a_mend() -> None:
    checks = examine()
    assert {c.name for c in checks} == {"platform", "packages", "triton", "tactic cache", "compile cache", "cuda"}
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
    assert "TUNER_CACHE" in found["tactic cache"].mend
