"""`tuner report`: one page that holds everything and needs nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from page import Page
from recorded import DEFAULT, HOSTILE, PROBLEM, made_up, write_results
from workspace import KERNEL, STORE, Workspace

from tuner.compile.pipeline import compile_tactic
from tuner.errors import StorageError
from tuner.gpu.catalog import find_device
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, FailureClass
from tuner.report import write_report
from tuner.report.blocks import TableBlock
from tuner.report.jobs import read_results
from tuner.report.sections.roofline import roofline
from tuner.store.results import Trial, write_summary
from tuner.store.trials import write_trials

REFUSES_128 = KERNEL.replace(STORE, '    tl.static_assert(BLOCK != 128, "no <b>128</b>")\n' + STORE, 1)


def report(folder: Path, *more: Path, against: Path | None = None) -> Page:
    write_report([folder, *more], folder / "report.html", against=against)
    return Page.read(folder / "report.html")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as measuring leaves it, with code of the default."""
    folder = tmp_path_factory.mktemp("measured")
    # Who measures does not count instructions.
    code = compile_tactic(PROBLEM, DEFAULT.config, replace(find_device("h200").target, disassemble=False))
    trials = made_up(120)
    winner = write_results(folder, trials).winner
    # The record does not care that one artifact stands for both.
    write_results(folder, trials, code={DEFAULT: code, winner: code})
    return folder


@pytest.fixture(scope="module")
def page(measured: Path) -> Page:
    return report(measured)


# -- what a job leaves, through the command ---------------------------------------------------------


def test_a_tuned_job_becomes_a_page_that_calls_predictions_predictions(workspace: Workspace) -> None:
    workspace.write(REFUSES_128)
    assert workspace.tune("--trials", "100").code == 0
    run = workspace.run("report", "results/job")
    assert (run.code, run.out, run.err) == (0, "results/job/report.html  1 problem\n", "")
    page = Page.read(workspace.folder / "results" / "job" / "report.html")
    assert list(page.text)[1:] == [
        *("Result", "Finalists", "Search", "Parameters", "Strongest parameters together"),
        *("Roofline", "Failures", "Code", "Environment"),
    ]
    everything = " ".join(page.text.values())
    assert "predictions for the NVIDIA H200. No GPU was used" in page.text["Result"]
    assert "winner, predicted" in page.text["Result"] and "winner, measured" not in everything
    assert "1 of 9 trials failed: 1 compile" in page.text["Failures"] and "no <b>128</b>" in page.text["Failures"]
    assert ".visible .entry" in page.text["Code"] and "STG" in page.text["Code"]
    assert "The whole space was tried" in page.text["Search"]


@pytest.mark.parametrize("name", ["time_us", "value"])
def test_a_parameter_may_have_the_name_of_a_column(workspace: Workspace, name: str) -> None:
    workspace.write(KERNEL.replace("BLOCK", name))
    assert workspace.tune("--trials", "100").code == 0
    assert workspace.run("report", "results/job").code == 0
    page = Page.read(workspace.folder / "results" / "job" / "report.html")
    assert {"Parameters", "Strongest parameters together"} <= set(page.text)
    assert name in page.text["Parameters"] and "param." not in page.text["Parameters"]


def test_json_says_what_was_written(workspace: Workspace) -> None:
    assert workspace.replay().code == 0
    run = workspace.run("report", "results/job", "--out", "sub/page.html", "--json")
    written = workspace.folder / "sub" / "page.html"
    assert run.document == {"report": "sub/page.html", "problems": 1, "bytes": written.stat().st_size}
    assert "read from a recorded table" in Page.read(written).text["Result"]


def test_a_cache_becomes_a_page(workspace: Workspace) -> None:
    assert workspace.replay().code == 0
    assert workspace.run("report", "tactics.json").out == "report.html  1 problem\n"
    page = Page.read(workspace.folder / "report.html")
    assert list(page.text)[1:] == ["Result", "Finalists", "Clocks and throttling", "Environment"]


MISTAKES = {
    (): r"Missing argument 'SOURCE...'.",
    ("nowhere",): r"nowhere does not exist; name the results folder of a job, or a tactic cache",
    ("job.toml",): r"job.toml is damaged or no tactic cache: .*",
    ("results/job", "--against", "nowhere"): r"nowhere does not exist; .*",
    ("results/job", "--out", "job.toml/x.html"): r".*job.toml/x.html cannot be written: .*",
}


def test_a_mistake_is_one_line(workspace: Workspace) -> None:
    assert workspace.replay().code == 0
    for arguments, error in MISTAKES.items():
        run = workspace.run("report", *arguments)
        assert (run.code, run.out) == (2, ""), arguments
        assert re.fullmatch(f"error: {error}\n", run.err), run.err


