"""Run a tuning job: open what it needs, tune each problem, keep what was found."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tuner.backends.base import Backend, BackendFactory
from tuner.backends.kept import Kept
from tuner.backends.select import BackendChoice, open_backend
from tuner.backends.table import BACKENDS
from tuner.compile.blobs import Store, default_folder
from tuner.compile.options import CompileOptions
from tuner.errors import (
    ConfigError,
    NoValidTacticError,
    RunInterruptedError,
    StorageError,
    TunerError,
    UnavailableError,
)
from tuner.kernel.identity import kernel_hash
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import data_of
from tuner.search import Search
from tuner.search.points import Points
from tuner.search.samplers import DEFAULT_SAMPLER, GivenSampler
from tuner.search.tactic import Config
from tuner.store.alone import exclusive, exclusive_study
from tuner.store.cache import Cache, default_path, update
from tuner.store.database import named_storage, shown
from tuner.store.entry import proofs
from tuner.store.files import require_writable
from tuner.store.journal import Journal, Journals, open_journal, study_name
from tuner.store.results import SUMMARY, Result, write_summary
from tuner.store.study_data import StudyIdentity
from tuner.store.trials import TRIALS, write_trials
from tuner.tuning.config import Job
from tuner.tuning.identity import entry_of_result, identity_of
from tuner.tuning.lanes import Lanes, Schedule
from tuner.tuning.leads import foreseen
from tuner.tuning.loop import finished_trials, tune_problem
from tuner.tuning.neighbours import SEEDS, Tuned, elsewhere, place_of, seeds
from tuner.tuning.options import SearchOptions
from tuner.tuning.progress import Progress, Silent, together
from tuner.workers.faults import stop_in_child

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


Choice: TypeAlias = BackendChoice | Backend | BackendFactory
"""What says how long a tactic takes; a `Backend` is for a job of one problem, and stays open."""


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


def tune(
    problem: Problem,
    *,
    backend: str | Backend | BackendFactory = "auto",
    target: str = "h200",
    trials: int | None = None,
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
        trials: how many tactics to try; by default at most 64, and no more once next to nothing is left to gain.
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
    most = SearchOptions().trials if trials is None else trials
    search = SearchOptions(
        trials=most, stop=trials is None, timeout_s=timeout_s, sampler=named, seed=seed, finalists=finalists
    )
    config = Job(name, "", target, (problem,), search, CompileOptions(workers=workers))
    places = Places(out or Path("results") / name, cache or default_path(), named_storage(storage))
    chosen = BackendChoice.of(backend) if isinstance(backend, str) else backend
    given = None if isinstance(sampler, str) else GivenSampler(sampler)
    return run_job(config, chosen, places, progress or Silent(), given)[0]


def run_job(
    config: Job,
    choice: Choice,
    places: Places,
    progress: Progress,
    sampler: GivenSampler | None = None,
) -> list[Result]:
    """Tune every problem of a config, and write ``trials.csv`` and ``summary.json``.

    A problem that fails does not keep the others from being tuned. What an earlier run left in the two files about
    problems that are not finished now stays there.

    Problems that differ in their dimensions alone share what is found: the first is searched with the whole
    budget, the others start from its fastest tactics and get a part of it. Of several GPUs each works on a problem
    of its own; where there are fewer problems, the trials of each are spread over several.

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
    cache, lanes = Cache.open(places.cache), _lanes(choice, len(config.problems))
    _make_folder(places.out)
    told = progress if len(lanes) == 1 else together(progress)
    run = _Run(config, places, cache, told, sampler, len(lanes))
    require_writable(places.cache)
    with exclusive(places.out, places.storage):
        try:
            run.open()
            Lanes(lanes, run.tune, run.progress.note, run.halt).run(Schedule(config.problems, len(lanes)))
        except KeyboardInterrupt:
            finished, where = run.reread(), places.storage
            raise RunInterruptedError(
                f"interrupted; {finished} finished trials are kept in {shown(where) if where else places.out}; "
                "run the same command again to go on"
            ) from None
        finally:
            run.close()
            run.write()
    results, failures = run.results, run.failures
    if failures:
        raise failures[0] if len(failures) == 1 and not results else UnfinishedJobError(failures, results)
    return results


