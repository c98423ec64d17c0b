"""The values of a source's constants: what a problem, a tactic and the source's own heuristics make of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tuner.errors import ConfigError, did_you_mean
from tuner.frontends.dtypes import DTYPES
from tuner.frontends.words import DType, compile_time_value
from tuner.kernel.arguments import compute_heuristics, name_arguments
from tuner.kernel.stand_in import launch_options
from tuner.outcome import FailureClass, TacticError
from tuner.search.call_by_name import call, describe
from tuner.search.tactic import Config

if TYPE_CHECKING:
    from tuner.kernel.kernel import Attribute, Kernel
    from tuner.kernel.problem import Problem


def resolve_attribute(kernel: Kernel, name: str, value: Any, dtypes: Mapping[str, str]) -> Attribute:
    """The value of an attribute as plain data: a data type for a dtype variable's name.

    Args:
        kernel: that declares it.
        name: of the attribute.
        value: as it was given.
        dtypes: what each dtype variable stands for.

    Raises:
        ConfigError: when it is of another type than the default, or none of those that may be chosen.
    """
    declared, value = kernel.attributes[name], compile_time_value(value)
    expected = str if isinstance(declared, str) else type(declared)
    if not (isinstance(value, str) if expected is str else type(value) is expected):
        raise ConfigError(f"attributes.{name}: {value!r} is not of type {expected.__name__}")
    if not isinstance(declared, str):
        return value  # type: ignore[no-any-return]
    text = str(value)
    choices = getattr(declared, "choices", ())
    if isinstance(declared, DType):
        text = dtypes.get(text, text)
        known = list(choices) if len(choices) > 1 else list(DTYPES)
    else:
        known = list(choices)
    if known and text not in known:
        raise ConfigError(f"attributes.{name}: {text!r} is not supported{did_you_mean(text, known)}")
    return text


def constants_of(problem: Problem, config: Config) -> dict[str, Any]:
    """The value of every constant of the code that a configuration runs, by name; data types as `DType`.

    Raises:
        ConfigError: when one is a dimension that has a range, nothing gives it a value, or a function raises.
        TacticError: when what a function returns differs within the range of a dimension.
    """
    kernel, _ = problem.kernel.resolve(config)
    for dim in kernel.constant_names:
        if dim in problem.dims and not all(r.fixed for r in problem.dims[dim]):
            raise ConfigError(
                f"{kernel.id} {problem.label}: the source takes dimension {dim!r} as a constant, so it needs one "
                "size, not a range; pass it as an extra integer of the launch to keep it dynamic"
            )
    if kernel.constants is None and not kernel.code.heuristics:
        return _at(problem, kernel, config, problem.sizes())
    found, *others = [_at(problem, kernel, config, sizes) for sizes in problem.samples]
    for name, value in found.items():
        for other in others:
            if other[name] != value and name not in problem.dims:
                what = "heuristic" if name in kernel.code.heuristics else "constant"
                raise TacticError(
                    FailureClass.CONSTRAINT,
                    f"the {what} {name} is {value!r} at some sizes of the range and {other[name]!r} at others",
                )
    return found


def _at(problem: Problem, kernel: Kernel, config: Config, sizes: Mapping[str, int]) -> dict[str, Any]:
    """All constants at one size."""
    own = kernel.space.complete(problem.kernel.resolve(config)[1])
    types = {n: DType(str(problem.attributes[n])) for n, v in kernel.attributes.items() if isinstance(v, DType)}
    scope = {**problem.scope(), **own, **sizes}
    followed = _follow(problem, kernel, scope)
    values = {**scope, **types, **followed}
    for name in kernel.constant_names:
        if name not in values:
            raise ConfigError(
                f"kernel {kernel.id!r}: constants returns no {name!r}, which the source takes and nothing else gives"
            )
    declared = {n: values[n] for n in kernel.constant_names if n not in problem.dtypes}
    found = {**kernel.code.fixed, **declared, **followed}
    if not kernel.code.heuristics:
        return found
    integers = problem.evaluate(config, sizes).args
    arguments = name_arguments(kernel, scope, integers)
    spelt = {name: kernel.code.spell(value) for name, value in found.items()}
    try:
        return {**found, **compute_heuristics(kernel.code, {**launch_options(config), **spelt, **arguments})}
    except ConfigError as e:
        raise ConfigError(f"kernel {kernel.id!r}: {e}") from e


def _follow(problem: Problem, kernel: Kernel, scope: Mapping[str, Any]) -> dict[str, Any]:
    """What the declaration's `constants` returns."""
    if kernel.constants is None:
        return {}
    try:
        returned = call(kernel.constants, scope)
    except Exception as e:
        why = f"constants raised {type(e).__name__}: {e}; see {describe(kernel.constants)}"
        raise ConfigError(f"kernel {kernel.id!r}: {why}") from e
    if not isinstance(returned, Mapping):
        raise ConfigError(f"kernel {kernel.id!r}: constants must return a mapping by name, not {returned!r}")
    found = {}
    for name, value in returned.items():
        others = [*kernel.space.names, *kernel.attributes, *(kernel.code.arguments or ())]
        if name in others or name not in {*kernel.code.constants((name,)), *kernel.code.fixed}:
            raise ConfigError(
                f"kernel {kernel.id!r}: constants returns {name!r}, which is no constant of the source, or one that "
                "the declaration gives already"
            )
        value = compile_time_value(value)
        found[name] = DType(problem.dtypes.get(value, value)) if isinstance(value, DType) else value
    return found
