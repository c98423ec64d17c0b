"""What to run on the device to see that a tactic is right, and what should come out of it.

A tactic runs at full size, but the float64 reference of a full-size problem may take the host longer
than the whole search. So the reference is evaluated on a part of the problem: along every dimension
that may be cut, some positions are drawn, the first and the last few always among them. A dimension
may be cut when the reference of a cut of the inputs is the cut of the reference, as along the rows
of a softmax or both outer dimensions of a matrix product; that is tried on a small example, never
assumed. Dimensions that may not be cut are taken whole, and so are those in which positions mean more
than themselves: dimensions of a computed extent, of an input whose elements follow from each other,
such as ascending offsets, and those that a rule of values names.

Inputs repeat a random tile whose length is a prime, so that no power of two and no row length is a
period of theirs: a kernel that reads the wrong tile reads wrong values. The host computes any
element from its position and never holds a whole input, but for those whose elements follow from
each other: they are drawn and placed as they are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from tuner.backends.cuda.bench import Evidence, Input, Output, Workload
from tuner.errors import ConfigError
from tuner.frontends.dtypes import DTYPES
from tuner.gate.inputs import Array, draw_input, draw_part, generator, poison, separate
from tuner.gate.instances import device_instances, sizes_note
from tuner.gate.judge import compare, expected
from tuner.kernel.kernel import Kernel
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import data_of
from tuner.kernel.tensor import Tensor
from tuner.kernel.values import ValueRule
from tuner.search.tactic import Config

TILE_ELEMENTS = 1_048_573
"""The largest prime below 2**20."""

INPUT_ELEMENTS = 1 << 20
"""Most elements of an input that the reference sees, where dimensions may be cut."""

OUTPUT_ELEMENTS = 1 << 17
"""Most elements of an output that are compared, likewise. Comparing these takes the host some milliseconds."""

REFERENCE_FLOPS = 2e10
"""Most operations of a reference, where dimensions may be cut: some seconds in numpy when it is no matrix product.
Attention over all heads of a model would take longer than the search."""

_EDGE = 4
"""Positions at both ends of a dimension that are always drawn."""

_MIN_POSITIONS = 4 * _EDGE


@dataclass(frozen=True, eq=False)
class Case:
    """A problem at one size, on the device and on the host.

    Attributes:
        problem: at fixed sizes.
        workload: its tensors as the device holds them.
        part: the problem that the reference was evaluated on.
        expected: its outputs by name.
        note: what to add to a fault, where the sizes are not those of the problem that is tuned.
    """

    problem: Problem
    workload: Workload
    part: Problem
    expected: Mapping[str, Array]
    note: str = ""

    @property
    def checked(self) -> int:
        """How many output elements are compared with the reference."""
        return sum(a.size for a in self.expected.values())

    @property
    def elements(self) -> int:
        """How many output elements there are."""
        return sum(prod(self.problem.shape(t)) for t in self.problem.kernel.results.values())


def make_case(problem: Problem, seed: int, rotate_bytes: int = 0) -> Case:
    """Draw inputs and positions, and evaluate the reference.

    Args:
        problem: at fixed sizes.
        seed: of the inputs and positions.
        rotate_bytes: how many bytes of tensors a timed launch should find evicted from the cache.

    Raises:
        ConfigError: when the reference cannot be evaluated, or nothing follows the rule of an input's values.
    """
    kernel = problem.kernel
    rng = generator(problem, "positions", seed)
    positions = _positions(problem, cuttable(problem), rng)
    part = problem.at({d: len(p) for d, p in positions.items()})
    inputs, cut = [], {}
    for name, tensor in kernel.inputs.items():
        dtype, shape = problem.dtype(tensor), problem.shape(tensor)
        own = generator(problem, name, seed)
        if separate(tensor):
            tile = draw_part(problem, tensor, (min(prod(shape), TILE_ELEMENTS),), own)
        else:
            tile = draw_input(problem, name, own).reshape(-1)
        inputs.append(Input(prod(shape) * DTYPES[dtype].itemsize, tile.view(np.uint8)))
        cut[name] = tile[_flat(problem, tensor, positions) % len(tile)].reshape(part.shape(tensor))
    outputs = []
    for name, tensor in kernel.outputs.items():
        dtype = problem.dtype(tensor)
        size, pattern = DTYPES[dtype].itemsize, bytes([poison(dtype)])
        samples = np.zeros(1) if tensor.scratch else _flat(problem, tensor, positions)
        alias = list(kernel.inputs).index(kernel.aliases[name]) if name in kernel.aliases else None
        unlikely = DTYPES[dtype].kind == "f" and not tensor.scratch and alias is None
        amount = prod(problem.shape(tensor)) * size
        outputs.append(Output(amount, pattern * size, unlikely, samples.astype(np.uint64), alias))
    return Case(problem, Workload(tuple(inputs), tuple(outputs), rotate_bytes), part, expected(part, cut))


class Cases:
    """The cases of one problem, each made once for all tactics. Any thread may ask."""

    def __init__(self, problem: Problem, seed: int, rotate_bytes: int) -> None:
        """Make nothing yet; `rotate_bytes` is for the sizes that are timed, see `make_case`."""
        self._problem, self._seed, self._rotate_bytes = problem, seed, rotate_bytes
        self._made: dict[tuple[tuple[str, ...], int], Case] = {}
        self._lock = threading.Lock()

    def begin(self, configs: Sequence[Config]) -> None:
        """Begin to make all cases of some tactics; a reference that fails is told to whoever asks for its case."""

        def make() -> None:
            with suppress(ConfigError):
                self.timed()
                for config in configs:
                    self.to_check(config)

        threading.Thread(target=make, daemon=True).start()

    def timed(self) -> list[tuple[Case, float]]:
        """Every size that is timed, with its share of a tactic's time."""
        return [(self._case(problem, self._seed), share) for problem, share in self._problem.shares]

    def to_check(self, config: Config) -> list[Case]:
        """Every size to check a tactic at: the usual one, and awkward ones within the range."""
        problems = {data_of(p).key: p for p in (self._problem.usual, *device_instances(self._problem, config))}
        return [self._case(p, self._seed) for p in problems.values()]

    def fresh(self) -> Case:
        """The usual size with other random inputs."""
        return self._case(self._problem.usual, self._seed + 1)

    def _case(self, problem: Problem, seed: int) -> Case:
        key = (data_of(problem).key, seed)
        with self._lock:
            if key not in self._made:
                timed = seed == self._seed and any(data_of(p).key == key[0] for p, _ in self._problem.shares)
                note = sizes_note(self._problem, problem)
                try:
                    case = make_case(problem, seed, self._rotate_bytes if timed else 0)
                except ConfigError as e:
                    raise ConfigError(f"{e}{note}") from e
                self._made[key] = replace(case, note=note)
            return self._made[key]


