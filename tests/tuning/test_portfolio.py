"""From tuned shapes to the few tactics that serve them, through the command."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from workspace import CONFIG, KERNEL, STORE, Workspace

from tuner import Problem, Range, Timed
from tuner.kernel.identity import kernel_hash
from tuner.kernel.loader import load_kernel
from tuner.qdp.offers import FromCache
from tuner.store.cache import Cache
from tuner.tuning.portfolio import spanning

GRID = CONFIG.format(trials=9).replace("N = 4194304", "N = { values = [16384, 262144, 4194304] }")
H200 = "NVIDIA H200", (9, 0)


@pytest.fixture
def tuned(workspace: Workspace) -> Workspace:
    """Three shapes, tuned by predictions."""
    (workspace.folder / "job.toml").write_text(GRID)
    assert workspace.tune().code == 0
    return workspace


def cached(workspace: Workspace) -> Cache:
    return Cache.open(workspace.folder / "tactics.json")


def test_a_portfolio_serves_every_shape_and_is_recorded_for_the_range(tuned: Workspace) -> None:
    winners = {e.winner.id for e in cached(tuned).entries}
    run = tuned.run("portfolio", "job.toml", "--backend", "model", "--within", "1", "--json")
    assert run.code == 0, run.err
    (found,) = run.document["portfolios"]
    assert (found["kind"], found["within"], found["method"]) == ("prediction", 0.01, "exact")
    assert found["shapes"][:3] == ["N=16384 T=fp32", "N=262144 T=fp32", "N=4194304 T=fp32"]
    assert len(found["shapes"]) == 6  # also in code that cannot rely on 16 dividing N
    taken = [c for c in found["candidates"] if c["taken"]]
    for position in range(6):
        best_us = min(c["times_us"][position] for c in found["candidates"])
        assert min(c["times_us"][position] for c in taken) <= 1.01 * best_us
    kernel = load_kernel("kernel.py", tuned.folder)
    assert {c["id"] for c in found["candidates"]} == winners | {kernel.default_tactic.id}
    (entry,) = [e for e in cached(tuned).entries if e.portfolio]
    assert entry.label.startswith("N=16384:262144:4194304")
    assert {t.id for t in entry.portfolio} == {c["id"] for c in taken}
    assert entry.winner == entry.portfolio[0] and entry.verified == "verified"
    assert [s.best in {c["id"] for c in taken} for s in entry.timed] == [True] * 3
    assert json.loads((tuned.folder / "results/job/portfolio.json").read_text()) == run.document["portfolios"]

    between = Problem.of(kernel, {"N": 300_000})
    asked: dict[str, Any] = {"source": kernel_hash(kernel), "backend": "model", "device": H200[0]}
    hit = cached(tuned).lookup(between, **asked)
    assert hit.tier == "portfolio" and hit.entry == entry
    assert hit.tactic.id == entry.timed[1].best, "the fastest at the nearest shape comes first"
    assert re.match(r"portfolio of \d: N=16384:262144:4194304 .* from the nearest shape timed \(prediction", str(hit))
    exact = cached(tuned).lookup(
        Problem.of(kernel, {"N": 262144}), kernel_hash(kernel), backend="model", device=H200[0]
    )
    assert exact.tier == "exact" and len(exact.tactics) == 1
    outside = cached(tuned).lookup(Problem.of(kernel, {"N": 1 << 23}), **asked)
    assert outside.tier == "nearest"


def test_a_plugin_offers_the_portfolio_and_says_so(tuned: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    assert tuned.run("portfolio", "job.toml", "--backend", "model", "--within", "0").code == 0
    kernel = load_kernel("kernel.py", tuned.folder)
    frozen = FromCache(cached(tuned), *H200)
    with caplog.at_level(logging.INFO, "tuner.qdp"):
        offered = frozen(Problem.of(kernel, {"N": Range(20_000, 30_000, 40_000)}), {})
    (entry,) = [e for e in cached(tuned).entries if e.portfolio]
    assert {t.id for t in offered} == {t.id for t in entry.portfolio}
    assert f"portfolio of {len(offered)}" in caplog.text
    pinned = frozen(Problem.of(kernel, {"N": 30_000}), {"num_warps": offered[0].config["num_warps"]})
    assert pinned and {t.config["num_warps"] for t in pinned} == {offered[0].config["num_warps"]}


def test_a_tactic_that_is_wrong_between_the_shapes_is_left_out(tuned: Workspace) -> None:
    (entry, *_) = cached(tuned).entries
    block = entry.winner.config["BLOCK"]
    # Without a GPU a fixed shape is checked at small sizes alone; a range also where it begins and ends.
    mistake = f"    if BLOCK == {block}:\n        y = tl.where(offsets == 16384, y + 1, y)\n"
    (tuned.folder / "kernel.py").write_text(KERNEL.replace(STORE, mistake + STORE, 1))
    assert block in [job["winner"]["config"]["BLOCK"] for job in tuned.tune().document["jobs"]]
    run = tuned.run("portfolio", "job.toml", "--backend", "model", "--json")
    assert run.code == 0, run.err
    (found,) = run.document["portfolios"]
    assert block not in [c["config"]["BLOCK"] for c in found["candidates"]]
    assert any(f"BLOCK={block}" in why and "y is wrong at N=" in why for why in found["left_out"])


def test_one_dynamic_problem_has_a_portfolio_of_its_timed_shapes(workspace: Workspace) -> None:
    shapes = "timed = [{ dims = { N = 16384 } }, { dims = { N = 4194304 }, weight = 2 }]\n[search]"
    dims = "N = { min = 1, opt = 65536, max = 4194304 }"
    text = CONFIG.format(trials=9).replace("N = 4194304", dims).replace("[search]", shapes)
    (workspace.folder / "job.toml").write_text(text)
    assert workspace.tune().code == 0
    run = workspace.run("portfolio", "job.toml", "--backend", "model", "--json")
    assert run.code == 0, run.err
    assert run.document["portfolios"][0]["shapes"] == ["N=16384 T=fp32", "N=4194304 T=fp32"]  # one code serves all
    (entry,) = cached(workspace).entries
    assert entry.verified == "verified"
    assert entry.portfolio and entry.label.startswith("N=1:65536:4194304")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CONFIG.format(trials=9), "job: a portfolio serves several shapes; give dims a grid"),
        (GRID, "test::scale N=16384 T=fp32 has no winner by model for NVIDIA H200 in the cache yet; run: tuner tune"),
    ],
)
def test_what_a_portfolio_needs_is_said(workspace: Workspace, text: str, said: str) -> None:
    (workspace.folder / "job.toml").write_text(text)
    run = workspace.run("portfolio", "job.toml", "--backend", "model")
    assert run.code == 2 and f"error: {said}" in run.err


def test_a_folder_that_cannot_be_made_is_named_before_any_work(tuned: Workspace) -> None:
    run = tuned.run("portfolio", "job.toml", "--backend", "model", "--out", "job.toml/results")
    assert run.code == 2 and run.err.splitlines()[-1].startswith("error: job.toml/results cannot be made (Not a dir")


def test_a_range_spans_shapes_and_is_timed_at_each(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(KERNEL)
    kernel = load_kernel("kernel.py", tmp_path)
    dims = {"N": Range(2, 64, 512)}
    group = [Problem.of(kernel, dims, timed=[Timed({"N": 4}), Timed({"N": 256})]), Problem.of(kernel, {"N": 1024})]
    whole = spanning(group)
    assert whole.dims["N"] == (Range(2, 64, 1024),)
    assert [(p.sizes()["N"], share) for p, share in whole.shares] == [(4, 0.25), (256, 0.25), (1024, 0.5)]
