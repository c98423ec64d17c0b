"""The study that a job leaves opens in optuna-dashboard as it is."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from workspace import Workspace

pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed: pip install 'qdp-tuner[test]'")


@contextmanager
def dashboard(journal: Path) -> Iterator[str]:
    """The real server on a journal; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("optuna-dashboard")), str(journal), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.communicate(timeout=30)


def ask(address: str, path: str) -> Any:
    """What the server answers, once it is up."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{address}{path}", timeout=30) as answer:
                return json.load(answer)
        except ConnectionError:
            pass
        except urllib.error.URLError as e:
            if not isinstance(e.reason, ConnectionError):
                raise
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.2)


def test_the_dashboard_shows_the_study_with_its_trials(workspace: Workspace) -> None:
    workspace.table(B512="compile")
    run = workspace.replay("--trials", "100")
    assert run.code == 0, run.err
    with dashboard(workspace.folder / "results" / "job" / "study.journal") as address:
        (summary,) = ask(address, "/api/studies")["study_summaries"]
        assert summary["study_name"].startswith("test::scale N=4194304 T=fp32 on ")
        study = ask(address, f"/api/studies/{summary['study_id']}")
    assert summary["directions"] == ["minimize"]
    assert len(study["trials"]) == run.job["trials"]
    best = min(t["values"][0] for t in study["trials"] if t["state"] == "Complete")
    assert best == pytest.approx(run.job["winner"]["time_us"])
    assert sum(t["state"] == "Fail" for t in study["trials"]) == 2
    assert {p["name"] for p in study["trials"][0]["params"]} == {"BLOCK", "num_warps"}