def judge(case: Case, evidence: Evidence) -> str | None:
    """None when everything is right, else one sentence about the first thing that is not."""
    fault = _fault(case, evidence)
    return None if fault is None else f"{fault}{case.note}"


def _fault(case: Case, evidence: Evidence) -> str | None:
    kernel, where = case.problem.kernel, f"at {case.problem.label}"
    outputs = list(kernel.outputs.items())
    for (name, _), damaged in zip(outputs, evidence.guards, strict=True):
        if damaged:
            return f"{damaged} bytes before or after output {name} were overwritten {where}"
    for name in evidence.workspace:
        return f"bytes before or after {name}, which is between two launches, were overwritten {where}"
    for i in evidence.changed:
        return f"input {list(kernel.inputs)[i]}, or memory next to it, was overwritten {where}"
    for (name, tensor), unwritten in zip(outputs, evidence.unwritten, strict=True):
        if unwritten:
            return f"{unwritten} of {prod(case.problem.shape(tensor))} elements of {name} were never written {where}"
    for (name, tensor), raw in zip(outputs, evidence.samples, strict=True):
        if tensor.scratch:
            continue
        got = np.frombuffer(raw, DTYPES[case.problem.dtype(tensor)].numpy).reshape(case.part.shape(tensor))
        fault = compare(case.part, tensor, got, case.expected[name])
        if fault:
            return f"{name} is wrong {where}: among the sampled elements {fault}"
    return None


