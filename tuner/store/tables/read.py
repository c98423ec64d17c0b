"""Read recorded tuning tables in any of the formats that are known here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tuner.errors import StorageError
from tuner.outcome import Timing
from tuner.store.cache import FORMAT, Cache
from tuner.store.tables.csv import read_csv
from tuner.store.tables.kernel_tuner import CacheFile, rows_of_cache
from tuner.store.tables.rows import Row, place_of_error
from tuner.store.tables.t4 import T4File, rows_of_t4


def read_rows(path: Path, text: str) -> tuple[str, list[Row]]:
    """The device that a table names ("" when it names none), and its rows.

    Raises:
        StorageError: when the text is no such table; names the file and the place.
    """
    return _read_json(path, text) if text.lstrip().startswith("{") else ("", read_csv(path, text))


def _read_json(path: Path, text: str) -> tuple[str, list[Row]]:
    try:
        fields = _decode_unclosed(text)
    except (msgspec.MsgspecError, RecursionError) as e:
        raise StorageError(f"{path}: {place_of_error(e)}; the file is cut short or damaged") from e
    try:
        if "results" in fields:
            return rows_of_t4(path, msgspec.convert(fields, T4File))
        if "cache" in fields:
            return rows_of_cache(path, msgspec.convert(fields, CacheFile))
        if fields.get("format") == FORMAT:
            return _rows_of_entry(path, Cache.read(path, text.encode()))
    except msgspec.ValidationError as e:
        raise StorageError(f"{path}: {place_of_error(e)}") from e
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
