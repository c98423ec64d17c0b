"""Kernel Tuner itself reads the cache files that are exported for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from study_folder import SPACE, config, outcomes, record
from workspace import Workspace

from tuner import choice
from tuner.outcome import Failure, Kind, Timing
from tuner.search.space import Space
from tuner.store.tables.table import read_table


def exported(workspace: Workspace, kind: Kind = "measurement") -> Path:
    record(workspace.folder / "results", kind)
    run = workspace.run("export", "results", "--format", "kernel-tuner", "--out", "cache.json")
    assert (run.code, run.err) == (0, "")
    return workspace.folder / "cache.json"


@pytest.fixture
def kernel_tuner() -> Any:
    return pytest.importorskip(
        "kernel_tuner", reason="pip install '.[interop]' to run Kernel Tuner on what is exported"
    )


@pytest.mark.filterwarnings("ignore:None of the tunable parameters")
@pytest.mark.parametrize(("kind", "objective"), [("measurement", "time"), ("prediction", "predicted_time")])
def test_the_simulation_mode_searches_what_was_recorded(
    workspace: Workspace, kernel_tuner: Any, kind: Kind, objective: str
) -> None:
    path = exported(workspace, kind)
    content = path.read_bytes()
    found, env = kernel_tuner.tune_cache(str(path), objective=objective, objective_higher_is_better=False, quiet=True)
    times = {(r["BLOCK"], r["fast"], r["split"]): r[objective] for r in found}
    assert times == {(128, False, 0.5): 0.0115, (256, False, 0.5): 0.0125}
    assert (env["device_name"], env["best_config"]["BLOCK"]) == ("NVIDIA H200", 128)
    assert path.read_bytes() == content


@pytest.mark.filterwarnings("ignore:None of the tunable parameters")
def test_the_simulation_mode_meets_failures_by_class(workspace: Workspace, kernel_tuner: Any) -> None:
    path = exported(workspace)
    params = {p.name: list(p.values) for p in SPACE.params}
    recorded = ["fast + 2 * split <= 1 or BLOCK == 512"]
    found, _ = kernel_tuner.tune_kernel(
        "test::scale", "", 1, [], params, restrictions=recorded, simulation_mode=True, cache=str(path), quiet=True
    )
    errors = [type(r["__error__"]).__name__ for r in found if "__error__" in r]
    assert sorted(errors) == ["CompilationFailedConfig", "InvalidConfig", *["RuntimeFailedConfig"] * 3]


@pytest.mark.parametrize("kind", ["measurement", "prediction"])
def test_what_is_exported_is_read_back_as_it_was(workspace: Workspace, kind: Kind) -> None:
    table = read_table(exported(workspace, kind))
    assert (table.device, table.kind, table.space.size) == ("NVIDIA H200", kind, 7)
    for tried, outcome in outcomes(kind):
        read = table.outcome(tried)
        if isinstance(outcome, Failure):
            assert read == outcome
            continue
        assert isinstance(read, Timing)
        assert (read.kind, read.verified) == (kind, outcome.verified)
        assert (read.time_us, *read.samples_us) == pytest.approx((outcome.time_us, *outcome.samples_us))
    replayed = workspace.run("replay", "cache.json", "--trials", "7", "--seeds", "2")
    assert "1.000" in replayed.out and ("(predicted)" in replayed.out) == (kind == "prediction")


def test_a_row_has_the_time_in_milliseconds_its_samples_and_facts(workspace: Workspace) -> None:
    document = json.loads(exported(workspace).read_text())
    assert document["tune_params"] == {"BLOCK": [128, 256, 512, 1024], "fast": [False, True], "split": [0.5, 1.0]}
    assert (document["objective"], document["kind"], document["problem"]) == ("time", "measurement", "N=4096 T=fp16")
    row = document["cache"]["128,False,0.5"]
    assert row == {
        **config(128),
        "time": 0.0115,
        "times": [0.01125, 0.0115, 0.01275],
        "verified": "verified",
        "registers": 32.0,
        "dram_us": 9.75,
    }


def test_a_parameter_that_a_row_has_no_room_for_is_refused(workspace: Workspace) -> None:
    space = Space((choice("time", 4, 8),))
    record(workspace.folder / "results", space=space, trials=[({"time": 4}, Timing(3.0, "measurement", "median"))])
    run = workspace.run("export", "results", "--format", "kernel-tuner", "--out", "cache.json")
    assert run.code == 2
    assert "cannot hold a parameter called 'time'; use --format t4" in run.err
    assert not (workspace.folder / "cache.json").exists()
