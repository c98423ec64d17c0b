"""Stdout with --json: one document, whatever a kernel's file prints; and stdout that cannot be written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from workspace import KERNEL, Workspace

NOISE = """
import os
print('hello from python')
os.system('echo hello from a program')
os.write(1, b'hello from native code')
"""
NOISY = NOISE + (
    KERNEL.replace("lambda N, BLOCK: Launch(", "lambda N, BLOCK: print('hello from the launch') or Launch(")
    .replace("lambda x, factor: x * factor", "lambda x, factor: print('hello from the reference') or x * factor")
    .replace("lambda BLOCK, num_warps: BLOCK", "lambda BLOCK, num_warps: print('hello from a constraint') or BLOCK")
)


@pytest.fixture
def noisy(workspace: Workspace) -> Workspace:
    """A tuned and recorded job whose kernel's file prints wherever it is called."""
    workspace.write(NOISY, trials=4)
    run = workspace.tune()
    assert (run.code, "hello from python" in run.err) == (0, True), run.err
    assert run.job["kernel"] == "test::scale"
    return workspace


def test_every_command_writes_one_document(noisy: Workspace) -> None:
    update = noisy.run("check", "job.toml", "--baseline", "base.json", "--update", "--backend", "model", "--json")
    assert (update.code, bool(update.document)) == (0, True), update.err
    commands = (
        ("check", "--baseline", "base.json", "--backend", "model", "--json"),
        ("check", "--baseline", "base.json", "--backend", "model", "--format", "json"),
        ("check", "--baseline", "base.json", "--backend", "model", "--json", "--out", "checks.json"),
        ("tune", "job.toml", "--print-config", "--json"),
        ("show", "--config", "job.toml", "--json"),
        ("export", "job.toml", "--format", "bundle", "--out", "bundle", "--json"),
        ("report", "results/job", "--json"),
    )
    for command in commands:
        run = noisy.run(*command)
        assert run.code == 0, run.err
        assert json.loads(run.out), command
        if command[0] in ("tune", "check"):
            assert "hello from a program" in run.err and "hello from native code" in run.err


def test_rehearse_writes_one_document(noisy: Workspace) -> None:
    run = noisy.run("rehearse", "job.toml", "--tactics", "1", "--json")
    assert run.code == 0, run.err
    assert len(run.document["rehearsals"]) == 1


def test_without_json_nothing_is_moved(noisy: Workspace) -> None:
    assert "hello from python" in noisy.run("tune", "job.toml", "--print-config").out


@pytest.mark.parametrize("arguments", [(), ("--json",)], ids=["table", "json"])
def test_a_full_stdout_is_told(workspace: Workspace, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        run = workspace.run("tune", "job.toml", "--backend", "model", *arguments, stdout=full)
    assert run.code == 2
    assert run.err.splitlines()[-1] == (
        "error: stdout cannot be written: No space left on device; give room where it leads"
    )
