"""At which sizes to look for a wrong result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isqrt, lcm, prod

from tuner.errors import ConfigError
from tuner.gate.drawing import impossible
from tuner.gate.inputs import tensors_of
from tuner.kernel.problem import WHICH, Extent, Problem, Range, Which
from tuner.kernel.problem_data import data_of
from tuner.kernel.values import ValueRule
from tuner.search.tactic import Config

Extents = tuple[Extent, ...]

MAX_ELEMENTS = 1 << 20
"""Elements in all tensors of an instance. Half as many take a softmax 0.05 to 0.1 s on the interpreter."""

_FEW = 64
"""Programs of an instance at a size of the problem's own."""

_UNTILED = 3
"""The step assumed of a dimension without a tile. Odd, so that nothing divides by accident."""


def instances(problem: Problem, config: Config) -> list[Problem]:
    """Small fixed sizes that reach every masked edge of a tactic, smallest first.

    A dimension with tile T is taken at 1, T // 2 + 1, T, 2 T and 2 T + 1: all dimensions in step, and
    each at 2 T + 1 while the others fit their tiles exactly. At 2 T a variadic dimension has two
    tensor dimensions. A dimension of `whole_tiles` is taken at the next multiples of what divides it. Sizes outside
    the problem's range are taken too; data types
    and attributes are the problem's, and so is a fixed dimension that the source takes as a constant.
    Of a problem whose dimensions vary, the `device_instances` are taken as well.

    Where the tactic is illegal at such sizes, the next multiples of 16 are taken: rows may have to be aligned.
    Illegal are also sizes at which a computed extent has no elements, or nothing follows the rule of an input's values.
    Left out are sizes at which it is illegal even so and those above `MAX_ELEMENTS`. If that leaves
    none, the problem itself is taken where it is that small. May be empty.
    """
    steps = {d: _Steps.of(problem, d, config) for d in problem.kernel.dims}
    cases: list[dict[str, Extents]] = [
        {d: s.one for d, s in steps.items()},
        {d: s.below for d, s in steps.items()},
        {d: s.exact for d, s in steps.items()},
        *({d: s.above if d == ragged else s.exact for d, s in steps.items()} for ragged in steps),
        {d: s.above for d, s in steps.items()},
        {d: s.several for d, s in steps.items()},
    ]
    within = _within(problem) if problem.dynamic else []
    aligned = [{d: _next_multiples(e, lcm(16, steps[d].unit)) for d, e in case.items()} for case in cases]
    legal = [_fit(problem, [c], config) or _fit(problem, [a], config) for c, a in zip(cases, aligned, strict=True)]
    found = list({data_of(p).key: p for p in [*chain(*legal), *_fit(problem, within, config)]}.values())
    found = found or _legal(problem, [_at(problem, "opt")], config)
    return sorted((p for p in found if elements(p) <= MAX_ELEMENTS), key=elements)


def own_sizes(problem: Problem, config: Config, small: Sequence[Problem]) -> list[Problem]:
    """Each dimension without a tile at the problem's own size while the others are small, where few programs do.

    A constant, a loop or a workspace may follow from such a size, and shows its edges at no small one.
    Left out are those above `MAX_ELEMENTS` and those of `small`, what `instances` returned; where that is nothing,
    nothing is returned.
    """
    if not small:
        return []
    steps = {d: _Steps.of(problem, d, config) for d in problem.kernel.dims}
    below, own = {d: s.below for d, s in steps.items()}, _at(problem, "opt")
    tiles = problem.kernel.resolve(config)[0].tiles
    known = {data_of(p).key for p in small}
    found = _fit(problem, [{**below, d: own[d]} for d in steps if d not in tiles], config)
    return [
        p for p in found if data_of(p).key not in known and elements(p) <= MAX_ELEMENTS and programs(p, config) <= _FEW
    ]


def programs(problem: Problem, config: Config) -> int:
    """How many programs all launches of a tactic have."""
    return sum(prod(step.problem.programs(step.config)) for step in problem.steps(config))


def device_instances(problem: Problem, config: Config) -> list[Problem]:
    """Fixed sizes within the problem's range, for compiled code, which may rely on that range.

    The problem's smallest, usual and largest sizes, those it is timed at and, where dimensions vary,
    awkward ones between: in each range an odd size near the middle, one just above a power of two
    near the geometric mean, and the largest odd one, all dimensions in step; and where several vary,
    each at its smallest size while the others are at their largest. Only sizes at which the tactic is legal.
    """
    return _fit(problem, _within(problem), config)


