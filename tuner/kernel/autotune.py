"""Kernels under `@triton.autotune` and `@triton.heuristics`, as they are.

The configs become the space, the pruning hook a constraint, and the heuristics constants that are computed
for each tactic. The autotuner's key needs nothing: tactics are kept for each problem, which says more.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tuner.errors import ConfigError, did_you_mean
from tuner.frontends.base import NOTHING, Heuristic
from tuner.frontends.triton import TritonSource
from tuner.kernel.arguments import name_arguments
from tuner.kernel.kernel import Attribute, Kernel
from tuner.kernel.launch import Launch
from tuner.kernel.tensor import Tensor
from tuner.search.call_by_name import call, describe
from tuner.search.constraints import Constraint, listed
from tuner.search.params import Param
from tuner.search.tactic import Config, canonical


def from_autotune(
    function: Any,
    *,
    id: str,  # noqa: A002
    inputs: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor],
    launch: Callable[..., Launch],
    attributes: Mapping[str, Attribute] = NOTHING,
    dtypes: Mapping[str, Sequence[str]] = NOTHING,
    constraints: Sequence[Constraint] = (),
    default: Config | None = None,
    **declared: Any,
) -> Kernel:
    """Declare a kernel under `@triton.autotune` or `@triton.heuristics` or both, as it is.

    The space holds the autotuner's configs, less those that `early_config_prune` drops; without an
    autotuner it is what Triton launches, `num_warps=4` and `num_stages=3`. A `perf_model` is not asked: the
    search finds out. Heuristics are computed for each tactic; one that differs within the range of a
    dimension refuses it. They and the hook see tensors as contiguous and aligned to 256 bytes, with
    `dtype`, `shape`, `size()`, `stride()`, `data_ptr()` and the like. Parameters may come in any order;
    those of which nothing here speaks keep their default values.

    Args:
        function: what the decorators made.
        id, dtypes, declared: as for `Kernel`, without `source` and `params`.
        inputs, outputs: the tensors, named as the parameters that take them, or those without ``_ptr``.
        launch: its `args` are the remaining run-time parameters in their order.
        attributes: those named as a parameter are compiled in, whatever its annotation.
        constraints: what a legal tactic meets besides the hook.
        default: the first config unless given.

    Raises:
        ConfigError: when the autotuner resets or restores tensors or calls hooks around a launch, or
            what it says does not fit the declaration.
    """
    try:
        source, configs, params, own = _read(function, inputs, outputs, launch, attributes, dtypes)
    except ConfigError as e:
        raise ConfigError(f"kernel {id!r}: {e}") from None
    return Kernel(
        id=id,
        source=source,
        inputs=inputs,
        outputs=outputs,
        params=params,
        default=default or configs[0],
        launch=launch,
        attributes=attributes,
        dtypes=dtypes,
        constraints=[*own, *constraints],
        **declared,
    )


def _read(
    function: Any,
    inputs: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor],
    launch: Callable[..., Launch],
    attributes: Mapping[str, Attribute],
    dtypes: Mapping[str, Sequence[str]],
) -> tuple[TritonSource, Sequence[Config], Sequence[Param], Sequence[Constraint]]:
    """The function itself, the autotuner's configs, every one once, their parameters, and what a tactic has to meet."""
    jit, tuner, heuristics = _unwrap(function)
    signature = inspect.signature(jit.fn).parameters
    options = [n for n, get in _OPTIONS.items() if n not in _RARE or any(get(c) != _RARE[n] for c in tuner.configs)]
    configs = _configs(tuner.configs, options)
    for name in tuner.keys:
        if name not in signature:
            raise ConfigError(f"the key {name!r} is no parameter of the kernel{did_you_mean(name, signature)}")
    source = _source(jit, heuristics, inputs, outputs, configs[0], attributes)
    names = tuple(configs[0])
    params = [Param(n, tuple(_distinct(c[n] for c in configs))) for n in names]
    constraints = list(listed(params, configs, "listed", "it is none of the autotuner's configs"))
    if tuner.early_config_prune is not None:
        sizes = tuple(dict.fromkeys((*(d for t in inputs.values() for d in t.names), *dtypes, *attributes)))

        def arguments(known: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
            integers = call(launch, {**known, **configs[0]}).args
            constants = {n: v for n, v in known.items() if n in source.constants(())}
            return name_arguments(source, inputs, outputs, known, integers), {**source.fixed, **constants}

        holds = _pruning(tuner, options, names, sizes, arguments)
        constraints.append(Constraint("early_config_prune", holds, "the autotuner's hook prunes it", (*names, *sizes)))
    return source, configs, params, constraints


def _source(
    jit: Any,
    heuristics: Mapping[str, Heuristic],
    inputs: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor],
    params: Iterable[str],
    attributes: Iterable[str],
) -> TritonSource:
    """The function with its parameters told apart: tensors, integers, constants, and those left at their default."""
    signature = inspect.signature(jit.fn).parameters
    first, last = ([_parameter(name, signature) for name in group] for group in (inputs, outputs))
    dims = (d for t in (*inputs.values(), *outputs.values()) for d in t.names)
    known = {*first, *last, *heuristics, *params, *attributes, *dims}
    fixed = {
        name: p.default.value if type(p.default).__name__ == "constexpr" else p.default
        for name, p in signature.items()
        if p.default is not p.empty and name not in known
    }
    run_time = TritonSource(jit).arguments
    integers = (name for name in run_time if name not in {*first, *last, *attributes, *fixed})
    return TritonSource(jit, order=(*first, *integers, *last), fixed=fixed, heuristics=heuristics)


