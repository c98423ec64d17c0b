"""Answer from a recorded table, so that a search can be tried without a GPU."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from tuner.compile.artifact import Artifact
from tuner.outcome import Kind, Outcome, Timing
from tuner.search.tactic import Config
from tuner.store.tables.table import Table


class ReplayBackend:
    """Gives every tactic the outcome somebody else recorded for it, the same every time."""

    name = "replay"
    capability: tuple[int, int] | None = None
    batch = 1
    ahead = False

    def __init__(self, table: Table) -> None:
        self.kind: Kind = table.kind
        self.device = table.device or "unknown device"
        self._table = table

    def prepare(self, configs: Sequence[Config]) -> None:
        """There is nothing to prepare."""

    def evaluate(self, configs: Sequence[Config]) -> Iterator[tuple[int, Outcome]]:
        """The recorded outcomes, in the order given."""
        return enumerate(self.confirm(configs))

    def confirm(self, configs: Sequence[Config]) -> list[Outcome]:
        """The recorded outcomes again."""
        return [self._table.outcome(c) for c in configs]

    def tied(self, a: Timing, b: Timing) -> bool:
        """Recorded times tie only when they are equal."""
        return a.time_us == b.time_us

    def compiled(self, config: Config) -> Artifact | None:
        """A table holds times, not code."""
        return None

    def environment(self) -> Mapping[str, str]:
        """Which table answered, and a hash of what it holds."""
        content = sorted(self._table.outcomes.items())
        return {"table": self._table.name, "sha256": hashlib.sha256(repr(content).encode()).hexdigest()}

    def close(self) -> None:
        """There is nothing to close."""