class _Run:
    """A job that is under way. Any thread may tune a problem of it.

    Attributes:
        results, failures: what was found, and what went wrong.
        progress: is told what happens.
    """

    def __init__(
        self, config: Job, places: Places, cache: Cache, progress: Progress, sampler: GivenSampler | None, lanes: int
    ) -> None:
        self.results: list[Result] = []
        self.failures: list[TunerError] = []
        self.progress = progress
        self._config, self._places, self._cache, self._sampler = config, places, cache, sampler
        self._kept = Kept(lanes)
        self._reserved: dict[int, tuple[Problem, Backend | None]] = {}
        self._studies: list[_OpenStudy] = []
        self._halted, self._lock = threading.Event(), threading.Lock()

    def open(self) -> None:
        """Open what all problems share."""
        self._journals = Journals(self._places.out, self._places.storage)

    def halt(self) -> None:
        """Have all searches end soon."""
        self._halted.set()

    def tune(self, choice: Choice, schedule: Schedule, problem: Problem) -> None:
        """Tune a problem, and then what it was sure would come after it."""
        ready: Backend | None = None
        following: Problem | None = problem
        try:
            while following is not None and not self._halted.is_set():
                problem, backend, following, ready = following, ready, None, None
                result: Result | None = None
                try:
                    with _closing(backend or self._opened(choice, problem), choice) as backend:
                        following = schedule.reserve(problem) if _may_prepare(choice) else None
                        if following is not None:
                            ready = self._prepared(choice, following)
                        result = self._tuned(backend, problem, schedule.known(problem))
                except (NoValidTacticError, ConfigError) as e:
                    self.failures.append(e)
                    if len(self._config.problems) > 1:
                        self.progress.note(f"{e}; going on with the others")
                schedule.done(problem, result)
        finally:
            if ready is not None:
                ready.close()

    def reread(self) -> int:
        """Read the studies again, and count the trials: one may have been stored and not counted."""
        self._studies = [replace(study, journal=study.reopen()) for study in self._studies]
        return sum(len(study.journal) for study in self._studies)

    def close(self) -> None:
        """End all processes."""
        self._kept.close()

    def write(self) -> None:
        """Write what was found, unless nothing was begun: then an earlier run's files are still right."""
        problems, places = self._config.problems, self._places
        self.results.sort(key=lambda result: problems.index(result.problem))
        self._studies.sort(key=lambda study: problems.index(study.problem))
        if self._studies:
            trials = {study.problem: finished_trials(study.journal) for study in self._studies}
            missing = [p for p in problems if all(p is not r.problem for r in self.results)]
            with self._remembered():
                write_trials(places.out / TRIALS, trials, missing)
            with self._remembered():
                write_summary(places.out / SUMMARY, self.results, places.cache, places.out, missing)

    @contextmanager
    def _remembered(self) -> Iterator[None]:
        """Go on when something cannot be written: what was found is still to be shown."""
        try:
            yield
        except StorageError as e:
            self.failures.append(e)

    def _opened(self, choice: Choice, problem: Problem) -> Backend:
        """The backend for a problem."""
        if isinstance(choice, Backend):
            return choice
        if not isinstance(choice, BackendChoice):
            return choice(problem)
        known = proofs(self._cache.entries, problem.kernel)
        store = Store(self._places.store)
        return open_backend(choice, problem, self._config.setting, store, known, self._kept)

    def _prepared(self, choice: Choice, problem: Problem) -> Backend | None:
        """The backend of a problem whose turn comes later, at work already; what is wrong with it is said then."""
        with suppress(ConfigError, UnavailableError):
            opened = self._opened(choice, problem)
            opened.prepare([problem.kernel.default])
            return opened
        return None

    def _tuned(self, backend: Backend, problem: Problem, known: Sequence[Tuned]) -> Result:
        """Search a problem and record what is found."""
        places, source = self._places, kernel_hash(problem.kernel)
        identity = identity_of(problem, backend.origin, source)
        with exclusive_study(places.storage, study_name(identity)):
            result = self._search(backend, self._study(problem, identity), known)
        with self._lock:
            self.results.append(result)
            with self._remembered():
                update(places.cache, [entry_of_result(result, source)])
        return result

    def _study(self, problem: Problem, identity: StudyIdentity) -> _OpenStudy:
        """Begin the study of a problem, or go on with the one that an earlier run left."""
        places, beside = self._places, [data_of(p) for p in self._config.problems]
        journal = self._journals.open(identity, problem.space, beside=beside)
        reopen = partial(open_journal, places.out, places.storage, identity, problem.space, beside=beside)
        study = _OpenStudy(problem, journal, reopen)
        self._studies.append(study)
        if journal.news:
            self.progress.note(journal.news)
        return study

    def _search(self, backend: Backend, study: _OpenStudy, known: Sequence[Tuned]) -> Result:
        """Search a problem from what is known of another shape, from the cache, and from predictions."""
        options, problem, journal, origin = self._config.search, study.problem, study.journal, backend.origin
        deadline = math.inf if options.timeout_s is None else time.monotonic() + options.timeout_s
        budget, place = options.further_trials if known else options.trials, place_of(problem)
        hit = self._cache.lookup(problem, kernel_hash(problem.kernel), backend=origin.backend, device=origin.device)
        incumbent = hit.tactic if hit.tier == "exact" else None
        first: list[Config] = [t.config for t in seeds(place, known, SEEDS)]
        if not backend.steady:  # a second run asks for the same, whatever the first one has left in the cache
            if journal.first is None:
                journal.keep_first([incumbent.config, *first] if incumbent is not None else first)
            first = journal.first or []
        search = Search(
            problem.space,
            problem.kernel.default,
            sampler=self._sampler or options.sampler,
            seed=options.seed,
            budget=budget,
            seeds=first,
            elsewhere=elsewhere(place, problem.space, known),
            exhaust=not options.stop,
            deadline=deadline,
        )
        return tune_problem(
            problem,
            backend,
            journal,
            search,
            trials=budget,
            deadline=deadline,
            finalists=options.finalists,
            incumbent=incumbent,
            progress=self.progress,
            leads=None if backend.steady else foreseen(problem, backend, options.seed, budget),
            enough=(lambda: search.satisfied) if options.stop else lambda: False,
            halted=self._halted.is_set,
        )


def _lanes(choice: Choice, problems: int) -> list[Choice]:
    """The choices of those that tune side by side: one for each GPU, as long as there are problems for all."""
    if not isinstance(choice, BackendChoice) or not BACKENDS[choice.name].measures:
        return [choice]
    count = max(1, min(len(choice.devices), problems))
    return [replace(choice, devices=choice.devices[i::count]) for i in range(count)]


def _may_prepare(choice: Choice) -> bool:
    """Whether the next problem's backend may be opened while one is timed."""
    return isinstance(choice, BackendChoice) and BACKENDS[choice.name].prepares


def _closing(backend: Backend, choice: Choice) -> AbstractContextManager[Backend]:
    """Close a backend that was opened here."""
    return nullcontext(backend) if backend is choice else closing(backend)


@dataclass(frozen=True)
class _OpenStudy:
    """The trials of a problem, and how to read them again from where they are kept."""

    problem: Problem
    journal: Journal
    reopen: Callable[[], Journal]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".lock").touch()
    except OSError as e:
        raise StorageError(f"{folder} cannot be written ({e.strerror}); choose another folder with --out") from e