def cuttable(problem: Problem) -> tuple[str, ...]:
    """The dimensions along which the reference of a cut is the cut of the reference, by trial."""
    kernel = problem.kernel
    fixed = [d for d in kernel.dims if d in kernel.constant_names]
    own, config = kernel.resolve(kernel.default)
    scope = {**problem.attributes, **own.space.complete(config)}
    small = {}
    for i, dim in enumerate(kernel.dims):
        unit = max(own.units[dim].number(scope), 1) if dim in own.units else 1
        small[dim] = problem.sizes()[dim] if dim in fixed else -(-(8 + 2 * i) // unit) * unit
    try:
        example = problem.at(small)
        inputs = {n: draw_input(example, n, generator(example, n, 0)) for n in kernel.inputs}
        whole = expected(example, inputs)
    except ConfigError:
        return ()  # the reference wants other sizes than these, so nothing is known
    whole_only = {*fixed, *_tied(kernel)}
    everywhere = [d for d in kernel.dims if all(d in t.names for t in kernel.results.values())]
    return tuple(d for d in everywhere if d not in whole_only and _may_cut(example, d, inputs, whole))


def _tied(kernel: Kernel) -> Iterator[str]:
    """What is named where a position means more than itself."""
    for tensor in (*kernel.inputs.values(), *kernel.results.values()):
        yield from (n for extent in tensor.extents if not extent.plain for n in extent.names)
    for tensor in kernel.inputs.values():
        yield from () if separate(tensor) else tensor.names
        yield from tensor.drawn.names if isinstance(tensor.drawn, ValueRule) else ()


def _may_cut(example: Problem, dim: str, inputs: Mapping[str, Array], whole: Mapping[str, Array]) -> bool:
    kernel, size = example.kernel, example.sizes()[dim]
    kept = [0, size // 2, size - 1]

    def cut(array: Array, tensor: Tensor) -> Array:
        for axis, extent in enumerate(tensor.extents):
            if extent.node == dim:
                array = np.take(array, kept, axis)
        return array

    try:
        part = expected(
            example.at({**example.sizes(), dim: len(kept)}), {n: cut(a, kernel.inputs[n]) for n, a in inputs.items()}
        )
    except ConfigError:
        return False
    return all(
        np.allclose(part[n], cut(whole[n], kernel.outputs[n]), rtol=1e-12, atol=1e-12, equal_nan=True) for n in whole
    )


def _positions(
    problem: Problem, cut: Sequence[str], rng: np.random.Generator
) -> dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """The positions along every dimension that the reference sees."""
    sizes = problem.sizes()
    counts = dict(sizes)
    limits = [(t, INPUT_ELEMENTS) for t in problem.kernel.inputs.values()]
    limits += [(t, OUTPUT_ELEMENTS) for t in problem.kernel.results.values()]
    while True:
        scope = {**problem.attributes, **counts}
        large = [t for t, limit in limits if prod(extent.number(scope) for extent in t.extents) > limit]
        narrowable = [n for t in large for n in t.names if n in cut and counts[n] > _MIN_POSITIONS]
        if not narrowable:
            break
        widest = max(narrowable, key=lambda n: counts[n])
        counts[widest] = max(_MIN_POSITIONS, counts[widest] // 2)
    while problem.at(counts).flops() > REFERENCE_FLOPS and any(counts[n] > 2 for n in cut):
        widest = max(cut, key=lambda n: counts[n])
        counts[widest] = max(2, counts[widest] // 2)
    return {d: _draw_positions(sizes[d], counts[d], rng) for d in sizes}


def _draw_positions(size: int, count: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    if count >= size:
        return np.arange(size)
    edge = min(_EDGE, count // 2)
    edges = [*range(edge), *range(size - edge, size)]
    return np.unique(np.concatenate([edges, rng.integers(0, size, count - len(edges))]))


def _flat(
    problem: Problem, tensor: Tensor, positions: Mapping[str, np.ndarray[tuple[int], np.dtype[np.int64]]]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The row-major positions in a tensor of everything at the given positions of its dimensions."""
    flat = np.zeros(1, np.int64)
    for formula in tensor.extents:
        extent = formula.number(problem.scope())
        along = positions.get(str(formula.node)) if formula.plain else None
        flat = (flat[:, None] * extent + (np.arange(extent) if along is None else along)[None, :]).reshape(-1)
    return flat
