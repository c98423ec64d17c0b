"""`tuner check` as a user runs it: verdicts, exit codes, outputs, baselines."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workspace import KERNEL, Run, Workspace

ROOT = Path(__file__).parents[2]
FIELDS = {"kernel", "problem", "rule", "verdict", "baseline", "now", "message"}
LOAD = "tl.load(x_ptr + offsets, mask=mask)"


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Path:
    """A folder with a tuned kernel and its baseline."""
    workspace = Workspace(tmp_path_factory.mktemp("recorded"), compiled)
    workspace.write()
    workspace.table()
    assert workspace.tune().code == 0
    run = check(workspace, "--update")
    assert (run.code, run.document["verdict"]) == (0, "pass"), run.err
    return workspace.folder


@pytest.fixture
def recorded(template: Path, tmp_path: Path, compiled: Path) -> Workspace:
    """A copy of it."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return Workspace(tmp_path, compiled)


def check(workspace: Workspace, *arguments: str) -> Run:
    return workspace.run("check", "job.toml", "--baseline", "baseline.json", "--backend", "model", "--json", *arguments)


def edit(workspace: Workspace, *replaced: tuple[str, str]) -> None:
    text = KERNEL
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    workspace.write(text)


def found(run: Run) -> dict[str, list[dict[str, Any]]]:
    """The checks by rule."""
    rules: dict[str, list[dict[str, Any]]] = {}
    for c in run.document["checks"]:
        rules.setdefault(c["rule"], []).append(c)
    return rules


def worse(run: Run) -> set[str]:
    return {c["rule"] for c in run.document["checks"] if c["verdict"] == "regression"}


HARMLESS = (
    ("offsets", "here"),
    ("def scale(x_ptr, n,", "def times(x_ptr, length,"),
    ("source=scale", "source=times"),
    ("< n\n", "< length  # inside\n"),
)


def test_an_unchanged_kernel_passes(recorded: Workspace) -> None:
    run = check(recorded)
    assert (run.code, run.document["verdict"]) == (0, "pass")
    assert all(c.keys() == FIELDS for c in run.document["checks"])
    rules = found(run)
    assert rules.keys() == {"correct", "code", "lookup"}
    assert all("code unchanged" in c["message"] for c in rules["code"])
    assert check(recorded).document == run.document


def test_renames_and_comments_leave_the_code_unchanged_and_the_lookup_empty(recorded: Workspace) -> None:
    edit(recorded, *HARMLESS)
    run = check(recorded)
    assert run.code == 0, run.out
    assert all("code unchanged" in c["message"] for c in found(run)["code"])
    (lookup,) = found(run)["lookup"]
    assert lookup["verdict"] == "pass" and "no longer finds the winner" in lookup["message"]

    strict = check(recorded, "--served")
    assert (strict.code, worse(strict)) == (1, {"lookup"})


def test_an_update_moves_the_cache_entry_of_unchanged_code(recorded: Workspace) -> None:
    before = json.loads((recorded.folder / "tactics.json").read_text())["entries"]
    edit(recorded, *HARMLESS)
    run = check(recorded, "--update", "--served")
    assert run.code == 0, run.out
    assert "moves to the new source" in run.err
    after = json.loads((recorded.folder / "tactics.json").read_text())["entries"]
    (new,) = [e for e in after if e not in before]
    assert {**new, "source": before[0]["source"]} == before[0]


def test_a_baseline_with_an_older_hash_says_so_until_an_update(recorded: Workspace) -> None:
    for name in ("baseline.json", "tactics.json"):
        file = recorded.folder / name
        file.write_text(re.sub(r'"source": "\d+:', '"source": "', file.read_text()))
    run = check(recorded)
    assert run.code == 0, run.out
    (lookup,) = found(run)["lookup"]
    assert "hold an older hash of the kernel source" in lookup["message"]
    assert "recorded with an older hash of the kernel source; tune again" in lookup["message"]
    assert worse(check(recorded, "--served")) == {"lookup"}
    updated = check(recorded, "--update", "--served")
    assert updated.code == 0, updated.out
    assert "moves to the new source" in updated.err
    (lookup,) = found(check(recorded, "--served"))["lookup"]
    assert "finds the winner: exact" in lookup["message"]


