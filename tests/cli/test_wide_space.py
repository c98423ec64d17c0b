"""A kernel whose legal tactics are too many to count, in every command that says how many there are."""

from __future__ import annotations

import re

from workspace import Workspace, wide_kernel


def test_it_is_tuned_played_and_reported(workspace: Workspace) -> None:
    workspace.write(wide_kernel("total <= 60"), trials=8)
    run = workspace.run("tune", "job.toml", "--backend", "model")
    assert run.code == 0, run.err
    assert re.search(r"up to 8 of more than \d+ tactics", run.err)
    assert "8 trials, budget reached" in run.out
    rehearsed = workspace.run("rehearse", "job.toml", "--tactics", "3", "--workers", "2")
    assert rehearsed.code == 0, rehearsed.err
    assert re.search(r": 3 of more than \d+ tactics played, no rule broken", rehearsed.out)
    (line,) = workspace.run("rehearse", "job.toml", "--tactics", "3", "--json").document["rehearsals"]
    assert (len(line["played"]), line["counted"]) == (3, False)
    assert workspace.run("report", "results/job").code == 0


def test_a_run_that_goes_on_asks_the_same_questions(workspace: Workspace) -> None:
    workspace.write(wide_kernel("total <= 14"), trials=5)
    whole = workspace.tune("--out", "whole", "--cache", "whole.json")
    assert whole.code == 0, whole.err
    workspace.tune("--trials", "2", "--out", "cut", "--cache", "cut.json")
    again = workspace.tune("--out", "cut", "--cache", "cut.json")
    assert again.job["resumed"] == 2
    lists = [(workspace.folder / out / "trials.csv").read_text() for out in ("whole", "cut")]
    assert lists[0] == lists[1]


def test_where_next_to_nothing_is_legal_the_search_ends_and_says_why(workspace: Workspace) -> None:
    workspace.write(wide_kernel("total <= 11"), trials=9)
    run = workspace.run("tune", "job.toml", "--backend", "model")
    assert run.code == 0, run.err
    assert "no further legal tactic was found: 100 % of all are refused by budget: over the budget" in run.err
    assert "5 trials, no further legal tactic was found." in run.out, "the default with each of the five blocks"
    workspace.run("report", "results/job", "--out", "page.html")
    assert "5, no further legal tactic was found" in (workspace.folder / "page.html").read_text()


def test_a_default_that_is_not_legal_is_refused_at_once(workspace: Workspace) -> None:
    workspace.write(wide_kernel("total > 11"))
    run = workspace.run("tune", "job.toml", "--backend", "model")
    assert run.code == 2
    assert "is not legal for N=4194304 T=fp32: budget: over the budget; choose another default" in run.err


def test_the_time_limit_holds_for_counting_too(workspace: Workspace) -> None:
    """A constraint that takes long: counting to the end would take half an hour."""
    slow = "sum(range(3_000_000)) < 0 or total <= 60"
    workspace.write(wide_kernel(slow), trials=8)
    run = workspace.tune("--timeout", "1")
    assert run.code == 0, run.err
    assert run.job["stopped"] == "time"


def test_all_tactics_are_not_offered(workspace: Workspace) -> None:
    workspace.write(wide_kernel("total <= 60"))
    run = workspace.run("rehearse", "job.toml", "--all")
    assert run.code == 2, run.out + run.err
    assert re.search(r"has more than \d+ legal tactics, and a builder can be offered 10000 at most", run.err)
