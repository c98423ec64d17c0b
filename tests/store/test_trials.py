"""`trials.csv` has every trial, for other tools, and gives a report back what it wrote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tuner.errors import StorageError
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import data_of
from tuner.outcome import Failure, FailureClass, Timing
from tuner.search.tactic import Tactic, Value
from tuner.store.columns import column_of, param_of
from tuner.store.results import Trial
from tuner.store.trials import read_trials, write_trials

KERNEL = load_kernel("kernels/increment.py", Path(__file__).parents[2])
DEFAULT = KERNEL.default_tactic
FAST, TIED, BROKEN = (Tactic({**KERNEL.default, "BLOCK_SIZE": size}) for size in (2048, 4096, 8192))
SMALL, LARGER = (Problem.of(KERNEL, {"N": n}) for n in (4096, 8192))


def measured(time_us: float, verified: str = "verified") -> Timing:
    return Timing(time_us, "measurement", "median", (time_us,), verified, {"registers": 16.0})


TRIALS = (
    Trial(0, DEFAULT, measured(21.0)),
    Trial(1, FAST, measured(10.5, "unverified: no interpreter")),
    Trial(2, BROKEN, Failure(FailureClass.COMPILE, "first line\nsecond, with a comma")),
    Trial(3, TIED, measured(10.6)),
)


def test_every_trial_is_a_row_in_the_order_of_asking(tmp_path: Path) -> None:
    write_trials(tmp_path / "trials.csv", {SMALL: TRIALS, LARGER: TRIALS[:1]})
    rows = pd.read_csv(tmp_path / "trials.csv", keep_default_na=False)
    assert [str(c) for c in rows.columns] == [
        *("problem", "number", "tactic", "status", "kind", "time_us", "verified"),
        *KERNEL.default_tactic.config,
        *("registers", "problem_id", "message"),
    ]
    assert list(rows["problem"]) == [str(SMALL)] * 4 + [str(LARGER)]
    assert list(rows["problem_id"]) == [data_of(SMALL).id] * 4 + [data_of(LARGER).id]
    assert list(rows["number"]) == [0, 1, 2, 3, 0]
    assert list(rows["tactic"]) == [DEFAULT.id, FAST.id, BROKEN.id, TIED.id, DEFAULT.id]
    assert list(rows["status"]) == ["ok", "ok", "compile", "ok", "ok"]
    assert list(rows["time_us"]) == ["21.0", "10.5", "", "10.6", "21.0"]
    assert list(rows["verified"]) == ["verified", "unverified: no interpreter", "", "verified", "verified"]
    assert list(rows["message"]) == ["", "", "first line\nsecond, with a comma", "", ""]
    assert list(rows["BLOCK_SIZE"]) == [DEFAULT.config["BLOCK_SIZE"], 2048, 8192, 4096, DEFAULT.config["BLOCK_SIZE"]]


def test_a_parameter_that_some_tactics_lack_keeps_its_integers(tmp_path: Path) -> None:
    tactics = (Tactic({"source": "a", "BLOCK": 64}), Tactic({"source": "b", "THREADS": 32}))
    write_trials(tmp_path / "trials.csv", {LARGER: [Trial(i, t, measured(1.0)) for i, t in enumerate(tactics)]})
    rows = pd.read_csv(tmp_path / "trials.csv", keep_default_na=False, dtype=str)
    assert (list(rows["BLOCK"]), list(rows["THREADS"])) == (["64", ""], ["", "32"])


def test_a_study_without_trials_leaves_a_table_without_rows(tmp_path: Path) -> None:
    write_trials(tmp_path / "trials.csv", {})
    assert (
        tmp_path / "trials.csv"
    ).read_text() == "problem,number,tactic,status,kind,time_us,verified,problem_id,message\n"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=f"{tmp_path}/file/trials.csv"):
        write_trials(tmp_path / "file" / "trials.csv", {})


def test_each_problem_is_read_by_itself_though_the_labels_are_the_same(tmp_path: Path) -> None:
    other = Problem.of(replace(KERNEL, attributes={"amount": 5}), {"N": 4096})
    assert str(other) == str(SMALL)
    write_trials(tmp_path / "trials.csv", {SMALL: TRIALS, other: TRIALS[:1]})
    found = read_trials(tmp_path)
    assert [(t.id, t.title, len(t.frame)) for t in found] == [
        (data_of(SMALL).id, str(SMALL), 4),
        (data_of(other).id, str(SMALL), 1),
    ]
    assert list(found[0].frame["tactic"]) == [t.tactic.id for t in TRIALS]
    assert "problem_id" not in found[0].frame


def test_without_a_file_there_are_no_trials(tmp_path: Path) -> None:
    assert read_trials(tmp_path) == []


def test_a_parameter_that_is_called_like_another_column_is_kept_apart(tmp_path: Path) -> None:
    config: dict[str, Value] = {"kind": 3, "time_us": 4, "problem_id": 5, "registers": 6, "message": "m", "BLOCK": 64}
    failed = Failure(FailureClass.COMPILE, "why")
    trials = [Trial(0, Tactic(config), measured(10.5)), Trial(1, Tactic({**config, "kind": 4}), failed)]
    write_trials(tmp_path / "trials.csv", {SMALL: trials})
    rows = pd.read_csv(tmp_path / "trials.csv", keep_default_na=False, dtype=str)
    assert (list(rows["kind"]), list(rows["time_us"])) == (["measurement", ""], ["10.5", ""])
    assert (list(rows["registers"]), list(rows["message"])) == (["16.0", ""], ["", "why"])
    for name, value in config.items():
        column = column_of(name, rows.columns)
        assert (column != name) == (name != "BLOCK")
        assert param_of(column) == name
        assert list(rows[column]) == [str(value), "4" if name == "kind" else str(value)]
