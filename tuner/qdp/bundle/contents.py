"""What a bundle holds of one problem on one device."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from tuner.compile.artifact import Artifact
from tuner.compile.compiler import Compiles
from tuner.errors import ConfigError, NoValidTacticError
from tuner.gpu.catalog import is_portable
from tuner.kernel.arith import Int
from tuner.kernel.kernel import Attribute, Kernel
from tuner.kernel.problem import Problem
from tuner.kernel.tensor import Tensor
from tuner.outcome import Failure
from tuner.qdp.bundle.manifest import BundledKernel, BundledProblem, BundledTactic, BundledTensor, BundledTimes
from tuner.qdp.bundle.recorded import WrittenExpr, extent_terms, formula_term, term_of
from tuner.qdp.dtypes import member
from tuner.qdp.tables import is_fixed, tables
from tuner.search.tactic import Config, Tactic
from tuner.store.entry import Entry, TimedTactic

_log = logging.getLogger("tuner.qdp")


@dataclass(frozen=True)
class Held:
    """A problem's entry in the cache with the code of the tactics it serves, one or a portfolio, and of the default.

    Where the default was not found correct or does not compile, the first of those that are served stands in for it.
    """

    problem: Problem
    entry: Entry
    tactics: tuple[tuple[TimedTactic, Artifact], ...]
    default: tuple[Tactic, TimedTactic | None, Artifact]

    @property
    def code(self) -> list[tuple[Tactic, Artifact]]:
        """What each tactic compiled to, the default among them."""
        served = [(Tactic(t.config), artifact) for t, artifact in self.tactics]
        tactic, _, artifact = self.default
        return [*served, (tactic, artifact)]


def configs_of(problem: Problem, entry: Entry) -> list[Config]:
    """The configurations of what an entry serves, and of the default."""
    return [*(t.config for t in entry.portfolio or (entry.winner,)), problem.kernel.default]


def hold(problem: Problem, entry: Entry, compiler: Compiles) -> Held:
    """Compile what an entry records. A default that is unfit to be served is left out with a warning.

    Raises:
        NoValidTacticError: when a tactic that is served does not compile.
    """
    codes = []
    for timed in entry.portfolio or (entry.winner,):
        result = compiler.submit(problem, timed.config).result()
        if isinstance(result, Failure):
            why = result.headline
            raise NoValidTacticError(f"{problem}: ({Tactic(timed.config)}) does not compile: {why}")
        codes.append((timed, result))
    default = problem.kernel.default_tactic
    result = compiler.submit(problem, default.config).result()
    doubt = _doubt(entry, default)
    if not isinstance(result, Failure) and not doubt:
        return Held(problem, entry, tuple(codes), (default, entry.default, result))
    unfit = f"does not compile for {entry.device}: {result.headline}" if isinstance(result, Failure) else doubt
    first, artifact = codes[0]
    _log.warning(
        f"{problem}: leaving out the default ({default}), which {unfit}; ({Tactic(first.config)}) stands in for it"
    )
    return Held(problem, entry, tuple(codes), (Tactic(first.config), first, artifact))


def _doubt(entry: Entry, default: Tactic) -> str:
    """Why an entry's verdict does not hold for the default of today. "" where it does."""
    if default.id in {t.id for t in (entry.winner, *entry.portfolio)}:
        return ""
    if entry.default is None:
        return "failed when it was tuned"
    if entry.default.id != default.id:
        return "was not the default when it was tuned: tune again"
    # Of a portfolio, only the code of what it offers is recorded.
    if entry.evidence is not None and not entry.portfolio and str(default.id) not in entry.evidence.ptx:
        return "nothing has found correct"
    return ""


