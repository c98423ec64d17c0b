"""Verdicts on tactics, from real kernels on the interpreter in real worker processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from tuner.compile.blobs import Store
from tuner.errors import ConfigError
from tuner.gate.verifier import Verifier
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, FailureClass
from tuner.search.tactic import Config

# Every interpreted launch of the kernel leaves a folder in the folder RUNS.
KERNEL = """
import os
import time

import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, choice, powers_of_two


def note(block):
    os.makedirs(f"RUNS/{time.monotonic_ns()}-{block}")


@triton.jit
def increment(x_ptr, n, y_ptr, amount: tl.constexpr, BLOCK: tl.constexpr):
    note(BLOCK)
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    x = tl.load(x_ptr + offsets, mask=mask)
    tl.store(y_ptr + offsets, x + amount, mask=mask)


kernel = Kernel(
    id="test::increment",
    source=increment,
    inputs={"x": Tensor("T", "*N")},
    outputs={"y": Tensor("T", "*N")},
    dtypes={"T": ("fp32", "fp16")},
    attributes={"amount": 1},
    params=[powers_of_two("BLOCK", 16, 1024), powers_of_two("num_warps", 1, 8), choice("num_stages", 1, 2)],
    constraints=[],
    default={"BLOCK": 64, "num_warps": 1, "num_stages": 1},
    launch=lambda N, BLOCK: Launch(grid=(cdiv(N, BLOCK),), args=(N,)),
    reference=lambda x, amount: x + amount,
    tolerances={"fp32": Tolerance(rtol=1e-6, atol=1e-6)},
    tiles={"N": "BLOCK"},
)
"""

Declare: TypeAlias = Callable[..., Problem]


@pytest.fixture
def declare(tmp_path: Path) -> Declare:
    """Make a problem of the kernel with one piece of its text replaced by another."""

    def declare(old: str = "", new: str = "", dtype: str = "fp32", amount: int = 1) -> Problem:
        assert old in KERNEL
        file = tmp_path / "kernel.py"
        text = KERNEL.replace(old, new) if old else KERNEL
        file.write_text(text.replace("RUNS", str(tmp_path / "runs")))
        return Problem.of(load_kernel(str(file), tmp_path), {"N": 10**6}, {"T": dtype}, {"amount": amount})

    return declare


@contextmanager
def verifying(
    problem: Problem,
    store: Store | None = None,
    *,
    seed: int = 0,
    timeout_s: float = 60.0,
    memory_gib: int = 4,
    operations: int = 20_000,
) -> Iterator[Verifier]:
    verifier = Verifier(
        problem,
        seed=seed,
        store=store,
        workers=1,
        timeout_s=timeout_s,
        memory_bytes=memory_gib << 30,
        operations=operations,
    )
    try:
        yield verifier
    finally:
        verifier.close()


def answer(problem: Problem, config: Config, store: Store | None = None, seed: int = 0) -> str | Failure:
    with verifying(problem, store, seed=seed) as verifier:
        return told(verifier, config)


def told(verifier: Verifier, config: Config) -> str | Failure:
    """What a trial records of a tactic."""
    verdict = verifier.submit(config).result(timeout=60)
    return verdict.failure() or verdict.verified


def tactic(block: int = 64, warps: int = 1, stages: int = 1) -> Config:
    return {"BLOCK": block, "num_warps": warps, "num_stages": stages}


def runs(folder: Path) -> list[str]:
    """The block of every interpreted launch so far."""
    return [mark.name.split("-")[1] for mark in sorted((folder / "runs").glob("*"))]


def test_a_correct_tactic_is_verified(declare: Declare) -> None:
    assert answer(declare(), tactic()) == "verified"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (", x + amount, mask=mask", ", x + amount", "writes 'y' out of bounds: element 1 of 1 at N=1 T=fp32"),
        ("x + amount, mask=mask", "x - amount, mask=mask", "y is wrong at N=1 T=fp32: 1 of 1 elements is off"),
        (
            "offsets < n",
            "offsets < n - n % 2",
            "y is wrong at N=1 T=fp32: 1 of 1 elements is unwritten, or made of what was there before",
        ),
    ],
)
def test_a_wrong_tactic_fails_with_what_is_wrong(declare: Declare, old: str, new: str, message: str) -> None:
    failure = answer(declare(old, new), tactic())
    assert isinstance(failure, Failure) and failure.kind == FailureClass.CORRECTNESS
    assert message in failure.message


def test_a_tactic_that_is_wrong_alone_fails_alone(declare: Declare) -> None:
    with verifying(declare("offsets < n", "offsets < n - BLOCK // 1024")) as verifier:
        answers = [told(verifier, tactic(block)) for block in (64, 1024, 128)]
    assert answers[0] == answers[2] == "verified"
    assert isinstance(answers[1], Failure)


def test_what_the_interpreter_lacks_leaves_a_tactic_unverified(declare: Declare) -> None:
    lacking = 'x = tl.inline_asm_elementwise("mov.b32 $0, $1;", "=r,r", [x], x.dtype, True, 1)\n    tl.store('
    expected = "unverified: the interpreter stopped with NotImplementedError: inline_asm not supported"
    assert str(answer(declare("tl.store(", lacking), tactic())).startswith(expected)


def test_where_no_small_size_is_legal_a_tactic_is_unverified(declare: Declare) -> None:
    rule = 'constraints=[Constraint("large", lambda N: N >= 2**19, "small sizes have a kernel of their own")]'
    assert answer(declare("constraints=[]", rule), tactic()) == "unverified: no small size is legal for this tactic"


CRASH = "raised: the kernel took the interpreter down: the worker process died: SIGABRT"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("while True: pass", "unverified: the interpreter took longer than 5 s"),
        ("bytearray(1 << 40)", "unverified: the interpreter took more than 4 GiB of memory"),
        ("os.abort()", CRASH),
    ],
)
def test_a_lost_worker_judges_nothing_for_good(declare: Declare, tmp_path: Path, code: str, why: str) -> None:
    store = Store(tmp_path / "store")
    problem = declare("(block):", f"(block):\n    if block == 128:\n        {code}")
    with verifying(problem, store, timeout_s=5.0) as verifier:
        verdict = verifier.submit(tactic(128)).result(timeout=60)
        assert (verdict.verified, verdict.lasting) == (why, False)
        assert (verdict.failure() is not None) == (why == CRASH), "a kernel that crashes the gate has failed"
        assert told(verifier, tactic(64)) == "verified"
    assert len(list((tmp_path / "store").glob("*/*"))) == 1


def test_a_worker_that_is_killed_from_outside_is_tried_again(declare: Declare, tmp_path: Path) -> None:
    once = str(tmp_path / "once")
    code = f"if not os.path.exists({once!r}):\n        os.mkdir({once!r})\n        os.kill(os.getpid(), 9)"
    assert answer(declare("(block):", f"(block):\n    {code}"), tactic()) == "verified"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("mask = offsets < n", "mask = offsets < n\n    while tl.load(x_ptr) != 12345.5:\n        pass"),
        ("mask = offsets < n", "mask = offsets < n\n    i = n\n    while i > 0:\n        i = i + 0"),
        ("mask = offsets < n", "mask = offsets < n\n    for i in range(0, 1 << 30):\n        offsets += 0"),
    ],
)
def test_what_does_not_end_fails_by_a_count_that_lasts(declare: Declare, tmp_path: Path, old: str, new: str) -> None:
    store = Store(tmp_path / "store")
    with verifying(declare(old, new), store, timeout_s=600.0) as verifier:
        verdict = verifier.submit(tactic()).result(timeout=600)
    failure = verdict.failure()
    assert failure is not None and (failure.kind, failure.lasting) == (FailureClass.TIMEOUT, True)
    assert failure.message.startswith("runs too long: takes more than 20,000 operations at N=1 T=fp32; the gate chose")
    assert len(list((tmp_path / "store").glob("*/*"))) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("assert n > 4, 'too short'", "AssertionError"),
        ("1 // int(n > 4)", "ZeroDivisionError"),
    ],
)
def test_a_kernel_that_raises_has_failed(declare: Declare, line: str, said: str) -> None:
    failure = answer(declare("mask = offsets < n", f"mask = offsets < n\n    {line}"), tactic())
    assert isinstance(failure, Failure) and failure.kind is FailureClass.RUNTIME and failure.lasting
    assert failure.message.startswith(f"the kernel raised {said}")


# -- at the problem's own size ---------------------------------------------------------------------

ROWS = """
import triton
import triton.language as tl

