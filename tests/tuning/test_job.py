"""Jobs on the model backend: real compiles, real checks, real files."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from workspace import CONFIG, KERNEL, STORE, Run, Workspace

WRONG_512 = "    if BLOCK == 512:\n        y = y + 1\n"
NO_512 = '    tl.static_assert(BLOCK != 512, "blocks of 512 are not supported")\n'
WRONG = "    y = y + 1\n"


def with_line(line: str) -> str:
    """The kernel with a line before its store."""
    return KERNEL.replace(STORE, line + STORE, 1)


def rows(run: Run) -> list[dict[str, str]]:
    with (Path(run.job["out"]) / "trials.csv").open() as f:
        return list(csv.DictReader(f))


def all_tactics(workspace: Workspace, *arguments: str) -> Run:
    run = workspace.tune("--trials", "100", "--out", str(workspace.folder / "out"), *arguments)
    assert run.code == 0, run.err
    return run


# -- what a job leaves -----------------------------------------------------------------------------


def test_a_job_leaves_its_trials_a_summary_and_a_cache_entry(workspace: Workspace) -> None:
    run = all_tactics(workspace)
    job = run.job
    assert list(job)[:9] == [
        "kernel", "problem", "backend", "kind", "device", "winner", "default", "ties", "speedup",
    ]  # fmt: skip
    assert (job["kernel"], job["problem"], job["backend"]) == ("test::scale", "N=4194304 T=fp32", "model")
    assert (job["kind"], job["device"], job["trials"], job["failures"]) == ("prediction", "NVIDIA H200", 9, {})
    assert job["default"]["config"] == {"BLOCK": 256, "num_warps": 4}
    assert 0 < job["winner"]["time_us"] <= job["default"]["time_us"]
    assert job["winner"]["verified"] == "verified"
    assert job["stopped"] == "space exhausted"
    assert {"triton", "ptxas"} <= set(job["environment"])
    (summary,) = json.loads((workspace.folder / "out" / "summary.json").read_text())["jobs"]
    finalists = summary.pop("finalists")
    assert summary == job
    assert {job["winner"]["id"], job["default"]["id"]} <= {f["id"] for f in finalists}
    (entry,) = json.loads((workspace.folder / "tactics.json").read_text())["entries"]
    assert (entry["kind"], entry["winner"]["id"]) == ("prediction", job["winner"]["id"])
    assert entry["default"]["time_us"] == job["default"]["time_us"]
    assert [t["id"] for t in entry["ties"]] == [t["id"] for t in job["ties"]]


def test_trials_are_listed_in_the_order_of_asking_with_their_facts(workspace: Workspace) -> None:
    workspace.write(with_line(NO_512))
    listed = rows(all_tactics(workspace))
    assert [r["number"] for r in listed] == [str(n) for n in range(9)]
    assert list(listed[0])[:7] == ["problem", "number", "tactic", "status", "kind", "time_us", "verified"]
    assert list(listed[0])[7:9] == ["BLOCK", "num_warps"] and list(listed[0])[-1] == "message"
    for r in listed:
        assert r["problem"] == "test::scale N=4194304 T=fp32"
        if r["BLOCK"] == "512":
            assert (r["status"], r["kind"], r["time_us"]) == ("compile", "", "")
            assert "blocks of 512 are not supported" in r["message"]
        else:
            assert (r["status"], r["kind"], r["verified"], r["message"]) == ("ok", "prediction", "verified", "")
            assert float(r["time_us"]) > 0 and float(r["waves"]) > 0


# -- failures --------------------------------------------------------------------------------------


def test_a_tactic_with_a_mistake_never_wins(workspace: Workspace) -> None:
    run = all_tactics(workspace)
    workspace.write(with_line(WRONG_512))
    wrong = all_tactics(workspace)
    assert wrong.job["failures"] == {"correctness": 2}
    assert run.job["failures"] == {}
    shown = [wrong.job["winner"], *wrong.job["ties"]]
    assert all(t["config"]["BLOCK"] != 512 for t in shown)
    assert {r["BLOCK"] for r in rows(wrong) if r["status"] == "correctness"} == {"512"}


def test_tactics_that_do_not_compile_cost_a_trial_each(workspace: Workspace) -> None:
    workspace.write(with_line(NO_512))
    run = all_tactics(workspace)
    assert (run.job["failures"], run.job["trials"]) == ({"compile": 2}, 9)


def test_a_failing_default_is_shown_with_its_reason(workspace: Workspace) -> None:
    workspace.write(with_line(NO_512.replace("512", "256")))
    run = workspace.run("tune", "job.toml", "--backend", "model")
    assert run.code == 0, run.err
    assert re.search(r"default +BLOCK=256 num_warps=4 +failed: compile, .*blocks of 256 are not supported", run.out)
    job = all_tactics(workspace).job
    assert (job["default"]["time_us"], job["speedup"]) == (None, None)
    (entry,) = json.loads((workspace.folder / "tactics.json").read_text())["entries"]
    assert entry["default"] is None


def test_nothing_valid_ends_with_the_reason_and_keeps_the_trials(workspace: Workspace) -> None:
    workspace.write(with_line(WRONG))
    run = workspace.tune()
    assert (run.code, run.out) == (1, "")
    error = run.err.splitlines()[-1]
    assert error.startswith("error: test::scale N=4194304 T=fp32: no tactic is valid (6 correctness); the first, ")
    assert (workspace.folder / "results" / "job" / "trials.csv").read_text().count("correctness") == 6
    assert not (workspace.folder / "tactics.json").exists()


# -- the same again --------------------------------------------------------------------------------


def test_the_same_job_takes_the_same_course_whatever_the_workers(workspace: Workspace, tmp_path: Path) -> None:
    runs = {}
    for workers in ("1", "3"):
        own = Workspace(tmp_path, workspace.compiled, {"TUNER_COMPILE_CACHE": str(tmp_path / f"cold{workers}")})
        runs[workers] = own.tune("--workers", workers, "--out", str(tmp_path / workers), "--cache", f"{workers}.json")
        assert runs[workers].code == 0, runs[workers].err
    assert rows(runs["1"]) == rows(runs["3"])
    for key in ("winner", "default", "ties", "trials", "failures"):
        assert runs["1"].job[key] == runs["3"].job[key]


def test_a_second_run_repeats_no_trial_and_changes_nothing(workspace: Workspace) -> None:
    first = workspace.tune()
    journal = workspace.folder / "results" / "job" / "study.journal"
    before = journal.read_bytes()
    second = workspace.tune()
    assert second.job == {**first.job, "resumed": 6}
    assert journal.read_bytes() == before


CHANGES = {
    "mask=mask) * factor": ("mask=mask) * factor * 1", "source"),
    "128, 2048": ("128, 1024", "space"),
    "BLOCK >= 64": ("BLOCK >= 32", "space"),
    '"factor": 2.0': ('"factor": 4.0', "attributes"),
    "factor: x * factor": ("factor: factor * x", "reference"),
    '    tiles={"N": "BLOCK"},': ("    flops=lambda N: N,", "traffic"),
}


def test_a_changed_kernel_starts_a_new_study_and_says_why(workspace: Workspace) -> None:
    assert workspace.replay().code == 0
    for old, (new, part) in CHANGES.items():
        assert KERNEL.count(old) == 1
        workspace.write(KERNEL.replace(old, new))
        run = workspace.replay()
        assert run.code == 0, run.err
        assert f"new study: other {part} than in the trials recorded so far, which are kept" in run.err
        assert run.job["resumed"] == 0


def test_a_tolerance_that_differs_at_other_sizes_alone_starts_a_new_study(workspace: Workspace) -> None:
    tolerant = KERNEL.replace("Tensor, cdiv", "Tensor, Tolerance, cdiv", 1)
    tiles = '    tiles={"N": "BLOCK"},'
    for bound in ("N / 4194304", "max(1, N - 4194303)"):  # 1 at the size that is tuned
        declared = '    tolerances={"fp32": lambda N: Tolerance(0, ' + bound + ")},\n"
        workspace.write(tolerant.replace(tiles, declared + tiles))
        run = workspace.replay()
        assert run.code == 0, run.err
        assert run.job["resumed"] == 0
    assert "new study: other tolerances than" in run.err


def test_a_changed_problem_starts_a_new_study_and_the_old_one_goes_on(workspace: Workspace) -> None:
    workspace.replay()
    job = workspace.folder / "job.toml"
    old = job.read_text()
    job.write_text(old.replace("4194304", "65536"))
    run = workspace.replay()
    assert "new study: other problem than" in run.err
    job.write_text(old)
    run = workspace.replay()
    assert "new study" not in run.err and run.job["resumed"] == 6


def test_comments_and_line_breaks_are_no_change(workspace: Workspace) -> None:
    workspace.replay()
    workspace.write(KERNEL.replace(STORE, "    # Write it back.\n\n" + STORE, 1))
    run = workspace.replay()
    assert "new study" not in run.err and run.job["resumed"] == 6


def test_an_edited_table_is_another_study(workspace: Workspace) -> None:
    workspace.replay()
    workspace.table(B512="1.5")
    run = workspace.replay("--trials", "100")
    assert run.job["resumed"] == 0 and run.job["winner"]["time_us"] == 1.5


def test_several_problems_share_a_folder_without_news(workspace: Workspace) -> None:
    job = workspace.folder / "job.toml"
    problem = "[[problems]]\ndims = {{ N = {} }}\n"
    job.write_text('version = 1\nkernel = "kernel.py"\n' + problem.format(4096) + problem.format(8192))
    run = workspace.replay()
    assert run.code == 0 and "new study" not in run.err
    assert [j["problem"] for j in run.document["jobs"]] == ["N=4096 T=fp32", "N=8192 T=fp32"]
    listed = (workspace.folder / "results" / "job" / "trials.csv").read_text()
    assert listed.count("N=4096") == listed.count("N=8192") == 9


def test_further_shapes_start_from_what_their_neighbours_found(workspace: Workspace) -> None:
    grid = CONFIG.format(trials=9).replace("N = 4194304", "N = { powers_of_two = [1024, 65536] }")
    (workspace.folder / "job.toml").write_text(grid + "shared_trials = 2\n")
    jobs = workspace.replay().document["jobs"]
    assert [j["problem"] for j in jobs] == [f"N={1024 << i} T=fp32" for i in range(7)]
    assert [j["trials"] for j in jobs] == [2, 2, 2, 9, 2, 2, 2]  # the default, and the best of the middle one
    assert {j["winner"]["id"] for j in jobs} == {jobs[3]["winner"]["id"]} != {jobs[3]["default"]["id"]}


def test_shapes_of_other_types_share_nothing(workspace: Workspace) -> None:
    problem = "[[problems]]\ndims = {{ N = 4096 }}\ndtypes = {{ T = '{}' }}\n"
    head = 'version = 1\nkernel = "kernel.py"\n'
    (workspace.folder / "job.toml").write_text(head + problem.format("fp32") + problem.format("fp16"))
    jobs = workspace.replay("--trials", "9", "--shared-trials", "2").document["jobs"]
    assert [j["trials"] for j in jobs] == [9, 9]


def test_other_shapes_to_time_at_are_another_study(workspace: Workspace) -> None:
    text = (workspace.folder / "job.toml").read_text().replace("4194304", "{ min = 1, opt = 8, max = 64 }")
    (workspace.folder / "job.toml").write_text(text.replace("[search]", "timed = [{ dims = { N = 16 } }]\n[search]"))
    assert workspace.replay().code == 0
    (workspace.folder / "job.toml").write_text(text)
    assert "new study: other timed than" in workspace.replay().err


# -- damaged surroundings --------------------------------------------------------------------------


def test_a_damaged_cache_is_refused_before_any_work_and_left_alone(workspace: Workspace) -> None:
    cache = workspace.folder / "tactics.json"
    cache.write_text('{"format": "qdp-tuner tactic cache", "vers')
    run = workspace.replay()
    assert (run.code, run.out) == (2, "")
    assert run.err.splitlines()[-1].startswith(f"error: {cache} is damaged")
    assert cache.read_text().endswith('"vers')
    assert not (workspace.folder / "results").exists()


def test_a_damaged_journal_is_refused_and_nothing_beside_it_is_touched(workspace: Workspace) -> None:
    workspace.replay()
    folder = workspace.folder / "results" / "job"
    journal = folder / "study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:3], b"garbage\n", *lines[3:]]))

    def kept() -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".lock"}  # which names its holder

    before = kept()
    run = workspace.replay()
    assert (run.code, run.out) == (2, "")
    assert "results/job/study.journal:4 is no line of an Optuna journal" in run.err
    assert kept() == before


def test_a_damaged_compile_cache_entry_is_made_again(workspace: Workspace, tmp_path: Path) -> None:
    own = Workspace(tmp_path, tmp_path / "compiled")
    first = own.tune("--trials", "1", "--out", "a")
    for file in (tmp_path / "compiled").glob("??/*"):
        file.write_bytes(file.read_bytes()[:-5])
    second = own.tune("--trials", "1", "--out", "b")
    assert "discarding damaged cache entry" in second.err
    assert second.code == 0 and second.job["winner"] == first.job["winner"]


@pytest.mark.parametrize("out", ["job.toml/sub", "/proc/nowhere"])
def test_an_output_folder_that_cannot_be_made_is_named(workspace: Workspace, out: str) -> None:
    run = workspace.replay("--out", out)
    assert (run.code, run.out) == (2, "")
    assert re.fullmatch(rf"error: {out} cannot be written \(.*\); choose another folder with --out", run.err.strip())


# -- other storage ---------------------------------------------------------------------------------


def test_trials_in_a_database_are_resumed_from_any_folder(workspace: Workspace) -> None:
    storage = ("--storage", f"sqlite:///{workspace.folder / 'trials.db'}")
    first = workspace.replay(*storage, "--out", "a", "--trials", "4")
    second = workspace.replay(*storage, "--out", "b")
    assert (first.job["trials"], second.job["trials"], second.job["resumed"]) == (4, 6, 4)
    assert not (workspace.folder / "a" / "study.journal").exists()