def test_without_the_libraries_the_command_names_the_extra(workspace: Workspace, tmp_path: Path) -> None:
    assert workspace.replay().code == 0
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import sys; sys.modules['altair'] = None")
    without = replace(workspace, variables={"PYTHONPATH": str(tmp_path / "site")})
    run = without.run("report", "results/job")
    assert run.code == 3
    assert run.err == "error: a report needs altair, not installed here; run: pip install 'qdp-tuner[report]'\n"


# -- the page --------------------------------------------------------------------------------------


def test_the_page_needs_nothing_else(measured: Path, page: Page) -> None:
    assert not page.tags["script"] and not page.tags["iframe"] and not page.tags["img"]
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    links = [value for name in ("href", "src", "xlink:href") for value in page.values(name)]
    assert all(value.startswith("#") or value == "data:," for value in links)
    assert all(v[1:] in page.ids for v in links if v.startswith("#"))
    text = (measured / "report.html").read_text()
    assert not re.search(r"@import|url\((?!#)", text)
    assert set(re.findall(r"https?://[^\"' ]+", text)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_the_page_is_well_formed_and_accessible(page: Page) -> None:
    assert page.unclosed == []
    assert [i for i, n in page.ids.items() if n > 1] == []
    assert all(i in page.ids for value in page.values("aria-labelledby") for i in value.split())
    images = [v for v in page.values("role") if v == "img"]
    labelled = [a for a in page.attributes if a[0] == "div" and a[1] == "aria-label" and a[2]]
    assert len(images) >= 8 and len(labelled) >= len(images)
    scrolling = page.tags["table"] + page.tags["pre"]
    assert sum(value == "0" for value in page.values("tabindex")) == scrolling


def test_what_a_record_says_is_shown_and_never_run(page: Page) -> None:
    assert HOSTILE in page.text["Failures"] and HOSTILE in page.text["Environment"]
    assert "needs too much shared memory" in page.text["Failures"] and "second line" in page.text["Failures"]


def test_every_section_says_what_was_measured(page: Page) -> None:
    text = page.text
    assert "Times were measured on the NVIDIA H200 with its L2 cache evicted." in text["Result"]
    assert "95 % interval" in text["Result"] and "1 other tactic cannot be told from the best" in text["Result"]
    assert {"winner", "tie", "default"} <= set(re.findall(r"\w+", text["Finalists"]))
    assert "random order" in text["Search"] and "no random sample of the space" in text["Search"]
    assert "PED-ANOVA" in text["Parameters"] and "num_stages" in text["Parameters"]
    assert "of a copy" in text["Roofline"] and "of fp16 tensor cores" in text["Roofline"]
    assert "2 throttled rounds discarded" in text["Clocks and throttling"] and "1,755" in text["Clocks and throttling"]
    assert "registers per thread" in text["Code"] and "wgmma" in text["Code"]
    assert "of these, tensor" in text["Code"] and re.search(r"\d+ HGMMA\.", text["Code"])


@pytest.mark.parametrize(
    ("dtypes", "rates"),
    [
        (["fp8e4nv", "fp8e4nv"], ["fp8"]),
        (["fp8e5"], ["fp8"]),
        (["i8", "bf16"], ["bf16", "int8"]),
        (["fp32"], ["tf32"]),
        (["i64"], []),
        ([], ["fp16", "bf16", "tf32", "fp8", "int8"]),  # a record of before, which does not say
    ],
)
def test_the_roofs_are_those_of_the_data_types(tmp_path: Path, dtypes: list[str], rates: list[str]) -> None:
    write_results(tmp_path, made_up(3))
    path = tmp_path / "summary.json"
    summary = json.loads(path.read_text())
    assert summary["jobs"][0]["dtypes"] == ["fp16"]
    summary["jobs"][0] |= {"dtypes": dtypes, "flops": 10**9}  # slow, so that no roof is below it
    path.write_text(json.dumps(summary))
    (job,) = read_results(tmp_path)
    section = roofline(job)
    assert section is not None
    (table,) = [block for block in section.blocks if isinstance(block, TableBlock)]
    assert [*map("of {} tensor cores".format, rates), "of fp32, no tensor cores"] == list(table.header[5:])


def test_times_stand_as_recorded(measured: Path, page: Page) -> None:
    (job,) = json.loads((measured / "summary.json").read_text())["jobs"]
    assert f"{job['winner']['time_us']:.4g} µs" in page.text["Result"]
    assert f"{job['speedup']:.3f}x" in page.text["Result"]
    rate = job["bytes"] / job["winner"]["time_us"] / 1e3
    assert f"{round(rate):,}" in page.text["Roofline"]


def test_code_outside_the_folder_is_not_copied_into_the_page(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the secret")
    folder = tmp_path / "results"
    trials = made_up(10)
    code = compile_tactic(PROBLEM, DEFAULT.config, find_device("h200").target)
    write_results(folder, trials, code={write_results(folder, trials).winner: code})
    summary = folder / "summary.json"
    (folder / "link").symlink_to(tmp_path / "secret")
    for cubin in folder.glob("code/*.cubin"):
        cubin.write_bytes(b"no machine code")
    for name in ("../secret", f"{tmp_path}/secret", "code/../../secret", "link", ""):
        summary.write_text(re.sub(r'"ptx": "[^"]*"', f'"ptx": "{name}"', summary.read_text()))
        text = report(folder).text["Code"]
        assert "the secret" not in text
        assert "PTX is not shown" in text and "SASS is not shown" in text
        assert "registers per thread" in text


def test_a_job_without_a_winner_shows_what_failed(tmp_path: Path) -> None:
    failures = [Trial(t.number, t.tactic, Failure(FailureClass.COMPILE, HOSTILE)) for t in made_up(5)]
    write_trials(tmp_path / "trials.csv", {PROBLEM: failures})
    write_summary(tmp_path / "summary.json", [], tmp_path / "c.json", tmp_path)
    page = report(tmp_path)
    assert "no tactic was valid" in page.text["Result"]
    assert "5 of 5 trials failed: 5 compile" in page.text["Failures"]
    assert "Search" not in page.text


def test_a_failed_default_is_shown_with_its_reason(workspace: Workspace) -> None:
    workspace.table(B256="compile")
    assert workspace.replay("--trials", "100").code == 0
    assert workspace.run("report", "results/job").code == 0
    result = Page.read(workspace.folder / "results" / "job" / "report.html").text["Result"]
    assert "default, measured failed" in result and "The default failed: compile" in result
    assert "default / winner" not in result


def test_an_unknown_device_has_no_roofs(tmp_path: Path) -> None:
    write_results(tmp_path, made_up(10), device="Some GPU")
    assert "No peak rates of the Some GPU are known" in report(tmp_path).text["Roofline"]


# -- comparing -------------------------------------------------------------------------------------


def test_two_runs_are_compared_by_their_winners_and_common_tactics(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    found = write_results(a, made_up(60)), write_results(b, made_up(60)[:40])
    page = report(a, against=b)
    assert list(page.text)[1:4] == ["Overview", "Result", "Against B"]
    ratio = found[1].confirmed[found[1].winner].time_us / found[0].confirmed[found[0].winner].time_us
    assert f"{ratio:.3f}" in page.text["Overview"]
    assert "measured apart" in page.text["Overview"] and "prediction" not in page.text["Overview"]
    assert "rank correlation 1.000" in page.text["Against B"]


def test_a_prediction_is_not_compared_as_a_measurement(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    write_results(a, made_up(30))
    write_results(b, made_up(30), kind="prediction", device="NVIDIA L4")
    overview = report(a, against=b).text["Overview"]
    assert "(measured)" in overview and "(predicted)" in overview and "NVIDIA L4" in overview
    assert "how far the prediction is off, not which is faster" in overview


def test_what_only_one_side_has_is_named(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    write_results(a, made_up(10))
    write_results(b, made_up(10), problem=Problem.of(PROBLEM.kernel, {"M": 64, "N": 64, "K": 64}, {"T": "fp16"}))
    overview = report(a, against=b).text["Overview"]
    assert "no problem in common" in overview
    assert f"Only in A: {PROBLEM}." in overview and "Only in B: example::gemm M=64" in overview


def test_several_sources_share_a_page_that_begins_with_all_winners(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    write_results(a, made_up(10))
    write_results(b, made_up(10), problem=Problem.of(PROBLEM.kernel, {"M": 64, "N": 64, "K": 64}, {"T": "fp16"}))
    page = report(a, b)
    assert str(PROBLEM) in page.text["Winners"] and "M=64" in page.text["Winners"]
    assert page.tags["article"] == 3


# -- size ------------------------------------------------------------------------------------------


def test_ten_thousand_trials_stay_below_ten_megabytes(tmp_path: Path) -> None:
    write_results(tmp_path, made_up(10_000))
    written = write_report([tmp_path], tmp_path / "report.html")
    assert written.size == (tmp_path / "report.html").stat().st_size < 10_000_000
    assert "of 10000 trials failed" in Page.read(tmp_path / "report.html").text["Failures"]


def test_only_a_report_is_replaced(tmp_path: Path) -> None:
    write_results(tmp_path / "job", made_up(6))
    out = tmp_path / "report.html"
    write_report([tmp_path / "job"], out)
    write_report([tmp_path / "job"], out)
    foreign, link = tmp_path / "kernel.py", tmp_path / "link.html"
    foreign.write_text("mine")
    link.symlink_to(out)
    for place in (foreign, link):
        with pytest.raises(StorageError, match="exists and is no report of tuner's"):
            write_report([tmp_path / "job"], place)
    assert foreign.read_text() == "mine" and link.is_symlink()
