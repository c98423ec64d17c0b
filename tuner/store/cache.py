"""The best tactics found so far, in one JSON file that people can read and review.

`cache.schema.json` beside this module describes the file. Its entries are identified by plugin id,
kernel source, backend, data types, attributes, device and dimensions; each holds the winner, the
kernel's default and the ties with their times, and what the times depend on. Attributes are stored in
full, since the defaults of a kernel can change without its source. Entries are sorted and every value
has a line of its own, so the same content is the same bytes, and a change is a readable diff.
"""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from tuner.errors import StorageError
from tuner.kernel.identity import made_before
from tuner.kernel.problem import Problem
from tuner.search.tactic import Tactic
from tuner.store.entry import CLOCK_SLACK, Entry, of_today
from tuner.store.files import locked, write_atomic
from tuner.store.keys import Group, Key, covers, key_of, nearest_timed, point_of, problem_key, width
from tuner.store.nearest import Nearest

FORMAT: Literal["qdp-tuner tactic cache"] = "qdp-tuner tactic cache"
VERSION: Literal[1] = 1

Tier: TypeAlias = Literal["exact", "portfolio", "nearest", "device", "default"]


class _CacheDocument(Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a cache file."""

    format: Literal["qdp-tuner tactic cache"]
    version: Literal[1]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Hit:
    """The answer to a lookup; `str()` states in words where it comes from.

    Attributes:
        tier: "exact" (an entry of this very problem and device); "portfolio" (an entry of a range around these
            dimensions, same device); "nearest" (of other dimensions, same device); "device" (of another device of the
            same compute capability); "default" (no entry fits).
        tactic: the tactic to use.
        entry: the entry that it is from; None for the default.
        distance: how far the entry's dimensions are from those asked for: Euclidean, between their binary logarithms.
        others: for the default, how many entries of this kernel the cache holds that do not fit.
        portfolio: where the entry has one, its tactics that are legal here, `tactic` first.
        older_hash: whether the entry was recorded with an older hash of the kernel source, so that nobody knows whether
            the source is the same; never of an exact hit.
    """

    tier: Tier
    tactic: Tactic
    entry: Entry | None = None
    distance: float = 0.0
    others: int = 0
    portfolio: tuple[Tactic, ...] = ()
    older_hash: bool = False

    @property
    def tactics(self) -> tuple[Tactic, ...]:
        """The tactics to offer where several can be offered: the portfolio, or the tactic alone."""
        return self.portfolio or (self.tactic,)

    def __str__(self) -> str:
        if self.entry is None:
            why = "the cache has no entry of this kernel"
            if self.others:
                why = (
                    f"{self.others} of this kernel in the cache, none with this source, backend, data types, "
                    "attributes and compute capability and a tactic that is legal here"
                )
            return f"default tactic: {why}"
        origin = f"{self.entry.label} on {self.entry.device}"
        away = f"{self.distance:.2f} away in log2 of the dimensions" if self.distance else "of the same dimensions"
        by = f"{self.entry.kind} by {self.entry.backend}, {self.entry.date:%Y-%m-%d}"
        if self.older_hash:
            by += "; recorded with an older hash of the kernel source; tune again"
        match self.tier:
            case "exact":
                return f"exact: {origin} ({by})"
            case "portfolio":
                return f"portfolio of {len(self.portfolio)}: {origin}, {away} from the nearest shape timed ({by})"
            case "nearest":
                return f"nearest shape: {origin}, {away} ({by})"
            case _:
                return f"another device of the same compute capability: {origin}, {away} ({by})"


class Cache:
    """The entries of a tactic cache, to be looked up. It is never changed: `update` changes a file."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        """Hold these entries; of two with the same key, the later one."""
        self._by_key = {key_of(e): e for e in entries}
        self._nearest: dict[tuple[Group, str | tuple[int, int]], tuple[list[Entry], Nearest]] = {}

    @classmethod
    def open(cls, path: Path) -> Cache:
        """Read a cache file; a missing one is an empty cache.

        Raises:
            StorageError: when the file cannot be read, is damaged, is something else, or is of a newer version.
        """
        data = _read(path)
        return cls() if data is None else cls.read(path, data)

    @classmethod
    def read(cls, path: Path, data: bytes) -> Cache:
        """Decode the content of a cache file; `path` is for messages.

        Raises:
            StorageError: when the content is damaged, is something else, or is of a newer version.
        """
        try:
            entries = _DECODER.decode(data).entries
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
            raise StorageError(_refusal(path, data, e)) from e
        cache = cls(entries)
        if len(cache._by_key) < len(entries):
            key = Counter(map(key_of, entries)).most_common(1)[0][0]
            entry = cache._by_key[key]
            raise StorageError(f"{path}: several entries are for {entry}; delete all but one")
        return cache

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, in the order in which they are stored."""
        return tuple(self._by_key[k] for k in sorted(self._by_key))

    def __len__(self) -> int:
        return len(self._by_key)

    def lookup(
        self, problem: Problem, source: str, *, backend: str, device: str, capability: tuple[int, int] | None = None
    ) -> Hit:
        """Find the tactic to use for a problem.

        Only entries of the same kernel, source, backend, data types and attributes are considered, and
        only winners that are legal for the problem. An entry that was held against another reference or
        tolerance than today's is unverified. Where there is none, an entry whose source was hashed
        by an older version serves as the nearest would, and the hit says so.

        Args:
            problem: the problem to find a tactic for.
            source: the hash of its kernel's source.
            backend: the backend whose times to go by.
            device: the name of the GPU at hand.
            capability: that GPU's compute capability; None leaves entries of other devices out.
        """
        hit = self._find(problem, source, backend, device, capability)
        return hit if hit.entry is None else replace(hit, entry=of_today(hit.entry, problem.kernel))

    def _find(
        self, problem: Problem, source: str, backend: str, device: str, capability: tuple[int, int] | None
    ) -> Hit:
        key = problem_key(problem, source, backend, device)
        entry = self._by_key.get(key)
        if entry is not None and entry.winner.config in problem.space:
            return Hit("exact", Tactic(entry.winner.config), entry, portfolio=_legal(entry, problem))
        covering = self.covering(problem, source, backend=backend, device=device)
        if covering is not None and (legal := _legal(covering, problem)):
            away, best = nearest_timed(covering, key.shape)
            first = [t for t in legal if t.id == best]
            portfolio = tuple(dict.fromkeys([*first, *legal]))
            return Hit("portfolio", portfolio[0], covering, away, portfolio=portfolio)
        places: list[tuple[Tier, str | tuple[int, int]]] = [("nearest", device)]
        if capability is not None:
            places.append(("device", capability))
        for asked in (key.group, *self._of_older_hash(key.group)):
            for tier, place in places:
                found = self._search(key._replace(group=asked), place, problem)
                if found is not None:
                    distance, entry = found
                    return Hit(tier, Tactic(entry.winner.config), entry, distance, older_hash=asked != key.group)
        return Hit("default", problem.kernel.default_tactic, others=self._counts[problem.kernel.id])

    def covering(self, problem: Problem, source: str, *, backend: str, device: str) -> Entry | None:
        """Find the entry with a portfolio whose range covers the problem's dimensions most narrowly.

        Args:
            problem, source, backend, device: as for `lookup`.

        Returns:
            The entry; None where no range covers all dimensions.
        """
        key = problem_key(problem, source, backend, device)
        held = self._portfolios.get((key.group, device), ())
        fitting = [k for k in held if all(map(covers, k.shape, key.shape))]
        return self._by_key[min(fitting, key=lambda k: (width(k.shape), k))] if fitting else None

    @cached_property
    def _portfolios(self) -> dict[tuple[Group, str], list[Key]]:
        """The keys of entries with a portfolio, by group and device."""
        found: dict[tuple[Group, str], list[Key]] = {}
        for key, entry in self._by_key.items():
            if entry.portfolio:
                found.setdefault((key.group, key.device), []).append(key)
        return found

    def _search(self, key: Key, place: str | tuple[int, int], problem: Problem) -> tuple[float, Entry] | None:
        """Find the nearest entry, on a device or on devices of a compute capability, whose winner is legal."""
        where = (key.group, place)
        found = self._nearest.get(where)
        if found is None:
            keys = sorted(self._groups.get(where, ()))
            found = [self._by_key[k] for k in keys], Nearest([point_of(k.shape) for k in keys])
            self._nearest[where] = found
        entries, nearest = found
        for distance, position in nearest.search(point_of(key.shape)):
            if entries[position].winner.config in problem.space:
                return distance, entries[position]
        return None

    @cached_property
    def _groups(self) -> dict[tuple[Group, str | tuple[int, int]], list[Key]]:
        """The keys of entries by group and device, and again by group and compute capability."""
        groups: dict[tuple[Group, str | tuple[int, int]], list[Key]] = {}
        for key, entry in self._by_key.items():
            groups.setdefault((key.group, key.device), []).append(key)
            if entry.capability is not None:
                groups.setdefault((key.group, entry.capability), []).append(key)
        return groups

    def _of_older_hash(self, group: Group) -> list[Group]:
        """The groups that differ in a source of an older hash, that of the latest entry first."""
        latest: dict[Group, datetime] = {}
        for key, entry in self._by_key.items():
            other = key.group
            if made_before(other.source, group.source) and other._replace(source=group.source) == group:
                latest[other] = max(entry.date, latest.get(other, entry.date))
        return sorted(latest, key=lambda other: (latest[other], other), reverse=True)

    @cached_property
    def _counts(self) -> Counter[str]:
        """How many entries each kernel has."""
        return Counter(key.group.kernel for key in self._by_key)


def default_path() -> Path:
    """Find the user's tactic cache: what `TUNER_CACHE` names, or a file in the user's cache directory."""
    named = os.environ.get("TUNER_CACHE")
    if named:
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("qdp-tuner") / "tactics.json"


def merge(a: Cache, b: Cache) -> Cache:
    """Join two caches: of two entries with the same key the newer one, and `b`'s of two equally old.

    A date that lies ahead says nothing about age: such an entry counts as older than any other. The backend is part
    of an entry's key, so a prediction never takes a measurement's place.
    """
    latest = datetime.now(UTC) + CLOCK_SLACK

    def age(entry: Entry) -> tuple[bool, datetime]:
        return entry.date <= latest, entry.date

    merged = Cache()
    merged._by_key = dict(a._by_key)
    for key, entry in b._by_key.items():
        if key not in a._by_key or age(a._by_key[key]) <= age(entry):
            merged._by_key[key] = entry
    return merged


def update(path: Path, entries: Iterable[Entry], *, by_date: bool = False) -> Cache:
    """Put entries into a cache file and return all it holds now. Several processes may do so at the same time.

    Args:
        path: the file.
        entries: they replace what is there for the same problems.
        by_date: whether they come from elsewhere and only replace what is older, as `merge` does.

    Raises:
        StorageError: when an entry cannot be stored as JSON, or the file is one that `Cache.open` refuses (it is
            left as it is) or cannot be written.
    """
    new = Cache(_checked(e) for e in entries)
    with locked(path):
        held = Cache.open(path)
        merged = merge(held, new) if by_date else Cache({**held._by_key, **new._by_key}.values())
        write_atomic(path, encode(merged))
    return merged


def encode(cache: Cache) -> bytes:
    """Encode a cache as the content of a file."""
    content = _CacheDocument(format=FORMAT, version=VERSION, entries=cache.entries)
    return msgspec.json.format(_ENCODER.encode(content), indent=2) + b"\n"


def schema() -> str:
    """Write the JSON Schema of cache files: the content of `cache.schema.json`."""
    import json

    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": FORMAT}
    return json.dumps({**described, **msgspec.json.schema(_CacheDocument)}, indent=2) + "\n"


_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder(_CacheDocument)
_ENTRY_DECODER = msgspec.json.Decoder(Entry)


def _read(path: Path) -> bytes | None:
    try:
        if path.exists() and not path.is_file():
            raise StorageError(f"{path} is not a file; name a cache file with --cache or TUNER_CACHE")
        return path.read_bytes().removeprefix(BOM_UTF8)  # which some editors write
    except FileNotFoundError:
        return None
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror}; choose another with --cache or TUNER_CACHE") from e


