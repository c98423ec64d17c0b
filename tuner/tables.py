"""Recorded tuning tables: every configuration that somebody else ran, and what became of it.

Three formats are read, each plain or gzipped:

- T4 JSON: ``{"results": [{"configuration", "invalidity", "measurements", …}], …}``;
- Kernel Tuner cache files: ``{"tune_params_keys", "cache": {key: row}, …}``; the closing braces may be
  missing, as they are while a tuning run is going on;
- CSV: a header with one column per parameter and one for the time, named ``time_us`` (or ``time_ns``,
  ``time_ms``, ``time_s``). A row that failed has the class of failure there instead of a number:
  ``compile``, ``timeout``, ``runtime``, ``correctness`` or ``constraint``.

The two JSON formats give times in milliseconds unless they name another unit.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from tuner.errors import ConfigError, StorageError
from tuner.space import Constraint, Param, Space
from tuner.tactic import Config, Value, canonical
from tuner.trial import Failure, FailureClass, Outcome, Timing

US_PER_UNIT: Mapping[str, float] = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}

UNIT_NAMES: Mapping[str, str] = {
    "": "ms",
    "seconds": "s",
    "milliseconds": "ms",
    "miliseconds": "ms",  # spelt so by the files of Kernel Tuner's benchmark hub
    "microseconds": "us",
    "nanoseconds": "ns",
}

FAILURES: Mapping[str, FailureClass] = {
    **{kind.value: kind for kind in FailureClass},
    "constraints": FailureClass.CONSTRAINT,
    "InvalidConfig": FailureClass.CONSTRAINT,
    "CompilationFailedConfig": FailureClass.COMPILE,
    "RuntimeFailedConfig": FailureClass.RUNTIME,
}

NO_TIME = 1e20  # what older versions of Kernel Tuner stored for a configuration that failed

Row: TypeAlias = tuple[str, dict[str, Value], Outcome]


@dataclass(frozen=True)
class Table:
    """The recorded outcomes of one kernel on one device.

    Attributes:
        name: the file's name without its endings.
        device: the GPU the times are from, "" when the file does not say.
        space: holds exactly the recorded configurations.
        outcomes: by canonical text of the configuration.
        optimum_us: the shortest time.
    """

    name: str
    device: str
    space: Space
    outcomes: Mapping[str, Outcome]
    optimum_us: float

    def outcome(self, config: Config) -> Outcome:
        """What became of a configuration; one that was not recorded violates a constraint."""
        recorded = self.outcomes.get(canonical(config))
        return recorded or Failure(FailureClass.CONSTRAINT, "not among the recorded configurations")


def read_table(path: Path) -> Table:
    """Read a table in any of the three formats.

    Raises:
        StorageError: when the file cannot be read or is not such a table; names the file and the place.
    """
    text = _read_text(path)
    if text.lstrip().startswith("{"):
        device, rows = _read_json(path, text)
    else:
        device, rows = "", _read_csv(path, text)
    return _build(path, device, rows)


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data.decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as e:
        reason = getattr(e, "strerror", None) or str(e) or type(e).__name__
        raise StorageError(f"{path}: cannot read this table: {reason}") from e


# -- T4 and Kernel Tuner -------------------------------------------------------------------------------


class _Measurement(msgspec.Struct):
    name: str
    value: float | str
    unit: str = ""


class _Times(msgspec.Struct):
    runtimes: list[float] = []


class _Result(msgspec.Struct):
    configuration: dict[str, Value]
    measurements: list[_Measurement] = []
    invalidity: str = "correct"
    objectives: list[str] = []
    times: _Times = msgspec.field(default_factory=_Times)


class _T4(msgspec.Struct):
    results: list[_Result]
    metadata: dict[str, Any] = {}


class _Cache(msgspec.Struct):
    tune_params_keys: list[str]
    cache: dict[str, dict[str, Any]]
    device_name: str = ""
    objective: str = "time"


def _read_json(path: Path, text: str) -> tuple[str, list[Row]]:
    try:
        fields = _decode_unclosed(text)
    except msgspec.MsgspecError as e:
        raise StorageError(f"{path}: {_place(e)}; the file is cut short or damaged") from e
    try:
        if "results" in fields:
            return _rows_of_t4(path, msgspec.convert(fields, _T4))
        if "cache" in fields:
            return _rows_of_cache(path, msgspec.convert(fields, _Cache))
    except msgspec.ValidationError as e:
        raise StorageError(f"{path}: {_place(e)}") from e
    raise StorageError(f"{path}: neither a T4 file ('results') nor a Kernel Tuner cache ('cache'), nor CSV")


def _decode_unclosed(text: str) -> dict[str, Any]:
    """Decode a JSON object; a Kernel Tuner cache whose last rows are whole may lack its two closing braces."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        if '"cache"' not in text:
            raise
        for braces in ("}}", "}"):
            try:
                return msgspec.json.decode(text.rstrip().rstrip(",") + braces, type=dict[str, Any])
            except msgspec.DecodeError:
                continue
        raise


def _place(error: msgspec.MsgspecError) -> str:
    return str(error).replace(" - at `$.", " at `").replace("JSON is malformed", "not valid JSON")


def _rows_of_t4(path: Path, file: _T4) -> tuple[str, list[Row]]:
    rows: list[Row] = []
    unit_of_file = str(file.metadata.get("timeunit", ""))
    for i, result in enumerate(file.results):
        place = f"results[{i}]"
        objective = result.objectives[0] if result.objectives else "time"
        measured = next((m for m in result.measurements if m.name == objective), None)
        if result.invalidity != "correct":
            rows.append((place, result.configuration, _failure(path, place, result.invalidity)))
        elif measured is None:
            raise StorageError(f"{path}: {place} has no measurement named {objective!r}")
        else:
            scale = _scale(path, place, measured.unit or unit_of_file)
            rows.append(
                (place, result.configuration, _outcome(path, place, measured.value, scale, result.times.runtimes))
            )
    return str(file.metadata.get("device", "")), rows


