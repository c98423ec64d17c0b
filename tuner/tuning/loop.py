"""Tune one problem: search, then confirm the finalists against the default."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tuner.backends.base import Backend
from tuner.errors import NoValidTacticError
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, Outcome, Timing, caution
from tuner.search import Search
from tuner.search.tactic import Tactic
from tuner.store.journal import Journal
from tuner.store.results import Result, Trial, failures_by_class
from tuner.tuning.course import Course, Leads
from tuner.tuning.finalists import choose, shortlist
from tuner.tuning.hints import hints
from tuner.tuning.progress import Progress


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
    leads: Leads | None = None,
    enough: Callable[[], bool] = lambda: False,
    halted: Callable[[], bool] = lambda: False,
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
        leads, enough, halted: see `Course`.

    Raises:
        NoValidTacticError: when every tactic failed, or the default could not be judged, so that nothing can be
            held against it.
    """
    space = problem.space
    progress.started(problem, backend, min(trials, space.size) if space.counted else trials)
    resumed = len(journal)
    default = problem.kernel.default_tactic
    course = Course(backend, journal, search, progress, leads=leads, enough=enough, halted=halted)
    stopped = course.run(default, trials, deadline)
    if search.gave_up:
        progress.note(f"{problem}: {search.gave_up}")
    if incumbent is not None and incumbent not in journal:
        course.evaluate(incumbent)
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
    known = [t for t in dict.fromkeys((choice.winner, default)) if t in confirmed]
    with ThreadPoolExecutor(len(known)) as threads:  # each may wait for a disassembler
        code = dict(zip(known, threads.map(lambda t: backend.compiled(t.config), known), strict=True))
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