def _refusal(path: Path, data: bytes, error: Exception) -> str:
    """Say what is wrong with a file that does not decode, where, and what to do."""
    remedy = "restore it, or move it away to start a new one"
    try:
        header = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        return f"{path} is damaged or no tactic cache: {e}; {remedy}"
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        return f'{path} is no tactic cache: it lacks "format": "{FORMAT}"; name another file, or move it away'
    version = header.get("version")
    if type(version) is int and version > VERSION:
        return (
            f"{path} has version {version}, this tuner reads up to {VERSION}; upgrade qdp-tuner, or name another file"
        )
    return f"{path}: {error}; {remedy}"


def _checked(entry: Entry) -> Entry:
    """Encode and decode an entry, so that what cannot be read back is refused before it is stored."""
    try:
        return _ENTRY_DECODER.decode(_ENCODER.encode(entry))
    except (msgspec.MsgspecError, UnicodeEncodeError) as e:
        raise StorageError(f"{entry.kernel}: not storable in a tactic cache: {e}") from e


def _legal(entry: Entry, problem: Problem) -> tuple[Tactic, ...]:
    """The tactics of an entry's portfolio that are legal for a problem."""
    return tuple(Tactic(t.config) for t in entry.portfolio if t.config in problem.space)


LOOKUP_ORDER = ("tensorrt", "cuda", "model")
"""The backends whose times to go by, in order: those that time nearest to where a plugin will run, predictions last."""


def lookup(
    cache: Cache,
    problem: Problem,
    source: str,
    backends: Sequence[str],
    device: str,
    capability: tuple[int, int] | None,
) -> Hit:
    """Look a problem up by each of the backends in turn, until one has an entry that fits.

    Args:
        cache: the tactic cache.
        problem, source, device, capability: as for `Cache.lookup`.
        backends: at least one.

    Returns:
        The first answer that is not the default, else the default. What may be of another source, because its hash
        is older, comes after all that is not.
    """
    hits = [cache.lookup(problem, source, backend=b, device=device, capability=capability) for b in backends]
    served = sorted((h for h in hits if h.tier != "default"), key=lambda h: h.older_hash)
    return served[0] if served else hits[-1]
