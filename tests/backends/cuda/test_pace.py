"""How many tactics are on the way to a GPU."""

from __future__ import annotations

from tuner.backends.cuda.pace import Pace


def test_a_gpu_that_waits_is_given_more_and_one_that_is_waited_for_less() -> None:
    pace = Pace(devices=1, compilers=16)
    assert pace.limit == 8
    for _ in range(3):
        pace.taken(waited=True)
    assert pace.limit == 11
    pace.taken(waited=False)
    pace.ready(before=0)
    assert pace.limit == 11, "one that waits is what keeps the GPU busy"
    pace.ready(before=1)
    assert pace.limit == 10, "a second one is too many"


def test_compilers_that_all_have_work_are_not_given_more() -> None:
    pace = Pace(devices=2, compilers=3)
    for _ in range(100):
        pace.taken(waited=True)
    assert pace.limit == pace.most == 5
    for _ in range(100):
        pace.ready(before=9)
    assert pace.limit == 4
