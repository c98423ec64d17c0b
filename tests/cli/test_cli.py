"""The command as a user sees it: streams, exit codes, crashes, Ctrl-C, a terminal."""

from __future__ import annotations

import json
import os
import pty
import random
import re
import resource
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from workspace import KERNEL, Run, Workspace

from tuner.backends.table import BACKENDS

HEAVY = ("numpy", "optuna", "triton", "pandas", "msgspec", "rich", "filelock", "sqlalchemy", "asyncio")
TABLE = str(Path(__file__).parents[1] / "data" / "tables" / "dedispersion_A4000_T4.json.gz")


def journal_of(workspace: Workspace, out: str) -> Path:
    return workspace.folder / out / "study.journal"


def stored(workspace: Workspace, out: str) -> list[int]:
    """The ids of the trials in a journal, in the order of writing; a torn last line counts for nothing."""
    path = journal_of(workspace, out)
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    records = [json.loads(line) for line in lines]
    return [r["user_attrs"]["tactic"] for r in records if "tactic" in (r.get("user_attrs") or {})]


# -- crashes ---------------------------------------------------------------------------------------


@pytest.fixture
def undisturbed(workspace: Workspace) -> Run:
    """Where runs that are killed have to arrive; leaves the compile cache warm."""
    workspace.write(trials=9)
    run = workspace.tune("--out", "whole", "--cache", "whole.json")
    assert run.code == 0, run.err
    return run


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_instant_and_started_again(workspace: Workspace, undisturbed: Run, seed: int) -> None:
    rng = random.Random(seed)
    arguments = ("tune", "job.toml", "--backend", "model", "--json", "--out", "cut", "--cache", "cut.json")
    journal = journal_of(workspace, "cut")
    size = journal_of(workspace, "whole").stat().st_size
    for _ in range(6):
        kept = stored(workspace, "cut")
        # The clock would mostly hit imports; wait for the journal to reach some size, then a moment more.
        goal, pause = rng.randrange(size), rng.expovariate(200)
        with workspace.start(*arguments) as process:
            while process.poll() is None and (not journal.exists() or journal.stat().st_size < goal):
                time.sleep(0.0005)
            time.sleep(pause)
            process.kill()
            process.communicate()
        found = stored(workspace, "cut")
        assert found[: len(kept)] == kept and len(set(found)) == len(found)
    kept = stored(workspace, "cut")
    run = workspace.run(*arguments)
    assert run.code == 0, run.err
    assert run.job["resumed"] == len(kept)
    found = stored(workspace, "cut")
    assert found[: len(kept)] == kept and len(set(found)) == len(found) == 9
    whole = undisturbed.job
    assert {k: run.job[k] for k in whole if k not in ("resumed", "cache", "out")} == {
        k: whole[k] for k in whole if k not in ("resumed", "cache", "out")
    }
    assert (workspace.folder / "cut" / "trials.csv").read_bytes() == (
        workspace.folder / "whole" / "trials.csv"
    ).read_bytes()


def test_ctrl_c_keeps_everything_and_says_how_to_go_on(workspace: Workspace) -> None:
    # A cold compile cache leaves time to interrupt, and compilers at work when it happens.
    cold = Workspace(workspace.folder, workspace.folder / "cold")
    cold.write(trials=9)
    with cold.start("tune", "job.toml", "--backend", "model", "--json", "--out", "out") as process:
        while not stored(cold, "out") and process.poll() is None:
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    (said,) = [line for line in err.splitlines() if "interrupted" in line]
    kept = len(stored(cold, "out"))
    assert said == f"error: interrupted; {kept} finished trials are kept in out; run the same command again to go on"
    assert 1 <= kept < 9
    listed = (cold.folder / "out" / "trials.csv").read_text().splitlines()
    assert len(listed) == kept + 1
    assert json.loads((cold.folder / "out" / "summary.json").read_text()) == {"jobs": []}
    run = cold.tune("--out", "out")
    assert (run.code, run.job["resumed"], run.job["trials"], run.job["failures"]) == (0, kept, 9, {})


