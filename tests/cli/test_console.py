"""What a run says of its numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner import Problem
from tuner.cli.console import format_us, new_table, print_table, what_the_number_is
from tuner.kernel.loader import load_kernel
from tuner.outcome import Failure, FailureClass, Kind, Origin, Timing
from tuner.search.tactic import Tactic
from tuner.store.results import Result, Trial

PROBLEM = Problem.of(load_kernel("increment.py", Path(__file__).parents[2] / "kernels"), {"N": 4096})
DEFAULT = PROBLEM.kernel.default_tactic
BROKEN = Tactic({"BLOCK_SIZE": 512, "num_warps": 4})


def result(kind: Kind, launch_bound: float) -> Result:
    timing = Timing(3.0, kind, "median", facts={"launch_bound": launch_bound})
    failure = Failure(FailureClass.COMPILE, "no such intrinsic")
    return Result(
        problem=PROBLEM,
        origin=Origin("cuda", kind, "NVIDIA H200", (9, 0)),
        winner=DEFAULT,
        default=DEFAULT,
        confirmed={DEFAULT: timing},
        ties=(),
        trials=(Trial(0, DEFAULT, timing), Trial(1, BROKEN, failure)),
        resumed=1,
        stopped="trials",
    )


def test_a_prediction_is_called_one_and_a_measurement_names_its_device() -> None:
    predicted, measured = (what_the_number_is(result(k, 0.0)) for k in ("prediction", "measurement"))
    assert "predictions for an NVIDIA H200; no GPU was used" in predicted
    assert "measured on an NVIDIA H200" in measured
    assert "prediction" not in measured
    assert "2 trials (1 failed: compile), 1 of them from earlier runs, budget reached" in measured


def test_a_launch_bound_winner_is_reported_as_such() -> None:
    assert "launch-bound" in what_the_number_is(result("measurement", 1.0))
    assert "launch-bound" not in what_the_number_is(result("measurement", 0.0))


def test_times_have_four_digits_and_a_unit() -> None:
    assert [format_us(t) for t in (3.14159, 12345.6, 2.5e6)] == ["3.142 us", "12.35 ms", "2.5 s"]


def test_a_table_shows_its_texts_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table = new_table("a[0]", "b")
    table.add_row("install qdp-tuner[cuda]", ":warning: [red]")
    print_table(table)
    header, _, row = filter(None, capsys.readouterr().out.splitlines())
    assert header.split() == ["a[0]", "b"]
    assert row.split() == ["install", "qdp-tuner[cuda]", ":warning:", "[red]"]
