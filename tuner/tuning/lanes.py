"""Which problem is tuned when, and who does it: studies side by side, one per GPU.

Problems that differ in their dimensions alone are a group. Its first shape, the one nearest to all others, is searched
at length; then come the others, which start from what was found for it. So a study depends on that of the first shape
and on no other, whoever tunes it and when.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from tuner.errors import UnavailableError
from tuner.kernel.problem import Problem
from tuner.outcome import Timing
from tuner.store.results import Result
from tuner.tuning.neighbours import Tuned, order, place_of

L = TypeVar("L")


class Schedule:
    """The problems of a job that are left. Any thread may take the next.

    Args:
        problems: in the order of the config.
        lanes: how many will take.
    """

    def __init__(self, problems: Sequence[Problem], lanes: int) -> None:
        groups: dict[str, list[Problem]] = {}
        for problem in problems:
            groups.setdefault(repr([problem.dtypes, problem.attributes]), []).append(problem)
        self._lanes, self._left, self._over = lanes, len(problems), False
        self._changed = threading.Condition()
        self._group = {id(p): name for name, group in groups.items() for p in group}
        self._found: dict[str, Tuned] = {}
        self._ready: deque[Problem] = deque()
        self._behind: dict[str, deque[Problem]] = {}
        for name, group in groups.items():
            first, *rest = (group[i] for i in order([place_of(p) for p in group]))
            self._ready.append(first)
            self._behind[name] = deque(rest)

    def take(self) -> Problem | None:
        """The next problem, as soon as there is one; None when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or not self._left or self._over)
            return self._ready.popleft() if self._ready and not self._over else None

    def reserve(self, current: Problem) -> Problem | None:
        """What the taker of `current` will tune after it, where that is sure: it may begin to prepare that."""
        with self._changed:
            if self._over or len(self._ready) < self._lanes:
                behind = self._behind[self._group[id(current)]]
                return behind.popleft() if self._lanes == 1 and behind and not self._over else None
            return self._ready.popleft()

    def known(self, problem: Problem) -> list[Tuned]:
        """What was found for the first shape of a problem's group; nothing as long as that is not done."""
        with self._changed:
            found = self._found.get(self._group[id(problem)])
            return [] if found is None else [found]

    def done(self, problem: Problem, result: Result | None) -> None:
        """Hear that a problem's turn is over, and what was found. Where that is nothing, another shape goes first."""
        with self._changed:
            self._left -= 1
            name = self._group[id(problem)]
            behind = self._behind[name]
            if result is not None and name not in self._found:
                times = {t.tactic: t.outcome.time_us for t in result.trials if isinstance(t.outcome, Timing)}
                self._found[name] = Tuned(place_of(problem), times)
                self._ready.extendleft(reversed(behind))
                behind.clear()
            elif result is None and name not in self._found and behind:
                self._ready.appendleft(behind.popleft())
            self._changed.notify_all()

    def put_back(self, problem: Problem) -> None:
        """Leave a problem that was taken to somebody else."""
        with self._changed:
            self._ready.appendleft(problem)
            self._changed.notify_all()

    def end(self) -> None:
        """Have nobody take any more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()


class Lanes(Generic[L]):
    """Who tunes: each lane takes problems until there are no more, one after the other.

    Args:
        lanes: what tells one from another, such as the GPUs that it has.
        tune: tunes a problem in a lane, given what it may prepare meanwhile; what it raises ends the job, unless it is
            an `UnavailableError` and another lane is left.
        note: is told of a lane that ends early.
        halt: has all others stop soon.
    """

    def __init__(
        self,
        lanes: Sequence[L],
        tune: Callable[[L, Schedule, Problem], None],
        note: Callable[[str], None],
        halt: Callable[[], None],
    ) -> None:
        self._lanes, self._tune, self._note, self._halt = lanes, tune, note, halt
        self._errors: list[BaseException] = []
        self._alive = len(lanes)
        self._lock = threading.Lock()

    def run(self, schedule: Schedule) -> None:
        """Tune everything; the only lane does it in this thread."""
        if len(self._lanes) == 1:
            while (problem := schedule.take()) is not None:
                self._tune(self._lanes[0], schedule, problem)
            return
        threads = [threading.Thread(target=self._work, args=(lane, schedule), daemon=True) for lane in self._lanes]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)
        except KeyboardInterrupt:
            self._halt()
            schedule.end()
            for thread in threads:
                thread.join()
            raise
        if self._errors:
            raise self._errors[0]

    def _work(self, lane: L, schedule: Schedule) -> None:
        while (problem := schedule.take()) is not None:
            try:
                self._tune(lane, schedule, problem)
            except UnavailableError as e:
                with self._lock:
                    self._alive -= 1
                    others = self._alive > 0
                if others:
                    self._note(f"{lane}: {e}; the others go on without it")
                    schedule.put_back(problem)
                    return
                self._end(e, schedule)
            except BaseException as e:
                self._end(e, schedule)

    def _end(self, error: BaseException, schedule: Schedule) -> None:
        self._errors.append(error)
        self._halt()
        schedule.end()
