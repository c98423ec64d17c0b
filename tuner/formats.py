"""The file formats of recorded tuning tables, read as rows of configurations and outcomes.

- T4 JSON: ``{"results": [{"configuration", "invalidity", "measurements", …}], …}``;
- Kernel Tuner cache files: ``{"tune_params_keys", "cache": {key: row}, …}``; the closing braces may be
  missing, as they are while a tuning run is going on;
- CSV: a header with one column per parameter and one for the time, named ``time_us`` (or ``time_ns``,
  ``time_ms``, ``time_s``). A row that failed has the class of failure there instead of a number:
  ``compile``, ``timeout``, ``runtime``, ``correctness`` or ``constraint``;
- a tactic cache that holds one entry: its winner, default and ties.

T4 and Kernel Tuner files give times in milliseconds unless they name another unit. Those that this tuner
exported say by the name of the objective whether a time is a prediction.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from tuner.cache import FORMAT, Cache
from tuner.errors import StorageError
from tuner.tactic import Value
from tuner.trial import VERIFIED, Failure, FailureClass, Kind, Outcome, Timing

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

OBJECTIVES: Mapping[Kind, str] = {"measurement": "time", "prediction": "predicted_time"}
"""What the objective of an exported table is called, so that no reader takes a prediction for a measurement."""

NO_TIME = 1e20  # what older versions of Kernel Tuner stored for a configuration that failed

Row: TypeAlias = tuple[str, dict[str, Value], Outcome]
"""Its place in the file, the configuration, and what became of it."""


def read_rows(path: Path, text: str) -> tuple[str, list[Row]]:
    """The device that a table names ("" when it names none), and its rows.

    Raises:
        StorageError: when the text is no such table; names the file and the place.
    """
    return _read_json(path, text) if text.lstrip().startswith("{") else ("", _read_csv(path, text))


# -- JSON ----------------------------------------------------------------------------------------------


class _Measurement(msgspec.Struct):
    name: str
    value: float | str
    unit: str = ""


class _Times(msgspec.Struct):
    runtimes: list[float] = []


class _Result(msgspec.Struct):
    configuration: dict[str, Value]
    verified: str = VERIFIED
    message: str = ""
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
        if fields.get("format") == FORMAT:
            return _rows_of_entry(path, Cache.read(path, text.encode()))
    except msgspec.ValidationError as e:
        raise StorageError(f"{path}: {_place(e)}") from e
    raise StorageError(f"{path}: neither a T4 file ('results'), a Kernel Tuner cache ('cache'), a tactic cache nor CSV")


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
            rows.append((place, result.configuration, _failure(path, place, result.invalidity, result.message)))
        elif measured is None:
            raise StorageError(f"{path}: {place} has no measurement named {objective!r}")
        else:
            scale = _scale(path, place, measured.unit or unit_of_file)
            outcome = _outcome(
                path, place, measured.value, scale, result.times.runtimes, _kind(objective), result.verified
            )
            rows.append((place, result.configuration, outcome))
    return str(file.metadata.get("device", "")), rows


def _rows_of_cache(path: Path, file: _Cache) -> tuple[str, list[Row]]:
    rows: list[Row] = []
    kind = _kind(file.objective)
    for key, fields in file.cache.items():
        place = f"cache[{key!r}]"
        for name in file.tune_params_keys:
            if name not in fields:
                raise StorageError(f"{path}: {place} has no {name!r}")
        config = {name: fields[name] for name in file.tune_params_keys}
        for name, value in config.items():
            if not isinstance(value, (int, float, bool, str)):
                raise StorageError(f"{path}: {place} has {name}={value!r}; it must be a number, bool or string")
        # Kernel Tuner 1.4 and later keep an error under a name of its own.
        name = file.objective if file.objective in fields else "__error__"
        if name not in fields:
            raise StorageError(f"{path}: {place} has no {file.objective!r}")
        time = fields[name]
        if isinstance(time, str):
            outcome: Outcome = _failure(
                path, place, str(fields.get("invalidity", time)), str(fields.get("message", ""))
            )
        else:
            samples = fields.get("times", []) if file.objective in OBJECTIVES.values() else []
            verified = str(fields.get("verified", VERIFIED))
            outcome = _outcome(path, place, time, US_PER_UNIT["ms"], samples, kind, verified)
        rows.append((place, config, outcome))
    return file.device_name, rows


def _rows_of_entry(path: Path, cache: Cache) -> tuple[str, list[Row]]:
    if len(cache) != 1:
        raise StorageError(
            f"{path} holds {len(cache)} entries, and a table is one; choose it with: tuner export --format json"
        )
    entry = cache.entries[0]
    timed = {t.id: t for t in (entry.winner, entry.default, *entry.ties) if t is not None}
    return entry.device, [
        (f"tactic {t.id}", t.config, Timing(t.time_us, entry.kind, t.statistic, verified=entry.verified))
        for t in timed.values()
    ]


def _kind(objective: str) -> Kind:
    return "prediction" if objective == OBJECTIVES["prediction"] else "measurement"


def _scale(path: Path, place: str, unit: str) -> float:
    known = UNIT_NAMES.get(unit.lower(), unit)
    if known not in US_PER_UNIT:
        raise StorageError(f"{path}: {place} has the unit {unit!r}; known are {', '.join(US_PER_UNIT)}")
    return US_PER_UNIT[known]


def _outcome(
    path: Path,
    place: str,
    value: object,
    scale: float,
    samples: Iterable[float],
    kind: Kind = "measurement",
    verified: str = VERIFIED,
) -> Outcome:
    if isinstance(value, str):
        return _failure(path, place, value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0 or math.isinf(value):
        raise StorageError(f"{path}: {place} has the time {value!r}; it must be a positive number")
    if value >= NO_TIME:
        return _failure(path, place, "runtime")
    return Timing(value * scale, kind, "mean", tuple(s * scale for s in samples), verified)


def _failure(path: Path, place: str, name: str, message: str = "") -> Failure:
    if name not in FAILURES:
        raise StorageError(f"{path}: {place} has neither a time nor a known class of failure: {name!r}")
    return Failure(FAILURES[name], message or f"recorded as {name}")


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
