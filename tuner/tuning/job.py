"""Run a tuning job: open what it needs, tune each problem, keep what was found."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.backends.base import Backend, BackendFactory
from tuner.backends.select import BackendChoice, open_backend
from tuner.compile.blobs import Store, default_folder
from tuner.compile.options import CompileOptions
from tuner.errors import ConfigError, NoValidTacticError, RunInterruptedError, StorageError, TunerError
from tuner.frontends.python_source import source_hash
from tuner.kernel.identity import kernel_hash
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import data_of
from tuner.kernel.tensor import Tolerance
from tuner.outcome import Origin, Timing
from tuner.search import Search
from tuner.search.points import Points
from tuner.search.samplers import DEFAULT_SAMPLER, GivenSampler
from tuner.search.space import Space
from tuner.store.alone import exclusive, exclusive_study
from tuner.store.cache import Cache, default_path, update
from tuner.store.database import named_storage, shown
from tuner.store.entry import Entry, entry_of, proofs
from tuner.store.files import require_writable
from tuner.store.journal import Journal, open_journal, study_name
from tuner.store.results import SUMMARY, Result, Trial, write_summary
from tuner.store.study_data import StudyIdentity
from tuner.store.trials import TRIALS, write_trials
from tuner.tuning.config import Job
from tuner.tuning.loop import Progress, finished_trials, tune_problem
from tuner.tuning.neighbours import SEEDS, Tuned, elsewhere, order, place_of, seeds
from tuner.tuning.options import SearchOptions
from tuner.version import __version__
from tuner.workers.faults import stop_in_child

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class UnfinishedJobError(TunerError):
    """A job of which a part went wrong.

    Attributes:
        results: what was found nevertheless, in the order of the config.
        exit_code: that of the first thing that went wrong.
    """

    def __init__(self, failures: Sequence[TunerError], results: list[Result]) -> None:
        super().__init__("; ".join(dict.fromkeys(map(str, failures))))
        self.results = results
        self.exit_code = failures[0].exit_code


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
    backend: str | Backend | BackendFactory = "auto",
    target: str = "h200",
    trials: int = SearchOptions().trials,
    timeout_s: float | None = None,
    sampler: str | BaseSampler | Callable[[Points, int], BaseSampler] = DEFAULT_SAMPLER,
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
        backend: "tensorrt", "cuda", "model", or "auto" for the first of them that works here; a `Backend` for this
            problem, which stays open; or a function that opens one for it.
        target: the GPU to predict for when none is at hand.
        trials: how many tactics to try.
        timeout_s: end the search after this many seconds.
        sampler: a name in `tuner.search.SAMPLERS`; a sampler object of Optuna's, with a seed of its own; or a function
            that makes one of the `tuner.search.points.Points` of a space and the seed.
        seed: of everything random.
        finalists: how many of the fastest to confirm.
        out: folder for the study; ``results/NAME`` by default. A study found there is continued.
        cache: the tactic cache; the user's own by default.
        storage: an Optuna storage URL for the trials; by default what `TUNER_STORAGE` says, or else a file in `out`.
        workers: compile processes; 0 for one per core.
        progress: is told what happens.

    Raises:
        TunerError: with a message for the user.
    """
    stop_in_child()
    name, named = problem.kernel.name, sampler if isinstance(sampler, str) else DEFAULT_SAMPLER
    search = SearchOptions(trials=trials, timeout_s=timeout_s, sampler=named, seed=seed, finalists=finalists)
    config = Job(name, "", target, (problem,), search, CompileOptions(workers=workers))
    places = Places(out or Path("results") / name, cache or default_path(), named_storage(storage))
    chosen = BackendChoice.of(backend) if isinstance(backend, str) else backend
    given = None if isinstance(sampler, str) else GivenSampler(sampler)
    return run_job(config, chosen, places, progress or Silent(), given)[0]


