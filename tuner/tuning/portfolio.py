"""A portfolio: the fewest tactics of which one is near the best at every shape of a job.

The winners of all shapes are timed against each other at every shape, in code compiled for that shape and, where
that is other code, as compiled for the range that spans the shapes: code that is told less of its sizes may prefer
another tactic. Of these times `cover` takes the smallest set. It is recorded in the tactic cache as the entry of the
range: plugins and bundles offer all of it to TensorRT at shapes between, and TensorRT chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from tuner.backends.base import Backend
from tuner.backends.kept import Kept
from tuner.backends.select import BackendChoice, open_backend
from tuner.compile.blobs import Store, default_folder
from tuner.errors import ConfigError, NoValidTacticError, StorageError
from tuner.kernel.arith import Multiple
from tuner.kernel.identity import kernel_hash
from tuner.kernel.problem import Problem, Range, Timed
from tuner.kernel.problem_data import data_of
from tuner.outcome import Failure, Outcome, Timing
from tuner.search.tactic import Tactic
from tuner.store.cache import Cache, update
from tuner.store.entry import Entry, entry_of, proofs
from tuner.store.files import require_writable
from tuner.store.portfolios import IN_RANGE, Candidate, Portfolio, write_portfolios
from tuner.tuning.config import Job
from tuner.tuning.cover import smallest
from tuner.tuning.neighbours import order, place_of
from tuner.workers.faults import stop_in_child


def find_portfolios(
    config: Job, choice: BackendChoice, out: Path, cache: Path, within: float, note: Callable[[str], None]
) -> list[Portfolio]:
    """Find the portfolios of a job whose shapes are tuned, record them in the cache and write ``portfolio.json``.

    Args:
        config: the job. Problems that differ in more than dimensions known at run time get portfolios of their own.
        choice: what times the tactics, as it did when the shapes were tuned.
        out: the results folder of the job.
        cache: the tactic cache, which holds the winners.
        within: what part a shape may lose, 0.02 for 2 %.
        note: is told what happens.

    Raises:
        ConfigError: when there is only one shape, or a shape has no winner yet.
        NoValidTacticError: when no winner is right over the whole range.
        StorageError: when the folder or the cache cannot be written.
    """
    stop_in_child()
    opened = Cache.open(cache)
    groups = [group for group in _groups(config.problems) if len(_shapes(group)) > 1]
    if not groups:
        raise ConfigError(
            f"{config.name}: a portfolio serves several shapes; give dims a grid such as M = "
            "{ powers_of_two = [1, 4096] }, or a range and several timed shapes"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StorageError(f"{out} cannot be made ({e.strerror}); choose another folder with --out") from e
    require_writable(cache)
    with closing(Kept()) as kept:
        found = [_find(config, group, choice, opened, within, note, kept) for group in groups]
    update(cache, [entry for _, entry in found])
    portfolios = [portfolio for portfolio, _ in found]
    write_portfolios(out, portfolios)
    return portfolios


def _groups(problems: Sequence[Problem]) -> list[list[Problem]]:
    """Problems whose code may be the same: only dimensions that are known at run time differ."""
    groups: dict[str, list[Problem]] = {}
    for problem in problems:
        compiled = {d: str(r) for d, r in problem.dims.items() if d in problem.kernel.constant_names}
        ranks = [len(r) for r in problem.dims.values()]
        key = repr([problem.dtypes, problem.attributes, compiled, ranks])
        groups.setdefault(key, []).append(problem)
    return list(groups.values())


@dataclass(frozen=True)
class _ShapeRow:
    """What tactics are timed at.

    Attributes:
        shape: fixed sizes.
        problem: what the code is compiled for, timed at that shape alone.
        label: both, for people.
    """

    shape: Problem
    problem: Problem
    label: str


def _shapes(group: Sequence[Problem]) -> list[_ShapeRow]:
    """Every shape that the problems are timed at, once, in its own code."""
    rows: dict[tuple[str, ...], _ShapeRow] = {}
    for p in group:
        for (shape, _), timed in zip_longest(p.shares, p.timed):
            own = Problem.of(p.kernel, p.dims, p.dtypes, p.attributes, [timed]) if timed else p
            rows[data_of(shape).key] = _ShapeRow(shape, own, shape.label)
    return list(rows.values())


def _rows(group: Sequence[Problem], whole: Problem, tactics: Sequence[Tactic]) -> list[_ShapeRow]:
    """What to time: every shape in its own code, then those in that of the range for which it differs."""
    rows = _shapes(group)
    in_range = []
    for row, timed in zip(rows, whole.timed, strict=True):
        served = Problem.of(whole.kernel, whole.dims, whole.dtypes, whole.attributes, [timed])
        if any(_promises(row.problem, t) != _promises(served, t) for t in tactics):
            in_range.append(_ShapeRow(row.shape, served, f"{row.label} {IN_RANGE}"))
    return [*rows, *in_range]


def _promises(problem: Problem, tactic: Tactic) -> list[str]:
    """What a tactic's code may rely on of its integers: their values, or what divides them."""
    known = [a for s in problem.steps(tactic.config) for a in s.problem.argument_multiples(s.config)]
    return [f"multiple of {a.factor}" if isinstance(a, Multiple) else str(a) for a in known]


