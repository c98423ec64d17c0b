"""``manifest.json`` of a bundle: which tactics it serves, how they are launched, and where their times come from.

`serving.py`, which a bundle holds a copy of, reads it as plain JSON, since it runs where this package is not installed.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from tuner.kernel.kernel import Attribute
from tuner.kernel.problem_data import ProblemData
from tuner.outcome import Kind
from tuner.qdp.bundle.recorded import Term
from tuner.search.tactic import Value

MANIFEST = "manifest.json"
FORMAT: Literal["qdp-tuner bundle"] = "qdp-tuner bundle"
VERSION: Literal[1] = 1


class BundledTensor(Struct, frozen=True):
    """A tensor.

    Attributes:
        dtype: a dtype variable or TensorRT's name of a data type.
        alias: of an output, the input in whose place it lies; "" for memory of its own.
        scratch: whether it is memory that nobody reads afterwards.
        shape: as the kernel declares it, for people.
        extents: the shape as terms of dimensions and attributes, a first one of any number of dimensions as ``*name``;
            none in an older bundle.
    """

    dtype: str
    shape: str
    extents: tuple[Term, ...] = ()
    alias: str = ""
    scratch: bool = False


class BundledTactic(Struct, frozen=True):
    """A tactic with its time and all that is needed to launch it.

    Attributes:
        id, config: the tactic.
        time_us, statistic: microseconds per launch, and what that is of the samples; None for a default that failed,
            and for a step of an operator, which is timed as a whole.
        entry: the name of the kernel in the PTX.
        ptx: the file in the bundle.
        ptx_version, target: what the PTX says it is for.
        grid, args: blocks along x, y and z, and the extra integers, as terms of the dimensions.
        block: threads along x, y and z.
        shared_bytes: dynamic shared memory.
    """

    id: int
    config: dict[str, Value]
    time_us: float | None
    statistic: str | None
    entry: str
    ptx: str
    ptx_version: tuple[int, int]
    target: str
    grid: tuple[Term, ...]
    block: tuple[int, int, int]
    shared_bytes: int
    args: tuple[Term, ...]


class BundledTimes(Struct, frozen=True):
    """Where the times of a problem come from, and when they were recorded, in ISO 8601."""

    kind: Kind
    backend: str
    date: str


class BundledProblem(Struct, frozen=True):
    """One problem on one device.

    Attributes:
        problem: its label, for people.
        device, capability: the GPU it was tuned for.
        portable: whether its code also runs on GPUs of a higher compute capability.
        types: TensorRT's data type behind each name that tensors use.
        attributes: each attribute's value.
        dims: each dimension's smallest and largest number of elements, and what the code may take as dividing it.
        tactics: what is offered, the winner first.
        default: the kernel's default.
        times, verified, environment, compiler: where the times and the code come from.
        source: the hash of the kernel's source.
        data: the problem; None in an older bundle, and for a step of an operator.
    """

    problem: str
    device: str
    capability: tuple[int, int] | None
    portable: bool
    types: dict[str, str]
    attributes: dict[str, Attribute]
    dims: dict[str, tuple[int, int, int]]
    tactics: tuple[BundledTactic, ...]
    default: BundledTactic
    times: BundledTimes
    verified: str
    environment: dict[str, str]
    compiler: str
    source: str
    data: ProblemData | None = None


class BundledKernel(Struct, frozen=True):
    """A kernel: its tensors, attributes and problems.

    Attributes:
        inputs, outputs: the tensors.
        attributes: each attribute's default.
        problems: what is served.
        solutions: how dimensions follow from the inputs, one after the other: the dimension, an input, the extent's
            place counted from the last, which is -1, and a term in which the extent is called "".
        tables: of each attribute that is a position, what the positions mean: words, or TensorRT's data types where
            the name is a dtype variable's.
    """

    inputs: dict[str, BundledTensor]
    outputs: dict[str, BundledTensor]
    attributes: dict[str, Attribute]
    problems: tuple[BundledProblem, ...] = ()
    solutions: tuple[tuple[str, str, int, Term], ...] = ()
    tables: dict[str, tuple[str, ...]] = {}


class BundledStep(Struct, frozen=True):
    """A layer of an operator of several launches: its plugin, and the operator's tensors that it takes and makes."""

    plugin: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class BundledChoice(Struct, frozen=True):
    """What the layers of an operator are given for one problem on one device.

    Attributes:
        problem, device, capability, portable, types, attributes, dims, times, verified, environment, compiler, source,
            data: as for `BundledProblem`.
        shapes: the smallest and the largest extents of each input.
        config: the tactic.
        steps: the attributes of each layer.
        time_us, statistic: as for `BundledTactic`, of the whole.
    """

    problem: str
    device: str
    capability: tuple[int, int] | None
    portable: bool
    types: dict[str, str]
    attributes: dict[str, Attribute]
    dims: dict[str, tuple[int, int, int]]
    shapes: dict[str, tuple[tuple[int, int], ...]]
    config: dict[str, Value]
    steps: tuple[dict[str, Attribute], ...]
    time_us: float | None
    statistic: str | None
    times: BundledTimes
    verified: str
    environment: dict[str, str]
    compiler: str
    source: str
    data: ProblemData | None = None


class BundledChain(Struct, frozen=True):
    """An operator of several launches.

    Attributes:
        inputs, outputs, attributes, solutions, tables: as for `BundledKernel`.
        steps: its layers, in order.
        problems: what they are given.
    """

    inputs: dict[str, BundledTensor]
    outputs: dict[str, BundledTensor]
    attributes: dict[str, Attribute]
    steps: tuple[BundledStep, ...]
    problems: tuple[BundledChoice, ...] = ()
    solutions: tuple[tuple[str, str, int, Term], ...] = ()
    tables: dict[str, tuple[str, ...]] = {}


class Manifest(Struct, frozen=True, kw_only=True):
    """The content of the file.

    Attributes:
        kernels: what is behind each plugin, by its id.
        files: the SHA-256 of every other file by its name.
        chains: the operators of several launches, each launch of which is one of the plugins.
    """

    format: Literal["qdp-tuner bundle"] = FORMAT
    version: Literal[1] = VERSION
    made_by: str
    kernels: dict[str, BundledKernel]
    files: dict[str, str]
    chains: dict[str, BundledChain] = {}
