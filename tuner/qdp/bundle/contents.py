"""What a bundle holds of one problem on one device."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from tuner.compile.artifact import Artifact, Code
from tuner.compile.compiler import Compiles
from tuner.compile.steps import compiled_steps
from tuner.errors import ConfigError, NoValidTacticError
from tuner.frontends.base import NOTHING
from tuner.gpu.catalog import is_portable
from tuner.kernel.arith import Int
from tuner.kernel.kernel import Attribute, Kernel
from tuner.kernel.parts import StepProblem
from tuner.kernel.problem import Problem
from tuner.kernel.tensor import Tensor
from tuner.outcome import Failure
from tuner.qdp.bundle.manifest import BundledKernel, BundledProblem, BundledTactic, BundledTensor, BundledTimes
from tuner.qdp.bundle.recorded import Term, WrittenExpr, extent_terms, formula_term, term_of
from tuner.qdp.dtypes import member
from tuner.qdp.tables import is_fixed, table, tables
from tuner.search.tactic import Config, Tactic, Value
from tuner.store.entry import Entry, TimedTactic

_log = logging.getLogger("tuner.qdp")


@dataclass(frozen=True)
class Held:
    """A problem's entry in the cache with the code of the tactics it serves, one or a portfolio, and of the default.

    Where the default was not found correct or does not compile, the first of those that are served stands in for it.
    So it does for an operator of several launches, whose layers are given one tactic.
    """

    problem: Problem
    entry: Entry
    tactics: tuple[tuple[TimedTactic, Code], ...]
    default: tuple[Tactic, TimedTactic | None, Code]

    @property
    def code(self) -> list[tuple[StepProblem, Artifact]]:
        """What each launch of each tactic compiled to, those of the default among them."""
        tactic, _, code = self.default
        served = [*((Tactic(t.config), c) for t, c in self.tactics), (tactic, code)]
        return [
            (step, artifact)
            for tactic, code in served
            for step, artifact in zip(self.problem.steps(tactic.config), code.steps, strict=True)
        ]


def served_tactics(problem: Problem, entry: Entry) -> tuple[TimedTactic, ...]:
    """What a bundle serves of an entry: a portfolio or the winner; for an operator of several launches, the winner."""
    return (entry.winner,) if problem.kernel.parts else entry.portfolio or (entry.winner,)


def configs_of(problem: Problem, entry: Entry) -> list[Config]:
    """The configurations of what an entry serves, and of the default."""
    default = [] if problem.kernel.parts else [problem.kernel.default]
    return [*(t.config for t in served_tactics(problem, entry)), *default]


def hold(problem: Problem, entry: Entry, compiler: Compiles) -> Held:
    """Compile what an entry records. A default that is unfit to be served is left out with a warning.

    Raises:
        NoValidTacticError: when a tactic that is served does not compile.
    """
    codes = []
    for timed in served_tactics(problem, entry):
        result = compiled_steps(compiler, problem, timed.config)
        if isinstance(result, Failure):
            why = result.headline
            raise NoValidTacticError(f"{problem}: ({Tactic(timed.config)}) does not compile: {why}")
        codes.append((timed, result))
    first, code = codes[0]
    if problem.kernel.parts:
        return Held(problem, entry, tuple(codes), (Tactic(first.config), first, code))
    default = problem.kernel.default_tactic
    result = compiled_steps(compiler, problem, default.config)
    doubt = _doubt(entry, default)
    if not isinstance(result, Failure) and not doubt:
        return Held(problem, entry, tuple(codes), (default, entry.default, result))
    unfit = f"does not compile for {entry.device}: {result.headline}" if isinstance(result, Failure) else doubt
    _log.warning(
        f"{problem}: leaving out the default ({default}), which {unfit}; ({Tactic(first.config)}) stands in for it"
    )
    return Held(problem, entry, tuple(codes), (Tactic(first.config), first, code))


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
    """Describe an operator of one launch and its problems for the manifest.

    Raises:
        ConfigError: when a word that no network can choose differs between the problems.
    """
    return describe(kernel, [h.problem for h in held], [_bundled_problem(h) for h in held])


def describe(
    kernel: Kernel,
    problems: Sequence[Problem],
    bundled: Sequence[BundledProblem],
    params: Mapping[str, Value] = NOTHING,
) -> BundledKernel:
    """Describe what is behind one plugin.

    Args:
        kernel: an ordinary kernel of one launch.
        problems: its problems.
        bundled: the same for the manifest.
        params: tuned parameters that are attributes of the plugin, with some value.

    Raises:
        ConfigError: when a word that no network can choose differs between the problems.
    """
    require_served(kernel, problems)
    return BundledKernel(
        inputs=tensors_of(kernel, kernel.inputs),
        outputs=tensors_of(kernel, kernel.outputs),
        attributes={**plain(kernel, kernel.attributes), **params},
        problems=tuple(bundled),
        solutions=solutions_of(kernel),
        tables=words_of(kernel) | {n: words for n in params if (words := table(kernel, n))},
    )


def require_served(kernel: Kernel, problems: Sequence[Problem]) -> None:
    """Refuse problems that differ in what no network can choose.

    Raises:
        ConfigError: when they do.
    """
    for name in kernel.attributes:
        values = {str(problem.attributes[name]): problem for problem in problems}
        if is_fixed(kernel, name) and len(values) > 1:
            raise ConfigError(
                f"{kernel.id}: {name} is {' and '.join(values)} in problems of one bundle, between which a network "
                f"could not choose; export them apart, or declare it as Word{tuple(values)!r}"
            )


def tensors_of(kernel: Kernel, group: Mapping[str, Tensor]) -> dict[str, BundledTensor]:
    """A kernel's inputs or outputs."""
    return {
        name: BundledTensor(
            t.dtype if t.dtype in kernel.dtypes else member(t.dtype),
            t.shape,
            extent_terms(t),
            kernel.aliases.get(name, "") if group is kernel.outputs else "",
            t.scratch,
        )
        for name, t in group.items()
    }


