"""Recorded tuning tables: every configuration that somebody else ran, and what became of it."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import ConfigError, StorageError
from tuner.outcome import Failure, FailureClass, Kind, Outcome, Timing
from tuner.search.constraints import listed
from tuner.search.params import Param
from tuner.search.space import Space
from tuner.search.tactic import Config, Value, canonical
from tuner.store.tables.read import read_rows
from tuner.store.tables.rows import Row


@dataclass(frozen=True)
class Table:
    """The recorded outcomes of one kernel on one device.

    Attributes:
        name: the file's name without its endings.
        device: the GPU the times are from, "" when the file does not say.
        space: holds exactly the recorded configurations.
        outcomes: by canonical text of the configuration.
        optimum_us: the shortest time.
        kind: what kind of number the times are.
    """

    name: str
    device: str
    space: Space
    outcomes: Mapping[str, Outcome]
    optimum_us: float
    kind: Kind = "measurement"

    def outcome(self, config: Config) -> Outcome:
        """What became of a configuration; one that was not recorded violates a constraint."""
        recorded = self.outcomes.get(canonical(config))
        return recorded or Failure(FailureClass.CONSTRAINT, "not among the recorded configurations")


def read_table(path: Path) -> Table:
    """Read a table in any of the formats of `tuner.store.tables.read`, plain or gzipped.

    Raises:
        StorageError: when the file cannot be read or is not such a table; names the file and the place.
    """
    return _build(path, *read_rows(path, _read_text(path)))


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as e:
        reason = getattr(e, "strerror", None) or str(e) or type(e).__name__
        raise StorageError(f"{path}: cannot read this table: {reason}") from e


# -- the space of what was recorded --------------------------------------------------------------------


def _build(path: Path, device: str, rows: list[Row]) -> Table:
    outcomes: dict[str, Outcome] = {}
    names = list(rows[0][1]) if rows else []
    fractional = {n for _, config, _ in rows for n, v in config.items() if isinstance(v, float)}
    configs: list[Config] = []
    for place, recorded, outcome in rows:
        config = {n: float(v) if n in fractional and type(v) is int else v for n, v in recorded.items()}
        if sorted(config) != sorted(names):
            raise StorageError(
                f"{path}: {place} has the parameters {', '.join(config)}; the first has {', '.join(names)}"
            )
        configs.append(config)
        earlier = outcomes.setdefault(canonical(config), outcome)
        if earlier != outcome:
            raise StorageError(f"{path}: {place} repeats a configuration with another outcome")
    timed = [o for o in outcomes.values() if isinstance(o, Timing)]
    if not timed:
        raise StorageError(f"{path}: no configuration has a time")
    try:
        space = _space(names, configs)
    except ConfigError as e:
        raise StorageError(f"{path}: {e}") from e
    return Table(
        path.name.removesuffix(".gz").rsplit(".", 1)[0],
        device,
        space,
        outcomes,
        min(o.time_us for o in timed),
        timed[0].kind,
    )


def _space(names: Sequence[str], configs: Sequence[Config]) -> Space:
    params = tuple(Param(n, _values(c[n] for c in configs)) for n in names)
    why = "no recorded configuration goes on with this {param}"
    constraints = tuple(listed(params, configs, "recorded {param}", why))
    return Space(params, constraints, work=sys.maxsize)  # the rows of the table bound it


def _values(recorded: Iterable[Value]) -> tuple[Value, ...]:
    """Distinct values, numbers in ascending order."""
    distinct = tuple(dict.fromkeys(recorded))
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in distinct)
    return tuple(sorted(distinct)) if numeric else distinct
