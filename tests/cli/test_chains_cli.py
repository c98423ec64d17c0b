"""Operators of several launches and in place are shown and exported like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chained import PEAK, TWO_POINTERS
from workspace import Workspace


@pytest.mark.parametrize(
    ("kernel", "dims", "params"),
    [
        (PEAK, "M = 8, N = 300", {"TILE", "parts_num_warps", "whole_BLOCK"}),
        (TWO_POINTERS, "N = 300", {"BLOCK"}),
    ],
    ids=["several launches", "in place"],
)
def test_what_was_found_is_shown_and_exported(workspace: Workspace, kernel: str, dims: str, params: set[str]) -> None:
    workspace.write(kernel=kernel)
    (workspace.folder / "job.toml").write_text(f'version = 1\nkernel = "kernel.py"\n[problem]\ndims = {{ {dims} }}\n')
    run = workspace.run("tune", "job.toml", "--backend", "model", "--trials", "2", "--json")
    assert run.code == 0, run.err
    (shown,) = workspace.run("show", "--config", "job.toml", "--json").document["lookups"]
    assert shown["tier"] == "exact" and shown["config"].keys() == params and shown["differs"] == ""
    for format_name in ("t4", "kernel-tuner"):
        out = f"{format_name}.json"
        run = workspace.run("export", "results/job", "--format", format_name, "--out", out)
        assert run.code == 0, run.err
        assert params <= set((workspace.folder / out).read_text().replace('"', " ").split())
    run = workspace.run("export", "--format", "json", "--out", "slice.json")
    assert run.code == 0, run.err
    (entry,) = json.loads((workspace.folder / "slice.json").read_text())["entries"]
    assert entry["winner"]["config"].keys() == params
    run = workspace.run("export", "job.toml", "--format", "bundle", "--out", "bundle")
    assert run.code == 0, run.err
    assert workspace.run("rehearse", "bundle").code == 0
    assert Path(workspace.folder, "bundle", "plugin.py").is_file()
