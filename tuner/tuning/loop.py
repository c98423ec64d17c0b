"""Tune one problem: search, then confirm the finalists against the default."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Protocol

from tuner.backends.base import Backend
from tuner.errors import NoValidTacticError
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, FailureClass, Outcome, Timing, caution
from tuner.search import Search
from tuner.search.tactic import Config, Tactic
from tuner.store.journal import Journal
from tuner.store.results import Result, Trial, failures_by_class
from tuner.tuning.finalists import choose, shortlist
from tuner.tuning.hints import hints


class Progress(Protocol):
    """Is told what happens during a run. All methods return at once."""

    def started(self, problem: Problem, backend: Backend, trials: int) -> None:
        """A search of up to `trials` trials begins."""

    def trial(self, trial: Trial, resumed: bool) -> None:
        """A trial ended, now or (resumed) in an earlier run."""

    def note(self, message: str) -> None:
        """Something a user should know."""


def finished_trials(journal: Journal) -> tuple[Trial, ...]:
    """The trials of a journal in the order in which the search asked for them."""
    return tuple(Trial(*row) for row in journal.trials())


def tune_problem(
    problem: Problem,
    backend: Backend,
    journal: Journal,
    search: Search,
    *,
    trials: int,
    deadline: float,
    finalists: int,
    incumbent: Tactic | None,
    progress: Progress,
) -> Result:
    """Search for the fastest tactic of a problem and confirm it.

    Args:
        problem: what to tune.
        backend: times tactics.
        journal: finished trials, read and extended.
        search: what to try next; told every outcome.
        trials: budget, counting trials that an earlier run finished.
        deadline: when to end the search, on the clock of `time.monotonic`, but not before the default was tried.
        finalists: how many of the fastest to confirm, besides ties and the default.
        incumbent: the tactic served so far, which wins a tie. It is tried even when the search missed it,
            so that a shorter search never makes worse what is served.
        progress: is told what happens.

    Raises:
        NoValidTacticError: when every tactic failed, or the default could not be judged, so that nothing can be
            held against it.
    """
    space = problem.space
    progress.started(problem, backend, min(trials, space.size) if space.counted else trials)
    resumed = len(journal)
    default = problem.kernel.default_tactic
    asked, stopped = _search(backend, journal, search, default, trials, deadline, progress)
    if search.gave_up:
        progress.note(f"{problem}: {search.gave_up}")
    if incumbent is not None and incumbent not in journal:
        for trial, again in _evaluate([(asked, incumbent)], backend, journal, {}):
            progress.trial(trial, again)
    done = finished_trials(journal)
    timings = {t.tactic: t.outcome for t in done if isinstance(t.outcome, Timing)}
    if not timings:
        raise NoValidTacticError(f"{problem}: {_why_none(problem, done)}")
    if default in journal:
        _require_judged(problem, default, journal.outcome(default))
    always = [default] if incumbent is None else [default, incumbent]
    candidates = shortlist(timings, finalists, always, backend.near)
    confirmed: dict[Tactic, Timing] = {}
    for tactic, outcome in zip(candidates, backend.confirm([t.config for t in candidates]), strict=True):
        if isinstance(outcome, Timing):
            confirmed[tactic] = outcome
        else:
            progress.note(f"finalist ({tactic}) failed when it was confirmed: {outcome.message}")
            if tactic == default:
                _require_judged(problem, default, outcome)
    if not confirmed:
        raise NoValidTacticError(f"{problem}: every finalist failed when it was confirmed")
    choice = choose(confirmed, default, incumbent, backend.tied)
    origin = backend.origin
    doubtful = caution(confirmed[choice.winner].verified)
    if doubtful:
        progress.note(f"{problem}: the winner ({choice.winner}) is {doubtful}")
    code = {t: backend.compiled(t.config) for t in (choice.winner, default) if t in confirmed}
    return Result(
        problem=problem,
        origin=origin,
        winner=choice.winner,
        default=default,
        confirmed=confirmed,
        ties=choice.ties,
        trials=done,
        resumed=resumed,
        stopped=stopped,
        code={tactic: made for tactic, made in code.items() if made is not None},
    )


def _search(
    backend: Backend,
    journal: Journal,
    search: Search,
    default: Tactic,
    trials: int,
    deadline: float,
    progress: Progress,
) -> tuple[int, str]:
    """Ask, evaluate, store, tell, until a limit is reached; returns how many were asked for, and which limit."""
    asked, late = 0, False
    ids: dict[int, Tactic] = {}

    def ask() -> list[tuple[int, Tactic]]:
        nonlocal asked, late
        late = 0 < asked < trials and time.monotonic() > deadline
        configs = [] if late else search.ask(min(backend.batch, trials - asked))
        batch = [(asked + i, Tactic(c)) for i, c in enumerate(configs)]
        asked += len(batch)
        backend.prepare([t.config for _, t in batch if t not in journal])
        return batch

    batch = ask()
    while batch:
        following = ask() if backend.ahead else None
        for trial, resumed in _evaluate(batch, backend, journal, ids):
            progress.trial(trial, resumed)
            if time.monotonic() > deadline and default in journal:
                return asked, "time"
        for _, tactic in batch:
            outcome = journal.outcome(tactic)
            search.tell(tactic.config, outcome.time_us if isinstance(outcome, Timing) else None)
        batch = ask() if following is None else following
    if asked < trials:
        return asked, "time" if late else "none found" if search.gave_up else "space exhausted"
    return asked, "trials"


def _evaluate(
    batch: list[tuple[int, Tactic]], backend: Backend, journal: Journal, ids: dict[int, Tactic]
) -> Iterator[tuple[Trial, bool]]:
    """Yield the batch's trials as they end, and whether an earlier run had finished them.

    What failed by no fault of the code is tried once more before it counts.
    """
    todo: list[tuple[int, Tactic]] = []
    for number, tactic in batch:
        twin = ids.setdefault(tactic.id, tactic)
        if tactic in journal:
            yield Trial(number, tactic, journal.outcome(tactic)), True
        elif twin != tactic:
            failure = Failure(FailureClass.CONSTRAINT, f"shares its id {tactic.id} with ({twin})")
            journal.add(number, tactic, failure)
            yield Trial(number, tactic, failure), False
        else:
            todo.append((number, tactic))
    again: list[tuple[int, Tactic]] = []
    for attempted in (todo, again):
        with closing(_generator(backend, [t.config for _, t in attempted])) as outcomes:
            for position, outcome in outcomes:
                number, tactic = attempted[position]
                if attempted is todo and isinstance(outcome, Failure) and not outcome.lasting:
                    again.append((number, tactic))
                    continue
                journal.add(number, tactic, outcome)
                yield Trial(number, tactic, outcome), False


def _generator(backend: Backend, configs: list[Config]) -> Generator[tuple[int, Outcome], None, None]:
    if configs:
        yield from backend.evaluate(configs)


def _require_judged(problem: Problem, default: Tactic, outcome: Outcome) -> None:
    """Refuse to go on without the default, unless it is the code's own fault that it has no time."""
    if isinstance(outcome, Failure) and not outcome.lasting:
        raise NoValidTacticError(
            f"{problem}: the default ({default}) could not be judged, so no winner can be held against it; it failed "
            f"with: {outcome.kind.value}, {outcome.headline}; run the same command again"
        )


def _why_none(problem: Problem, trials: tuple[Trial, ...]) -> str:
    if not trials:
        return "no trial was finished; allow more time"
    counts = ", ".join(f"{n} {kind}" for kind, n in failures_by_class(trials).items())
    first = next(t for t in trials if isinstance(t.outcome, Failure))
    assert isinstance(first.outcome, Failure)
    message = first.outcome.headline
    said = [message, *hints(problem, first.tactic.config, first.outcome)]
    return f"no tactic is valid ({counts}); the first, ({first.tactic}), failed with: {'; '.join(said)}"
