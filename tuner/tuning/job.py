"""Run a tuning job: open what it needs, tune each problem, keep what was found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tuner.backends.base import Backend
from tuner.backends.select import BackendChoice, open_backend
from tuner.compile.blobs import Store, default_folder
from tuner.compile.options import CompileOptions
from tuner.errors import StorageError, TunerError
from tuner.frontends.python_source import source_hash
from tuner.kernel.identity import kernel_hash
from tuner.kernel.problem import Problem
from tuner.kernel.tensor import Tolerance
from tuner.outcome import Timing
from tuner.search import Search
from tuner.search.space import Space
from tuner.store.cache import Cache, default_path, update
from tuner.store.entry import entry_of, proofs
from tuner.store.journal import Journal, exclusive, open_journal
from tuner.store.results import Result, Trial, write_summary, write_trials
from tuner.tuning.config import Job
from tuner.tuning.loop import Progress, finished_trials, tune_problem
from tuner.tuning.neighbours import SEEDS, Tuned, elsewhere, order, place_of, seeds
from tuner.tuning.options import SearchOptions
from tuner.version import __version__


class RunInterruptedError(TunerError):
    """The user stopped the run. Every finished trial is kept."""

    exit_code = 130


@dataclass(frozen=True)
class Places:
    """Where a job leaves its results.

    Attributes:
        out: a folder of its own: study, trials, summary.
        cache: the tactic cache file.
        storage: an Optuna storage URL for the trials instead of a journal in `out`.
        store: the folder of compiled tactics.
    """

    out: Path
    cache: Path = field(default_factory=default_path)
    storage: str | None = None
    store: Path = field(default_factory=default_folder)


class Silent:
    """Progress that nobody watches."""

    def started(self, problem: Problem, backend: Backend, trials: int) -> None: ...

    def trial(self, trial: Trial, resumed: bool) -> None: ...

    def note(self, message: str) -> None: ...


def tune(
    problem: Problem,
    *,
    backend: str = "auto",
    target: str = "h200",
    trials: int = SearchOptions().trials,
    timeout_s: float | None = None,
    sampler: str = SearchOptions().sampler,
    seed: int = 0,
    finalists: int = SearchOptions().finalists,
    out: Path | None = None,
    cache: Path | None = None,
    storage: str | None = None,
    workers: int = 0,
    progress: Progress | None = None,
) -> Result:
    """Find the fastest tactic of a problem and record it in the cache.

    Args:
        problem: a kernel at given sizes.
        backend: "tensorrt", "cuda", "model", or "auto" for the first of them that works here.
        target: the GPU to predict for when none is at hand.
        trials: how many tactics to try.
        timeout_s: end the search after this many seconds.
        sampler: a name in `tuner.search.SAMPLERS`.
        seed: of everything random.
        finalists: how many of the fastest to confirm.
        out: folder for the study; ``results/NAME`` by default. A study found there is continued.
        cache: the tactic cache; the user's own by default.
        storage: an Optuna storage URL for the trials.
        workers: compile processes; 0 for one per core.
        progress: is told what happens.

    Raises:
        TunerError: with a message for the user.
    """
    name = problem.kernel.name
    search = SearchOptions(trials=trials, timeout_s=timeout_s, sampler=sampler, seed=seed, finalists=finalists)
    config = Job(name, "", target, (problem,), search, CompileOptions(workers=workers))
    places = Places(out or Path("results") / name, cache or default_path(), storage)
    return run_job(config, BackendChoice.of(backend), places, progress or Silent())[0]


def run_job(config: Job, choice: BackendChoice, places: Places, progress: Progress) -> list[Result]:
    """Tune every problem of a config, and write ``trials.csv`` and ``summary.json``.

    Problems that differ in their dimensions alone share what is found: the first is searched with the whole
    budget, the others start from the fastest tactics of their neighbours and get a part of it.

    Returns:
        The results in the order of the config.

    Raises:
        TunerError: with a message for the user; `RunInterruptedError` after Ctrl-C.
    """
    cache = Cache.open(places.cache)
    _make_folder(places.out)
    results: list[Result] = []
    trials: dict[str, Sequence[Trial]] = {}
    with exclusive(places.out, places.storage):
        try:
            for problem, neighbours in _in_order(config.problems, results):
                results.append(_tune(config, problem, neighbours, choice, places, cache, progress, trials))
        except KeyboardInterrupt:
            finished = sum(map(len, trials.values()))
            raise RunInterruptedError(
                f"interrupted; {finished} finished trials are kept in {places.storage or places.out}; "
                "run the same command again to go on"
            ) from None
        finally:
            results.sort(key=lambda result: config.problems.index(result.problem))
            if trials:  # else an earlier run's files are still right
                write_trials(places.out / "trials.csv", trials)
                write_summary(places.out / "summary.json", results, places.cache, places.out)
    return results


def _in_order(problems: Sequence[Problem], results: Sequence[Result]) -> Iterator[tuple[Problem, list[Tuned]]]:
    """Each problem in the order of tuning, with what `results` then tell about others of its types and attributes."""
    groups: dict[str, list[Problem]] = {}
    for problem in problems:
        groups.setdefault(repr([problem.dtypes, problem.attributes]), []).append(problem)
    for group in groups.values():
        for position in order([place_of(p) for p in group]):
            yield group[position], [_tuned(r) for r in results if r.problem in group]


def _tuned(result: Result) -> Tuned:
    times = {t.tactic: t.outcome.time_us for t in result.trials if isinstance(t.outcome, Timing)}
    return Tuned(place_of(result.problem), times)


def _tune(
    config: Job,
    problem: Problem,
    neighbours: Sequence[Tuned],
    choice: BackendChoice,
    places: Places,
    cache: Cache,
    progress: Progress,
    trials: dict[str, Sequence[Trial]],
) -> Result:
    """Tune one problem and record it; its finished trials go into `trials` however it ends."""
    options, source = config.search, kernel_hash(problem.kernel)
    budget, place = options.further_trials if neighbours else options.trials, place_of(problem)
    with closing(open_backend(choice, problem, config, Store(places.store), proofs(cache.entries))) as backend:
        identity = _identity(problem, backend, source)
        labels = [p.label for p in config.problems]
        reopen = partial(open_journal, places.out, places.storage, identity, problem.space, beside=labels)
        journal = reopen()
        if journal.news:
            progress.note(journal.news)
        hit = cache.lookup(problem, source, backend=backend.name, device=backend.device)
        with _recorded(problem, journal, reopen, trials):
            result = tune_problem(
                problem,
                backend,
                journal,
                Search(
                    problem.space,
                    problem.kernel.default,
                    sampler=options.sampler,
                    seed=options.seed,
                    budget=budget,
                    seeds=[t.config for t in seeds(place, neighbours, SEEDS)],
                    elsewhere=elsewhere(place, problem.space, neighbours),
                ),
                trials=budget,
                timeout_s=options.timeout_s,
                finalists=options.finalists,
                incumbent=hit.tactic if hit.tier == "exact" else None,
                progress=progress,
            )
    update(places.cache, [_entry(result, source)])
    return result


@contextmanager
def _recorded(
    problem: Problem, journal: Journal, reopen: Callable[[], Journal], trials: dict[str, Sequence[Trial]]
) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        journal = reopen()  # it may have come after a trial was stored and before it was counted
        raise
    finally:
        trials[str(problem)] = finished_trials(journal)


def _entry(result: Result, source: str) -> Any:
    return entry_of(
        result.problem,
        source,
        backend=result.backend,
        device=result.device,
        capability=result.capability,
        confirmed=result.confirmed,
        winner=result.winner,
        default=result.default,
        ties=result.ties,
        trials=len(result.trials),
        environment=result.environment,
        code={tactic: artifact.digest for tactic, artifact in result.code.items()},
    )


def _identity(problem: Problem, backend: Backend, source: str) -> Mapping[str, str]:
    """What makes two runs the same study. The names are read by users: "new study: other source …"."""
    kernel = problem.kernel
    return {
        "kernel": kernel.id,
        "problem": problem.label,
        "attributes": json.dumps(dict(problem.attributes), sort_keys=True),
        **({"timed": str([(p.label, share) for p, share in problem.shares])} if problem.timed else {}),
        "device": backend.device,
        "backend": backend.name,
        "source": source,
        "traffic": source_hash(kernel.flops, *([kernel.bytes] if kernel.bytes else [])),
        "reference": source_hash(kernel.reference),
        "tolerances": repr({name: _tolerance(problem, problem.dtype(t)) for name, t in kernel.results.items()}),
        "space": _describe(kernel.space),
        "versions": json.dumps({"tuner": __version__, **backend.environment()}, sort_keys=True),
    }


def _tolerance(problem: Problem, dtype: str) -> Tolerance | tuple[Tolerance, str]:
    """What it is at the usual sizes and, of a function, its code: tactics are also checked at other sizes."""
    declared, here = problem.kernel.tolerances.get(dtype), problem.tolerance(dtype)
    return (here, source_hash(declared)) if callable(declared) else here


def _describe(space: Space) -> str:
    """The values of each parameter and where it applies, and the code of each constraint."""
    params = {p.name: [*p.values, *([list(p.when)] if p.when else [])] for p in space.params}
    constraints = {c.name: source_hash(c.holds) for c in space.constraints}
    return json.dumps([params, constraints])


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".lock").touch()
    except OSError as e:
        raise StorageError(f"{folder} cannot be written ({e.strerror}); choose another folder with --out") from e
