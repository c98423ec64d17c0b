"""Which problem a plugin is asked to solve, read from the tensors TensorRT shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from tuner.errors import ConfigError
from tuner.kernel.arith import Int
from tuner.kernel.expressions import VALUE, Formula
from tuner.kernel.kernel import Attribute, Kernel
from tuner.kernel.problem import WHICH, Problem, Range
from tuner.qdp.dtypes import from_tensorrt
from tuner.qdp.symbolic import Symbolic

if TYPE_CHECKING:
    import tensorrt as trt
    import tensorrt.plugin as trtp

T = TypeVar("T")


def problem_of(
    kernel: Kernel,
    inputs: Sequence[trtp.TensorDesc],
    attributes: Mapping[str, Attribute],
    chosen: Mapping[str, str] = MappingProxyType({}),
) -> Problem:
    """The problem that these input tensors pose.

    Args:
        kernel: the operator.
        inputs: its inputs in order, with shapes; a dynamic dimension carries (min, opt, max).
        attributes: values of some attributes; the declared defaults for the others.
        chosen: data types that no input tells.

    Raises:
        ConfigError: for a rank, an extent or a data type that the kernel does not take.
    """
    given = _split(kernel, [_ranges(desc) for desc in inputs])
    dims: dict[str, tuple[Range, ...]] = {}
    for name, (leading, _) in given.items():
        if kernel.inputs[name].variadic:
            (dim,) = kernel.inputs[name].extents[0].names
            if dims.setdefault(dim, leading) != leading:
                a, b = ("x".join(map(str, ranges)) for ranges in (dims[dim], leading))
                raise ConfigError(f"{kernel.id}: {dim} is {a} in an earlier input and {b} in input {name!r}")
    values: dict[str, Any] = {**kernel.attributes, **attributes}
    ends = [{**values, **{d: prod(r.at(which) for r in ranges) for d, ranges in dims.items()}} for which in WHICH]
    for s in kernel.solutions:
        extent = given[s.tensor][1][s.axis]
        try:
            for which, sizes in zip(WHICH, ends, strict=True):
                sizes[s.dim] = s.formula.evaluate({**sizes, VALUE: extent.at(which)})
            dims[s.dim] = (Range(*(sizes[s.dim] for sizes in ends)),)
        except (ZeroDivisionError, ConfigError) as e:
            shape = kernel.inputs[s.tensor].shape
            raise ConfigError(f"{kernel.id}: input {s.tensor!r} needs {shape!r}, not {extent}: {s.dim}: {e}") from e
    for name, (_, extents) in given.items():
        for formula, extent in zip(
            kernel.inputs[name].extents[-len(extents) :] if extents else (), extents, strict=True
        ):
            needed = [formula.evaluate(sizes) for sizes in ends]
            if needed != [extent.at(which) for which in WHICH]:
                raise ConfigError(f"{kernel.id}: {_mismatch(kernel, name, formula, needed, extent)}")
    return Problem.of(kernel, dims, {**dtypes_of(kernel, inputs), **chosen}, attributes)


def problem_in_network(
    kernel: Kernel,
    tensors: Sequence[trt.ITensor],
    attributes: Mapping[str, Attribute],
    chosen: Mapping[str, str],
    problem: Problem | None,
) -> Problem:
    """The problem that tensors of a network pose before it is built.

    Args:
        kernel: the operator.
        tensors: its inputs in order.
        attributes: values of some attributes; those of `problem`, or the declared defaults, for the others.
        chosen: data types that no input tells; likewise.
        problem: where a network does not know all sizes yet: they, and the values of some attributes.

    Raises:
        ConfigError: for an unknown size, or tensors that `problem` does not fit.
    """
    if len(tensors) != len(kernel.inputs):
        raise ConfigError(f"{kernel.id} takes {len(kernel.inputs)} tensors ({', '.join(kernel.inputs)})")
    shapes = {name: tuple(tensor.shape) for name, tensor in zip(kernel.inputs, tensors, strict=True)}
    if problem is None:
        for name, shape in shapes.items():
            if -1 in shape:
                raise ConfigError(
                    f"{kernel.id}: input {name!r} is {shape} when its layers are added, and how many there are of what "
                    "depends on the sizes; pass them: problem=Problem.of(kernel, dims)"
                )
        known = [SimpleNamespace(dtype=t.dtype, shape=_Fixed(s)) for t, s in zip(tensors, shapes.values(), strict=True)]
        return problem_of(kernel, known, attributes, chosen)
    if problem.kernel is not kernel:
        raise ConfigError(f"{kernel.id}: the problem is of another kernel, {problem}")
    dtypes, values = {**problem.dtypes, **chosen}, {**problem.attributes, **attributes}
    found = Problem.of(kernel, problem.dims, dtypes, values, problem.timed)
    if {**found.dtypes, **dtypes_of(kernel, tensors)} != dict(found.dtypes):
        raise ConfigError(f"{found}: the network's tensors are {', '.join(t.dtype.name for t in tensors)}")
    for name, tensor in kernel.inputs.items():
        low, high = found.shape(tensor, "min"), found.shape(tensor, "max")
        seen = shapes[name]
        if len(seen) != len(low) or any(
            s not in (-1, a) or (s != -1 and a != b) for s, a, b in zip(seen, low, high, strict=True)
        ):
            raise ConfigError(f"{found}: input {name!r} is {seen} in the network")
    return found


class _Fixed(tuple[int, ...]):
    """A shape without dynamic dimensions, as TensorRT shows it to a plugin."""

    is_dynamic = False


def _mismatch(kernel: Kernel, name: str, formula: Formula, needed: Sequence[Any], extent: Range) -> str:
    """How an extent differs from what other extents, or the declaration, make of it."""
    other = str(needed[1]) if len(set(needed)) == 1 else ":".join(map(str, needed))
    seen = next((s.tensor for s in kernel.solutions if formula.plain and s.dim == formula.node), None)
    if seen is not None:
        return f"{formula} is {other} in input {seen!r} and {extent} in input {name!r}"
    return f"input {name!r} needs {kernel.inputs[name].shape!r}, where {formula} is {other}, not {extent}"


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


def leading(kernel: Kernel, inputs: Sequence[trtp.TensorDesc]) -> dict[str, tuple[trtp.ShapeExpr, ...]]:
    """The expressions of the extents of each variadic dimension, of which there may be any number."""
    given = _split(kernel, [tuple(desc.shape_expr) for desc in inputs])
    found: dict[str, tuple[trtp.ShapeExpr, ...]] = {}
    for name, (exprs, _) in given.items():
        if kernel.inputs[name].variadic:
            found.setdefault(kernel.inputs[name].extents[0].names[0], exprs)
    return found


def expressions(
    kernel: Kernel, inputs: Sequence[trtp.TensorDesc], attributes: Mapping[str, Attribute]
) -> dict[str, Any]:
    """Each dimension's number of elements as TensorRT's expression, and each attribute's value."""
    found: dict[str, Any] = {**kernel.attributes, **attributes}
    for dim, exprs in leading(kernel, inputs).items():
        found[dim] = _product(exprs)
    given = _split(kernel, [tuple(desc.shape_expr) for desc in inputs])
    for s in kernel.solutions:
        found[s.dim] = s.formula.evaluate({**found, VALUE: Symbolic(given[s.tensor][1][s.axis])})
    return found


