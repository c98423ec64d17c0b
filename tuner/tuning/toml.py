"""Values as TOML spells them, which the standard library reads but does not write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct


def pairs(table: Mapping[str, Any]) -> list[str]:
    """A line for each key of a table, ``key = value``; those that are None are left out."""
    return [f"{_key(name)} = {spelt(value)}" for name, value in table.items() if value is not None]


def spelt(value: Any) -> str:
    """A value of a config: a text, number or truth, or a tuple, mapping or `Struct` of them, on one line."""
    match value:
        case str():
            # JSON's escapes are TOML's, but for DEL, which only TOML escapes.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
        case bool():
            return "true" if value else "false"
        case Struct():
            return spelt(msgspec.structs.asdict(value))
        case tuple():
            return f"[{', '.join(map(spelt, value))}]"
        case Mapping():
            return f"{{ {', '.join(pairs(value))} }}" if value else "{}"
        case _:
            return repr(value)


def _key(name: str) -> str:
    return name if name.isascii() and name.isidentifier() else spelt(name)
