"""Which tactic a builder chose, read from the engine it made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tuner.compile.artifact import Code


def chosen(layers: str, plan: bytes, known: Mapping[int, Code]) -> int | None:
    """The id of the chosen tactic; None where the engine does not tell, or tells of several.

    The engine inspector is asked first: the value of a layer's "Tactic…" field is looked for among the
    ids of the plugin, which are 31-bit hashes, so that nothing else is likely to have the same
    value. An inspector that does not name custom tactics leaves the plan itself, which holds the PTX of
    the chosen tactic, where no two tactics have the same PTX. Of an operator of several launches the inspector names
    the tactics of its steps, which are others, so that the plan alone tells.

    Args:
        layers: the engine inspector's description, as JSON.
        plan: the serialized engine.
        known: what the plugin offered or could have given, by id.
    """
    try:
        described = json.loads(layers)
    except json.JSONDecodeError:
        described = {}
    named = {value for value in _tactic_values(described) if value in known}
    if not named:
        named = {i for i, code in known.items() if all(a.ptx.encode() in plan for a in code.steps)}
    return named.pop() if len(named) == 1 else None


def _tactic_values(node: Any, key: str = "") -> Iterator[int]:
    """Every integer, decimal or hexadecimal, below a key that starts with "Tactic"."""
    match node:
        case dict():
            for name, value in node.items():
                yield from _tactic_values(value, name)
        case list():
            for value in node:
                yield from _tactic_values(value, key)
        case int() if key.startswith("Tactic"):
            yield node
        case str() if key.startswith("Tactic"):
            yield from (int(text, 0) for text in re.findall(r"\b0[xX][0-9a-fA-F]+\b|\b[1-9]\d*\b", node))