def test_two_runs_on_one_study(workspace: Workspace) -> None:
    cold = Workspace(workspace.folder, workspace.folder / "cold")
    with cold.start("tune", "job.toml", "--backend", "model", "--json", "--out", "out") as first:
        while not journal_of(cold, "out").exists():
            time.sleep(0.005)
        second = cold.tune("--out", "out")
        out, err = first.communicate(timeout=120)
    assert (second.code, second.out) == (2, "")
    said = second.err.splitlines()[-1]
    assert said.startswith("error: another run") and "is using out" in said and "choose another --out" in said
    assert first.returncode == 0, err
    assert json.loads(out)["jobs"][0]["trials"] == 6


def test_a_full_disk_is_an_error_and_loses_nothing(workspace: Workspace) -> None:
    workspace.replay("--out", "whole")
    limit = journal_of(workspace, "whole").stat().st_size - 300

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    run = workspace.replay("--out", "full", preexec_fn=full)
    assert (run.code, run.out) == (2, "")
    assert run.err.splitlines()[-1] == (
        "error: full/study.journal cannot be used: File too large; give room and write access, then run again"
    )
    kept = stored(workspace, "full")
    assert len(kept) == 5
    again = workspace.replay("--out", "full")
    assert (again.code, again.job["resumed"], again.job["trials"]) == (0, 5, 6)
    assert stored(workspace, "full")[:5] == kept


# -- streams ---------------------------------------------------------------------------------------


def test_results_go_to_stdout_and_progress_to_stderr(workspace: Workspace) -> None:
    run = workspace.run("tune", "job.toml", "--backend", "auto")
    assert run.code == 0
    assert re.search(r"^ *winner +BLOCK=", run.out, re.MULTILINE)
    assert "predicted time" in run.out
    assert "Times are predictions for an NVIDIA H200; no GPU was used. 6 trials, budget reached." in run.out
    assert "measured" not in run.out
    assert "up to 6 of 9 tactics on model for NVIDIA H200" in run.err
    assert "backend model: no measuring here: " in run.err
    assert "\x1b" not in run.err and "\r" not in run.err, "no bar without a terminal"
    for line in ("cache   ", "trials  results/job/trials.csv", "next    tuner show"):
        assert line in run.out
    shown = workspace.run("show")
    assert "(predicted)" in shown.out and "test::scale" in shown.out


def test_a_bar_appears_on_a_terminal(workspace: Workspace) -> None:
    ours, theirs = pty.openpty()
    with workspace.start("tune", "job.toml", "--backend", "model", "--json", stderr=theirs) as process:
        os.close(theirs)
        drawn = b""
        while True:
            try:
                drawn += os.read(ours, 65536)
            except OSError:  # what Linux raises once the other end is closed
                break
        assert process.stdout is not None
        document = json.loads(process.stdout.read())
    os.close(ours)
    assert process.returncode == 0
    text = drawn.decode()
    assert "\x1b[" in text and "6/6" in text
    assert re.search(r"best [\d.]+ us .*[\d.]+/s", text)
    assert document["jobs"][0]["trials"] == 6


def test_a_reader_that_has_seen_enough_is_no_error(workspace: Workspace) -> None:
    script = f"{sys.executable} -c 'from tuner.cli import main; main()' doctor --json | head -c 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=workspace.environment)
    assert (done.stdout, done.stderr) == ("{", "")


JOBS = {
    "type": "object",
    "required": ["jobs"],
    "properties": {
        "jobs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": [
                    *("kernel", "problem", "backend", "kind", "winner", "default", "ties", "trials"),
                    *("failures", "cache", "out"),
                ],
                "properties": {
                    "kernel": {"type": "string"},
                    "problem": {"type": "string"},
                    "backend": {"enum": list(BACKENDS)},
                    "kind": {"enum": ["prediction", "measurement"]},
                    "winner": {"$ref": "#/$defs/tactic"},
                    "default": {"$ref": "#/$defs/tactic"},
                    "ties": {"type": "array", "items": {"$ref": "#/$defs/tactic"}},
                    "trials": {"type": "integer"},
                    "failures": {"type": "object", "additionalProperties": {"type": "integer"}},
                    "cache": {"type": "string"},
                    "out": {"type": "string"},
                },
            },
        }
    },
    "$defs": {
        "tactic": {
            "type": "object",
            "required": ["id", "config", "time_us"],
            "properties": {
                "id": {"type": "integer", "minimum": 1},
                "config": {"type": "object"},
                "time_us": {"type": "number"},
            },
        }
    },
}


