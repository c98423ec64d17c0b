"""T4 files meet the published schema, and say all that was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from study_folder import outcomes, record
from workspace import Workspace

from tuner import choice
from tuner.outcome import Failure, Kind, Timing
from tuner.search.space import Space
from tuner.store.tables.table import read_table

SCHEMAS = Path(__file__).parents[2] / "data" / "t4"


def exported(workspace: Workspace, *arguments: str) -> dict[str, Any]:
    run = workspace.run("export", *arguments, "--format", "t4", "--out", "t4.json")
    assert (run.code, run.err, run.out) == (0, "", "t4.json\n")
    document: dict[str, Any] = json.loads((workspace.folder / "t4.json").read_text())
    return document


def meets_schema(document: dict[str, Any], name: str) -> bool:
    schema = json.loads((SCHEMAS / f"{name}-schema.json").read_text())
    valid: bool = jsonschema.Draft202012Validator(schema).is_valid(document)
    return valid


def test_an_export_meets_the_published_schema_and_a_broken_one_does_not(workspace: Workspace) -> None:
    record(workspace.folder / "results")
    document = exported(workspace, "results")
    assert meets_schema(document, "results") and meets_schema(document, "metadata")
    document["results"][0]["invalidity"] = "constraint"
    assert not meets_schema(document, "results")


def test_times_are_in_milliseconds_with_samples_and_facts(workspace: Workspace) -> None:
    record(workspace.folder / "results")
    document = exported(workspace, "results")
    assert document["metadata"] == {
        "timeunit": "milliseconds",
        "kernel": "test::scale",
        "problem": "N=4096 T=fp16",
        "device": "NVIDIA H200",
        "backend": "cuda",
        "kind": "measurement",
        "environment": {"tuner": "1.2.3", "driver": "580.1"},
    }
    first, second = document["results"][:2]
    assert first == {
        "configuration": {"BLOCK": 128, "fast": False, "split": 0.5},
        "times": {"runtimes": [0.01125, 0.0115, 0.01275]},
        "invalidity": "correct",
        "correctness": 1.0,
        "measurements": [
            {"name": "time", "value": 0.0115, "unit": "ms", "statistic": "median"},
            {"name": "registers", "value": 32.0, "unit": ""},
            {"name": "dram_us", "value": 9.75, "unit": ""},
        ],
        "objectives": ["time"],
        "verified": "verified",
    }
    assert (second["correctness"], second["verified"]) == (0.0, "unverified: no interpreter")


def test_failures_keep_their_class_and_message(workspace: Workspace) -> None:
    record(workspace.folder / "results")
    failed = exported(workspace, "results")["results"][2:]
    assert [r["invalidity"] for r in failed] == ["compile", "timeout", "runtime", "correctness", "constraints"]
    assert failed[0]["message"] == "why: compile\nsecond line"
    assert all((r["measurements"], r["correctness"]) == ([], 0.0) for r in failed)


@pytest.mark.parametrize("kind", ["measurement", "prediction"])
def test_what_is_exported_is_read_back_as_it_was(workspace: Workspace, kind: Kind) -> None:
    record(workspace.folder / "results", kind)
    exported(workspace, "results")
    table = read_table(workspace.folder / "t4.json")
    assert (table.device, table.kind, table.space.size) == ("NVIDIA H200", kind, 7)
    for tried, outcome in outcomes(kind):
        read = table.outcome(tried)
        if isinstance(outcome, Failure):
            assert read == outcome
            continue
        assert isinstance(read, Timing)
        assert (read.kind, read.verified) == (kind, outcome.verified)
        assert (read.time_us, *read.samples_us) == pytest.approx((outcome.time_us, *outcome.samples_us))
    replayed = workspace.run("replay", "t4.json", "--trials", "7", "--seeds", "2", "--json").document["tables"][0]
    assert (replayed["kind"], replayed["ratios"]["7"]) == (kind, [1.0, 1.0])


def test_a_prediction_is_not_called_a_time(workspace: Workspace) -> None:
    record(workspace.folder / "results", "prediction")
    document = exported(workspace, "results")
    assert document["metadata"]["kind"] == "prediction"
    names = {m["name"] for r in document["results"] for m in r["measurements"]}
    assert "predicted_time" in names and "time" not in names


def test_a_parameter_named_like_a_column_is_kept_apart(workspace: Workspace) -> None:
    space = Space((choice("status", 1, 2), choice("time", 4, 8)))
    timing = Timing(3.0, "measurement", "median")
    record(workspace.folder / "results", space=space, trials=[({"status": 2, "time": 4}, timing)])
    (result,) = exported(workspace, "results")["results"]
    assert result["configuration"] == {"status": 2, "time": 4}
    assert result["measurements"][0]["value"] == 0.003


def test_what_a_job_recorded_is_exported(workspace: Workspace) -> None:
    assert workspace.replay().code == 0
    document = exported(workspace, "results/job")
    assert len(document["results"]) == 6
    best = min(m["value"] for r in document["results"] for m in r["measurements"])
    (entry,) = workspace.run("show", "--json").document["entries"]
    assert best == pytest.approx(entry["winner"]["time_us"] / 1e3)
