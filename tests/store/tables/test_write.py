"""Which studies `tuner export` takes, and the files it writes them to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from study_folder import config, record, scale
from workspace import Workspace

from tuner.kernel.problem_data import RangeData
from tuner.outcome import Timing


def test_a_folder_gets_a_file_for_each_study(workspace: Workspace) -> None:
    record(workspace.folder / "a")
    record(workspace.folder / "b", "prediction", problem=scale(RangeData(1, 8, 64)))
    run = workspace.run("export", "a", "b", "--format", "t4", "--out", "tables", "--json")
    names = ["test_scale_N4096_Tfp16_NVIDIA_H200_cuda.json", "test_scale_N1_8_64_Tfp16_NVIDIA_H200_model.json"]
    assert run.document == {"format": "t4", "files": [f"tables/{name}" for name in names]}
    assert sorted(p.name for p in (workspace.folder / "tables").iterdir()) == sorted(names)


def test_filters_choose_the_study_of_a_file(workspace: Workspace) -> None:
    for problem in (scale(64), scale(), scale(dtype="fp32")):
        record(workspace.folder / "a", problem=problem)
    refused = workspace.run("export", "a", "--format", "t4", "--out", "t4.json", "--problem", "fp16")
    assert refused.code == 2 and "t4.json has room for one study, not 2 (test::scale N=64 T=fp16" in refused.err
    run = workspace.run("export", "a", "--format", "t4", "--out", "t4.json", "--problem", "N=4096 fp16")
    assert run.code == 0
    assert json.loads((workspace.folder / "t4.json").read_text())["metadata"]["problem"] == "N=4096 T=fp16"


def test_problems_are_told_apart_though_their_labels_are_the_same(workspace: Workspace) -> None:
    problems = [replace(scale(), attributes={"factor": factor}) for factor in (1.0, 2.0)]
    for problem in problems:
        record(workspace.folder / "a", problem=problem, label="N=4096 T=fp16")
    run = workspace.run("export", "a", "--format", "t4", "--out", "tables", "--json")
    stem = "tables/test_scale_N4096_Tfp16_NVIDIA_H200_cuda"
    assert run.document["files"] == [f"{stem}_{problem.id}.json" for problem in problems]
    one = workspace.run("export", "a", "--format", "t4", "--out", "tables", "--problem", "factor=2.0", "--json")
    assert one.document["files"] == [f"{stem}.json"]


def test_trials_in_optuna_storage_are_exported(workspace: Workspace) -> None:
    url = f"sqlite:///{workspace.folder}/trials.db"
    record(url)
    run = workspace.run("export", "--storage", url, "--format", "t4", "--out", "t4.json")
    assert (run.code, run.err) == (0, "")
    assert len(json.loads((workspace.folder / "t4.json").read_text())["results"]) == 7


def test_the_study_that_went_on_last_is_taken(workspace: Workspace) -> None:
    record(workspace.folder / "a", source="old")
    record(workspace.folder / "a", source="new", trials=[(config(128), Timing(7.0, "measurement", "median"))])
    workspace.run("export", "a", "--format", "t4", "--out", "t4.json")
    (result,) = json.loads((workspace.folder / "t4.json").read_text())["results"]
    assert result["measurements"][0]["value"] == 0.007


def test_reading_leaves_the_journal_alone_while_a_run_writes_it(workspace: Workspace) -> None:
    record(workspace.folder / "a")
    journal = workspace.folder / "a" / "study.journal"
    content = journal.read_bytes() + b'{"op_code": 4, "half a li'
    journal.write_bytes(content)
    run = workspace.run("export", "a", "--format", "t4", "--out", "t4.json")
    assert (run.code, run.err) == (0, "")
    assert len(json.loads((workspace.folder / "t4.json").read_text())["results"]) == 7
    assert journal.read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name the results folders of tuner tune, such as results/JOB, or else --storage URL"),
        (("a", "--storage", "sqlite:///t.db"), "or else --storage URL"),
        (("empty",), "empty/study.journal does not exist; name a results folder of tuner tune"),
        (("a", "--problem", "N=5"), "a: no study that has finished trials with --problem 'N=5'; there is test::scale"),
        (("missing",), "'missing' does not exist"),
        (("a", "b", "--out", "tables"), "several RESULTS hold a study of the same problem, device and backend"),
        (("damaged",), "damaged/study.journal"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(
    workspace: Workspace, arguments: tuple[str, ...], said: str
) -> None:
    for name in ("a", "b", "damaged"):
        record(workspace.folder / name)
    Path(workspace.folder / "empty").mkdir()
    journal = workspace.folder / "damaged" / "study.journal"
    journal.write_text("no json\n" + journal.read_text())
    run = workspace.run("export", "--format", "t4", "--out", "t4.json", *arguments)
    assert (run.code, run.out) == (2, "") and said in run.err and len(run.err.splitlines()) == 1
    assert not (workspace.folder / "t4.json").exists() and not (workspace.folder / "tables").exists()
