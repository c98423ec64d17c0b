"""Several inputs of which one fails: the others are done, and the failure is told again at the end."""

from __future__ import annotations

import shutil

import pytest
from workspace import KERNEL, STORE, Workspace

BROKEN = KERNEL.replace(STORE, f"    missing()\n{STORE}").replace("test::scale", "test::broken")


@pytest.fixture
def jobs(workspace: Workspace) -> Workspace:
    """The good jobs `job.toml` and `last.toml`, and `bad.toml`, whose tactics do not compile."""
    workspace.write(trials=3)
    good = (workspace.folder / "job.toml").read_text()
    for name in ("bad", "last"):
        kernel = BROKEN if name == "bad" else KERNEL.replace("test::scale", "test::last")
        (workspace.folder / f"{name}.py").write_text(kernel)
        (workspace.folder / f"{name}.toml").write_text(good.replace("kernel.py", f"{name}.py"))
    return workspace


def test_tune(jobs: Workspace) -> None:
    run = jobs.run("tune", "bad.toml", "none.toml", "job.toml", "--backend", "model", "--out", "o")
    assert run.code == 1
    assert run.out.count("winner") == 1 and (jobs.folder / "o/job/summary.json").exists()
    said = run.err.splitlines()
    assert said[-1].startswith("error: 2 of 3 failed: none.toml: none.toml does not exist")
    assert "bad: test::broken N=4194304 T=fp32: no tactic is valid" in said[-1]
    assert said[0].endswith("going on with the others"), "told before the search begins"


def test_one_document_in_spite_of_a_failure(jobs: Workspace) -> None:
    run = jobs.run("tune", "bad.toml", "job.toml", "--backend", "model", "--json")
    assert (run.code, run.job["kernel"]) == (1, "test::scale")


def test_the_only_one_keeps_its_exit_code(jobs: Workspace) -> None:
    run = jobs.run("tune", "none.toml")
    assert run.code == 2
    assert run.err == "error: none.toml does not exist; name a TOML file, or start one with: tuner new NAME\n"


def test_check_and_export(jobs: Workspace) -> None:
    tuned = jobs.run("tune", "job.toml", "last.toml", "--backend", "model")
    assert tuned.code == 0, tuned.err
    update = ("--baseline", "base.json", "--backend", "model")
    assert jobs.run("check", "job.toml", "last.toml", *update, "--update").code == 0
    run = jobs.run("check", "job.toml", "none.toml", "last.toml", *update, "--json")
    assert run.code == 1 and {c["kernel"] for c in run.document["checks"]} == {"test::scale", "test::last"}
    assert run.err.splitlines()[-1].startswith("error: 1 of 3 failed: none.toml: ")

    run = jobs.run("export", "job.toml", "bad.toml", "last.toml", "--format", "bundle", "--out", "bundle", "--json")
    assert run.code == 1 and run.err.splitlines()[-1].startswith("error: 1 of 3 failed: bad.toml: test::broken")
    served = (jobs.folder / "bundle" / "manifest.json").read_text()
    assert "test::scale" in served and "test::last" in served and run.document["files"]

    (jobs.folder / "empty").mkdir()
    run = jobs.run("export", "results/job", "empty", "results/last", "--format", "t4", "--out", "tables")
    assert run.code == 1 and len(run.out.splitlines()) == 2
    shutil.rmtree(jobs.folder / "tables")
    run = jobs.run("export", "empty", "--format", "t4", "--out", "tables")
    assert run.code == 2 and not (jobs.folder / "tables").exists()


def test_rehearse(jobs: Workspace) -> None:
    assert jobs.run("tune", "job.toml", "--backend", "model").code == 0
    assert jobs.run("export", "job.toml", "--format", "bundle", "--out", "bundle").code == 0
    run = jobs.run("rehearse", "none.toml", "last.toml", "bundle", "--tactics", "1", "--json")
    assert run.code == 1 and run.err.splitlines()[-1].startswith("error: 1 of 3 failed: none.toml: ")
    first, second = run.document["rehearsals"]
    assert first["what"].startswith("test::last") and second["what"].startswith("test::scale")
    assert all(len(r["played"]) == 1 and not r["broken"] for r in (first, second))
    run = jobs.run("rehearse", "results")
    assert run.code == 2 and "results is a folder without a plugin.py; name a config, a bundle, or --module" in run.err
