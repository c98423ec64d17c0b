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
        shape: as the kernel declares it, for people.
        extents: the shape as terms of dimensions and attributes, a first one of any number of dimensions as ``*name``;
            none in an older bundle.
    """

    dtype: str
    shape: str
    extents: tuple[Term, ...] = ()


class BundledTactic(Struct, frozen=True):
    """A tactic with its time and all that is needed to launch it.

    Attributes:
        id, config: the tactic.
        time_us, statistic: microseconds per launch, and what that is of the samples; None for a default that failed.
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
        data: the problem; None in an older bundle.
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


class Manifest(Struct, frozen=True, kw_only=True):
    """The content of the file: kernels by plugin id, and the SHA-256 of every other file by its name."""

    format: Literal["qdp-tuner bundle"] = FORMAT
    version: Literal[1] = VERSION
    made_by: str
    kernels: dict[str, BundledKernel]
    files: dict[str, str]
