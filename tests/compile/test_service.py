"""Compile once, whoever asks; a broken tactic is one failure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tuner import Problem
from tuner.compile.artifact import Artifact, Target
from tuner.compile.service import Compiler
from tuner.compile.store import Store
from tuner.loader import load_kernel
from tuner.trial import Failure, FailureClass

ROOT = Path(__file__).parents[2]
GIB = 1 << 30
CONFIG = {"BLOCK_SIZE": 512, "num_warps": 4}

KERNEL = """
import multiprocessing, os, sys
import triton
import triton.language as tl
from tuner import Kernel, Launch, Tensor, cdiv, choice

if "pytest" not in sys.modules:
    {in_worker}

@triton.jit
def copy(x_ptr, n, y_ptr, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE){comment}
    tl.store(y_ptr + offsets, tl.load(x_ptr + offsets, mask=offsets < n){code}, mask=offsets < n)

kernel = Kernel(
    id="test::copy",
    source=copy,
    inputs={{"x": Tensor("fp32", "*N")}},
    outputs={{"y": Tensor("fp32", "*N")}},
    params=[choice("BLOCK_SIZE", 512, 1000, 1024), choice("num_warps", 4)],
    default={{"BLOCK_SIZE": 512, "num_warps": 4}},
    launch=lambda N, BLOCK_SIZE: Launch(grid=(cdiv(N, BLOCK_SIZE),), args=(N,)),
    reference=lambda x: x,
)
"""


def problem(folder: Path, name: str = "copy.py", in_worker: str = "pass", comment: str = "", code: str = "") -> Problem:
    path = folder / name
    path.write_text(textwrap.dedent(KERNEL).format(in_worker=in_worker, comment=comment, code=code))
    return Problem.of(load_kernel(name, folder), {"N": 4096})


HOPPER = Target((9, 0))


@contextmanager
def compiler(folder: Path, target: Target = HOPPER, timeout_s: float = 60) -> Iterator[Compiler]:
    made = Compiler(target, store=Store(folder / "store"), workers=1, timeout_s=timeout_s, memory_bytes=2 * GIB)
    try:
        yield made
    finally:
        made.close()


def test_a_tactic_is_compiled_once_by_whoever_asks(tmp_path: Path) -> None:
    asked = problem(tmp_path)
    with compiler(tmp_path) as first:
        answers = [first.submit(asked, CONFIG) for _ in range(3)]
        artifact = answers[0].result()
        assert isinstance(artifact, Artifact)
        assert all(a.result() is artifact for a in answers)
        assert (first.counts.compiled, first.counts.stored) == (1, 0)
    with compiler(tmp_path) as second:
        assert second.submit(asked, CONFIG).result() == artifact
        assert (second.counts.compiled, second.counts.stored) == (0, 1)


def test_a_comment_hits_the_store_and_code_misses_it(tmp_path: Path) -> None:
    with compiler(tmp_path) as made:
        made.submit(problem(tmp_path, "a.py"), CONFIG).result()
        made.submit(problem(tmp_path, "b.py", comment="  # moved"), CONFIG).result()
        assert made.counts.compiled == 1
        made.submit(problem(tmp_path, "c.py", code=" * 2"), CONFIG).result()
        assert made.counts.compiled == 2


def test_another_target_is_another_artifact(tmp_path: Path) -> None:
    asked = problem(tmp_path)
    with compiler(tmp_path) as hopper, compiler(tmp_path, Target((8, 0))) as ampere:
        a, b = hopper.submit(asked, CONFIG).result(), ampere.submit(asked, CONFIG).result()
    assert isinstance(a, Artifact)
    assert isinstance(b, Artifact)
    assert (a.target, b.target) == ("sm_90a", "sm_80")


def test_what_the_compiler_refuses_is_one_failure_and_remembered(tmp_path: Path) -> None:
    asked = problem(tmp_path)
    refused = {**CONFIG, "BLOCK_SIZE": 1000}  # not a power of two
    with compiler(tmp_path) as made:
        failure = made.submit(asked, refused).result()
        assert isinstance(failure, Failure)
        assert failure.kind is FailureClass.COMPILE
        assert "power of 2" in failure.message.splitlines()[0]
        assert isinstance(made.submit(asked, CONFIG).result(), Artifact)
    with compiler(tmp_path) as again:
        assert again.submit(asked, refused).result() == failure
        assert again.counts.stored == 1


@pytest.mark.parametrize(
    ("in_worker", "kind", "said"),
    [
        ("import time; time.sleep(600)", FailureClass.TIMEOUT, "3 s"),
        ("import ctypes; ctypes.string_at(0)", FailureClass.COMPILE, "SIGSEGV"),
        ("os._exit(7)", FailureClass.COMPILE, "exit code 7"),
        ("x = [bytearray(1 << 28) for _ in range(64)]", FailureClass.COMPILE, "2 GiB"),
    ],
    ids=["hangs", "segfaults", "exits", "eats"],
)
def test_a_kernel_file_that_misbehaves_costs_one_trial_and_is_tried_again_next_time(
    tmp_path: Path, in_worker: str, kind: FailureClass, said: str
) -> None:
    asked = problem(tmp_path, in_worker=in_worker)
    limit = 3 if kind is FailureClass.TIMEOUT else 60
    with compiler(tmp_path, timeout_s=limit) as made:
        failure = made.submit(asked, CONFIG).result(timeout=60)
        assert isinstance(failure, Failure)
        assert failure.kind is kind
        assert said in failure.message
        sound = problem(tmp_path, "sound.py", code=" + 1")
        assert isinstance(made.submit(sound, CONFIG).result(timeout=60), Artifact)
    with compiler(tmp_path, timeout_s=limit) as again:
        assert isinstance(again.submit(asked, CONFIG).result(timeout=60), Failure)
        assert again.counts.stored == 0


def test_a_kernel_file_that_is_edited_meanwhile_fails_the_trial(tmp_path: Path) -> None:
    asked = problem(tmp_path)
    path = tmp_path / "copy.py"
    with compiler(tmp_path) as made:
        path.write_text(path.read_text().replace("mask=offsets < n)", "mask=offsets < n) * 3", 1))
        failure = made.submit(asked, CONFIG).result()
    assert isinstance(failure, Failure)
    assert "edited" in failure.message
