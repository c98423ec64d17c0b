"""A kernel's run-time arguments by name: what its launch passes, and what hooks and heuristics look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuner.errors import ConfigError, did_you_mean
from tuner.frontends.base import Source
from tuner.frontends.binding import Declared
from tuner.kernel.arith import Int, Multiple
from tuner.kernel.launch import Launch
from tuner.kernel.stand_in import TensorArgument
from tuner.kernel.tensor import Tensor
from tuner.search.call_by_name import call, describe

if TYPE_CHECKING:
    from tuner.kernel.kernel import Kernel


def name_arguments(kernel: Kernel, scope: Mapping[str, Any], integers: Sequence[Any]) -> dict[str, Any]:
    """Return the run-time arguments of a kernel's code by the names of its parameters, tensors as `TensorArgument`.

    Args:
        kernel: its code names its `arguments`.
        scope: the size of each dimension, the value of each attribute, and the data type behind each dtype variable.
        integers: the extra integers.
    """

    def argument(position: int, tensor: Tensor) -> TensorArgument:
        return TensorArgument(scope.get(tensor.dtype, tensor.dtype), tensor.numbers(scope), position)

    inputs, outputs = kernel.passed
    tensors = [*(kernel.inputs[n] for n in inputs.values()), *(kernel.outputs[n] for n in outputs.values())]
    stand_ins = [argument(*pair) for pair in enumerate(tensors)]
    values = (*stand_ins[: len(inputs)], *integers, *stand_ins[len(inputs) :])
    return dict(zip(kernel.code.arguments or (), values, strict=True))


def declared_names(kernel: Kernel) -> Declared:
    """The names that a kernel declares, and which parameters its launch passes, for its source to be bound to them."""
    inputs, outputs = kernel.passed
    return Declared(
        tuple(inputs),
        tuple(outputs),
        kernel.space.names,
        kernel.attributes,
        kernel.dims,
        tuple(kernel.absent),
        {name: tuple(block) for name, block in kernel.descriptors.items()},
        _passed(kernel),
    )


def _passed(kernel: Kernel) -> tuple[str, ...] | int | None:
    """What the launch passes whatever the sizes are: names, or how many; None where it needs to know the sizes."""
    usual = {variable: names[0] for variable, names in kernel.dtypes.items() if names}
    scope = {**dict.fromkeys(kernel.dims, Multiple(1)), **usual, **kernel.attributes}
    try:
        launch = call(kernel.launch, {**scope, **kernel.space.complete(kernel.default)})
        return len(launch.args) if launch.names is None else launch.names
    except Exception:  # where it is wrong, it says so for a problem
        return None


def pass_integers(source: Source, launch: Launch, valued: Mapping[str, Any]) -> tuple[Int, ...]:
    """The integers of a launch in the order of the source's arguments.

    Args:
        source: bound to a kernel.
        launch: whose `args` are named, or the integers that the source takes in order, or all its parameters but the
            tensors.
        valued: the values of the parameters that the source need not be passed, as far as they are known.

    Raises:
        ConfigError: when it passes something else than the source takes.
    """
    order = source.order
    if order is None:
        if launch.names is not None:
            raise ConfigError(
                f"launch passes {', '.join(launch.names)} by name, but this {source.language} does not tell its "
                "parameters' names; pass them in their order, args=(…)"
            )
        return _whole(launch.args)
    wanted, given = order.integers, launch.args
    if launch.names is not None:
        names = launch.names
    elif len(given) == len(wanted):
        names = wanted
    elif len(given) == len(order.scalars):
        names = order.scalars
    else:
        raise ConfigError(
            f"launch passes {len(given)} extra integers, the source takes {_listed(wanted)}"
            + (f", or with those that have a value already {_listed(order.scalars)}" if order.scalars != wanted else "")
            + "; pass them by name, args={…}, and name pointers that are None in absent=(…)"
        )
    passed = dict(zip(names, given, strict=True))
    for name in wanted:
        if name not in passed:
            raise ConfigError(
                f"launch does not pass {name!r}, which the source takes; add it to args, or name it in absent=(…) "
                "where it is a pointer that is None"
            )
    for name, value in passed.items():
        if name in wanted:
            continue
        if name not in order.scalars:
            raise ConfigError(f"launch passes {name!r}, which the source does not take{did_you_mean(name, wanted)}")
        if name in valued and value != valued[name]:
            raise ConfigError(
                f"launch passes {name}={value!r}, which an attribute sets to {valued[name]!r}; leave it out"
            )
    return _whole(tuple(passed[name] for name in wanted))


def launch_integers(kernel: Kernel, launch: Launch, scope: Mapping[str, Any]) -> tuple[Int, ...]:
    """All integers that a kernel's code is passed: those of a launch, and extents that descriptors are made of.

    Args:
        kernel: the operator.
        launch: what its launch returned.
        scope: sizes of dimensions, and values of attributes.

    Raises:
        ConfigError: as `pass_integers` does.
    """
    valued = {**kernel.code.fixed, **{name: scope[name] for name in kernel.attributes}}
    extents = (e for name in kernel.descriptors for e in kernel.tensor(name).evaluate(scope))
    return (*pass_integers(kernel.code, launch, valued), *extents)


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)} ({', '.join(names)})" if names else "none"


def _whole(values: tuple[Int, ...]) -> tuple[Int, ...]:
    for value in values:
        if isinstance(value, float):
            raise ConfigError(
                f"launch passes {value!r}; TensorRT's launch passes no floats: declare an attribute with the name of "
                "the parameter, which is compiled in, or pass it in a tensor"
            )
    return values


def compute_heuristics(source: Source, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a source's heuristics, by name, from all its other arguments.

    Raises:
        ConfigError: when one raises.
    """
    known = dict(arguments)
    for name, heuristic in source.heuristics.items():
        try:
            known[name] = heuristic(known)
        except Exception as e:
            raise ConfigError(f"the heuristic {name} raised {type(e).__name__}: {e}; see {describe(heuristic)}") from e
    return {name: known[name] for name in source.heuristics}
