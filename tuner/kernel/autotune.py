"""Kernels under `@triton.autotune` and `@triton.heuristics`, as they are.

The configs become the space, the pruning hook a constraint, and the heuristics constants that are computed
for each tactic. The autotuner's key needs nothing: tactics are kept for each problem, which says more.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tuner.errors import ConfigError, did_you_mean
from tuner.frontends.base import Emitted
from tuner.frontends.dtypes import itemsize
from tuner.frontends.python_source import source_text
from tuner.frontends.triton import TritonSource
from tuner.gpu.target import Target
from tuner.kernel.launch import Launch
from tuner.kernel.tensor import Tensor
from tuner.outcome import CompileError, FailureClass
from tuner.search.call_by_name import call
from tuner.search.constraints import Constraint
from tuner.search.params import Param
from tuner.search.tactic import Config, canonical

if TYPE_CHECKING:
    from tuner.kernel.kernel import Attribute
    from tuner.kernel.problem import Problem

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class TensorArgument:
    """What stands for a tensor where a hook or a heuristic looks at a kernel's arguments.

    Attributes:
        dtype: the data type's name, for example "fp16".
        shape: extents; a variadic dimension is one.
    """

    dtype: str
    shape: tuple[int, ...]

    def element_size(self) -> int:
        return itemsize(self.dtype)

    def numel(self) -> int:
        return prod(self.shape)

    def dim(self) -> int:
        return len(self.shape)

    def size(self, axis: int) -> int:
        return self.shape[axis]

    def stride(self, axis: int) -> int:
        return prod(self.shape[axis % len(self.shape) + 1 :])


@dataclass(frozen=True, eq=False)
class AutotunedSource(TritonSource):
    """A Triton function whose parameters come in any order.

    Attributes:
        tensors: the tensors by the parameter that takes them, inputs first.
        outputs: how many of them are outputs.
        compiled: run-time parameters that are compiled in, because an attribute of that name says their value.
        fixed: parameters that are left at their default value.
        heuristics: constants by name, each a function of all arguments by name.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    outputs: int = 1
    compiled: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    heuristics: Mapping[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)

    @property
    def arguments(self) -> tuple[str, ...]:
        named = list(self.tensors)
        first_output = len(named) - self.outputs
        taken = {*named, *self.compiled, *self.fixed}
        integers = (name for name in super().arguments if name not in taken)
        return (*named[:first_output], *integers, *named[first_output:])

    def constants(self, declared: Sequence[str]) -> tuple[str, ...]:
        own = (name for name in super().constants(declared) if name not in {*self.fixed, *self.heuristics})
        return (*own, *self.compiled)

    def values(self, problem: Problem, config: Config) -> dict[str, Any]:
        computed = {name: found[0] for name, found in self._computed(problem, config).items()}
        return {**self.fixed, **super().values(problem, config), **computed}

    def text(self) -> str:
        heuristics = {name: source_text(function) for name, function in sorted(self.heuristics.items())}
        return json.dumps([super().text(), heuristics, {n: source_text(v) for n, v in self.fixed.items()}])

    def request(self, problem: Problem, config: Config, target: Target) -> Mapping[str, Any]:
        computed = {name: list(map(repr, found)) for name, found in self._computed(problem, config).items()}
        return {**super().request(problem, config, target), "heuristics": computed}

    def emit(self, problem: Problem, config: Config, target: Target) -> Emitted:
        for name, found in self._computed(problem, config).items():
            if len(found) > 1:
                raise CompileError(
                    FailureClass.CONSTRAINT,
                    f"the heuristic {name} is {found[0]!r} at some sizes of the range and {found[1]!r} at others",
                )
        return super().emit(problem, config, target)

    def _computed(self, problem: Problem, config: Config) -> dict[str, list[Any]]:
        """The values that each heuristic takes over the range of the dimensions."""
        found: dict[str, list[Any]] = {name: [] for name in self.heuristics}
        for sizes in problem.samples if found else ():
            scope = {**problem.scope(), **sizes}
            arguments = {
                **self.fixed,
                **{name: {**scope, **config}[name] for name in problem.kernel.constants},
                **named_arguments(self, scope, problem.evaluate(config, sizes).args),
            }
            for name, heuristic in self.heuristics.items():
                arguments[name] = heuristic(arguments)
                if arguments[name] not in found[name]:
                    found[name].append(arguments[name])
        return found


def named_arguments(source: AutotunedSource, scope: Mapping[str, Any], integers: Sequence[Any]) -> dict[str, Any]:
    """The run-time arguments by name, tensors as `TensorArgument`; scope gives sizes and data types."""

    def extent(dim: str) -> int:
        return int(dim) if dim.isdigit() else int(scope[dim.lstrip("*")])

    tensors = {
        name: TensorArgument(scope.get(t.dtype, t.dtype), tuple(map(extent, t.dims)))
        for name, t in source.tensors.items()
    }
    names = [name for name in source.arguments if name not in tensors]
    return {**tensors, **dict(zip(names, integers, strict=True))}


