"""One frozen configuration of a kernel, and the integer id TensorRT knows it by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TypeAlias

from tuner.errors import ConfigError

Value: TypeAlias = int | float | bool | str
Config: TypeAlias = Mapping[str, Value]


def canonical(config: Config) -> str:
    """The configuration as JSON with sorted keys and no blanks: equal configurations, equal text."""
    return json.dumps(dict(config), sort_keys=True, separators=(",", ":"))


class Tactic:
    """An immutable configuration, for example ``{"BLOCK_SIZE": 256, "num_warps": 4}``.

    The id is the first 31 bits of the SHA-256 of the canonical configuration (0, which TensorRT
    reserves for a plugin's default, becomes 1). It depends on nothing else, so adding a choice to a
    space or reordering its parameters leaves every id, and every cache that names one, as it was.
    """

    def __init__(self, config: Config) -> None:
        self.config: dict[str, Value] = dict(sorted(config.items()))

    @cached_property
    def key(self) -> str:
        """The canonical text of the configuration."""
        return canonical(self.config)

    @cached_property
    def id(self) -> int:
        """A positive integer below 2**31."""
        digest = hashlib.sha256(self.key.encode()).digest()
        return (int.from_bytes(digest[:4], "big") & 0x7FFFFFFF) or 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tactic) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Tactic({self.config})"

    def __str__(self) -> str:
        return " ".join(f"{k}={v}" for k, v in self.config.items())


def by_id(tactics: Iterable[Tactic]) -> dict[int, Tactic]:
    """Index tactics by id; raises `ConfigError` when two different configurations share one."""
    index: dict[int, Tactic] = {}
    for tactic in tactics:
        other = index.setdefault(tactic.id, tactic)
        if other != tactic:
            raise ConfigError(
                f"tactics ({other}) and ({tactic}) share the id {tactic.id}; "
                "leave one of them out of the space with a constraint"
            )
    return index