def spanning(group: Sequence[Problem]) -> Problem:
    """The problem whose range spans those of others, timed at all their shapes.

    Its optimum is that of the one in the middle of them.
    """
    middle = group[order([place_of(p) for p in group])[0]]
    dims = {
        dim: tuple(
            Range(min(r.min for r in extents), usual.opt, max(r.max for r in extents))
            for usual, extents in zip(ranges, zip(*(p.dims[dim] for p in group), strict=True), strict=True)
        )
        for dim, ranges in middle.dims.items()
    }
    timed: dict[tuple[str, ...], Timed] = {}
    for shape, share in (pair for p in group for pair in p.shares):
        sizes = {d: tuple(r.opt for r in rs) for d, rs in shape.dims.items()}
        timed.setdefault(data_of(shape).key, Timed(sizes, share))
    return Problem.of(middle.kernel, dims, middle.dtypes, middle.attributes, list(timed.values()))


def _find(
    config: Job,
    group: Sequence[Problem],
    choice: BackendChoice,
    cache: Cache,
    within: float,
    note: Callable[[str], None],
    kept: Kept,
) -> tuple[Portfolio, Entry]:
    whole, source = spanning(group), kernel_hash(group[0].kernel)

    def opened(problem: Problem) -> closing[Backend]:
        return closing(
            open_backend(
                choice, problem, config.setting, Store(default_folder()), proofs(cache.entries, problem.kernel), kept
            )
        )

    with opened(whole) as backend:
        tactics = _winners(group, cache, source, backend)
        note(f"{whole}: checking {len(tactics)} tactics over the range")
        served = _outcomes(backend, [t for t in tactics if t.config in whole.space])
        origin = backend.origin
        code = {t: made.digest for t in served if (made := backend.compiled(t.config)) is not None}
    left_out = {t: f"({t}) is not legal over {whole.label}" for t in tactics if t not in served}
    rows = _rows(group, whole, tactics)
    times: list[dict[Tactic, float]] = []
    for row in rows:
        tried = [t for t, o in served.items() if isinstance(o, Timing)]
        note(f"{row.label}: timing {len(tried)} tactics")
        checked = row.problem.dims == whole.dims  # this is the code that was checked over the range
        with opened(row.problem) as at_shape:
            outcomes = _timed(at_shape, tried) if checked else _outcomes(at_shape, tried)
        times.append({t: o.time_us for t, o in outcomes.items() if isinstance(o, Timing)})
        served |= {t: o for t, o in outcomes.items() if isinstance(o, Failure)}
    left_out |= {t: f"({t}) failed: {o.headline}" for t, o in served.items() if isinstance(o, Failure)}
    means = {t: o for t, o in served.items() if isinstance(o, Timing)}
    if not means:
        raise NoValidTacticError(f"{whole}: no winner is right over the whole range: {'; '.join(left_out.values())}")
    found = smallest([{t: at[t] for t in means} for at in times], within)
    taken = sorted(found.tactics, key=lambda t: means[t].time_us)
    portfolio = Portfolio(
        kernel=whole.kernel.id,
        problem=whole.label,
        backend=origin.backend,
        device=origin.device,
        kind=origin.kind,
        within=within,
        method=found.method,
        shapes=tuple(row.label for row in rows),
        candidates=tuple(
            Candidate(t.id, t.config, tuple(at[t] for at in times), means[t].time_us, t in taken)
            for t in (*taken, *(t for t in means if t not in taken))
        ),
        left_out=tuple(left_out.values()),
        capability=origin.capability,
        environment=dict(origin.environment),
        data=data_of(whole),
        shapes_data=tuple(data_of(row.shape).dims for row in rows),
    )
    entry = entry_of(
        whole,
        source,
        origin=origin,
        confirmed=means,
        winner=taken[0],
        default=whole.kernel.default_tactic,
        ties=(),
        trials=len(tactics),
        portfolio=taken,
        best=[min(taken, key=lambda t: at[t]) for at in times[: len(whole.timed)]],
        code={t: digest for t, digest in code.items() if t in taken},
    )
    return portfolio, entry


def _winners(group: Sequence[Problem], cache: Cache, source: str, backend: Backend) -> list[Tactic]:
    """The winners of the shapes, and the default."""
    origin = backend.origin
    hits = {p: cache.lookup(p, source, backend=origin.backend, device=origin.device) for p in group}
    for problem, hit in hits.items():
        if hit.tier != "exact":
            where = f"by {origin.backend} for {origin.device}"
            raise ConfigError(f"{problem} has no winner {where} in the cache yet; run: tuner tune CONFIG")
    return list(dict.fromkeys([*(t for h in hits.values() for t in h.tactics), group[0].kernel.default_tactic]))


def _outcomes(backend: Backend, tactics: Sequence[Tactic]) -> dict[Tactic, Outcome]:
    """Check tactics, and time those that are right against each other."""
    configs = [t.config for t in tactics]
    backend.prepare(configs)
    outcomes = {tactics[i]: outcome for i, outcome in backend.evaluate(configs)}
    return {**outcomes, **_timed(backend, [t for t in tactics if isinstance(outcomes[t], Timing)])}


def _timed(backend: Backend, tactics: Sequence[Tactic]) -> dict[Tactic, Outcome]:
    """Time tactics against each other."""
    return dict(zip(tactics, backend.confirm([t.config for t in tactics]), strict=True)) if tactics else {}