def _rows_of_cache(path: Path, file: _Cache) -> tuple[str, list[Row]]:
    rows: list[Row] = []
    for key, fields in file.cache.items():
        place = f"cache[{key!r}]"
        for name in (*file.tune_params_keys, file.objective):
            if name not in fields:
                raise StorageError(f"{path}: {place} has no {name!r}")
        samples = fields.get("times", []) if file.objective == "time" else []
        config = {name: fields[name] for name in file.tune_params_keys}
        for name, value in config.items():
            if not isinstance(value, (int, float, bool, str)):
                raise StorageError(f"{path}: {place} has {name}={value!r}; it must be a number, bool or string")
        rows.append((place, config, _outcome(path, place, fields[file.objective], US_PER_UNIT["ms"], samples)))
    return file.device_name, rows


def _scale(path: Path, place: str, unit: str) -> float:
    known = UNIT_NAMES.get(unit.lower(), unit)
    if known not in US_PER_UNIT:
        raise StorageError(f"{path}: {place} has the unit {unit!r}; known are {', '.join(US_PER_UNIT)}")
    return US_PER_UNIT[known]


def _outcome(path: Path, place: str, value: object, scale: float, samples: Iterable[float]) -> Outcome:
    if isinstance(value, str):
        return _failure(path, place, value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0 or math.isinf(value):
        raise StorageError(f"{path}: {place} has the time {value!r}; it must be a positive number")
    if value >= NO_TIME:
        return _failure(path, place, "runtime")
    return Timing(value * scale, "measurement", "mean", tuple(s * scale for s in samples))


def _failure(path: Path, place: str, name: str) -> Failure:
    if name not in FAILURES:
        raise StorageError(f"{path}: {place} has neither a time nor a known class of failure: {name!r}")
    return Failure(FAILURES[name], f"recorded as {name}")


# -- CSV -----------------------------------------------------------------------------------------------


def _read_csv(path: Path, text: str) -> list[Row]:
    lines = csv.reader(io.StringIO(text))
    header = next(lines, [])
    times = [name for name in header if name in {f"time_{unit}" for unit in US_PER_UNIT}]
    if len(times) != 1 or len(set(header)) < len(header):
        raise StorageError(
            f"{path}: line 1: a table needs distinct columns, exactly one of them time_us (or _ns, _ms, _s)"
        )
    scale = US_PER_UNIT[times[0].removeprefix("time_")]
    records: list[tuple[str, dict[str, str]]] = []
    for fields in lines:
        if fields and len(fields) != len(header):
            raise StorageError(f"{path}: line {lines.line_num} has {len(fields)} fields; the header has {len(header)}")
        if fields:
            records.append((f"line {lines.line_num}", dict(zip(header, fields, strict=True))))
    parsed = {n: _column([r[n] for _, r in records]) for n in header if n != times[0]}
    rows: list[Row] = []
    for i, (place, record) in enumerate(records):
        time = record[times[0]].strip()
        value = _number(time, float)
        rows.append(
            (
                place,
                {n: c[i] for n, c in parsed.items()},
                _outcome(path, place, time if value is None else value, scale, ()),
            )
        )
    return rows


def _column(texts: Sequence[str]) -> Sequence[Value]:
    """All values of a column as int, else float, else bool, else text."""
    for kind in (int, float):
        numbers = [_number(t, kind) for t in texts]
        if None not in numbers:
            return [n for n in numbers if n is not None]
    if {t.lower() for t in texts} <= {"true", "false"}:
        return [t.lower() == "true" for t in texts]
    return texts


def _number(text: str, kind: type[int] | type[float]) -> int | float | None:
    try:
        return kind(text)
    except ValueError:
        return None


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
    times = [o.time_us for o in outcomes.values() if isinstance(o, Timing)]
    if not times:
        raise StorageError(f"{path}: no configuration has a time")
    try:
        space = _space(names, configs)
    except ConfigError as e:
        raise StorageError(f"{path}: {e}") from e
    return Table(path.name.removesuffix(".gz").rsplit(".", 1)[0], device, space, outcomes, min(times))


def _space(names: Sequence[str], configs: Sequence[Config]) -> Space:
    params = tuple(Param(n, _values(c[n] for c in configs)) for n in names)
    constraints: list[Constraint] = []
    shorter = 1
    for position, param in enumerate(params):
        heads = frozenset(tuple(c[n] for n in names[: position + 1]) for c in configs)
        if len(heads) < shorter * len(param.values):  # else every continuation was recorded
            why = f"no recorded configuration goes on with this {param.name}"
            constraints.append(Constraint(f"recorded {param.name}", _Heads(heads), why, tuple(names[: position + 1])))
        shorter = len(heads)
    return Space(params, tuple(constraints))


def _values(recorded: Iterable[Value]) -> tuple[Value, ...]:
    """Distinct values, numbers in ascending order."""
    distinct = tuple(dict.fromkeys(recorded))
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in distinct)
    return tuple(sorted(distinct)) if numeric else distinct


class _Heads:
    """Whether the first values of a configuration, given in declared order, begin a recorded one."""

    def __init__(self, heads: frozenset[tuple[Value, ...]]) -> None:
        self.heads = heads

    def __call__(self, **values: Value) -> bool:
        return tuple(values.values()) in self.heads