def bundled_kernel(kernel: Kernel, held: Sequence[Held]) -> BundledKernel:
    """Describe a kernel and its problems for the manifest.

    Raises:
        ConfigError: when a word that no network can choose differs between the problems.
    """
    for name in kernel.attributes:
        values = {str(h.problem.attributes[name]): h.problem for h in held}
        if is_fixed(kernel, name) and len(values) > 1:
            raise ConfigError(
                f"{kernel.id}: {name} is {' and '.join(values)} in problems of one bundle, between which a network "
                f"could not choose; export them apart, or declare it as Word{tuple(values)!r}"
            )
    types = kernel.chosen_dtypes
    words = {n: tuple(map(member, t)) if n in types else t for n, t in tables(kernel).items()}

    def tensors(group: Mapping[str, Tensor]) -> dict[str, BundledTensor]:
        return {
            name: BundledTensor(t.dtype if t.dtype in kernel.dtypes else member(t.dtype), t.shape, extent_terms(t))
            for name, t in group.items()
        }

    return BundledKernel(
        inputs=tensors(kernel.inputs),
        outputs=tensors(kernel.outputs),
        attributes=_plain(kernel, kernel.attributes),
        problems=tuple(map(_bundled_problem, held)),
        solutions=tuple((s.dim, s.tensor, s.axis, formula_term(s.formula)) for s in kernel.solutions),
        tables=words,
    )


def _plain(kernel: Kernel, attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """The attributes that the plugin has, as plain data."""
    return {n: str(v) if isinstance(v, str) else v for n, v in attributes.items() if not is_fixed(kernel, n)}


def _bundled_problem(held: Held) -> BundledProblem:
    problem, entry = held.problem, held.entry
    default, timed, code = held.default
    tensors = (*problem.kernel.inputs.values(), *problem.kernel.outputs.values())
    return BundledProblem(
        problem=problem.label,
        device=entry.device,
        capability=entry.capability,
        portable=all(is_portable(artifact.target) for _, artifact in held.code),
        types={t.dtype if t.dtype in problem.dtypes else member(t.dtype): member(problem.dtype(t)) for t in tensors},
        attributes=_plain(problem.kernel, problem.attributes),
        dims={dim: _extent(problem, dim) for dim in problem.dims},
        tactics=tuple(_bundled_tactic(problem, Tactic(t.config), artifact, t) for t, artifact in held.tactics),
        default=_bundled_tactic(problem, default, code, timed),
        times=BundledTimes(entry.kind, entry.backend, entry.date.isoformat()),
        verified=entry.verified,
        environment=entry.environment,
        compiler=code.compiler,
        source=entry.source,
        data=entry.problem,
    )


def file_name(problem: Problem, tactic: Tactic, artifact: Artifact) -> str:
    """Where the bundle keeps a tactic's PTX. Problems that differ in it have other names."""
    digest = hashlib.sha256(artifact.ptx.encode()).hexdigest()[:8]
    return f"ptx/{problem.kernel.name}-{tactic.id}-{artifact.target}-{digest}.ptx"


def _extent(problem: Problem, dim: str) -> tuple[int, int, int]:
    """Smallest and largest size, and what the code may take as dividing it."""
    ranges = problem.dims[dim]
    return prod(r.min for r in ranges), prod(r.max for r in ranges), prod(r.opt for r in ranges if r.fixed)


def _bundled_tactic(problem: Problem, tactic: Tactic, artifact: Artifact, timed: TimedTactic | None) -> BundledTactic:
    sizes: dict[str, Int] = {
        dim: prod(r.opt for r in ranges) if all(r.fixed for r in ranges) else WrittenExpr(dim)
        for dim, ranges in problem.dims.items()
    }
    launch = problem.evaluate(tactic.config, sizes)
    return BundledTactic(
        id=tactic.id,
        config=dict(tactic.config),
        time_us=None if timed is None else timed.time_us,
        statistic=None if timed is None else timed.statistic,
        entry=artifact.entry,
        ptx=file_name(problem, tactic, artifact),
        ptx_version=artifact.ptx_version,
        target=artifact.target,
        grid=tuple(map(term_of, launch.grid)),
        block=artifact.block,
        shared_bytes=artifact.shared_bytes,
        args=tuple(map(term_of, launch.args)),
    )
