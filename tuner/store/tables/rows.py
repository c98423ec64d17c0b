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

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from tuner.errors import StorageError
from tuner.outcome import VERIFIED, Failure, FailureClass, Kind, Outcome, Timing
from tuner.search.tactic import Value

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


def place_of_error(error: Exception) -> str:
    return str(error).replace(" - at `$.", " at `").replace("JSON is malformed", "not valid JSON")


def kind_of(objective: str) -> Kind:
    return "prediction" if objective == OBJECTIVES["prediction"] else "measurement"


def scale_of(path: Path, place: str, unit: str) -> float:
    known = UNIT_NAMES.get(unit.lower(), unit)
    if known not in US_PER_UNIT:
        raise StorageError(f"{path}: {place} has the unit {unit!r}; known are {', '.join(US_PER_UNIT)}")
    return US_PER_UNIT[known]


def timed_outcome(
    path: Path,
    place: str,
    value: object,
    scale: float,
    samples: Iterable[object],
    kind: Kind = "measurement",
    verified: str = VERIFIED,
) -> Outcome:
    if isinstance(value, str):
        return failed_outcome(path, place, value)
    time = _time(path, place, value)
    if time >= NO_TIME:
        return failed_outcome(path, place, "runtime")
    return Timing(time * scale, kind, "mean", tuple(_time(path, place, s) * scale for s in samples), verified)


def _time(path: Path, place: str, value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise StorageError(f"{path}: {place} has the time {value!r}; it must be a positive number")
    return value


def failed_outcome(path: Path, place: str, name: str, message: str = "") -> Failure:
    if name not in FAILURES:
        raise StorageError(f"{path}: {place} has neither a time nor a known class of failure: {name!r}")
    return Failure(FAILURES[name], message or f"recorded as {name}")