def sizes(problem: Problem, inputs: Sequence[trtp.TensorDesc]) -> dict[str, Int]:
    """Each dimension's number of elements: an int where it is fixed, else TensorRT's expression."""
    exprs = expressions(problem.kernel, inputs, problem.attributes)
    fixed = problem.sizes()
    return {d: fixed[d] if all(r.fixed for r in ranges) else exprs[d] for d, ranges in problem.dims.items()}


def _product(exprs: Sequence[trtp.ShapeExpr]) -> Int:
    product: Int = 1  # of a scalar
    for i, expr in enumerate(exprs):
        product = Symbolic(expr) if i == 0 else product * Symbolic(expr)
    return product


def _split(kernel: Kernel, shapes: Sequence[tuple[T, ...]]) -> dict[str, tuple[tuple[T, ...], tuple[T, ...]]]:
    """Each input's extents: those of a variadic first dimension, and the others."""
    found = {}
    for (name, tensor), extents in zip(kernel.inputs.items(), shapes, strict=True):
        own = len(tensor.extents) - tensor.variadic
        count = len(extents) - own
        if count < 0 or (count and not tensor.variadic):
            raise ConfigError(f"{kernel.id}: input {name!r} has rank {len(extents)}; its shape is {tensor.shape!r}")
        found[name] = extents[:count], extents[count:]
    return found


def _ranges(desc: trtp.TensorDesc) -> tuple[Range, ...]:
    shape = desc.shape
    if not shape.is_dynamic:
        return tuple(Range(d, d, d) for d in shape)
    return tuple(Range(*extents) for extents in zip(shape.min, shape.opt, shape.max, strict=True))
