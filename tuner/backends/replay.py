"""Answer from a recorded table, so that a search can be tried without a GPU."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from tuner.backends.base import Backend
from tuner.backends.setting import Opening
from tuner.outcome import Origin, Outcome
from tuner.search.tactic import Config
from tuner.store.tables.table import Table, read_table


class ReplayBackend(Backend):
    """Gives every tactic the outcome somebody else recorded for it, the same every time."""

    def __init__(self, table: Table) -> None:
        self._table = table

    @property
    def origin(self) -> Origin:
        """Whose times these are, with the name of the table and a hash of what it holds."""
        content = sorted(self._table.outcomes.items())
        digest = hashlib.sha256(repr(content).encode()).hexdigest()
        environment = {"table": self._table.name, "sha256": digest}
        return Origin("replay", self._table.kind, self._table.device or "unknown device", None, environment)

    def evaluate(self, configs: Sequence[Config]) -> Iterator[tuple[int, Outcome]]:
        """The recorded outcomes, in the order given."""
        return enumerate(self.confirm(configs))

    def confirm(self, configs: Sequence[Config]) -> list[Outcome]:
        """The recorded outcomes again."""
        return [self._table.outcome(c) for c in configs]


def open_backend(opening: Opening) -> Backend:
    """Answer from the table that was named."""
    assert opening.table is not None
    return ReplayBackend(read_table(opening.table))