def test_json_of_tune(workspace: Workspace) -> None:
    (workspace.folder / "other.toml").write_text((workspace.folder / "job.toml").read_text())
    run = workspace.run("tune", "job.toml", "other.toml", "--backend", "replay", "--table", "table.csv", "--json")
    jsonschema.validate(run.document, JOBS)
    assert [j["out"] for j in run.document["jobs"]] == ["results/job", "results/other"]
    assert {j["kind"] for j in run.document["jobs"]} == {"measurement"}


def test_what_a_kernel_prints_does_not_go_into_a_document(workspace: Workspace) -> None:
    noisy = KERNEL.replace("kernel = Kernel(", "print('imported')\nkernel = Kernel(")
    noisy = noisy.replace("launch=lambda N, BLOCK: ", "launch=lambda N, BLOCK: print('launched') or ")
    workspace.write(noisy, trials=2)
    run = workspace.run("tune", "job.toml", "--backend", "model", "--json")
    jsonschema.validate(run.document, JOBS)
    assert "imported" in run.err and "launched" in run.err
    baseline = ("check", "job.toml", "--baseline", "baseline.json")
    assert json.loads(workspace.run(*baseline, "--update", "--json").out)
    junit = workspace.run(*baseline, "--format", "junit")
    assert ElementTree.fromstring(junit.out).tag == "testsuites", junit.out


