"""How one tactic cache differs from another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tuner.store.entry import Entry
from tuner.store.keys import Key, key_of

What: TypeAlias = Literal["added", "removed", "winner", "time", "details"]


@dataclass(frozen=True)
class Change:
    """An entry that differs between two caches.

    Attributes:
        before, after: the entry in each cache; None where the cache has none. At least one is an entry.
    """

    before: Entry | None
    after: Entry | None

    @property
    def what(self) -> What:
        """The kind of change.

        "added" and "removed" are entries of one cache alone. Else: "winner", another tactic won; "time", the same
        tactic won with another time; "details", anything else differs.
        """
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        if self.before.winner.id != self.after.winner.id:
            return "winner"
        return "time" if self.before.winner.time_us != self.after.winner.time_us else "details"

    @property
    def new_source(self) -> bool:
        """Whether both caches have the entry, under different sources of the kernel."""
        return self.before is not None and self.after is not None and self.before.source != self.after.source

    @property
    def ratio(self) -> float | None:
        """The winner's time after over its time before; None for an entry that was added or removed."""
        if self.before is None or self.after is None:
            return None
        return self.after.winner.time_us / self.before.winner.time_us

    @property
    def entry(self) -> Entry:
        """The entry as it is now, or as it was last."""
        entry = self.after or self.before
        assert entry is not None
        return entry


def changes(before: Iterable[Entry], after: Iterable[Entry]) -> list[Change]:
    """List the entries that were added, removed or changed, in the order in which a cache stores them.

    An entry whose kernel's source alone is another counts as changed, not as one removed and one added,
    when there is one such entry on each side.
    """
    old, new = {key_of(e): e for e in before}, {key_of(e): e for e in after}
    found = [Change(old[k], new[k]) for k in old.keys() & new.keys() if old[k] != new[k]]
    gone, come = _by_problem(old.keys() - new.keys()), _by_problem(new.keys() - old.keys())
    found += [Change(old.pop(gone[p]), new.pop(come[p])) for p in gone.keys() & come.keys()]
    found += [Change(old[k], None) for k in old.keys() - new.keys()]
    found += [Change(None, new[k]) for k in new.keys() - old.keys()]
    return sorted(found, key=lambda change: key_of(change.entry))


def _by_problem(keys: Iterable[Key]) -> dict[Key, Key]:
    """Index keys by themselves without the source; keys that only the source tells apart are left out."""
    keys = list(keys)
    problems = [k._replace(group=k.group._replace(source="")) for k in keys]
    count = Counter(problems)
    return {p: k for p, k in zip(problems, keys, strict=True) if count[p] == 1}
