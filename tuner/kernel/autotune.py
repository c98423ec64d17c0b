"""Kernels under `@triton.autotune` and `@triton.heuristics`, as they are.

The configs become the space, the pruning hook a constraint, and the heuristics constants that are computed
for each tactic. The autotuner's key needs nothing: tactics are kept for each problem, which says more.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from tuner.errors import ConfigError, did_you_mean
from tuner.frontends.binding import spellings
from tuner.frontends.triton import LAUNCH_OPTIONS, TritonSource
from tuner.frontends.triton_wrappers import unwrap
from tuner.kernel.alias import Alias
from tuner.kernel.arguments import launch_integers, name_arguments
from tuner.kernel.tensor import Tensor
from tuner.search.call_by_name import call, describe
from tuner.search.constraints import Constraint, listed
from tuner.search.params import Param
from tuner.search.tactic import Config, canonical

if TYPE_CHECKING:
    from tuner.kernel.kernel import Kernel

HookOf: TypeAlias = "Callable[[Kernel], Constraint | None]"
"""The constraint that a hook is, of the kernel without it; None where there is no hook."""


def read_autotuned(
    function: Any,
    *,
    constraints: Sequence[Constraint] = (),
    default: Config | None = None,
    **declared: Any,
) -> tuple[dict[str, Any], HookOf]:
    """Return what the decorators of a function declare, as arguments for `Kernel`, and its hook as a constraint.

    Args:
        function: as for `Kernel.from_autotune`.
        constraints, default, declared: likewise.

    Raises:
        ConfigError: as it does.
    """
    try:
        found = unwrap(function)
        tuner = found.autotuner
        _check_autotuner(tuner, found.jit)
        outputs = _with_starts(tuner, declared.get("outputs", {}))
        read = _triton_configs(tuner)
        options = [n for n, get in _OPTIONS.items() if n not in _RARE or any(get(c) != _RARE[n] for c in read)]
        _check_hooks(read, described=bool(declared.get("descriptors")))
        configs = _configs(read, options)
    except ConfigError as e:
        raise ConfigError(f"kernel {declared.get('id')!r}: {e}") from None
    params = [Param(n, tuple(_distinct(c[n] for c in configs))) for n in configs[0]]
    own = listed(params, configs, "listed", "it is none of the autotuner's configs")
    arguments = {
        **declared,
        "outputs": outputs,
        "source": TritonSource(found.jit, heuristics=found.heuristics),
        "params": params,
        "default": default or configs[0],
        "constraints": [*own, *constraints],
    }
    prune = getattr(tuner, "early_config_prune", None)
    return arguments, lambda kernel: prune and _hook(kernel, prune, read, options)


def _hook(kernel: Kernel, prune: Any, configs: Sequence[Any], options: Sequence[str]) -> Constraint:
    """The autotuner's hook that drops configs, as a constraint of the kernel without it."""
    sizes = (*kernel.dims, *kernel.dtypes, *kernel.attributes)
    names = kernel.space.names

    def arguments(known: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        source = kernel.code
        launch = call(kernel.launch, {**known, **kernel.default})
        integers = launch_integers(kernel, launch, known)
        constants = {n: v for n, v in known.items() if n in source.constants(())}
        return name_arguments(kernel, known, integers), {**source.fixed, **constants}

    holds = _pruning(prune, configs, options, names, sizes, arguments)
    return Constraint("early_config_prune", holds, "the autotuner's hook prunes it", (*names, *sizes))


def _check_autotuner(tuner: Any, jit: Any) -> None:
    """Refuse an autotuner that does more than choosing a config."""
    signature = inspect.signature(jit.fn).parameters
    for name in getattr(tuner, "keys", ()):
        if name not in signature:
            raise ConfigError(f"the key {name!r} is no parameter of the kernel{did_you_mean(name, signature)}")
    if any(getattr(tuner, name, None) for name in ("user_defined_pre_hook", "user_defined_post_hook")):
        raise ConfigError(
            "the autotuner calls a hook around a launch, which TensorRT does not; say what an output starts with as "
            "Tensor(…, start=0), or that it is an input changed in place as Alias(…)"
        )


def _with_starts(tuner: Any, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The outputs with the zeros that the autotuner resets them to; what it restores has to be changed in place.

    Raises:
        ConfigError: when it resets or restores something else.
    """
    found = dict(outputs)
    for parameter in getattr(tuner, "reset_to_zero", None) or ():
        name = next((n for n in outputs if parameter in spellings(n)), None)
        if name is None or isinstance(outputs[name], Alias):
            raise ConfigError(f"the autotuner resets {parameter!r} to zero, which takes no output; name one after it")
        if found[name].start is None:
            found[name] = replace(found[name], start=0)
    changed = [s for n, t in outputs.items() if isinstance(t, Alias) for s in (*spellings(n), *spellings(t.input))]
    for parameter in getattr(tuner, "restore_value", None) or ():
        if parameter not in changed:
            raise ConfigError(
                f"the autotuner restores {parameter!r}, so the kernel changes it in place: declare an output as "
                "Alias(…) of the input that it takes"
            )
    return found


def _triton_configs(tuner: Any) -> Sequence[Any]:
    """The autotuner's configs; Triton's defaults where there is none, or no autotuner."""
    if tuner is not None and tuner.configs:
        return list(tuner.configs)
    from triton import Config as TritonConfig

    return [TritonConfig({}, num_warps=LAUNCH_OPTIONS["num_warps"], num_stages=LAUNCH_OPTIONS["num_stages"])]


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
        if getattr(config, "ir_override", None) is not None:
            raise ConfigError(f"the config ({config}) replaces the kernel's code (ir_override); declare that code")
    return list({canonical(c): c for c in found}.values())


def _check_hooks(configs: Sequence[Any], described: bool) -> None:
    """Refuse hooks of single configs; what they are for is usually to set the block shapes of descriptors."""
    for config in configs:
        if config.pre_hook is not None and not described:
            raise ConfigError(
                f"the config ({config}) has a pre_hook, which TensorRT does not call; where it sets the block shapes "
                'of descriptors, say them with descriptors={"a": ("BLOCK_M", "BLOCK_K")}'
            )


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Ascending where they are numbers, so that a search can tell neighbours."""
    found = list(dict.fromkeys(values))
    return sorted(found) if all(type(v) in (int, float) for v in found) else found


def _pruning(
    prune: Any,
    configs: Sequence[Any],
    options: Sequence[str],
    names: Sequence[str],
    sizes: Sequence[str],
    arguments: Callable[[Mapping[str, Any]], tuple[dict[str, Any], dict[str, Any]]],
) -> Callable[..., bool]:
    """Whether the hook keeps a point; it is asked once for each problem.

    Args:
        prune: the hook.
        configs: the autotuner's.
        options: launch options that are parameters.
        names: the parameters.
        sizes: the dimensions, dtype variables and attributes that the hook may look at.
        arguments: from these by name, what the hook is called with: run-time arguments, and constants.
    """

    @functools.cache
    def kept(values: tuple[Any, ...]) -> frozenset[str]:
        named, constants = arguments(dict(zip(sizes, values, strict=True)))
        try:
            left = prune(list(configs), named, **constants)
        except Exception as e:
            where = describe(prune)
            raise ConfigError(f"the hook raised {type(e).__name__}: {e}; see {where}") from e
        return frozenset(map(canonical, _configs(left, options)))

    def holds(**point: Any) -> bool:
        return canonical({n: point[n] for n in names}) in kept(tuple(point[n] for n in sizes))

    return holds
