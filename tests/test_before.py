"""Files of before problems were stored as data are read, served and continued as they were then."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from page import Page
from workspace import Workspace

from tuner import Problem, Range, Tactic
from tuner.check.baseline import read_baseline, write_baseline
from tuner.kernel.problem_data import ProblemData, RangeData, ShapeData, data_of
from tuner.qdp.bundle.manifest import Manifest
from tuner.report.against import pair_up
from tuner.report.jobs import read_results
from tuner.store import cache
from tuner.store.cache import Cache
from tuner.store.journal import open_journal
from tuner.store.portfolios import read_portfolios
from tuner.store.results import read_summary
from tuner.store.studies import read_studies
from tuner.tuning.config import load_config
from tuner.version import __version__

BEFORE = Path(__file__).parent / "data" / "before"
SHAPES = [ProblemData("example::increment", {"N": n}, {"T": "fp16"}, {"amount": 2}) for n in (4096, 8192)]
DEFAULT = Tactic({"BLOCK_SIZE": 256, "num_warps": 4})


@pytest.fixture
def folder(workspace: Workspace) -> Path:
    """A copy of the files in a workspace, whose journals name the version of today."""
    shutil.copytree(BEFORE, workspace.folder, dirs_exist_ok=True)
    for name in ("shapes", "range"):
        journal = workspace.folder / name / "study.journal"
        assert r"\"tuner\": \"0.1.0\"" in journal.read_text()
        journal.write_text(journal.read_text().replace(r"\"tuner\": \"0.1.0\"", rf"\"tuner\": \"{__version__}\""))
    return workspace.folder


# -- the tactic cache ------------------------------------------------------------------------------


def test_a_cache_serves_every_tier_and_is_written_back_as_it_was() -> None:
    data = (BEFORE / "tactics.json").read_bytes()
    held = Cache.read(BEFORE / "tactics.json", data)
    assert cache.encode(held) == data
    kernel = load_config(BEFORE / "shapes.toml").problems[0].kernel
    source = held.entries[0].source

    def found(n: int | Range, dtype: str = "fp16", amount: int = 2, device: str = "NVIDIA H200") -> str:
        problem = Problem.of(kernel, {"N": n}, {"T": dtype}, {"amount": amount})
        hit = held.lookup(problem, source, backend="model", device=device, capability=(9, 0))
        assert hit.tactic == DEFAULT
        return f"{hit.tier} {hit.entry.label if hit.entry else ''}"

    assert found(4096) == "exact N=4096 T=fp16 amount=2"
    assert found(5000) == "portfolio N=4096:4096:8192 T=fp16 amount=2"
    assert found(Range(1024, 4096, 65536), "fp32", 1) == "exact N=1024:4096:65536 T=fp32 amount=1"
    assert found(1 << 20, "fp32", 1) == "nearest N=1024:4096:65536 T=fp32 amount=1"
    assert found(8192, device="NVIDIA H100").startswith("device N=8192")
    assert found(8192, amount=3) == "default "


# -- results folders -------------------------------------------------------------------------------


def test_a_results_folder_is_read_with_its_trials_and_paired_with_the_cache() -> None:
    jobs = read_results(BEFORE / "shapes")
    assert [job.title for job in jobs] == [f"example::increment N={n} T=fp16 amount=2" for n in (4096, 8192)]
    for job, trials in zip(jobs, (4, 3), strict=True):
        assert job.winner is not None and job.trials is not None and job.origin is not None
        assert (job.winner.id, len(job.trials), job.trials.params) == (DEFAULT.id, trials, tuple(DEFAULT.config))
        assert (job.origin.backend, job.kind, job.device) == ("model", "prediction", "NVIDIA H200")
        assert job.origin.environment["triton"] == "3.6.0"
        (finalist, *_) = job.finalists
        assert finalist.code is not None and (BEFORE / "shapes" / finalist.code.ptx).is_file()
    others = read_results(BEFORE / "tactics.json")
    assert [pair.b.problem for pair in pair_up(jobs, others)] == [job.problem for job in jobs]
    (ranged,) = read_results(BEFORE / "range")
    assert ranged.problem == "N=1024:4096:65536 T=fp32" and ranged.trials is not None and len(ranged.trials) == 3
    assert [pair.b.problem for pair in pair_up([ranged], others)] == ["N=1024:4096:65536 T=fp32 amount=1"]
    assert [job.data for job in read_summary(BEFORE / "shapes").jobs] == [None, None]


def test_a_report_shows_a_folder_with_its_portfolio(folder: Path, workspace: Workspace) -> None:
    (found,) = read_portfolios(BEFORE / "shapes")
    assert found.shapes[2] == "N=4096 T=fp16 amount=2 (code of the range)"
    assert (found.data, found.origin.device) == (None, "NVIDIA H200")
    run = workspace.run("report", "shapes", "--against", "tactics.json", "--out", "report.html")
    assert run.code == 0, run.err
    page = Page((folder / "report.html").read_text())
    assert "1 tactic of 1 serve every shape within 2.0 % of the fastest" in page.text["Portfolio"]
    assert "example::increment N=8192 T=fp16 amount=2" in page.text["Overview"]


# -- studies ---------------------------------------------------------------------------------------


def test_studies_are_read_as_data() -> None:
    studies = read_studies(BEFORE / "shapes")
    assert [study.problem for study in studies] == SHAPES
    assert [len(study.trials) for study in studies] == [4, 3]
    assert {study.label for study in studies} == {"N=4096 T=fp16 amount=2", "N=8192 T=fp16 amount=2"}
    (ranged,) = read_studies(BEFORE / "range")
    assert ranged.problem == ProblemData(
        "example::increment",
        {"N": RangeData(1024, 4096, 65536)},
        {"T": "fp32"},
        {"amount": 1},
        (ShapeData({"N": 4096}, 0.75), ShapeData({"N": 65536}, 0.25)),
    )
    assert (ranged.origin.backend, ranged.origin.kind, ranged.origin.device) == ("model", "prediction", "NVIDIA H200")


@pytest.mark.parametrize("name", ["shapes", "range"])
def test_a_study_is_continued_only_for_the_same_problem(tmp_path: Path, name: str) -> None:
    shutil.copytree(BEFORE / name, tmp_path, dirs_exist_ok=True)
    (problem, *_) = load_config(BEFORE / f"{name}.toml").problems
    (study, *_) = read_studies(tmp_path)
    today = msgspec.structs.replace(study.identity, problem=data_of(problem), label="")
    journal = open_journal(tmp_path, None, today, problem.space)
    assert journal.trials() == list(study.trials) and journal.news == ""
    other = msgspec.structs.replace(today, problem=msgspec.structs.replace(today.problem, attributes={"amount": 7}))
    assert "new study: other attributes than" in open_journal(tmp_path, None, other, problem.space).news
    newer = msgspec.structs.replace(today, origin=replace(today.origin, environment={"tuner": "9"}))
    assert "new study: other versions than" in open_journal(tmp_path, None, newer, problem.space).news


def test_a_run_starts_anew_beside_trials_of_an_older_hash_and_says_so(folder: Path, workspace: Workspace) -> None:
    for name, known in (("shapes", 2), ("range", 1)):
        kept = (folder / name / "study.journal").read_text()
        command = ("tune", f"{name}.toml", "--backend", "model", "--out", name, "--json")
        run = workspace.run(*command)
        assert run.code == 0, run.err
        assert [job["resumed"] for job in run.document["jobs"]] == [0] * known
        said = "new study: the trials recorded so far, which are kept, have an older hash of the kernel source"
        assert run.err.count(said) == known and "new study: other" not in run.err
        assert (folder / name / "study.journal").read_text().startswith(kept)
        assert read_results(folder / name)[0].id == data_of(load_config(folder / f"{name}.toml").problems[0]).id
        again = workspace.run(*command)
        assert [job["resumed"] for job in again.document["jobs"]] == [job["trials"] for job in run.document["jobs"]]
        assert "new study" not in again.err


# -- baseline and bundle ---------------------------------------------------------------------------


def test_a_baseline_holds_todays_code_and_is_written_back_as_it_was(folder: Path, workspace: Workspace) -> None:
    path = folder / "baseline.json"
    data = path.read_bytes()
    baseline = read_baseline(path)
    assert [record.problem for record in baseline.records] == SHAPES
    write_baseline(path, baseline, {}, baseline)
    assert path.read_bytes() == data
    run = workspace.run("check", "--baseline", "baseline.json", "--backend", "model", "--json")
    assert (run.code, run.document["verdict"]) == (0, "pass"), run.out + run.err
    lookups = [check for check in run.document["checks"] if check["rule"] == "lookup"]
    assert [check["now"] for check in lookups] == [DEFAULT.id] * 2


def test_the_manifest_of_a_bundle_is_read() -> None:
    data = (BEFORE / "bundle/manifest.json").read_bytes()
    manifest = msgspec.json.decode(data, type=Manifest)
    written = json.loads(msgspec.json.encode(manifest))
    kernel = written["kernels"]["example::increment"]
    assert kernel.pop("solutions") == [] and kernel.pop("tables") == {} and written.pop("chains") == {}
    for tensor in (*kernel["inputs"].values(), *kernel["outputs"].values()):
        assert (tensor.pop("extents"), tensor.pop("alias"), tensor.pop("scratch")) == ([], "", False)
    for problem in kernel["problems"]:
        assert problem.pop("data") is None
    assert written == json.loads(data)


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_bindings") is None, reason="needs the extra [rehearse]")
def test_a_bundle_plays(folder: Path, workspace: Workspace) -> None:
    assert (folder / "bundle" / "plugin.py").is_file()
    run = workspace.run("rehearse", "--module", "bundle/plugin.py", "--target", "h200", "--json")
    assert run.code == 0, run.out + run.err


def test_a_winner_of_an_older_hash_is_not_exported_and_the_reason_is_said(folder: Path, workspace: Workspace) -> None:
    command = ("export", "shapes.toml", "--format", "bundle", "--out", "new", "--cache", "tactics.json")
    run = workspace.run(*command)
    assert run.code == 2 and "holds its winner with an older hash of the kernel source" in run.err
    assert not (folder / "new").exists()
    other = workspace.run(*command, "--device", "nowhere")
    assert other.code == 2 and "holds no winner of it" in other.err