from tuner import Kernel, Launch, Tensor, cdiv, choice


@triton.jit
def scale(x_ptr, m, n, y_ptr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    for start in range(0, n, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        offsets = row * n + columns
        tl.store(y_ptr + offsets, tl.load(x_ptr + offsets, mask=columns < n) * 2, mask=columns < n)


kernel = Kernel(
    id="test::rows",
    source=scale,
    inputs={"x": Tensor("i8", "M N")},
    outputs={"y": Tensor("i8", "M N")},
    params=[choice("BLOCK", 64, 512)],
    default={"BLOCK": 512},
    launch=lambda M, N: Launch(grid=(M,), args=(M, N)),
    reference=lambda x: 2 * x,
    tiles={"N": "BLOCK"},
)
"""
WIDE = ("tl.program_id(0)", "tl.program_id(0).to(tl.int64)")
FIRST = ("tl.program_id(0)", "m - 1 - tl.program_id(0)")


def rows(folder: Path, m: int, n: int = 1024, *edits: tuple[str, str]) -> Problem:
    text = ROWS
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    (folder / "rows.py").write_text(text)
    return Problem.of(load_kernel("rows.py", folder), {"M": m, "N": n})


@pytest.mark.parametrize("m", [(1 << 21) + 1, 1 << 22, (1 << 22) + 5, 1 << 25], ids=hex)
@pytest.mark.parametrize("edits", [(), (FIRST,)], ids=["last", "first"])
def test_offsets_that_overflow_at_the_problems_own_size_are_found(
    tmp_path: Path, m: int, edits: tuple[tuple[str, str], ...]
) -> None:
    failure = answer(rows(tmp_path, m, 1024, *edits), {"BLOCK": 512})
    assert isinstance(failure, Failure) and failure.kind is FailureClass.CORRECTNESS
    assert "'x' out of bounds: element -" in failure.message and f"at M={m} N=1024" in failure.message
    assert "widen them, as in tl.program_id(0).to(tl.int64)" in failure.message


@pytest.mark.parametrize(
    ("m", "edits", "how"),
    [
        (1 << 22, (WIDE,), "offsets of 7 programs followed at M=4194304 N=1024"),
        ((1 << 21) - 1, (), "no tensor has 2147483648 bytes"),
        (1 << 21, (), "offsets of 7 programs followed at M=2097152 N=1024"),  # the last offset is 2**31 - 1
    ],
)
def test_the_record_says_whether_large_offsets_were_followed(
    tmp_path: Path, m: int, edits: tuple[tuple[str, str], ...], how: str
) -> None:
    with verifying(rows(tmp_path, m, 1024, *edits)) as verifier:
        verdict = verifier.submit({"BLOCK": 512}).result(timeout=60)
    assert verdict.verified == "verified"
    assert verdict.checked.startswith("interpreted at 7 small sizes; ") and verdict.checked.endswith(how)


def test_offsets_that_take_too_long_to_follow_leave_a_tactic_unverified(tmp_path: Path) -> None:
    verdict = answer(rows(tmp_path, 16, 1 << 27, WIDE), {"BLOCK": 64})
    assert isinstance(verdict, str) and verdict.startswith("unverified: offsets at full size could not be followed")


@pytest.mark.parametrize(
    ("reference", "message"),
    [("x[..., :-1]", r"returned shape \(0,\) for 'y', declared \(1,\)"), ("x + None", "raised TypeError")],
)
def test_a_reference_that_does_not_fit_is_a_config_error(declare: Declare, reference: str, message: str) -> None:
    problem = declare("lambda x, amount: x + amount", f"lambda x, amount: {reference}")
    with pytest.raises(ConfigError, match=message):
        answer(problem, tactic())


def test_tactics_that_compute_the_same_share_one_run(declare: Declare, tmp_path: Path) -> None:
    with verifying(declare()) as verifier:
        assert told(verifier, tactic(64, 1, 1)) == "verified"
        once = runs(tmp_path)
        assert set(once) == {"64"}
        for warps, stages in ((2, 1), (4, 2), (1, 2)):
            assert told(verifier, tactic(64, warps, stages)) == "verified"
        assert runs(tmp_path) == once
        told(verifier, tactic(128))
        assert set(runs(tmp_path)) == {"64", "128"}


def test_a_shared_run_covers_only_tactics_that_are_legal_at_the_same_sizes(declare: Declare, tmp_path: Path) -> None:
    rule = 'Constraint("whole", lambda N, num_warps: num_warps == 1 or N % 64 == 0, "warps take whole rows")'
    declare("constraints=[]", f"constraints=[{rule}]")
    file = tmp_path / "kernel.py"
    file.write_text(file.read_text().replace("offsets < n", "offsets < n - n % 2"))
    problem = Problem.of(load_kernel(str(file), tmp_path), {"N": 2**20})
    with verifying(problem) as verifier:
        assert told(verifier, tactic(warps=2)) == "verified"
        assert isinstance(told(verifier, tactic(warps=1)), Failure)


@pytest.mark.parametrize(("old", "new"), [("", ""), (", x + amount, mask=mask", ", x + amount")])
def test_a_second_run_interprets_nothing(declare: Declare, tmp_path: Path, old: str, new: str) -> None:
    store = Store(tmp_path / "store")
    first = answer(declare(old, new), tactic(), store)
    once = runs(tmp_path)
    assert once
    assert answer(declare(old, new), tactic(warps=2), store) == first
    assert runs(tmp_path) == once


CHANGES: dict[str, Callable[[Declare, Store], object]] = {
    "the source": lambda d, s: answer(d("x + amount, mask", "amount + x, mask"), tactic(), s),
    "the reference": lambda d, s: answer(d("x, amount: x + amount", "x, amount: amount + x"), tactic(), s),
    "the tolerance": lambda d, s: answer(d("rtol=1e-6", "rtol=1e-5"), tactic(), s),
    "an attribute": lambda d, s: answer(d(amount=2), tactic(), s),
    "the dtype": lambda d, s: answer(d(dtype="fp16"), tactic(), s),
    "the seed": lambda d, s: answer(d(), tactic(), s, seed=1),
    "the grid": lambda d, s: answer(d("grid=(cdiv(N, BLOCK),)", "grid=(cdiv(N, BLOCK) + 1,)"), tactic(), s),
}


def test_what_a_verdict_depends_on_asks_for_another(declare: Declare, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert answer(declare(), tactic(), store) == "verified"
    for what, change in CHANGES.items():
        before = len(runs(tmp_path))
        assert change(declare, store) == "verified"
        assert len(runs(tmp_path)) > before, what


def test_a_value_that_becomes_the_default_leaves_the_verdict(declare: Declare, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert answer(declare(amount=2), tactic(), store) == "verified"
    once = runs(tmp_path)
    assert answer(declare('"amount": 1', '"amount": 2', amount=2), tactic(), store) == "verified"
    assert runs(tmp_path) == once


def test_an_edit_while_tuning_is_not_taken_for_the_kernel_that_was_loaded(declare: Declare, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    problem = declare()
    assert answer(problem, tactic(128), store) == "verified"
    declare("x + amount, mask=mask", "x - amount, mask=mask")
    edited = f"unverified: {tmp_path / 'kernel.py'} was edited while it was being tuned"
    assert answer(problem, tactic(), store) == edited
    assert answer(declare(), tactic(), store) == "verified"
