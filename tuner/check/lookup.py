"""Whether the tactic cache still serves a recorded winner.

The cache is keyed by the kernel's source, so that a tactic never outlives the code it was tuned for. The price is that
every edit, however harmless, makes the entries of the old source unreachable, and whoever looks them up gets the
default. Nothing else would tell. What this check says:

- the lookup finds the recorded winner: pass;
- the source was edited since the baseline was written, and the cache holds the winner of the old source: pass with a
  word about it, since a pull request has to be able to edit a kernel; with `--served` (before a release) a regression;
- the lookup finds another tactic, or nothing though the source is the recorded one: a regression.

`tuner check --update` moves an entry to the new source when the code has not changed at all: what was measured then
is what would run now. After any other change `tuner tune` has to run again.
"""

from __future__ import annotations

from pathlib import Path

from tuner.check.baseline import Record
from tuner.check.verdict import Check, Subject
from tuner.kernel.identity import kernel_hash, made_before
from tuner.search.tactic import Tactic
from tuner.store.cache import LOOKUP_ORDER, Cache, Hit, lookup


def served(subject: Subject, record: Record, path: Path, cache: Cache, strict: bool) -> Check:
    """Look the problem up as a plugin would.

    Args:
        subject: the problem.
        record: what was recorded of it.
        path, cache: the tactic cache.
        strict: whether an edited source is a regression.
    """
    now = kernel_hash(subject.problem.kernel)
    winner = Tactic(record.winner.config)
    measured = record.origin is not None and record.origin.kind == "measurement"
    # A cache of predictions is a developer's own, not what was measured to be shipped.
    if not any(e.kernel == record.kernel and (e.kind == "measurement" or not measured) for e in cache.entries):
        what = "measured entry" if measured else "entry"
        message = f"{path} has no {what} of this kernel, so lookups were not checked; name what you ship with --cache"
        return subject.check("lookup", "regression" if strict else "pass", message)
    hit = find(subject, record, cache, now)
    if hit.tier == "exact" and hit.tactic == winner:
        return subject.check("lookup", "pass", f"a lookup in {path} finds the winner: {hit}", winner.id, winner.id)
    found = hit.tactic.id if hit.entry else None
    if hit.tier == "exact":
        message = f"{path} serves ({hit.tactic}), which is not the recorded winner ({winner}); record it with --update"
        return subject.check("lookup", "regression", message, winner.id, found)
    if now != record.source and find(subject, record, cache, record.source).tier == "exact":
        why = "the source was edited"
        if made_before(record.source, now):
            why = "the baseline and the cache hold an older hash of the kernel source"
        message = (
            f"{why}, so a lookup in {path} no longer finds the winner and gives {_found(hit)}; "
            "where the code is unchanged --update moves the entry, else run: tuner tune"
        )
        return subject.check("lookup", "regression" if strict else "pass", message, winner.id, found)
    message = f"no lookup in {path} finds the winner: it gives {_found(hit)}; run tuner tune, then --update"
    return subject.check("lookup", "regression", message, winner.id, found)


def find(subject: Subject, record: Record, cache: Cache, source: str) -> Hit:
    """What the cache gives a plugin for a source of the recorded problem."""
    # Times of a warm cache are only found by who asks for them.
    own = [record.origin.backend] if record.origin and record.origin.backend not in LOOKUP_ORDER else []
    return lookup(cache, subject.problem, source, (*own, *LOOKUP_ORDER), record.device, record.capability)


def _found(hit: Hit) -> str:
    return "the default" if hit.entry is None else str(hit)