def solutions_of(kernel: Kernel) -> tuple[tuple[str, str, int, Term], ...]:
    """How the dimensions follow from the inputs."""
    return tuple((s.dim, s.tensor, s.axis, formula_term(s.formula)) for s in kernel.solutions)


def words_of(kernel: Kernel) -> dict[str, tuple[str, ...]]:
    """The tables of words of its attributes, and of the data types that a network chooses."""
    types = kernel.chosen_dtypes
    return {n: tuple(map(member, t)) if n in types else t for n, t in tables(kernel).items()}


def plain(kernel: Kernel, attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """The attributes that the plugin has, as plain data."""
    return {n: str(v) if isinstance(v, str) else v for n, v in attributes.items() if not is_fixed(kernel, n)}


def types_of(problem: Problem) -> dict[str, str]:
    """TensorRT's data type behind each name that tensors of a problem use."""
    tensors = (*problem.kernel.inputs.values(), *problem.kernel.outputs.values())
    return {t.dtype if t.dtype in problem.dtypes else member(t.dtype): member(problem.dtype(t)) for t in tensors}


def dims_of(problem: Problem) -> dict[str, tuple[int, int, int]]:
    """Each dimension's smallest and largest size, and what the code may take as dividing it."""
    return {
        dim: (prod(r.min for r in ranges), prod(r.max for r in ranges), prod(r.opt for r in ranges if r.fixed))
        for dim, ranges in problem.dims.items()
    }


def times_of(entry: Entry) -> BundledTimes:
    """Where the times of an entry come from."""
    return BundledTimes(entry.kind, entry.backend, entry.date.isoformat())


def _bundled_problem(held: Held) -> BundledProblem:
    problem, entry = held.problem, held.entry
    default, timed, code = held.default
    return BundledProblem(
        problem=problem.label,
        device=entry.device,
        capability=entry.capability,
        portable=all(is_portable(artifact.target) for _, artifact in held.code),
        types=types_of(problem),
        attributes=plain(problem.kernel, problem.attributes),
        dims=dims_of(problem),
        tactics=tuple(bundled_tactic(problem, Tactic(t.config), c.steps[0], t) for t, c in held.tactics),
        default=bundled_tactic(problem, default, code.steps[0], timed),
        times=times_of(entry),
        verified=entry.verified,
        environment=entry.environment,
        compiler=code.compilers,
        source=entry.source,
        data=entry.problem,
    )


def file_name(problem: Problem, tactic: Tactic, artifact: Artifact) -> str:
    """Where the bundle keeps a tactic's PTX. Problems that differ in it have other names."""
    digest = hashlib.sha256(artifact.ptx.encode()).hexdigest()[:8]
    return f"ptx/{problem.kernel.name}-{tactic.id}-{artifact.target}-{digest}.ptx"


def bundled_tactic(problem: Problem, tactic: Tactic, artifact: Artifact, timed: TimedTactic | None) -> BundledTactic:
    """A tactic of one launch with all that is needed to launch it."""
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
