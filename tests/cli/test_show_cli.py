"""`tuner show`: filters, and what differs between two caches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from entries import DEFAULT, FAST, entry
from workspace import Workspace

from tuner.store.cache import update

OLD = (
    entry(N=1),
    entry(N=2, time_us=10.0),
    entry(N=3, winner=DEFAULT, time_us=20.0),
    entry(N=4, source="old"),
    entry(N=5),
    entry(N=6, trials=8),
)
NEW = (
    entry(N=1),
    entry(N=2, time_us=11.0),
    entry(N=3, winner=FAST, time_us=10.0),
    entry(N=4, source="new", time_us=9.0),
    entry(N=6, trials=16),
    entry("other::kernel", N=7, backend="model", kind="prediction"),
)


@pytest.fixture
def caches(workspace: Workspace) -> Path:
    update(workspace.folder / "old.json", OLD)
    update(workspace.folder / "tactics.json", NEW)
    return workspace.folder


def changes(workspace: Workspace, *arguments: str) -> dict[int, dict[str, Any]]:
    document = workspace.run("show", "--diff", "old.json", *arguments, "--json").document
    return {(c["after"] or c["before"])["dims"]["N"]: c for c in document["changes"]}


def test_a_diff_says_what_became_of_each_entry(workspace: Workspace, caches: Path) -> None:
    found = changes(workspace)
    assert {n: c["what"] for n, c in found.items()} == {
        2: "time",
        3: "winner",
        4: "time",
        5: "removed",
        6: "details",
        7: "added",
    }
    assert [n for n, c in found.items() if c["new_source"]] == [4]
    assert found[2]["ratio"] == pytest.approx(1.1) and found[3]["ratio"] == 0.5
    assert found[3]["before"]["winner"]["config"] == DEFAULT and found[3]["after"]["winner"]["config"] == FAST
    assert (found[5]["after"], found[5]["ratio"], found[7]["before"]) == (None, None, None)
    assert workspace.run("show", "--diff", "old.json", "--json").document["unchanged"] == 1


def test_a_diff_is_a_table_with_times_and_their_change(workspace: Workspace, caches: Path) -> None:
    run = workspace.run("show", "--diff", "old.json")
    assert (run.code, run.err) == (0, "")
    rows = {line.split()[0]: line for line in run.out.splitlines() if "::" in line}
    assert "N=3" in rows["winner"] and "BLOCK=256" in rows["winner"] and "BLOCK=1024" in rows["winner"]
    assert "20 us" in rows["winner"] and "10 us" in rows["winner"] and "-50.0%" in rows["winner"]
    assert "(predicted)" in rows["added"] and "%" not in rows["added"]
    assert run.out.splitlines()[-1] == f"6 changed, 1 unchanged from old.json to {caches / 'tactics.json'}"


def test_a_diff_obeys_the_filters(workspace: Workspace, caches: Path) -> None:
    assert list(changes(workspace, "--kernel", "other::kernel")) == [7]
    assert sorted(changes(workspace, "--kind", "measurement")) == [2, 3, 4, 5, 6]
    assert list(changes(workspace, "increment", "--problem", "N=2")) == [2]


def test_two_sources_of_one_problem_are_not_taken_for_a_change(workspace: Workspace, caches: Path) -> None:
    update(workspace.folder / "old.json", [entry(N=4, source="older")])
    whats = [c["what"] for c in workspace.run("show", "--diff", "old.json", "--json").document["changes"]]
    assert sorted(whats).count("removed") == 3 and sorted(whats).count("added") == 2


def test_a_cache_does_not_differ_from_itself(workspace: Workspace, caches: Path) -> None:
    run = workspace.run("show", "--diff", "tactics.json")
    assert run.out == f"0 changed, 6 unchanged from tactics.json to {caches / 'tactics.json'}\n"


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("increment",), {1, 2, 3, 4, 6}),
        (("other::kernel",), {7}),
        (("--backend", "model"), {7}),
        (("--problem", "N=2 fp16"), {2}),
        (("--problem", "N=2 fp32"), set()),
        (("--device", "h100"), set()),
    ],
)
def test_filters_choose_what_is_shown(
    workspace: Workspace, caches: Path, arguments: tuple[str, ...], shown: set[int]
) -> None:
    entries = workspace.run("show", *arguments, "--json").document["entries"]
    assert {e["dims"]["N"] for e in entries} == shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("other::kernel", "--kernel", "x::y"), "both the kernel other::kernel and --kernel x::y"),
        (("--diff", "old.json", "--config", "job.toml"), "both --diff and --config"),
        (("--diff", "none.json"), "'none.json' does not exist"),
        (("--diff", "job.toml"), "job.toml is damaged or no tactic cache"),
        (("--kind", "guess"), "'guess' is not one of"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    workspace: Workspace, caches: Path, arguments: tuple[str, ...], said: str
) -> None:
    run = workspace.run("show", *arguments)
    assert (run.code, run.out) == (2, "") and said in run.err and len(run.err.splitlines()) == 1
