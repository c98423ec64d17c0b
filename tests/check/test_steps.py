"""A baseline and a report of an operator of several launches."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from chained import PEAK
from workspace import Workspace

from tuner.check.baseline import Baseline

JOB = """
version = 1
kernel = "peak.py"
target = "h200"

[problem]
dims = { M = 64, N = 4096 }

[search]
trials = 3
"""


@pytest.fixture
def recorded(workspace: Workspace) -> Workspace:
    """A folder in which the operator was tuned and recorded."""
    (workspace.folder / "peak.py").write_text(PEAK)
    (workspace.folder / "peak.toml").write_text(JOB)
    for command in (
        ("tune", "peak.toml", "--backend", "model", "--out", "out"),
        ("check", "peak.toml", "--baseline", "b.json", "--update", "--backend", "model"),
    ):
        run = workspace.run(*command)
        assert run.code == 0, run.out + run.err
    return workspace


def edit(workspace: Workspace, old: str, new: str) -> None:
    file = workspace.folder / "peak.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def check(workspace: Workspace) -> tuple[int, dict[str, str]]:
    """The exit code, and the verdict of each rule that does not pass."""
    run = workspace.run("check", "peak.toml", "--baseline", "b.json", "--backend", "model", "--json")
    return run.code, {c["rule"]: c["message"] for c in run.document["checks"] if c["verdict"] != "pass"}


def test_the_code_of_every_launch_is_recorded_and_held_against_that_of_today(recorded: Workspace) -> None:
    (record,) = msgspec.json.decode((recorded.folder / "b.json").read_bytes(), type=Baseline).records
    assert [code.entry for code in record.codes] == ["parts", "whole"]
    assert all((recorded.folder / code.ptx).is_file() for code in record.codes)
    assert check(recorded) == (0, {})


def test_a_launch_that_becomes_worse_or_wrong_is_a_regression_whichever_it_is(recorded: Workspace) -> None:
    edit(
        recorded,
        "tl.store(peak_ptr",
        "for _ in range(40):\n        best = tl.sqrt(best * best + 1e-30)\n    tl.store(peak_ptr",
    )
    code, failed = check(recorded)
    assert code == 1
    assert failed
    edit(recorded, "best = tl.maximum", "best = tl.minimum")
    assert "gives wrong results" in check(recorded)[1]["correct"]


def test_ptx_of_a_launch_that_is_gone_is_missed(recorded: Workspace) -> None:
    (record,) = msgspec.json.decode((recorded.folder / "b.json").read_bytes(), type=Baseline).records
    Path(recorded.folder, record.further[0].ptx).unlink()
    assert "cannot be read" in check(recorded)[1]["recorded"]


def test_a_report_shows_the_code_of_each_launch(recorded: Workspace) -> None:
    run = recorded.run("report", "out")
    assert run.code == 0, run.err
    page = (recorded.folder / "out" / "report.html").read_text()
    for step in ("parts", "whole"):
        assert f"PTX of the winner, {step}" in page or f"PTX of the winner and default, {step}" in page