def run_job(
    config: Job,
    choice: BackendChoice | Backend | BackendFactory,
    places: Places,
    progress: Progress,
    sampler: GivenSampler | None = None,
) -> list[Result]:
    """Tune every problem of a config, and write ``trials.csv`` and ``summary.json``.

    A problem that fails does not keep the others from being tuned. What an earlier run left in the two files about
    problems that are not finished now stays there.

    Problems that differ in their dimensions alone share what is found: the first is searched with the whole
    budget, the others start from the fastest tactics of their neighbours and get a part of it.

    Args:
        config: the job.
        choice: what says how long a tactic takes. A `Backend` is for a job of one problem, and stays open.
        places: where results are left.
        progress: is told what happens.
        sampler: proposes what to try, in the place of the one that the config names.

    Returns:
        The results in the order of the config.

    Raises:
        TunerError: with a message for the user; `RunInterruptedError` after Ctrl-C, `UnfinishedJobError` when
            something was found all the same.
    """
    stop_in_child()
    cache = Cache.open(places.cache)
    _make_folder(places.out)
    require_writable(places.cache)
    results: list[Result] = []
    failures: list[TunerError] = []
    studies: list[_OpenStudy] = []
    with exclusive(places.out, places.storage):
        try:
            for problem, neighbours in _in_order(config.problems, results):
                try:
                    with _opened(choice, problem, config, places, cache) as backend:
                        identity = _identity(problem, backend.origin, kernel_hash(problem.kernel))
                        with exclusive_study(places.storage, study_name(identity)):
                            studies.append(_open_study(config, problem, identity, places, progress))
                            result = _tune(config, backend, studies[-1], neighbours, cache, progress, sampler)
                except (NoValidTacticError, ConfigError) as e:
                    failures.append(e)
                    if len(config.problems) > 1:
                        progress.note(f"{e}; going on with the others")
                    continue
                results.append(result)
                with _remembered(failures):
                    update(places.cache, [_entry(result, kernel_hash(problem.kernel))])
        except KeyboardInterrupt:
            if studies:  # it may have come after a trial was stored and before it was counted
                studies[-1] = replace(studies[-1], journal=studies[-1].reopen())
            finished, where = sum(len(study.journal) for study in studies), places.storage
            raise RunInterruptedError(
                f"interrupted; {finished} finished trials are kept in {shown(where) if where else places.out}; "
                "run the same command again to go on"
            ) from None
        finally:
            results.sort(key=lambda result: config.problems.index(result.problem))
            if studies:  # else an earlier run's files are still right
                trials = {study.problem: finished_trials(study.journal) for study in studies}
                missing = [p for p in config.problems if all(p is not r.problem for r in results)]
                with _remembered(failures):
                    write_trials(places.out / TRIALS, trials, missing)
                with _remembered(failures):
                    write_summary(places.out / SUMMARY, results, places.cache, places.out, missing)
    if failures:
        raise failures[0] if len(failures) == 1 and not results else UnfinishedJobError(failures, results)
    return results


@contextmanager
def _remembered(failures: list[TunerError]) -> Iterator[None]:
    """Go on when something cannot be written: what was found is still to be shown."""
    try:
        yield
    except StorageError as e:
        failures.append(e)


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


@dataclass(frozen=True)
class _OpenStudy:
    """The trials of a problem, and how to read them again from where they are kept."""

    problem: Problem
    journal: Journal
    reopen: Callable[[], Journal]


def _opened(
    choice: BackendChoice | Backend | BackendFactory, problem: Problem, config: Job, places: Places, cache: Cache
) -> AbstractContextManager[Backend]:
    """The backend for a problem; what is opened here is closed here."""
    if isinstance(choice, Backend):
        return nullcontext(choice)
    if isinstance(choice, BackendChoice):
        return closing(
            open_backend(choice, problem, config.setting, Store(places.store), proofs(cache.entries, problem.kernel))
        )
    return closing(choice(problem))


def _open_study(
    config: Job, problem: Problem, identity: StudyIdentity, places: Places, progress: Progress
) -> _OpenStudy:
    """Begin the study of a problem, or go on with the one that an earlier run left."""
    beside = [data_of(p) for p in config.problems]
    reopen = partial(open_journal, places.out, places.storage, identity, problem.space, beside=beside)
    journal = reopen()
    if journal.news:
        progress.note(journal.news)
    return _OpenStudy(problem, journal, reopen)


def _tune(
    config: Job,
    backend: Backend,
    study: _OpenStudy,
    neighbours: Sequence[Tuned],
    cache: Cache,
    progress: Progress,
    sampler: GivenSampler | None,
) -> Result:
    """Search a problem from what its neighbours and the cache tell."""
    options, problem, origin = config.search, study.problem, backend.origin
    deadline = math.inf if options.timeout_s is None else time.monotonic() + options.timeout_s
    budget, place = options.further_trials if neighbours else options.trials, place_of(problem)
    hit = cache.lookup(problem, kernel_hash(problem.kernel), backend=origin.backend, device=origin.device)
    search = Search(
        problem.space,
        problem.kernel.default,
        sampler=sampler or options.sampler,
        seed=options.seed,
        budget=budget,
        seeds=[t.config for t in seeds(place, neighbours, SEEDS)],
        elsewhere=elsewhere(place, problem.space, neighbours),
        deadline=deadline,
    )
    return tune_problem(
        problem,
        backend,
        study.journal,
        search,
        trials=budget,
        deadline=deadline,
        finalists=options.finalists,
        incumbent=hit.tactic if hit.tier == "exact" else None,
        progress=progress,
    )


def _entry(result: Result, source: str) -> Entry:
    return entry_of(
        result.problem,
        source,
        origin=result.origin,
        confirmed=result.confirmed,
        winner=result.winner,
        default=result.default,
        ties=result.ties,
        trials=len(result.trials),
        code={tactic: code.digest for tactic, code in result.code.items()},
    )


def _identity(problem: Problem, origin: Origin, source: str) -> StudyIdentity:
    """What makes two runs the same study. The names are read by users: "new study: other source …"."""
    kernel = problem.kernel
    parts = {
        "source": source,
        "traffic": source_hash(kernel.flops, *([kernel.bytes] if kernel.bytes else [])),
        "reference": source_hash(kernel.reference),
        "tolerances": repr({name: _tolerance(problem, problem.dtype(t)) for name, t in kernel.results.items()}),
        "space": _describe(kernel.space),
    }
    recorded = replace(origin, environment={"tuner": __version__, **origin.environment})
    return StudyIdentity(data_of(problem), problem.label, recorded, parts)


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
