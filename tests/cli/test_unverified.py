"""A winner that nothing has found correct: every command says so, in the same words."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest
from workspace import KERNEL, Workspace

SAID = (
    "UNVERIFIED: nothing has held its results against the reference "
    "(the interpreter stopped with NotImplementedError: inline_asm not supported"
)
LACKING = KERNEL.replace(
    "    tl.store(y_ptr",
    '    y = tl.inline_asm_elementwise("mov.b32 $0, $1;", "=r,r", [y], y.dtype, True, 1)\n    tl.store(y_ptr',
    1,
)


@pytest.fixture
def tuned(workspace: Workspace) -> Workspace:
    """A folder whose job was tuned without anything that could run the kernel."""
    workspace.write(LACKING, trials=2)
    run = workspace.run("tune", "job.toml", "--backend", "model", "--out", "results")
    assert run.code == 0, run.err
    assert SAID in run.out and SAID in run.err
    return workspace


def test_tune_show_check_and_the_report_say_so(tuned: Workspace) -> None:
    shown = tuned.run("show")
    assert f"the winner is {SAID}" in shown.out
    assert SAID in tuned.run("show", "--config", "job.toml").out
    (lookup,) = tuned.run("show", "--config", "job.toml", "--json").document["lookups"]
    assert lookup["verified"].startswith("unverified: ") and lookup["differs"] == ""
    for options in (("--update",), ()):
        checked = tuned.run("check", "job.toml", "--baseline", "base.json", "--backend", "model", *options)
        assert checked.code == 0 and SAID in checked.out
    tuned.run("report", "results")
    (page,) = tuned.folder.rglob("*.html")
    assert SAID in page.read_text()


def test_rehearse_says_so_of_what_a_build_is_served(tuned: Workspace) -> None:
    run = tuned.run("rehearse", "job.toml", "--tactics", "1")
    if run.code == 3 and "pip install" in run.err:
        pytest.skip(run.err)
    assert run.code == 0, run.err
    assert f"the winner in the cache is {SAID}" in run.out


def test_export_refuses_it_until_it_is_asked_for(tuned: Workspace) -> None:
    export = ("export", "job.toml", "--format", "bundle", "--out", "bundle")
    refused = tuned.run(*export)
    assert refused.code == 1 and SAID in refused.err and "--allow-unverified" in refused.err
    assert not (tuned.folder / "bundle").exists()
    allowed = tuned.run(*export, "--allow-unverified")
    assert allowed.code == 0 and SAID in allowed.err
    manifest = json.loads((tuned.folder / "bundle" / "manifest.json").read_text())
    (problem,) = manifest["kernels"]["test::scale"]["problems"]
    assert problem["verified"].startswith("unverified: the interpreter stopped")
    sliced = tuned.run("export", "--format", "json", "--out", "slice.json")
    assert sliced.code == 0 and SAID in sliced.err


def test_a_verdict_of_a_gpu_on_the_same_code_counts(tuned: Workspace) -> None:
    path = tuned.folder / "tactics.json"
    cache = json.loads(path.read_text())
    (entry,) = cache["entries"]
    assert "evidence" not in entry
    summary = json.loads((tuned.folder / "results" / "summary.json").read_text())
    (job,) = summary["jobs"]
    codes = {f["id"]: f["code"]["ptx"] for f in job["finalists"] if "code" in f}
    ptx = (tuned.folder / "results" / codes[entry["winner"]["id"]]).read_bytes()
    measured = {
        **entry,
        "backend": "cuda",
        "kind": "measurement",
        "verified": "verified",
        "dims": {"N": 64},
        "evidence": {"how": "on the GPU", "ptx": {str(entry["winner"]["id"]): sha256(ptx).hexdigest()}},
    }
    path.write_text(json.dumps({**cache, "entries": [measured, entry]}))
    exported = tuned.run("export", "job.toml", "--format", "bundle", "--out", "bundle")
    assert (exported.code, exported.err) == (0, "")
    again = tuned.run("tune", "job.toml", "--backend", "model", "--out", "results")
    assert again.code == 0 and "UNVERIFIED" not in again.out + again.err
