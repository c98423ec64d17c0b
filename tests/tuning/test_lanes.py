"""Who tunes which problem when."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tuner import Problem
from tuner.errors import ConfigError, UnavailableError
from tuner.kernel.loader import load_kernel
from tuner.outcome import Origin, Timing
from tuner.search.tactic import Tactic
from tuner.store.results import Result, Trial
from tuner.tuning.lanes import Lanes, Schedule

KERNEL = load_kernel("increment.py", Path(__file__).parents[2] / "kernels")
TACTIC = Tactic({"BLOCK_SIZE": 256, "num_warps": 4})


def problems(*sizes: int, dtype: str = "fp32") -> list[Problem]:
    return [Problem.of(KERNEL, {"N": n}, {"T": dtype}) for n in sizes]


def result(problem: Problem) -> Result:
    timing = Timing(5.0, "measurement", "median")
    trial = Trial(0, TACTIC, timing)
    origin = Origin("cuda", "measurement", "GPU")
    return Result(problem, origin, TACTIC, TACTIC, {TACTIC: timing}, (), (trial,), 0, "trials")


def test_a_group_begins_with_its_middle_and_the_others_know_that_one_alone() -> None:
    small, middle, large = problems(1 << 10, 1 << 12, 1 << 14)
    schedule = Schedule([small, middle, large], lanes=2)
    assert schedule.take() is middle and schedule.known(middle) == []
    schedule.done(middle, result(middle))
    assert [schedule.take(), schedule.take()] == [small, large]
    schedule.done(small, result(small))
    assert [t.place for t in schedule.known(large)] == [(12.0,)]
    schedule.done(large, result(large))
    assert schedule.take() is None


def test_where_nothing_was_found_another_shape_goes_first() -> None:
    small, middle, large = problems(1 << 10, 1 << 12, 1 << 14)
    schedule = Schedule([small, middle, large], lanes=1)
    schedule.done(schedule.take() or small, None)
    first = schedule.take()
    assert first in (small, large) and schedule.known(first or small) == []


def test_the_only_lane_knows_what_comes_next_and_one_of_several_leaves_enough_to_the_others() -> None:
    small, middle, large = problems(1 << 10, 1 << 12, 1 << 14)
    alone = Schedule([small, middle, large], lanes=1)
    assert alone.take() is middle and alone.reserve(middle) is small
    shared = Schedule([small, middle, large], lanes=2)
    assert shared.take() is middle and shared.reserve(middle) is None


def test_studies_run_side_by_side() -> None:
    both = threading.Barrier(2, timeout=30)
    found: list[tuple[str, Problem]] = []

    def tune(lane: str, schedule: Schedule, problem: Problem) -> None:
        both.wait()  # passed only if both lanes are here at a time
        found.append((lane, problem))
        schedule.done(problem, result(problem))

    jobs = [*problems(64), *problems(64, dtype="fp16")]
    Lanes(["GPU 0", "GPU 1"], tune, print, lambda: None).run(Schedule(jobs, 2))
    assert {p for _, p in found} == set(jobs) and {lane for lane, _ in found} == {"GPU 0", "GPU 1"}


def test_a_gpu_that_cannot_be_used_is_named_and_its_problem_done_by_another() -> None:
    notes: list[str] = []
    done: list[Problem] = []

    def tune(lane: str, schedule: Schedule, problem: Problem) -> None:
        if lane == "GPU 1":
            raise UnavailableError("its memory is full")
        done.append(problem)
        schedule.done(problem, result(problem))

    jobs = [*problems(64), *problems(64, dtype="fp16")]
    Lanes(["GPU 0", "GPU 1"], tune, notes.append, lambda: None).run(Schedule(jobs, 2))
    assert sorted(map(str, done)) == sorted(map(str, jobs))
    assert notes in ([], ["GPU 1: its memory is full; the others go on without it"])


@pytest.mark.parametrize("error", [UnavailableError("none works"), ConfigError("no such kernel")])
def test_what_nobody_can_do_ends_the_job(error: Exception) -> None:
    halted: list[bool] = []

    def tune(lane: str, schedule: Schedule, problem: Problem) -> Any:
        raise error

    lanes = Lanes(["GPU 0", "GPU 1"], tune, lambda _: None, lambda: halted.append(True))
    with pytest.raises(type(error)):
        lanes.run(Schedule([*problems(64), *problems(64, dtype="fp16")], 2))
    assert halted
