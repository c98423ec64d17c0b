"""One operator with several sources: each a complete declaration, and a parameter that chooses among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.errors import ConfigError
from tuner.kernel.kernel import CHOICE, Kernel
from tuner.kernel.launch import Launch
from tuner.search.constraints import Constraint
from tuner.search.params import Param
from tuner.search.tactic import Value


def alternatives(id: str, **kernels: Kernel) -> Kernel:  # noqa: A002
    """Declare one operator with several sources, between which the search chooses.

    A parameter `source` says which kernel runs; the other parameters apply where it is one that has them.
    The default is that of the first kernel, and so are the reference and the tolerances.

    Example:
        ``alternatives("example::softmax", triton=softmax.kernel, cuda=softmax_cuda.kernel)``

    Args:
        id: of the operator.
        kernels: declarations by the name `source` gives them. They have the same inputs, outputs and
            attributes, and values of one type for a parameter that several have.

    Raises:
        ConfigError: when they differ in what they compute on.
    """
    try:
        _check(kernels)
    except ConfigError as e:
        raise ConfigError(f"kernel {id!r}: {e}") from None
    first_name, first = next(iter(kernels.items()))
    return Kernel(
        id=id,
        source=kernels,
        inputs=first.inputs,
        outputs=first.outputs,
        params=[Param(CHOICE, tuple(kernels)), *_params(kernels)],
        default={CHOICE: first_name, **first.default},
        launch=_no_launch,
        reference=first.reference,
        dtypes={
            variable: [d for d in names if all(d in k.dtypes[variable] for k in kernels.values())]
            for variable, names in first.dtypes.items()
        },
        attributes=first.attributes,
        constraints=[_guarded(name, c) for name, kernel in kernels.items() for c in _constraints(kernel, kernels)],
        tolerances=first.tolerances,
        bytes=first.bytes,
        flops=first.flops,
    )


def _check(kernels: Mapping[str, Kernel]) -> None:
    """Raise `ConfigError` unless there are several kernels, of one operator."""
    if len(kernels) < 2:
        raise ConfigError("alternatives are two kernels at least, by name: triton=…, cuda=…")
    first_name, first = next(iter(kernels.items()))
    for name, kernel in kernels.items():
        for what in ("inputs", "outputs", "attributes"):
            if getattr(kernel, what) != getattr(first, what):
                raise ConfigError(f"alternative {name!r} has other {what} than {first_name!r}; declare the same")
        if CHOICE in kernel.space.names:
            raise ConfigError(f"alternative {name!r} has a parameter called {CHOICE!r}; rename it")


# The text of this function is part of the kernel's hash.
def _no_launch() -> Launch:
    raise AssertionError("a problem launches the alternative that a configuration chooses")


def _params(kernels: Mapping[str, Kernel]) -> list[Param]:
    """Every parameter once, with all the values that some kernel gives it, where one that has it is chosen."""
    found: dict[str, list[Value]] = {}
    for kernel in kernels.values():
        for p in kernel.params:
            found.setdefault(p.name, []).extend(v for v in p.values if v not in found.get(p.name, []))
    params = []
    for name, values in found.items():
        owners = tuple(n for n, k in kernels.items() if name in k.space.names)
        ordered = sorted(values) if all(type(v) in (int, float) for v in values) else values
        params.append(Param(name, tuple(ordered), None if len(owners) == len(kernels) else (CHOICE, owners)))
    return params


def _constraints(kernel: Kernel, kernels: Mapping[str, Kernel]) -> list[Constraint]:
    """A kernel's own, and that shared parameters have one of its values."""
    shared = [p for p in kernel.params if any(p.name in k.space.names for k in kernels.values() if k is not kernel)]
    return [*(_among(p) for p in shared), *kernel.rules]


def _among(param: Param) -> Constraint:
    def holds(**point: Value) -> bool:
        return point[param.name] in param.values

    return Constraint(f"{param.name}_of_source", holds, f"this source takes {list(param.values)}", (param.name,))


def _guarded(name: str, constraint: Constraint) -> Constraint:
    """A constraint of one alternative, which says nothing about the others."""
    asked = constraint.holds
    names = constraint.names

    def holds(**point: Any) -> bool:
        return point[CHOICE] != name or asked(**{n: point[n] for n in names})

    return Constraint(f"{name}.{constraint.name}", holds, constraint.why, (CHOICE, *names))
