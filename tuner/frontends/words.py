"""Compile-time values that are no numbers: words and data types."""

from __future__ import annotations

import re
from typing import Any

from tuner.errors import ConfigError

_LONG = re.compile(r"(u?)int(\d+)")


class Word(str):
    """A word that is compiled in, one of several: ``Word("silu", "relu", "none")``, the first by default.

    Attributes:
        choices: all of them. In TensorRT, an attribute of this kind is the position in them.
    """

    choices: tuple[str, ...]

    def __new__(cls, *choices: str) -> Word:
        """Check them.

        Raises:
            ConfigError: when there is none, or one is given twice.
        """
        if not choices or len(set(choices)) < len(choices) or not all(isinstance(c, str) for c in choices):
            raise ConfigError(f"{cls.__name__}{choices!r} takes one text or several, each once")
        made = super().__new__(cls, choices[0])
        made.choices = tuple(map(str, choices))
        return made


class DType(Word):
    """A data type that is compiled in as one: ``DType("fp32")``, or ``DType("T")``, what a dtype variable stands for.

    With several, ``DType("fp16", "fp32")``, it is one of them, the first by default.
    """


def compile_time_value(value: Any) -> Any:
    """Return what a declaration means: what a `tl.constexpr` holds, Triton's data types as `DType`; all else as it is.

    Triton is not imported for it.
    """
    kind = type(value)
    if kind.__module__.startswith("triton.") and kind.__name__ == "constexpr":
        return compile_time_value(value.value)
    if kind.__module__.startswith("triton.") and kind.__name__ == "dtype":
        return DType(_LONG.sub(lambda m: f"{m[1] or 'i'}{m[2]}", value.name))
    return value
