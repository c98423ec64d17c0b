"""When two compiled kernels are the same code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from workspace import KERNEL

from tuner import Launch, Problem
from tuner.backends.model.predict import predict
from tuner.check.facts import facts_of
from tuner.check.fingerprint import fingerprint
from tuner.compile.artifact import Artifact
from tuner.compile.pipeline import compile_tactic
from tuner.gpu.catalog import find_device
from tuner.kernel.loader import load_kernel

H200 = find_device("h200")
LOAD = "tl.load(x_ptr + offsets, mask=mask)"


def problem(folder: Path, *replaced: tuple[str, str]) -> Problem:
    text = KERNEL
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    file = folder / f"kernel_{len(list(folder.iterdir()))}.py"
    file.write_text(text)
    return Problem.of(load_kernel(file.name, folder), {"N": 1 << 20})


def compiled(made: Problem) -> tuple[Artifact, Launch]:
    config = made.kernel.default
    return compile_tactic(made, config, H200.target), made.launch(config)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Launch]:
    return compiled(problem(tmp_path_factory.mktemp("original")))


def test_names_comments_and_line_numbers_leave_no_trace(original: tuple[Artifact, Launch], tmp_path: Path) -> None:
    renamed = problem(
        tmp_path,
        ("offsets", "places"),
        ("def scale(x_ptr, n,", "# first\n\ndef double(a_ptr, n,"),
        ("source=scale", "source=double"),
        ("(x_ptr +", "(a_ptr +"),
    )
    artifact, launch = compiled(renamed)
    assert artifact.ptx != original[0].ptx
    assert fingerprint(artifact, launch) == fingerprint(*original)


@pytest.mark.parametrize(
    ("old", "new"),
    [("* factor", "+ factor"), (LOAD, "tl.load(x_ptr + offsets, mask=mask, cache_modifier='.cg')"), ("2.0", "3.0")],
)
def test_other_instructions_are_other_code(
    original: tuple[Artifact, Launch], tmp_path: Path, old: str, new: str
) -> None:
    assert fingerprint(*compiled(problem(tmp_path, (old, new)))) != fingerprint(*original)


def test_another_launch_is_other_code(original: tuple[Artifact, Launch]) -> None:
    artifact, launch = original
    assert fingerprint(artifact, replace(launch, grid=(7, 1, 1))) != fingerprint(artifact, launch)
    assert fingerprint(artifact, replace(launch, args=(7,))) != fingerprint(artifact, launch)
    named = Launch((3,), {"n": 5})
    assert replace(named, grid=(7,)) == Launch((7,), {"n": 5}), "a copy keeps the names"
    assert fingerprint(replace(artifact, shared_bytes=128), launch) != fingerprint(artifact, launch)


def test_facts_are_those_of_the_machine_code(tmp_path: Path) -> None:
    made = problem(tmp_path)
    artifact, launch = compiled(made)
    facts = facts_of(artifact, launch, predict(H200, made, made.kernel.default, artifact))
    # 256 fp32 elements by 128 threads: 8 bytes for each.
    assert (facts.loads, facts.load_bytes, facts.load_width) == (1, 8, 8.0)
    assert (facts.stores, facts.store_bytes, facts.store_width) == (1, 8, 8.0)
    assert (facts.blocks, facts.warps_per_sm, facts.spill_bytes, facts.barriers) == (4096, 64, 0, 0)
    assert facts.instructions == artifact.resources.instructions["total"]