@pytest.mark.parametrize("arguments", [("show",), ("show", "--json"), ("doctor", "--json"), ("--help",)])
def test_output_that_has_no_room_is_one_line(workspace: Workspace, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full, workspace.start(*arguments, stdout=full) as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err == "error: stdout cannot be written: No space left on device; give room where it leads\n"


def test_json_of_replay(workspace: Workspace) -> None:
    run = workspace.run("replay", TABLE, "--sampler", "random", "--seeds", "3", "--trials", "8,16", "--json")
    (table,) = run.document["tables"]
    assert table["table"] == "dedispersion_A4000_T4" and table["trials"] == [8, 16] and table["optimum"] > 0
    assert list(table["ratios"]) == ["8", "16"]
    for few, more in zip(table["ratios"]["8"], table["ratios"]["16"], strict=True):
        assert few >= more >= 1
    assert run.err == ""
    assert "median" in workspace.run("replay", TABLE, "--sampler", "random", "--seeds", "1", "--trials", "8").out


def test_print_config_loads_back(workspace: Workspace) -> None:
    printed = workspace.run("tune", "job.toml", "--print-config", "--trials", "3", "--target", "a100")
    (workspace.folder / "again.toml").write_text(printed.out)
    again = workspace.run("tune", "again.toml", "--print-config")
    assert again.out == printed.out
    document = workspace.run("tune", "again.toml", "--print-config", "--json").document
    assert document == {"configs": [tomllib.loads(printed.out)]}
    assert document["configs"][0]["search"]["trials"] == 3 and document["configs"][0]["target"] == "a100"


# -- other commands --------------------------------------------------------------------------------


def test_show_says_which_tier_a_lookup_matches(workspace: Workspace) -> None:
    def tiers(*arguments: str) -> list[str]:
        run = workspace.run("show", "--config", "job.toml", "--json", *arguments)
        assert run.code == 0, run.err
        return [lookup["tier"] for lookup in run.document["lookups"]]

    assert tiers() == ["default"]
    winner = workspace.tune().job["winner"]
    assert tiers() == ["exact"]
    job = workspace.folder / "job.toml"
    job.write_text(job.read_text().replace("4194304", "2097152"))
    assert tiers() == ["nearest"]
    assert tiers("--device", "h100") == ["device"]
    assert tiers("--device", "a100") == tiers("--backend", "cuda") == ["default"]
    run = workspace.run("show", "--config", "job.toml")
    assert run.out.startswith("test::scale N=2097152 T=fp32 on NVIDIA H200: nearest shape: N=4194304")
    (entry,) = workspace.run("show", "--json").document["entries"]
    assert entry["winner"]["id"] == winner["id"] and entry["kind"] == "prediction"
    assert "holds nothing of other::kernel" in workspace.run("show", "other::kernel").out


def test_doctor_names_what_works(workspace: Workspace) -> None:
    run = workspace.run("doctor", "--json")
    assert run.code == 0
    assert run.document["backends"]["model"] is True
    assert all(c["ok"] or c["mend"] for c in run.document["checks"])
    assert "backends: " in workspace.run("doctor").out


def test_new_writes_what_tunes_and_passes_as_it_is(workspace: Workspace) -> None:
    run = workspace.run("new", "saxpy")
    assert run.code == 0 and run.out.splitlines()[-1] == "next  tuner tune configs/saxpy.toml"
    tuned = workspace.run("tune", "configs/saxpy.toml", "--trials", "1", "--backend", "model", "--json")
    assert tuned.code == 0 and tuned.job["winner"]["verified"] == "verified", tuned.err
    test = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_saxpy.py"],
        cwd=workspace.folder,
        env=workspace.environment,
        capture_output=True,
        text=True,
    )
    assert test.returncode == 0, test.stdout
    again = workspace.run("new", "saxpy", "--json")
    assert (again.code, again.out) == (2, "") and "saxpy.py exists" in again.err


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("tun", 2, "did you mean 'tune'"),
        ("tune job.toml --trails 3", 2, "--trials"),
        ("tune job.toml --backend modle", 2, "did you mean 'model'?"),
        ("tune job.toml --backend replay", 2, "--table FILE"),
        ("tune job.toml --backend model --table table.csv", 2, "--backend replay"),
        ("tune job.toml --backend replay --table nothing.csv", 2, "nothing.csv"),
        ("tune job.toml --target h20", 2, "did you mean 'h200'?"),
        ("tune job.toml --sampler bays", 2, "did you mean 'bayes'?"),
        ("tune job.toml --trials 0", 2, "search.trials: expected int >= 1"),
        ("tune job.toml --timeout -1", 2, "search.timeout_s: expected float > 0"),
        ("tune job.toml --trials many", 2, "--trials"),
        ("tune job.toml --devices 0,x", 2, "'0,x' is not a list of numbers"),
        ("tune job.toml --backend model --storage nosuch://here", 2, "nosuch://here"),
        ("tune job.toml job.toml", 2, "same file name"),
        ("tune nothing.toml", 2, "nothing.toml does not exist"),
        ("show --cache kernel.py", 2, "kernel.py is damaged or no tactic cache"),
        ("replay kernel.py", 2, "kernel.py"),
        ("replay table.csv --trials 8,4", 2, "ascending numbers"),
        ("new 2fast", 2, "'2fast' cannot name a Python function"),
    ],
)
def test_a_mistake_is_one_line_that_helps(workspace: Workspace, line: str, code: int, said: str) -> None:
    run = workspace.run(*line.split())
    assert (run.code, run.out) == (code, "")
    error = run.err.splitlines()[-1]
    assert error.startswith("error: ")
    assert said.lower() in error.lower()
    assert "Traceback" not in run.err and run.err.count("error: ") == 1


def test_debug_shows_the_traceback(workspace: Workspace) -> None:
    run = workspace.run("tune", "nothing.toml", "--debug")
    assert run.code != 0 and "Traceback" in run.err and "nothing.toml does not exist" in run.err


def test_no_command_prints_the_help(workspace: Workspace) -> None:
    run = workspace.run()
    assert (run.code, run.out) == (2, "") and run.err.startswith("Usage: tuner")


def test_help_imports_nothing_heavy(workspace: Workspace) -> None:
    code = (
        "import sys\nfrom tuner.cli import cli\ncli.main(['--help'], standalone_mode=False)\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=workspace.environment)
    assert done.stdout.startswith("Usage: ") and done.stdout.splitlines()[-1] == "[]"
