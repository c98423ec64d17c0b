"""Which problem a plugin is asked to solve, read from the tensors TensorRT shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from tuner.errors import ConfigError
from tuner.kernel.arith import Int
from tuner.kernel.kernel import Attribute, Kernel
from tuner.kernel.problem import Problem, Range
from tuner.kernel.tensor import Tensor
from tuner.qdp.dtypes import from_tensorrt
from tuner.qdp.symbolic import Symbolic

if TYPE_CHECKING:
    import tensorrt.plugin as trtp

T = TypeVar("T")


def problem_of(kernel: Kernel, inputs: Sequence[trtp.TensorDesc], attributes: Mapping[str, Attribute]) -> Problem:
    """The problem that these input tensors pose.

    Args:
        kernel: the operator.
        inputs: its inputs in order, with shapes; a dynamic dimension carries (min, opt, max).
        attributes: values of some attributes; the declared defaults for the others.

    Raises:
        ConfigError: for a rank, an extent or a data type that the kernel does not take.
    """
    dims: dict[str, tuple[Range, ...]] = {}
    seen: dict[str, str] = {}
    for (name, tensor), desc in zip(kernel.inputs.items(), inputs, strict=True):
        for dim, ranges in _parts(kernel, name, tensor, _ranges(desc)):
            if dim.isdigit():
                if ranges != (Range(int(dim), int(dim), int(dim)),):
                    raise ConfigError(f"{kernel.id}: input {name!r} needs {tensor.shape!r}, not {_shape(desc)}")
            elif dims.setdefault(dim, ranges) != ranges:
                a, b = ("x".join(map(str, r)) for r in (dims[dim], ranges))
                raise ConfigError(f"{kernel.id}: {dim} is {a} in input {seen[dim]!r} and {b} in input {name!r}")
            else:
                seen.setdefault(dim, name)
    return Problem.of(kernel, dims, dtypes_of(kernel, inputs), attributes)


def dtypes_of(kernel: Kernel, inputs: Sequence[trtp.TensorDesc]) -> dict[str, str]:
    """The data type that each dtype variable stands for.

    Raises:
        ConfigError: when the inputs disagree, or have types that the kernel does not take.
    """
    dtypes: dict[str, str] = {}
    for (name, tensor), desc in zip(kernel.inputs.items(), inputs, strict=True):
        try:
            found = from_tensorrt(desc.dtype)
        except ConfigError as e:
            raise ConfigError(f"{kernel.id}: input {name!r}: {e}") from None
        supported = kernel.dtypes.get(tensor.dtype, (tensor.dtype,))
        if found not in supported:
            raise ConfigError(f"{kernel.id}: input {name!r} is {found}; it takes {', '.join(supported)}")
        if tensor.dtype in kernel.dtypes and dtypes.setdefault(tensor.dtype, found) != found:
            raise ConfigError(
                f"{kernel.id}: input {name!r} is {found}; an earlier input of the same type is {dtypes[tensor.dtype]}"
            )
    return dtypes


def extents(kernel: Kernel, inputs: Sequence[trtp.TensorDesc]) -> dict[str, tuple[trtp.ShapeExpr, ...]]:
    """The expressions of each dimension's extents: one, or for a variadic dimension any number."""
    found: dict[str, tuple[trtp.ShapeExpr, ...]] = {}
    for (name, tensor), desc in zip(kernel.inputs.items(), inputs, strict=True):
        for dim, exprs in _parts(kernel, name, tensor, tuple(desc.shape_expr)):
            found.setdefault(dim, exprs)
    return found


def sizes(problem: Problem, inputs: Sequence[trtp.TensorDesc]) -> dict[str, Int]:
    """Each dimension's number of elements: an int where it is fixed, else TensorRT's expression."""
    exprs = extents(problem.kernel, inputs)
    known: dict[str, Int] = dict(problem.sizes())
    for dim, ranges in problem.dims.items():
        if not all(r.fixed for r in ranges):
            product, *others = map(Symbolic, exprs[dim])
            for other in others:
                product = product * other  # type: ignore[assignment]
            known[dim] = product
    return known


def _parts(kernel: Kernel, name: str, tensor: Tensor, extents: tuple[T, ...]) -> list[tuple[str, tuple[T, ...]]]:
    """A tensor's dimensions by name, or by number where the extent is declared, each with its extents."""
    dims = tensor.dims
    variadic = len(dims) > 0 and dims[0].startswith("*")
    leading = len(extents) - len(dims) + 1 if variadic else 0
    if leading < 0 or (not variadic and len(extents) != len(dims)):
        raise ConfigError(f"{kernel.id}: input {name!r} has rank {len(extents)}; its shape is {tensor.shape!r}")
    parts: list[tuple[str, tuple[T, ...]]] = [(dims[0][1:], extents[:leading])] if variadic else []
    rest = dims[1:] if variadic else dims
    return parts + [(dim, extents[i : i + 1]) for i, dim in enumerate(rest, leading)]


def _ranges(desc: trtp.TensorDesc) -> tuple[Range, ...]:
    shape = desc.shape
    if not shape.is_dynamic:
        return tuple(Range(d, d, d) for d in shape)
    return tuple(Range(*extents) for extents in zip(shape.min, shape.opt, shape.max, strict=True))


def _shape(desc: trtp.TensorDesc) -> str:
    return f"({', '.join(map(str, desc.shape))})"