def test_an_update_does_not_move_an_entry_of_another_winner(recorded: Workspace) -> None:
    cache = recorded.folder / "tactics.json"
    document = json.loads(cache.read_text())
    (entry,) = document["entries"]
    other = next(t for t in (*entry["ties"], entry["default"]) if t["id"] != entry["winner"]["id"])
    cache.write_text(json.dumps({**document, "entries": [{**entry, "winner": other}]}))
    before = cache.read_bytes()
    edit(recorded, *HARMLESS)
    assert "does not serve" in check(recorded, "--update").err
    assert cache.read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("    tl.store(y_ptr", "    tl.debug_barrier()\n    tl.store(y_ptr", "barriers"),
        (LOAD, "tl.load(x_ptr + offsets // 3 * 3 + offsets % 3, mask=mask)", "load_width"),
        ("y, mask=mask)\n", "y, mask=mask & (offsets % 3 != 5))\n", "store_width"),
        (LOAD, f"(0.5 * tl.load(x_ptr + offsets, mask=mask, volatile=True) + 0.5 * {LOAD})", "load_bytes"),
        ("BLOCK >= 64 * num_warps", "BLOCK > 4096 or BLOCK == num_warps * 64", "legal"),
        ("mask=mask) * factor", "mask=mask) * factor * 2", "correct"),
        (LOAD, "tl.lode(x_ptr)", "compiles"),
    ],
)
def test_planted_regressions_are_found_and_explained(recorded: Workspace, old: str, new: str, rule: str) -> None:
    edit(recorded, (old, new))
    run = check(recorded)
    assert run.code == 1, run.out + run.err
    assert run.document["verdict"] == "regression"
    assert rule in worse(run)
    broken = [c for c in found(run)[rule] if c["verdict"] == "regression"]
    assert all(len(c["message"]) > 40 and "(BLOCK=" in c["message"] for c in broken)


def test_what_got_worse_is_recorded_only_with_a_reason(recorded: Workspace) -> None:
    file = recorded.folder / "baseline.json"
    before = file.read_bytes()
    edit(recorded, ("    tl.store(y_ptr", "    tl.debug_barrier()\n    tl.store(y_ptr"))
    refused = check(recorded, "--update")
    assert (refused.code, worse(refused)) == (1, {"barriers"})
    assert "--accept REASON" in refused.err
    assert file.read_bytes() == before

    assert recorded.tune().code == 0
    accepted = check(recorded, "--update", "--accept", "needed for the next step")
    assert accepted.code == 0, accepted.out
    later = check(recorded)
    assert later.code == 0
    assert {(c["rule"], c["baseline"], c["now"]) for c in found(later)["accepted"]} == {("accepted", 0, 1)}
    assert "needed for the next step" in found(later)["accepted"][0]["message"]
    assert file.read_text().count("needed for the next step") == len(found(later)["accepted"]) == 1


def test_a_compile_that_takes_too_long_is_inconclusive(recorded: Workspace) -> None:
    edit(recorded, ("* factor", "* (factor + 0)"))
    job = recorded.folder / "job.toml"
    job.write_text(job.read_text() + "\n[compile]\ntimeout_s = 0.001\n")
    run = check(recorded)
    assert (run.code, {c["verdict"] for c in found(run)["compiles"]}) == (3, {"inconclusive"})


@pytest.mark.parametrize("damage", [lambda ptx: ptx.unlink(), lambda ptx: ptx.write_text("// other code")])
def test_ptx_that_is_not_what_was_recorded_is_inconclusive(recorded: Workspace, damage: Callable[[Path], None]) -> None:
    (ptx,) = (recorded.folder / "baseline").iterdir()
    damage(ptx)
    run = check(recorded)
    (lost,) = found(run)["recorded"]
    assert (run.code, lost["verdict"]) == (3, "inconclusive")
    assert str(ptx.name) in lost["message"] and "--update" in lost["message"]
    assert check(recorded, "--update").code == 0


def test_an_update_leaves_the_ptx_of_others_alone(recorded: Workspace) -> None:
    own = recorded.folder / "baseline" / "by_hand.ptx"
    own.write_text("// a kernel")
    (before,) = (p for p in own.parent.iterdir() if p != own)
    edit(recorded, ("    tl.store(y_ptr", "    tl.debug_barrier()\n    tl.store(y_ptr"))
    check(recorded, "--update", "--accept", "needed")
    assert own.exists() and not before.exists() and len(list(own.parent.iterdir())) == 2


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@pytest.mark.parametrize(
    "name",
    ["../precious.ptx", "{folder}/precious.ptx", "kernel.py", "baseline/../../precious.ptx", "", "/", "baseline"],
)
def test_a_baseline_names_no_file_outside_its_folder(recorded: Workspace, name: str) -> None:
    file, precious = recorded.folder / "baseline.json", recorded.folder.parent / "precious.ptx"
    precious.write_text("thesis")
    document = json.loads(file.read_text())
    document["records"][0]["code"]["ptx"] = name.format(folder=recorded.folder.parent)
    file.write_text(json.dumps(document))
    before = {p: p.read_bytes() for p in recorded.folder.rglob("*") if p.is_file()}
    for more in ((), ("--update",), ("--update", "--accept", "it")):
        run = check(recorded, *more)
        assert run.code == 2 and "baseline.json: records[0].code.ptx: " in run.err and run.err.count("\n") == 1
    assert {p: p.read_bytes() for p in recorded.folder.rglob("*") if p.is_file()} == before
    assert precious.read_text() == "thesis"


