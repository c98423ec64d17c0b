"""Ready PTX: one text with placeholders, or one file for each tactic.

A placeholder is a name between ``<<`` and ``>>``, which no PTX contains. It stands for a tuned parameter, an
attribute or a dimension: ``mov.u32 %r1, <<BLOCK_SIZE>>;``.
"""

from __future__ import annotations

import glob
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import Formatter

from tuner.errors import ConfigError
from tuner.frontends.base import Emitted, Source, Specialization
from tuner.frontends.text import normalised, read
from tuner.outcome import FailureClass, TacticError
from tuner.search.tactic import Value

_PLACEHOLDER = re.compile(r"<<(\w+)>>")


@dataclass(frozen=True, eq=False)
class Ptx(Source):
    """PTX that something else wrote.

    Example:
        ``Ptx(Path(__file__).with_name("increment.ptx"))``, or with a file for each block size
        ``Ptx(Path(__file__).with_name("increment_{BLOCK_SIZE}.ptx"))``.

    Attributes:
        path: the file. A parameter, attribute or dimension in braces makes it one file for each value; a
            tactic that has no file is refused.
    """

    path: Path

    language = "PTX"

    def __post_init__(self) -> None:
        if not isinstance(self.path, Path):
            raise ConfigError(f"Ptx takes a Path, such as Path(__file__).with_name('name.ptx'), not {self.path!r}")
        if not self._texts:
            raise ConfigError(f"{self.path}: there is no such file")

    def constants(self, declared: Sequence[str]) -> tuple[str, ...]:
        inside = (name for text in self._texts.values() for name in _PLACEHOLDER.findall(text))
        return tuple(dict.fromkeys((*self._fields, *inside)))

    def text(self) -> str:
        codes = (f"{name}\n{normalised(text)}" for name, text in sorted(self._texts.items()))
        return "\n".join(codes)

    def emit(self, specialization: Specialization) -> Emitted:
        values = {name: _spelt(value) for name, value in specialization.constants.items()}
        name = self.path.name.format_map(values)
        if name not in self._texts:
            missing = self.path.with_name(name)
            raise TacticError(FailureClass.CONSTRAINT, f"this tactic has no PTX: {missing} does not exist")
        return Emitted(_PLACEHOLDER.sub(lambda match: values[match[1]], self._texts[name]))

    def tools(self) -> Mapping[str, str]:
        return {}

    @property
    def _fields(self) -> tuple[str, ...]:
        return tuple(field for _, field, _, _ in _parts(self.path.name) if field)

    @cached_property
    def _texts(self) -> dict[str, str]:
        """The text of every file, read once so that what is identified is what is compiled."""
        pattern = "".join(glob.escape(text) + "*" * (field is not None) for text, field, _, _ in _parts(self.path.name))
        return {p.name: read(p) for p in sorted(self.path.parent.glob(pattern))}


def _parts(name: str) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        return list(Formatter().parse(name))
    except ValueError as e:
        raise ConfigError(f"{name}: {e}; braces name a parameter, as in 'increment_{{BLOCK_SIZE}}.ptx'") from None


def _spelt(value: Value) -> str:
    """A value as PTX spells it: floats as the bits of a 32-bit one."""
    if isinstance(value, float):
        return "0f" + struct.pack(">f", value).hex().upper()
    return str(int(value)) if isinstance(value, bool) else str(value)
