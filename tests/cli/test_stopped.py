"""A run that somebody stops from outside: what is kept, and what is left behind."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from workspace import KERNEL, Workspace


@pytest.fixture
def cold(workspace: Workspace) -> Workspace:
    """Without compiled tactics, so that compilers are at work when a signal comes, and with a TMPDIR of its own."""
    (workspace.folder / "tmp").mkdir()
    made = Workspace(workspace.folder, workspace.folder / "cold", {"TMPDIR": str(workspace.folder / "tmp")})
    made.write(trials=9)
    return made


def finished(cold: Workspace) -> int:
    journal = cold.folder / "out" / "study.journal"
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
    return sum("tactic" in (json.loads(line).get("user_attrs") or {}) for line in lines)


def processes_in(group: int) -> list[str]:
    """The processes that have this one's group, or whose parent has it."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, rest = stat.read_text().rpartition(") ")
        except OSError:
            continue
        state, parent, own = rest.split()[:3]
        if state != "Z" and group in (int(parent), int(own)):
            found.append(stat.parent.name)
    return found


@pytest.mark.parametrize("everybody", [False, True], ids=["the command", "its children too"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
def test_a_signal_ends_a_run_as_ctrl_c_does(cold: Workspace, number: signal.Signals, everybody: bool) -> None:
    with cold.start("tune", "job.toml", "--backend", "model", "--json", "--out", "out") as process:
        while not finished(cold) and process.poll() is None:
            time.sleep(0.002)
        children = [int(p) for p in processes_in(process.pid) if int(p) != process.pid] if everybody else []
        for pid in (*children, process.pid):
            os.kill(pid, number)
        out, err = process.communicate(timeout=60)
    kept = finished(cold)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1].startswith(f"error: interrupted; {kept} finished trials are kept in out; run the same")
    assert len((cold.folder / "out" / "trials.csv").read_text().splitlines()) == kept + 1
    assert processes_in(process.pid) == []
    assert list((cold.folder / "tmp").iterdir()) == []
    run = cold.tune("--out", "out")
    assert (run.code, run.job["resumed"], run.job["trials"], run.job["failures"]) == (0, kept, 9, {})


def test_under_nohup_a_hangup_is_nothing(cold: Workspace) -> None:
    def nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with cold.start("tune", "job.toml", "--backend", "model", "--out", "out", preexec_fn=nohup) as process:
        while not finished(cold) and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=120)
    assert (process.returncode, finished(cold)) == (0, 9)


def test_what_a_killed_run_left_in_tmpdir_goes_with_the_next(cold: Workspace) -> None:
    with cold.start("tune", "job.toml", "--backend", "model", "--out", "out") as process:
        while not finished(cold) and process.poll() is None:
            time.sleep(0.002)
        process.kill()
        process.communicate()
    assert list((cold.folder / "tmp").iterdir())
    assert cold.tune("--out", "out").code == 0
    assert list((cold.folder / "tmp").iterdir()) == []


def test_stopped_before_the_search(workspace: Workspace) -> None:
    workspace.write("import time\nopen('begun', 'w').close()\ntime.sleep(60)\n" + KERNEL)
    with workspace.start("tune", "job.toml", "--backend", "model") as process:
        while not (workspace.folder / "begun").exists() and process.poll() is None:
            time.sleep(0.002)
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, "error: interrupted; run the same command again to go on")
