"""The gallery's operators of several launches, and the one that works in place."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from workspace import Workspace

from tuner import Problem
from tuner.compile.pipeline import compile_tactic
from tuner.gate.inputs import Array, make_inputs
from tuner.gate.judge import expected
from tuner.gate.verifier import Verifier
from tuner.gpu.present import available
from tuner.gpu.target import Target
from tuner.kernel.problem import Dims
from tuner.tuning.config import load_config

NO_GPU = available()
CONFIGS = Path(__file__).parents[2] / "configs"
FILES = [*sorted((CONFIGS / "chains").glob("*.toml")), CONFIGS / "rope_in_place.toml"]
SMALL: dict[str, Dims] = {
    "split_k": {"M": 40, "N": 72, "K": 1100},
    "long_softmax": {"M": 3, "N": 9001},
    "layer_norm_backward": {"M": 300, "N": 72},
    "rope_in_place": {"M": (3, 5), "H": 5, "G": 3, "C": 64},
}
"""Several tiles, parts and programs in every direction, and a rest."""

each_file = pytest.mark.parametrize("config", FILES, ids=lambda path: path.stem)


def problem(config: Path) -> Problem:
    return load_config(config).problems[0]


@each_file
def test_sampled_tactics_compile_without_spills(config: Path) -> None:
    declared = problem(config)
    for tactic in [declared.kernel.default, *declared.space.sample(random.Random(7), 2)]:
        for step in declared.steps(tactic):
            resources = compile_tactic(step.problem, step.config, Target((9, 0))).resources
            assert (tactic, step.name, resources.spill_store_bytes) == (tactic, step.name, 0)


@each_file
def test_the_default_and_others_are_right_at_every_edge(config: Path) -> None:
    for dtype in problem(config).kernel.dtypes["T"]:
        small = Problem.of(problem(config).kernel, SMALL[config.stem], {"T": dtype})
        verifier = Verifier(small, seed=0, store=None, workers=1, timeout_s=300, memory_bytes=8 << 30)
        try:
            for tactic in [small.kernel.default, *small.space.sample(random.Random(3), 1)]:
                verdict = verifier.submit(tactic).result(timeout=600)
                assert (tactic, verdict.kind, verdict.why) == (tactic, "verified", "")
        finally:
            verifier.close()


@each_file
def test_references_are_the_operators_meant(config: Path) -> None:
    small = Problem.of(problem(config).kernel, SMALL[config.stem])
    inputs = {name: array.astype(np.float64) for name, array in make_inputs(small, 5).items()}
    found = expected(small, make_inputs(small, 5))
    if config.stem == "split_k":
        assert np.allclose(found["c"], np.einsum("mk,kn->mn", inputs["a"], inputs["b"]))
    elif config.stem == "long_softmax":
        assert np.allclose(found["y"].sum(axis=-1), 1)
        assert np.allclose(np.diff(np.log(found["y"])), np.diff(inputs["x"]))
    elif config.stem == "rope_in_place":
        assert np.allclose((found["rotated_q"] ** 2).sum(-2), _scaled(inputs["q"], inputs["cos"], inputs["sin"]))
    else:
        direction = np.random.default_rng(0).standard_normal(inputs["x"].shape)
        step = 1e-6

        def loss(x: Array, weight: float, bias: float) -> float:
            centred = x - x.mean(-1, keepdims=True)
            normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + small.attributes["eps"])
            return float((inputs["dy"] * (normal * (inputs["weight"] + weight) + bias)).sum())

        x = inputs["x"]
        slopes = [
            (loss(x + step * direction, 0, 0) - loss(x - step * direction, 0, 0)) / (2 * step),
            (loss(x, step, 0) - loss(x, -step, 0)) / (2 * step),
            (loss(x, 0, step) - loss(x, 0, -step)) / (2 * step),
        ]
        sums = [(found["dx"] * direction).sum(), found["dweight"].sum(), found["dbias"].sum()]
        assert np.allclose(sums, slopes, rtol=1e-4, atol=1e-4)


def _scaled(q: Array, cos: Array, sin: Array) -> Array:
    """The squared lengths of pairs that a matrix with these cosines and sines has turned and scaled."""
    return np.asarray((q**2).sum(-2) * (cos**2 + sin**2)[..., None, :])


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU is not None, reason=NO_GPU or "")
@each_file
def test_it_is_correct_on_a_gpu_with_all_its_launches_in_one_graph(workspace: Workspace, config: Path) -> None:
    run = workspace.run("tune", str(config), "--backend", "cuda", "--trials", "8", "--json")
    assert run.code == 0, run.err
    for job in run.document["jobs"]:
        assert job["winner"]["verified"] == "verified"
        assert job["failures"] == {}
        assert 0 < job["winner"]["time_us"] <= job["default"]["time_us"]