def declaration(
    function: Any,
    *,
    inputs: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor],
    launch: Callable[..., Launch],
    attributes: Mapping[str, Attribute] = NOTHING,
    dtypes: Mapping[str, Sequence[str]] = NOTHING,
    constraints: Sequence[Constraint] = (),
    default: Config | None = None,
    **others: Any,
) -> dict[str, Any]:
    """All that a `Kernel` takes. See `Kernel.from_autotune`."""
    jit, tuner, heuristics = _unwrap(function)
    signature = inspect.signature(jit.fn).parameters
    tensors = {_parameter(name, signature): t for name, t in (*inputs.items(), *outputs.items())}
    options = [n for n, get in _OPTIONS.items() if n not in _RARE or any(get(c) != _RARE[n] for c in tuner.configs)]
    configs = _configs(tuner.configs, options)
    known = {*tensors, *heuristics, *configs[0], *attributes, *(d for t in tensors.values() for d in t.names)}
    plain = TritonSource(jit)
    source = AutotunedSource(
        jit,
        tensors=tensors,
        outputs=len(outputs),
        compiled=tuple(name for name in plain.arguments if name in attributes),
        fixed={name: p.default for name, p in signature.items() if p.default is not p.empty and name not in known},
        heuristics=heuristics,
    )
    for name in tuner.keys:
        if name not in signature:
            raise ConfigError(f"the key {name!r} is no parameter of the kernel{did_you_mean(name, signature)}")
    names = tuple(configs[0])
    listed = set(map(canonical, configs))
    own = [
        Constraint(
            "listed",
            lambda **point: canonical(point) in listed,
            "it is none of the autotuner's configs",
            names,
        )
    ]
    if tuner.early_config_prune is not None:
        scope = tuple(dict.fromkeys((*(d for t in inputs.values() for d in t.names), *dtypes, *attributes)))
        holds = _pruning(source, tuner, options, launch, scope)
        own.append(Constraint("early_config_prune", holds, "the autotuner's hook prunes it", (*names, *scope)))
    return {
        "source": source,
        "inputs": inputs,
        "outputs": outputs,
        "params": [Param(n, tuple(_distinct(c[n] for c in configs))) for n in names],
        "default": default or configs[0],
        "launch": launch,
        "attributes": attributes,
        "dtypes": dtypes,
        "constraints": [*own, *constraints],
        **others,
    }


def _unwrap(function: Any) -> tuple[Any, Any, dict[str, Callable[..., Any]]]:
    """The `@triton.jit` function, the autotuner, and all heuristics, in whatever order they were applied."""
    from triton.runtime.autotuner import Autotuner, Heuristics

    tuner, heuristics = None, {}
    while isinstance(function, (Autotuner, Heuristics)):
        if isinstance(function, Heuristics):
            heuristics.update(function.values)
        else:
            tuner = function
        function = function.fn
    if tuner is None:
        raise ConfigError("the source is not under @triton.autotune; declare it with Kernel(…)")
    if tuner.reset_to_zero or tuner.restore_value or tuner.user_defined_pre_hook or tuner.user_defined_post_hook:
        raise ConfigError(
            "the autotuner resets or restores tensors around a launch (reset_to_zero, restore_value or a hook), "
            "which TensorRT does not; write outputs without reading them, and inputs never"
        )
    return function, tuner, heuristics


def _parameter(tensor: str, signature: Mapping[str, Any]) -> str:
    """The parameter that takes a tensor: of the same name, or with `_ptr` behind it."""
    for name in (tensor, f"{tensor}_ptr"):
        if name in signature:
            return name
    raise ConfigError(f"no parameter of the kernel takes tensor {tensor!r}{did_you_mean(tensor, signature)}")


_OPTIONS: Mapping[str, Callable[[Any], Any]] = {
    "num_warps": lambda c: c.num_warps,
    "num_stages": lambda c: c.num_stages,
    "num_ctas": lambda c: c.num_ctas,
    "maxnreg": lambda c: c.maxnreg or 0,
}
_RARE = {"num_ctas": 1, "maxnreg": 0}
"""Options that become parameters only where a config sets them to something else."""


def _configs(configs: Sequence[Any], options: Sequence[str]) -> list[dict[str, Any]]:
    """Each config of the autotuner with the given launch options, every one once."""
    found = [{**c.kwargs, **{n: _OPTIONS[n](c) for n in options}} for c in configs]
    for config, values in zip(configs, found, strict=True):
        if values.keys() != found[0].keys():
            raise ConfigError(f"the autotuner's configs set different parameters: ({config}) and ({configs[0]})")
        if config.pre_hook is not None:
            raise ConfigError(f"the config ({config}) has a pre_hook, which TensorRT does not call")
    return list({canonical(c): c for c in found}.values())


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Ascending where they are numbers, so that a search can tell neighbours."""
    found = list(dict.fromkeys(values))
    return sorted(found) if all(type(v) in (int, float) for v in found) else found


def _pruning(
    source: AutotunedSource, tuner: Any, options: Sequence[str], launch: Callable[..., Launch], scope: Sequence[str]
) -> Callable[..., bool]:
    """Whether the hook keeps a point; it is asked once for each problem."""
    first = _configs(tuner.configs, options)[0]

    @functools.cache
    def kept(values: tuple[Any, ...]) -> frozenset[str]:
        known = dict(zip(scope, values, strict=True))
        integers = call(launch, {**known, **first}).args
        constants = {n: v for n, v in known.items() if n in source.constants(())}
        named = named_arguments(source, known, integers)
        left = tuner.early_config_prune(list(tuner.configs), named, **source.fixed, **constants)
        return frozenset(map(canonical, _configs(left, options)))

    def holds(**point: Any) -> bool:
        return canonical({n: point[n] for n in first}) in kept(tuple(point[n] for n in scope))

    return holds
