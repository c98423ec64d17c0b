"""Times in documents: whatever is no time that a launch can take is refused with file and place."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from workspace import Workspace

NOT_TIMES = ["-3.0", "0", "0.0", "NaN", "Infinity", "-Infinity", "1e999"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A job that was tuned on a recorded table."""
    made = Workspace(tmp_path_factory.mktemp("found"), tmp_path_factory.mktemp("compiled"))
    made.write()
    made.table()
    run = made.replay()
    assert run.code == 0, run.err
    for name in ("t4", "kernel-tuner", "json"):
        source = () if name == "json" else ("results/job",)
        assert made.run("export", *source, "--format", name, "--out", f"{name}.json").code == 0
    return made


def damage(path: Path, time: str, pattern: str) -> str:
    """Write another time in the place of the first that a pattern finds; returns the file's name in the folder."""
    text, count = re.subn(pattern, lambda m: f"{m[1]}{time}", path.read_text(), count=1)
    assert count == 1
    other = path.with_name(f"damaged-{path.name}")
    other.write_text(text)
    return other.name


JSON_TIME = r'("time_us": ?)[0-9.e+-]+'


@pytest.mark.parametrize("time", NOT_TIMES)
@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("t4.json", r'("value": )[0-9.e+-]+'),
        ("kernel-tuner.json", r'("time": )[0-9.e+-]+'),
        ("table.csv", r"(\n128,2,)[0-9.]+"),
    ],
)
def test_tables(found: Workspace, file: str, pattern: str, time: str) -> None:
    name = damage(found.folder / file, time, pattern)
    run = found.run("replay", name, "--seeds", "1", "--trials", "2")
    assert run.code == 2 and run.err.startswith(f"error: {name}: ")
    assert re.search(r"line 2|results\[0\]|cache\['|malformed|not valid JSON|out of range", run.err)


@pytest.mark.parametrize("time", NOT_TIMES)
def test_a_cache(found: Workspace, time: str) -> None:
    name = damage(found.folder / "json.json", time, JSON_TIME)
    run = found.run("import", name, "--cache", "other.json")
    assert run.code == 2 and run.err.startswith(f"error: {name}") and "internal" not in run.err
    assert not (found.folder / "other.json").exists()


@pytest.mark.parametrize("time", NOT_TIMES)
@pytest.mark.parametrize("file", ["summary.json", "trials.csv"])
def test_a_report(found: Workspace, file: str, time: str) -> None:
    path = found.folder / "results" / "job" / file
    before = path.read_text()
    try:
        pattern = JSON_TIME if file == "summary.json" else r"(measurement,)[0-9.e+-]+"
        name = damage(path, time, pattern)
        path.with_name(name).rename(path)
        run = found.run("report", "results/job", "--out", "page.html")
    finally:
        path.write_text(before)
    if file == "trials.csv" and time == "NaN":  # a field like any other that says nothing
        return
    assert run.code == 2 and run.err.startswith(f"error: results/job/{file} "), run.err


@pytest.mark.parametrize("time", NOT_TIMES)
def test_a_journal(found: Workspace, tmp_path: Path, time: str) -> None:
    text = (found.folder / "results" / "job" / "study.journal").read_text()
    changed, count = re.subn(JSON_TIME, lambda m: f"{m[1]}{time}", text, count=1)
    assert count == 1
    (tmp_path / "study.journal").write_text(changed)
    run = found.replay("--out", str(tmp_path))
    assert run.code == 2 and run.err.splitlines()[-1].startswith(f"error: {tmp_path}/study.journal"), run.err
    assert "time_us is" in run.err
    assert (tmp_path / "study.journal").read_text() == changed


def nested(document: Any) -> str:
    return json.dumps(document).replace('"deep"', "[" * 100_000 + "]" * 100_000)


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("table.json", ("replay", "table.json", "--seeds", "1", "--trials", "2")),
        ("summary.json", ("report", ".")),
        ("cache.json", ("import", "cache.json")),
        ("base.json", ("check", "--baseline", "base.json")),
        ("job.toml", ("tune", "job.toml")),
        ("study.journal", ("tune", "job.toml", "--backend", "model", "--out", ".")),
    ],
)
def test_deep_nesting(workspace: Workspace, file: str, command: tuple[str, ...]) -> None:
    parts = {"results": "deep", "op_code": "deep", "jobs": "deep"}
    text = "x = " + "[" * 100_000 if file == "job.toml" else nested(parts)
    (workspace.folder / file).write_text(text + ("\n" if file == "study.journal" else ""))
    run = workspace.run(*command)
    assert run.code == 2 and run.err.splitlines()[-1].startswith(f"error: {file}"), run.err


def test_a_field_without_end(workspace: Workspace) -> None:
    (workspace.folder / "wide.csv").write_text(f'BLOCK,time_us\n1,5\n"{"x" * 200_000}')
    run = workspace.run("replay", "wide.csv", "--seeds", "1", "--trials", "2")
    assert (run.code, run.err) == (2, "error: wide.csv: no CSV table: field larger than field limit (131072)\n")


def test_an_integer_without_end(workspace: Workspace) -> None:
    config = workspace.folder / "job.toml"
    config.write_text(config.read_text().replace("4194304", "1" * 5000))
    run = workspace.run("tune", "job.toml")
    assert run.code == 2 and run.err.startswith("error: job.toml is not valid TOML: "), run.err
