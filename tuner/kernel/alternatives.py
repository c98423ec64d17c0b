"""One operator with several sources: each a complete declaration, and a parameter that chooses among them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.errors import ConfigError
from tuner.frontends.base import Emitted, Source
from tuner.gpu.target import Target
from tuner.kernel.identity import kernel_hash
from tuner.kernel.launch import Launch
from tuner.search.constraints import Constraint
from tuner.search.params import Param
from tuner.search.tactic import Config, Value

if TYPE_CHECKING:
    from tuner.kernel.kernel import Kernel
    from tuner.kernel.problem import Problem

CHOICE = "source"
"""The parameter that says which of the kernels runs."""


@dataclass(frozen=True, eq=False)
class Alternatives(Source):
    """Kernels by the name that `CHOICE` gives them. What is compiled is always one of them."""

    kernels: Mapping[str, Kernel]

    language = "one of several"

    def chosen(self, kernel: Kernel, config: Config) -> tuple[Kernel, Config]:
        name = config[CHOICE]
        assert isinstance(name, str)
        chosen = self.kernels[name]
        return chosen.code.chosen(chosen, {n: v for n, v in config.items() if n != CHOICE})

    def constants(self, declared: Sequence[str]) -> tuple[str, ...]:
        dims = (c for k in self.kernels.values() for c in k.constants if c in k.dims)
        return (*declared, *dict.fromkeys(dims))

    def text(self) -> str:
        return json.dumps({name: kernel_hash(kernel) for name, kernel in self.kernels.items()})

    def request(self, problem: Problem, config: Config, target: Target) -> Mapping[str, Any]:
        problem, config = problem.chosen(config)
        return problem.kernel.code.request(problem, config, target)

    def emit(self, problem: Problem, config: Config, target: Target) -> Emitted:
        problem, config = problem.chosen(config)
        return problem.kernel.code.emit(problem, config, target)

    def tools(self) -> Mapping[str, str]:
        return {tool: version for k in self.kernels.values() for tool, version in k.code.tools().items()}


def declaration(kernels: Mapping[str, Kernel]) -> dict[str, Any]:
    """All that a `Kernel` takes but its id. See `Kernel.alternatives`."""
    if len(kernels) < 2:
        raise ConfigError("alternatives are two kernels at least, by name: triton=…, cuda=…")
    first_name, first = next(iter(kernels.items()))
    for name, kernel in kernels.items():
        for what in ("inputs", "outputs", "attributes"):
            if getattr(kernel, what) != getattr(first, what):
                raise ConfigError(f"alternative {name!r} has other {what} than {first_name!r}; declare the same")
        if CHOICE in kernel.space.names:
            raise ConfigError(f"alternative {name!r} has a parameter called {CHOICE!r}; rename it")
    dtypes = {
        v: [d for d in names if all(d in k.dtypes[v] for k in kernels.values())] for v, names in first.dtypes.items()
    }
    return {
        "source": Alternatives(kernels),
        "inputs": first.inputs,
        "outputs": first.outputs,
        "params": [Param(CHOICE, tuple(kernels)), *_params(kernels)],
        "default": {CHOICE: first_name, **first.default},
        "launch": _no_launch,
        "reference": first.reference,
        "dtypes": dtypes,
        "attributes": first.attributes,
        "constraints": [_guarded(name, c) for name, kernel in kernels.items() for c in _constraints(kernel, kernels)],
        "tolerances": first.tolerances,
        "bytes": first.bytes,
        "flops": first.flops,
    }


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
    return [*(_among(p) for p in shared), *kernel.constraints]


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