@pytest.mark.parametrize("where", ["edited", "other folder", "link to a file", "link to a folder"])
def test_an_update_deletes_only_ptx_of_its_own(recorded: Workspace, where: str) -> None:
    file, folder = recorded.folder / "baseline.json", recorded.folder / "baseline"
    victim = folder / f"scale-{digest('thesis')}.ptx"
    if where == "edited":
        victim.write_text("thesis, second edition")
    elif where == "other folder":
        victim = recorded.folder / "other" / victim.name
        victim.parent.mkdir()
        victim.write_text("thesis")
    elif where == "link to a file":
        (folder / "mine").write_text("thesis")
        victim.symlink_to("mine")
    else:
        (recorded.folder / "others").mkdir()
        (recorded.folder / "link").symlink_to("others")
        victim = recorded.folder / "link" / victim.name
        victim.write_text("thesis")
    document = json.loads(file.read_text())
    document["records"][0]["code"]["ptx"] = str(victim.relative_to(recorded.folder))
    file.write_text(json.dumps(document))
    before = victim.read_text()
    assert check(recorded, "--update").code == 0
    assert victim.read_text() == before and (where != "link to a file" or victim.is_symlink())
    assert json.loads(file.read_text())["records"][0]["code"]["ptx"] != document["records"][0]["code"]["ptx"]


@pytest.mark.parametrize("inside", [True, False])
def test_an_update_does_not_write_through_links(recorded: Workspace, inside: bool) -> None:
    (ptx,) = (recorded.folder / "baseline").iterdir()
    victim = (recorded.folder if inside else recorded.folder.parent) / "victim.txt"
    victim.write_text("thesis")
    ptx.unlink()
    ptx.symlink_to(victim)
    run = check(recorded, "--update")
    assert run.code == 2 and "remove the link" in run.err
    assert victim.read_text() == "thesis"


def test_a_config_is_named_by_a_relative_path(recorded: Workspace) -> None:
    file = recorded.folder / "baseline.json"
    document = json.loads(file.read_text())
    document["records"][0]["config"] = str(recorded.folder / "job.toml")
    file.write_text(json.dumps(document))
    run = recorded.run("check", "--baseline", "baseline.json", "--backend", "model")
    assert run.code == 2 and "baseline.json: records[0].config: " in run.err


def test_a_prediction_does_not_replace_a_measured_winner(recorded: Workspace) -> None:
    file, cache = recorded.folder / "baseline.json", recorded.folder / "tactics.json"
    winner = json.loads(file.read_text())["records"][0]["winner"]["config"]
    predicted = json.loads(cache.read_text())
    (entry,) = predicted["entries"]
    other = next(t for t in (entry["ties"] + [entry["default"]]) if t["config"] != winner)
    shown = {"backend": "cuda", "kind": "measurement"}
    measured = {**entry, **shown, "winner": other}
    cache.write_text(json.dumps({**predicted, "entries": [measured, entry]}))
    (served,) = found(check(recorded))["lookup"]
    assert served["verdict"] == "regression" and "which is not the recorded winner" in served["message"]

    run = check(recorded, "--update", "--accept", "measured")
    assert run.code == 0 and "the winner is now" in run.err
    cache.write_text(json.dumps(predicted))
    run = check(recorded, "--update")
    assert run.code == 0 and "the measured winner stays" in run.err
    assert json.loads(file.read_text())["records"][0]["winner"]["config"] == other["config"]
    assert "has no measured entry of this kernel" in found(run)["lookup"][0]["message"]


def test_margins_stand_in_the_baseline(recorded: Workspace) -> None:
    file = recorded.folder / "baseline.json"
    edit(recorded, (LOAD, "tl.load(x_ptr + offsets // 3 * 3 + offsets % 3, mask=mask)"))
    assert {"loads", "load_width", "instructions"} <= worse(check(recorded))
    document = json.loads(file.read_text())
    document["margins"] |= dict.fromkeys(document["margins"], 100)
    file.write_text(json.dumps(document))
    assert check(recorded).code == 0


