"""CSV tables: one column per parameter and one for the time."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuner.errors import StorageError
from tuner.search.tactic import Value
from tuner.store.tables.rows import US_PER_UNIT, Row, timed_outcome

# -- CSV -----------------------------------------------------------------------------------------------


def read_csv(path: Path, text: str) -> list[Row]:
    try:
        return _read(path, csv.reader(io.StringIO(text)))
    except csv.Error as e:
        raise StorageError(f"{path}: no CSV table: {e}") from e


def _read(path: Path, lines: Any) -> list[Row]:
    header: list[str] = next(lines, [])
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
        value = number_of(time, float)
        rows.append(
            (
                place,
                {n: c[i] for n, c in parsed.items()},
                timed_outcome(path, place, time if value is None else value, scale, ()),
            )
        )
    return rows


def _column(texts: Sequence[str]) -> Sequence[Value]:
    """All values of a column as int, else float, else bool, else text."""
    for kind in (int, float):
        numbers = [number_of(t, kind) for t in texts]
        if None not in numbers:
            return [n for n in numbers if n is not None]
    if {t.lower() for t in texts} <= {"true", "false"}:
        return [t.lower() == "true" for t in texts]
    return texts


def number_of(text: str, kind: type[int] | type[float]) -> int | float | None:
    try:
        return kind(text)
    except ValueError:
        return None