@dataclass(frozen=True)
class _Steps:
    """The extents at which one dimension is looked at, all of them multiples of `unit`."""

    unit: int
    one: Extents
    below: Extents
    exact: Extents
    above: Extents
    several: Extents

    @classmethod
    def of(cls, problem: Problem, dim: str, config: Config) -> _Steps:
        ranges, (kernel, own) = problem.dims[dim], problem.kernel.resolve(config)
        if dim in kernel.constant_names and all(r.fixed for r in ranges):
            return cls(1, ranges, ranges, ranges, ranges, ranges)
        chosen = kernel.space.complete(own)
        unit = kernel.units[dim].number({**problem.attributes, **chosen}) if dim in kernel.units else 1
        unit = max(unit, 1)  # what is no multiple of anything is refused by the constraint
        tile = int(chosen[kernel.tiles[dim]]) if dim in kernel.tiles else unit if unit > 1 else _UNTILED
        one, below, exact, above = ((-(-n // unit) * unit,) for n in (1, tile // 2 + 1, tile, 2 * tile + 1))
        several = (2, *exact) if dim in kernel.variadic_dims else (2 * exact[0],)
        return cls(unit, one, below, exact, above, several)


def _legal(problem: Problem, cases: Sequence[Mapping[str, Extents]], config: Config) -> list[Problem]:
    """The problem at each of these extents where the tactic is legal, every one once."""
    found: dict[tuple[str, ...], Problem] = {}
    for extents in cases:
        dims = {d: e if len(e) > 1 else e[0] for d, e in extents.items()}
        try:
            instance = Problem.of(problem.kernel, dims, problem.dtypes, problem.attributes)
        except ConfigError:  # a computed extent has no elements
            continue
        if config in instance.space:
            found.setdefault(data_of(instance).key, instance)
    return list(found.values())


def _fit(problem: Problem, cases: Sequence[Mapping[str, Extents]], config: Config) -> list[Problem]:
    """The same, but for sizes at which no values follow the rules of the inputs."""
    return [instance for instance in _legal(problem, cases, config) if _drawable(instance)]


def _drawable(problem: Problem) -> bool:
    """Whether there are values that follow the rules of all inputs at these sizes."""
    rules = [(t.drawn, problem.shape(t)) for t in problem.kernel.inputs.values() if isinstance(t.drawn, ValueRule)]
    return not any(impossible(rule, rule.evaluate(problem.scope()), shape) for rule, shape in rules)


def _next_multiples(extents: Extents, of: int) -> Extents:
    """The next multiples; what is fixed because it is compiled in stays."""
    return tuple(-(-e // of) * of if isinstance(e, int) else e for e in extents)


def _at(problem: Problem, which: Which) -> dict[str, Extents]:
    return _each(problem, lambda extent: extent.at(which))


def _each(problem: Problem, place: Callable[[Range], int]) -> dict[str, Extents]:
    return {d: tuple(map(place, ranges)) for d, ranges in problem.dims.items()}


def _within(problem: Problem) -> list[dict[str, Extents]]:
    """Extents within the range, where code that relies on too much goes wrong."""
    low, high = _at(problem, "min"), _at(problem, "max")
    varying = [d for d, ranges in problem.dims.items() if not all(r.fixed for r in ranges)]
    return [
        low,
        *(_each(problem, place) for place in (_above_a_power, _odd, _last_odd)),
        *({**high, d: low[d]} for d in varying if len(varying) > 1),
        _at(problem, "opt"),
        *(_at(shape, "opt") for shape, _ in problem.shares),
        high,
    ]


def _odd(extent: Range) -> int:
    return extent.opt if extent.fixed else max(extent.min, (extent.min + extent.max) // 2 - 1 | 1)


def _above_a_power(extent: Range) -> int:
    size = (1 << isqrt(extent.min * extent.max).bit_length() - 1) + 1
    return extent.opt if extent.fixed else max(extent.min, min(size, extent.max))


def _last_odd(extent: Range) -> int:
    return extent.opt if extent.fixed else max(extent.min, extent.max - 2 | 1)


def elements(problem: Problem) -> int:
    return sum(prod(problem.shape(t)) for t in tensors_of(problem).values() if not t.scratch)


def sizes_note(problem: Problem, instance: Problem) -> str:
    """What to add to a fault at sizes that are not the problem's own: who chose them, and how to narrow them.

    Begins with a semicolon; "" where the problem itself has these sizes.
    """
    own = (*(problem.sizes(which) for which in WHICH), *(shape.sizes() for shape, _ in problem.shares))
    if instance.sizes() in own:
        return ""
    has = problem.label
    low, high = problem.sizes("min"), problem.sizes("max")
    if all(low[d] <= size <= high[d] for d, size in instance.sizes().items()):
        return f"; the gate chose these sizes itself, within those of the problem, which has {has}"
    kernel = problem.kernel
    dim = next(iter(kernel.tiles), kernel.dims[-1])
    return (
        f"; the gate chose these sizes itself, to reach every edge of a tile; the problem has {has}: where the kernel "
        f"is for certain sizes only, whole_tiles, an extent such as cdiv({dim}, 128), values= or a "
        f"Constraint such as {dim} % {kernel.tiles.get(dim, 16)} == 0 says which, and the gate then takes only such"
    )