def test_a_problem_without_a_record_is_inconclusive_and_a_record_without_its_problem_a_regression(
    recorded: Workspace,
) -> None:
    job = recorded.folder / "job.toml"
    job.write_text(job.read_text().replace("4194304", "8192"))
    run = check(recorded)
    assert run.code == 1
    assert [c["verdict"] for c in found(run)["recorded"]] == ["inconclusive", "regression"]
    baseline = recorded.folder / "baseline.json"
    document = json.loads(baseline.read_text())
    baseline.write_text(json.dumps({**document, "records": []}))
    run = check(recorded)
    assert (run.code, run.document["verdict"]) == (3, "inconclusive")


def test_a_broken_kernel_is_a_regression_and_keeps_no_other_from_being_checked(recorded: Workspace) -> None:
    other = KERNEL.replace("test::scale", "test::other")
    (recorded.folder / "other.py").write_text(other)
    job = (recorded.folder / "job.toml").read_text()
    (recorded.folder / "other.toml").write_text(job.replace("kernel.py", "other.py"))
    assert recorded.run("tune", "other.toml", "--trials", "1").code == 0
    held = ("check", "--baseline", "baseline.json", "--backend", "model", "--json")
    assert recorded.run(*held, "other.toml", "--update").code == 0
    (recorded.folder / "other.py").write_text(other.replace('"BLOCK": 256', '"BLOCK": 128'))
    run = recorded.run(*held)
    assert run.code == 1
    (lost,) = (c for c in run.document["checks"] if c["verdict"] == "regression")
    assert (lost["kernel"], lost["rule"]) == ("test::other", "recorded")
    assert "the kernel's default (BLOCK=128 num_warps=4) is not legal" in lost["message"]
    assert any(c["kernel"] == "test::scale" and "code unchanged" in c["message"] for c in run.document["checks"])
    named = recorded.run(*held, "other.toml")
    assert (named.code, named.err.count("\n")) == (2, 1)


def test_a_cache_that_matches_nothing_is_a_regression(recorded: Workspace) -> None:
    cache = recorded.folder / "tactics.json"
    cache.write_text(cache.read_text().replace("NVIDIA H200", "NVIDIA H100 80GB HBM3").replace('"model"', '"cuda"'))
    run = check(recorded)
    assert (run.code, worse(run)) == (1, {"lookup"})
    cache.unlink()
    run = check(recorded)
    assert run.code == 0
    assert "lookups were not checked" in found(run)["lookup"][0]["message"]


def test_retuning_compares_the_winner_with_the_best_of_new_trials(recorded: Workspace) -> None:
    text = (recorded.folder / "tactics.json").read_text()
    (same,) = found(check(recorded, "--retune", "6"))["retune"]
    assert same["verdict"] == "pass" and "the best of 6 fresh trials too" in same["message"]
    assert (recorded.folder / "tactics.json").read_text() == text

    assert recorded.tune("--trials", "1", "--cache", "hasty.json", "--out", "hasty").code == 0
    refused = check(recorded, "--cache", "hasty.json", "--update")
    assert (refused.code, worse(refused)) == (1, {"predicted_time"})
    assert check(recorded, "--cache", "hasty.json", "--update", "--accept", "a hasty search").code == 0
    run = check(recorded, "--cache", "hasty.json", "--retune", "14", "--margin", "0")
    assert (run.code, worse(run)) == (1, {"retune"})
    (retuned,) = found(run)["retune"]
    assert retuned["baseline"] > retuned["now"] and "predicted" in retuned["message"]


def test_the_table_and_the_configs_that_a_baseline_names(recorded: Workspace) -> None:
    arguments = ("check", "--baseline", "baseline.json", "--backend", "model")
    run = recorded.run(*arguments)
    assert (run.code, run.out) == (0, "pass: 5 checks of 1 problem\n")
    edit(recorded, ("    tl.store(y_ptr", "    tl.debug_barrier()\n    tl.store(y_ptr"))
    run = recorded.run(*arguments)
    assert run.code == 1
    assert "barriers (winner)" in run.out and "barriers (default)" in run.out
    assert "each barrier lasts as long as the slowest warp" in run.out
    assert run.out.splitlines()[-1].startswith("regression: 2 regression, ")


