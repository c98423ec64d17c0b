"""The course of a search: ask, evaluate, store, tell, one tactic at a time, with as few on the way as keep all busy.

A steady backend is told in the order of asking, and the journal's outcomes are enough to take the same course again.
Any other is told as results come. Then each stored trial says how many outcomes the search had heard when it was asked
for, and when those were that were still on the way: a run that was cut short asks again in the same order between the
same outcomes, and so comes to the same state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import TypeAlias

from tuner.backends.base import Backend
from tuner.outcome import Failure, FailureClass, Outcome, Timing
from tuner.search import Search
from tuner.search.tactic import Config, Tactic
from tuner.store.journal import Journal
from tuner.store.results import Trial
from tuner.tuning.progress import Progress

Leads: TypeAlias = Callable[[Callable[[], bool]], Sequence[Config]]
"""Finds what promises most, given a function that says whether the trials that are on the way have ended."""


@dataclass
class _Asked:
    """A trial on the way.

    Attributes:
        tactic: what is tried.
        heard: how many outcomes the journal held, all of which the search had been told, when it asked.
        future: of its outcome; None while it is not begun.
        outcome: what became of it, once that is stored.
        again: whether this is the second attempt.
    """

    tactic: Tactic
    heard: int
    future: Future[Outcome] | None = None
    outcome: Outcome | None = None
    again: bool = False


class Course:
    """One search of one problem.

    Args:
        backend: times tactics.
        journal: finished trials, read and extended.
        search: what to try next; told every outcome.
        progress: is told what happens.
        leads: called once, when the tactics that are known beforehand are on the way.
        enough: whether the search has found what there is; asked before every proposal.
        halted: whether somebody wants all to end, in another thread: as a KeyboardInterrupt does.

    Attributes:
        asked: how many tactics were asked for.
    """

    def __init__(
        self,
        backend: Backend,
        journal: Journal,
        search: Search,
        progress: Progress,
        *,
        leads: Leads | None = None,
        enough: Callable[[], bool] = lambda: False,
        halted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._backend, self._journal, self._search, self._progress = backend, journal, search, progress
        self._leads, self._enough, self._halted = leads, enough, halted
        self.asked = 0
        self._asking, self._over = True, False
        self._on_the_way: dict[int, _Asked] = {}
        self._ids: dict[int, Tactic] = {}

    def run(self, default: Tactic, trials: int, deadline: float) -> str:
        """Search until a limit is reached, and say which: a key of `tuner.store.results.STOPPED`.

        Args:
            default: the first tactic. The search does not end before it was tried.
            trials: how many to ask for.
            deadline: when to end, on the clock of `time.monotonic`.
        """
        try:
            self._again(trials)
            while not (why := self._ask(trials, deadline)):
                if not self._wait(deadline, default):
                    return "time"
            self._asking = False
            self._collect()
            while self._on_the_way:
                if not self._wait(deadline, default):
                    return "time"
            return why
        finally:
            for asked in self._on_the_way.values():
                if asked.future is not None:
                    asked.future.cancel()

    def evaluate(self, tactic: Tactic) -> None:
        """Try one more tactic, after the search and without its knowledge."""
        self._on_the_way.clear()  # what ran out of time
        self._over = True
        self._enter(tactic)
        while self._on_the_way:
            self._wait(math.inf, tactic)

    # -- asking ------------------------------------------------------------------------------------

    def _ask(self, trials: int, deadline: float) -> str:
        """Ask for as many tactics as there is room for; why no more may be asked for, where that is so."""
        while self.asked < trials:
            if self.asked and time.monotonic() > deadline:
                return "time"
            if self._enough():
                return "nothing left"
            if self._leads is not None and self._search.begun:
                self._lead()
            room = self._backend.most if self._search.fixed else self._backend.width
            if len(self._on_the_way) >= max(room, 1):
                return ""
            if not self._ask_one():
                return "none found" if self._search.gave_up else "space exhausted"
        return "trials"

    def _lead(self) -> None:
        """Say what is to be tried next: what the journal holds of an earlier run, or what is found out now."""
        assert self._leads is not None
        find, self._leads = self._leads, None
        if self._journal.leads is None:
            self._journal.keep_leads(find(self._heard_all))
        self._search.lead(self._journal.leads or [])

    def _heard_all(self) -> bool:
        """Whether nothing is on the way any more, after storing and telling what has ended."""
        self._collect()
        return not self._on_the_way

    def _ask_one(self) -> bool:
        configs = self._search.ask(1)
        for config in configs:
            self._enter(Tactic(config))
        return bool(configs)

    def _enter(self, tactic: Tactic) -> None:
        """Begin a trial, unless it has ended already."""
        number, asked = self.asked, _Asked(tactic, len(self._journal.history))
        self.asked += 1
        self._on_the_way[number] = asked
        twin = self._ids.setdefault(tactic.id, tactic)
        if tactic in self._journal:
            asked.outcome = self._journal.outcome(tactic)
            self._progress.trial(Trial(number, tactic, asked.outcome), True)
        elif twin != tactic:
            self._store(number, Failure(FailureClass.CONSTRAINT, f"shares its id {tactic.id} with ({twin})"))
        else:
            asked.future = self._backend.begin(tactic.config)
        self._collect()

    # -- hearing -----------------------------------------------------------------------------------

    def _wait(self, deadline: float, default: Tactic) -> bool:
        """Wait until a trial ends; store it, and tell what may be told. Whether there is time to go on."""
        futures = [a.future for a in self._on_the_way.values() if a.future is not None]
        while futures and not wait(futures, timeout=0.5, return_when=FIRST_COMPLETED).done:
            if self._halted():
                raise KeyboardInterrupt
        self._collect()
        if self._halted():
            raise KeyboardInterrupt
        return time.monotonic() <= deadline or default not in self._journal

    def _collect(self) -> None:
        """Store what has ended and tell it; of a steady backend in the order of asking, and no sooner than it must.

        So it is known how much the search has heard when it is asked, however fast something ended.
        """
        done = [(n, a, a.future) for n, a in self._on_the_way.items() if a.future is not None and a.future.done()]
        for number, asked, future in sorted(done, key=lambda row: row[2].exception() is not None):  # lose no outcome
            self._ended(number, asked, future.result())
        for number, asked in list(self._on_the_way.items()):
            early = self._asking and len(self._on_the_way) < self._backend.width
            if self._backend.steady and (asked.outcome is None or early):
                break
            if asked.outcome is not None:
                self._tell(number)

    def _ended(self, number: int, asked: _Asked, outcome: Outcome) -> None:
        """Store an outcome. What failed by no fault of the code is tried once more before it counts."""
        asked.future = None
        if isinstance(outcome, Failure) and not outcome.lasting and not asked.again:
            asked.again, asked.future = True, self._backend.begin(asked.tactic.config)
            if asked.future.done():
                self._ended(number, asked, asked.future.result())
        else:
            self._store(number, outcome)

    def _store(self, number: int, outcome: Outcome) -> None:
        asked = self._on_the_way[number]
        heard: dict[int, int] = {}
        if not self._backend.steady:
            heard = {n: a.heard for n, a in self._on_the_way.items() if a.outcome is None}
        self._journal.add(number, asked.tactic, outcome, heard)
        asked.outcome = outcome
        self._progress.trial(Trial(number, asked.tactic, outcome), False)

    def _tell(self, number: int) -> None:
        asked = self._on_the_way.pop(number)
        outcome = asked.outcome
        if not self._over:
            self._search.tell(asked.tactic.config, outcome.time_us if isinstance(outcome, Timing) else None)

    # -- going on ----------------------------------------------------------------------------------

    def _again(self, trials: int) -> None:
        """Ask and tell as an earlier run did, as far as the journal says how; what it left on the way is begun."""
        if self._backend.steady:
            return
        history, heard = list(self._journal.history), dict(self._journal.heard)
        places = {tactic: place for place, tactic in enumerate(history)}
        waiting: dict[Tactic, int] = {}
        told = 0
        while self.asked < trials and self.asked in heard:
            if self._leads is not None and self._search.begun:
                if self._journal.leads is None:
                    break
                self._lead()
            for tactic in history[told : heard[self.asked]]:
                self._tell_again(tactic, waiting)
            told = max(told, heard[self.asked])
            configs = self._search.ask(1)
            if not configs:
                break
            tactic, number = Tactic(configs[0]), self.asked
            self.asked += 1
            self._ids.setdefault(tactic.id, tactic)
            self._on_the_way[number] = _Asked(tactic, told)
            waiting[tactic] = number
            if places.get(tactic, told) < told:  # it had ended before it was asked for: the course has changed since
                self._tell_again(tactic, waiting)
        for tactic in history[told:]:
            self._tell_again(tactic, waiting)
        for asked in list(self._on_the_way.values()):
            asked.future = self._backend.begin(asked.tactic.config)
        self._collect()

    def _tell_again(self, tactic: Tactic, waiting: dict[Tactic, int]) -> None:
        """Tell what an earlier run found, if it lasts and was asked for."""
        if tactic in waiting and tactic in self._journal:
            number = waiting.pop(tactic)
            self._on_the_way[number].outcome = self._journal.outcome(tactic)
            self._progress.trial(Trial(number, tactic, self._journal.outcome(tactic)), True)
            self._tell(number)