def _unwrap(function: Any) -> tuple[Any, Any, dict[str, Callable[..., Any]]]:
    """The `@triton.jit` function, the autotuner, and all heuristics, in whatever order they were applied."""
    from triton.runtime.autotuner import Autotuner, Heuristics, autotune

    tuner: Any = None
    heuristics: dict[str, Callable[..., Any]] = {}
    while isinstance(function, (Autotuner, Heuristics)):
        if isinstance(function, Heuristics):
            heuristics.update(function.values)
        elif tuner is not None:
            raise ConfigError(
                "the source is under @triton.autotune twice, which Triton itself cannot launch: both set num_warps; "
                "put all configs into one of them"
            )
        else:
            tuner = function
        function = function.fn
    if tuner is None and not heuristics:
        raise ConfigError("the source is not under @triton.autotune; declare it with Kernel(…)")
    if tuner is None:
        tuner = autotune(configs=[], key=[])(function)  # which is one config: Triton's defaults
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
        if getattr(config, "ir_override", None) is not None:
            raise ConfigError(f"the config ({config}) replaces the kernel's code (ir_override); declare that code")
    return list({canonical(c): c for c in found}.values())


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Ascending where they are numbers, so that a search can tell neighbours."""
    found = list(dict.fromkeys(values))
    return sorted(found) if all(type(v) in (int, float) for v in found) else found


def _pruning(
    tuner: Any,
    options: Sequence[str],
    names: Sequence[str],
    sizes: Sequence[str],
    arguments: Callable[[Mapping[str, Any]], tuple[dict[str, Any], dict[str, Any]]],
) -> Callable[..., bool]:
    """Whether the hook keeps a point; it is asked once for each problem.

    Args:
        tuner: the autotuner.
        options: launch options that are parameters.
        names: the parameters.
        sizes: the dimensions, dtype variables and attributes that the hook may look at.
        arguments: from these by name, what the hook is called with: run-time arguments, and constants.
    """

    @functools.cache
    def kept(values: tuple[Any, ...]) -> frozenset[str]:
        named, constants = arguments(dict(zip(sizes, values, strict=True)))
        try:
            left = tuner.early_config_prune(list(tuner.configs), named, **constants)
        except Exception as e:
            where = describe(tuner.early_config_prune)
            raise ConfigError(f"the hook raised {type(e).__name__}: {e}; see {where}") from e
        return frozenset(map(canonical, _configs(left, options)))

    def holds(**point: Any) -> bool:
        return canonical({n: point[n] for n in names}) in kept(tuple(point[n] for n in sizes))

    return holds