def test_junit(recorded: Workspace) -> None:
    edit(recorded, ("    tl.store(y_ptr", "    tl.debug_barrier()\n    tl.store(y_ptr"))
    run = recorded.run("check", "--baseline", "baseline.json", "--format", "junit", "--out", "check.xml")
    assert run.code == 1 and "barriers" in run.out
    (suite,) = ET.parse(recorded.folder / "check.xml").getroot()
    cases = {c.get("name"): c for c in suite}
    assert (suite.get("name"), suite.get("failures"), suite.get("errors")) == ("test::scale", "2", "0")
    assert suite.get("tests") == str(len(cases))
    failure = cases["barriers (winner)"].find("failure")
    assert failure is not None and "was 0" in (failure.get("message") or "")
    assert cases["correct (winner)"].find("failure") is None

    junit = ("--format", "junit", "--out", "check.xml")
    recorded.run("check", "job.toml", "--baseline", "baseline.json", "--update", "--accept", "\x1b[1mwhy\nnot", *junit)
    (suite,) = ET.parse(recorded.folder / "check.xml").getroot()
    (accepted,) = {c.findtext("system-out") for c in suite if c.get("name") == "accepted"}
    assert accepted is not None and "\ufffd[1mwhy not (barriers)" in accepted


def test_github(recorded: Workspace) -> None:
    edit(recorded, ("    tl.store(y_ptr", "    tl.debug_barrier()\n    tl.store(y_ptr"))
    summary = recorded.folder / "summary.md"
    environment = {**recorded.environment, "GITHUB_STEP_SUMMARY": str(summary)}
    run = recorded.run("check", "--baseline", "baseline.json", "--format", "github", env=environment)
    assert run.code == 1
    errors = [line for line in run.out.splitlines() if line.startswith("::error ")]
    assert len(errors) == 2
    assert errors[0].startswith("::error file=kernel.py,title=test%3A%3Ascale%3A barriers::N=4194304 T=fp32: winner ")
    assert "| test::scale | N=4194304 T=fp32 | barriers (winner) | 0 | 1 | regression |" in summary.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--baseline", "no.json"), 2, "no.json does not exist; write it with: tuner check CONFIG --baseline"),
        (("--baseline", "table.csv"), 2, "table.csv is damaged or no baseline"),
        (("--baseline", "tactics.json"), 2, "tactics.json is no baseline"),
        (("--baseline", "newer.json"), 2, "newer.json has version 2, this tuner reads 1"),
        (("--baseline", "odd.json"), 2, "odd.json: Object contains unknown field `recrods`"),
        (("--baseline", "baseline.json", "--accept", "why not"), 2, "--accept REASON goes with --update"),
        (("--baseline", "baseline.json", "--update", "--accept", " "), 2, "the reason may not be empty"),
        (
            ("--baseline", "baseline.json", "--update", "--margin", "9"),
            2,
            "margins of a baseline stand in its file",
        ),
        (("--baseline", "held", "--update"), 2, "call the file held.json"),
        (("--baseline", "baseline.json", "--format", "junitt"), 2, "unknown format 'junitt'; did you mean 'junit'"),
        (("--baseline", "baseline.json", "--out", "x.txt"), 2, "--out goes with --format"),
        (("--baseline", "baseline.json", "--backend", "replay"), 2, "--backend replay"),
        (("--baseline", "empty.json", "--update", "--cache", "none.json"), 2, "run tuner tune job.toml first"),
    ],
)
def test_wrong_input_is_one_line(recorded: Workspace, arguments: tuple[str, ...], code: int, says: str) -> None:
    (recorded.folder / "newer.json").write_text('{"format": "qdp-tuner baseline", "version": 2}')
    (recorded.folder / "odd.json").write_text('{"format": "qdp-tuner baseline", "version": 1, "recrods": []}')
    (recorded.folder / "empty.json").write_text('{"format": "qdp-tuner baseline", "version": 1}')
    run = recorded.run("check", "job.toml", *arguments)
    assert run.code == code, run.out
    assert run.err.startswith("error: ") and run.err.count("\n") == 1
    assert says in run.err


def test_this_repository_holds_its_own_kernels(workspace: Workspace) -> None:
    document = json.loads((ROOT / "configs" / "baseline.json").read_text())
    slow = {"depthwise_conv.toml"}  # its gate takes minutes on the interpreter
    assert {r["config"] for r in document["records"]} == {p.name for p in (ROOT / "configs").glob("*.toml")} - slow
    assert not any(r["accepted"] or r["winner"]["verified"] != "verified" for r in document["records"])
    configs = [str(ROOT / "configs" / f"{name}.toml") for name in ("increment", "transpose")]
    baseline = str(ROOT / "configs" / "baseline.json")
    run = workspace.run("check", *configs, "--baseline", baseline, "--backend", "model", "--json")
    assert run.code == 0, run.out
    assert len(found(run)["code"]) == 4
