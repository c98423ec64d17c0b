"""What the formats of other tools say about failures and kinds of numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tuner.backends.replay import ReplayBackend
from tuner.errors import StorageError
from tuner.outcome import Failure, FailureClass
from tuner.store.tables.table import Table, read_table


def read_cache(folder: Path, objective: str = "time", **rows: dict[str, Any]) -> Table:
    cache = {key: {"a": i, **row} for i, (key, row) in enumerate(rows.items())}
    path = folder / "cache.json"
    path.write_text(json.dumps({"tune_params_keys": ["a"], "objective": objective, "cache": cache}))
    return read_table(path)


def test_an_error_that_newer_versions_of_kernel_tuner_keep_apart_is_read(tmp_path: Path) -> None:
    table = read_cache(tmp_path, x={"time": 1.0}, y={"__error__": "CompilationFailedConfig"})
    assert table.outcome({"a": 1}) == Failure(FailureClass.COMPILE, "recorded as CompilationFailedConfig")


def test_a_row_without_time_and_error_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cache\.json: cache\['y'\] has no 'time'"):
        read_cache(tmp_path, x={"time": 1.0}, y={})


@pytest.mark.parametrize(("objective", "kind"), [("time", "measurement"), ("predicted_time", "prediction")])
def test_the_replay_backend_does_not_call_a_prediction_a_measurement(tmp_path: Path, objective: str, kind: str) -> None:
    table = read_cache(tmp_path, objective, x={objective: 1.0})
    assert ReplayBackend(table).origin.kind == table.kind == kind
