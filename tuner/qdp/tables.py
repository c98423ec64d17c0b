"""Words and data types that a network chooses: attributes of a plugin that are positions in a recorded table.

TensorRT's bindings below 10.16 corrupt texts (with numpy 2), and no version takes a data type.
"""

from __future__ import annotations

from collections.abc import Mapping

from tuner.errors import ConfigError, did_you_mean
from tuner.kernel.kernel import Attribute, Kernel
from tuner.kernel.problem import Problem
from tuner.search.tactic import Value


def is_fixed(kernel: Kernel, attribute: str) -> bool:
    """Whether a declared attribute is a word or data type without a choice, which a plugin does not have."""
    default = kernel.attributes[attribute]
    return isinstance(default, str) and len(getattr(default, "choices", ())) < 2


def served(kernel: Kernel) -> tuple[str, ...]:
    """The attributes of a plugin: declared ones that are not fixed, and dtype variables that no input tells."""
    return (*(n for n in kernel.attributes if not is_fixed(kernel, n)), *kernel.chosen_dtypes)


def table(kernel: Kernel, target: str) -> tuple[str, ...]:
    """The words behind the positions that an attribute of the plugin takes; () where it is a plain number.

    Args:
        kernel: the operator.
        target: the declared attribute, dtype variable or tuned parameter that is set.
    """
    if target in kernel.chosen_dtypes:
        return tuple(kernel.dtypes[target])
    if target in kernel.space.names:
        values = next(p for p in kernel.space.params if p.name == target).values
        return tuple(str(v) for v in values) if isinstance(values[0], str) else ()
    default = kernel.attributes.get(target)
    return getattr(default, "choices", ()) if isinstance(default, str) else ()


def tables(kernel: Kernel) -> dict[str, tuple[str, ...]]:
    """The table of each served attribute that has one."""
    return {name: words for name in served(kernel) if (words := table(kernel, name))}


def word(kernel: Kernel, target: str, value: Value) -> Value:
    """What a plugin's attribute means: the word at a position, or the value itself.

    Raises:
        ConfigError: for a position that the table does not have.
    """
    words = table(kernel, target)
    if not words:
        return value
    if type(value) is not int or not 0 <= value < len(words):
        meant = ", ".join(f"{i} for {w}" for i, w in enumerate(words))
        raise ConfigError(f"{kernel.id}: {target}={value!r} is none of {meant}")
    return words[value]


def position(words: tuple[str, ...], name: str, value: Attribute) -> Attribute:
    """The position of a word; a number as it is.

    Raises:
        ConfigError: for a word that is not there.
    """
    if not words or not isinstance(value, str):
        return value
    if value not in words:
        raise ConfigError(f"{name}={value!r} is not supported{did_you_mean(value, words)}")
    return words.index(value)


def call_values(problem: Problem) -> dict[str, Attribute]:
    """The attributes of a call of the plugin that poses this problem."""
    kernel = problem.kernel
    known: Mapping[str, Attribute] = {**problem.attributes, **problem.dtypes}
    return {name: position(table(kernel, name), name, known[name]) for name in served(kernel)}
