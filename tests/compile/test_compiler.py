"""Compile once, whoever asks; a broken tactic is one failure."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tuner import Problem
from tuner.compile.artifact import Artifact
from tuner.compile.blobs import Store
from tuner.compile.compiler import Compiled, Compiler, Counts
from tuner.errors import ConfigError
from tuner.gpu.target import Target
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem import Range
from tuner.outcome import Failure, FailureClass

ROOT = Path(__file__).parents[2]
GIB = 1 << 30
HOPPER = Target((9, 0), disassemble=False)
CONFIG = {"BLOCK_SIZE": 512, "num_warps": 4}

KERNEL = """
import os, sys
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


def copy(folder: Path, name: str = "copy.py", in_worker: str = "pass", comment: str = "", code: str = "") -> Problem:
    """A kernel file that does something only where a worker imports it."""
    (folder / name).write_text(textwrap.dedent(KERNEL).format(in_worker=in_worker, comment=comment, code=code))
    return Problem.of(load_kernel(name, folder), {"N": 4096})


def increment(size: int | Range = 4096, dtype: str = "fp32", amount: int = 1) -> Problem:
    return Problem.of(load_kernel("kernels/increment.py", ROOT), {"N": size}, {"T": dtype}, {"amount": amount})


@contextmanager
def compiler(
    folder: Path | None, target: Target = HOPPER, workers: int = 1, timeout_s: float = 60, memory_bytes: int = 2 * GIB
) -> Iterator[Compiler]:
    store = None if folder is None else Store(folder / "store")
    made = Compiler(target, store=store, workers=workers, timeout_s=timeout_s, memory_bytes=memory_bytes)
    try:
        yield made
    finally:
        made.close()


def entries(folder: Path) -> list[str]:
    """The types of what is kept."""
    return sorted(p.suffix for p in (folder / "store").glob("*/*"))


# -- once ----------------------------------------------------------------------------------------


def test_a_tactic_is_compiled_once_by_whoever_asks(tmp_path: Path) -> None:
    asked = increment()

    def ask(made: Compiler) -> Future[Compiled]:
        return made.submit(asked, CONFIG)

    with compiler(tmp_path) as first:
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(ask, [first] * 8))
        artifact = answers[0].result()
        assert isinstance(artifact, Artifact)
        assert all(a.result() is artifact for a in answers)
        assert first.submit(asked, CONFIG).result() is artifact
        assert first.counts == Counts(compiled=1)
    with compiler(tmp_path) as second:
        assert second.submit(asked, CONFIG).result() == artifact
        assert second.counts == Counts(stored=1)


def test_what_is_stored_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with compiler(tmp_path) as first:
        first.submit(increment(), CONFIG).result()
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with compiler(tmp_path) as second:
        assert isinstance(second.submit(increment(), CONFIG).result(), Artifact)
        with pytest.raises(FileNotFoundError, match="/nonexistent/python"):
            second.submit(increment(), {**CONFIG, "BLOCK_SIZE": 1024}).result()


def test_without_a_store_each_compiler_compiles_for_itself() -> None:
    artifacts = []
    for _ in range(2):
        with compiler(None) as made:
            artifacts.append(made.submit(increment(), CONFIG).result())
            assert made.counts == Counts(compiled=1)
    first, second = artifacts
    assert isinstance(first, Artifact)
    assert isinstance(second, Artifact)
    assert (first.ptx, first.cubin) == (second.ptx, second.cubin)


def test_a_comment_hits_the_store_and_code_misses_it(tmp_path: Path) -> None:
    with compiler(tmp_path) as made:
        made.submit(copy(tmp_path, "a.py"), CONFIG).result()
        made.submit(copy(tmp_path, "b.py", comment="  # moved"), CONFIG).result()
        assert made.counts.compiled == 1
        made.submit(copy(tmp_path, "c.py", code=" * 2"), CONFIG).result()
        assert made.counts.compiled == 2


@pytest.mark.parametrize(
    ("problem", "config", "target"),
    [
        (lambda: increment(dtype="fp16"), CONFIG, HOPPER),
        (lambda: increment(size=4097), CONFIG, HOPPER),  # not divisible by 16
        (lambda: increment(amount=2), CONFIG, HOPPER),
        (lambda: increment(), {**CONFIG, "num_warps": 8}, HOPPER),
        (lambda: increment(), CONFIG, Target((8, 0), disassemble=False)),
        (lambda: increment(), CONFIG, Target((9, 0), disassemble=True)),
        (lambda: increment(), CONFIG, Target((9, 0), max_ptx=(8, 4), disassemble=False)),
    ],
    ids=["dtype", "divisibility", "attribute", "option", "device", "instructions counted", "driver"],
)
def test_what_changes_the_code_misses_the_store(
    tmp_path: Path,
    compiled: tuple[Path, Artifact],
    problem: Callable[[], Problem],
    config: dict[str, int],
    target: Target,
) -> None:
    folder, artifact = compiled
    shutil.copytree(folder / "store", tmp_path / "store")
    with compiler(tmp_path, target) as made:
        other = made.submit(problem(), config).result()
        assert made.counts == Counts(compiled=1)
    assert isinstance(other, Artifact)
    assert (other.ptx, other.resources) != (artifact.ptx, artifact.resources)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact]:
    """A store that holds one increment, and that increment."""
    folder = tmp_path_factory.mktemp("compiled")
    with compiler(folder) as made:
        artifact = made.submit(increment(), CONFIG).result()
    assert isinstance(artifact, Artifact)
    return folder, artifact


def test_a_size_that_does_not_change_the_code_hits_the_store(compiled: tuple[Path, Artifact]) -> None:
    folder, artifact = compiled
    with compiler(folder) as made:
        assert made.submit(increment(size=1 << 20), CONFIG).result() == artifact
        assert made.counts == Counts(stored=1)


# -- what goes wrong -----------------------------------------------------------------------------


def test_what_the_compiler_refuses_is_one_failure_and_remembered(tmp_path: Path) -> None:
    asked = copy(tmp_path)
    refused = {**CONFIG, "BLOCK_SIZE": 1000}  # not a power of two
    with compiler(tmp_path) as made:
        failure = made.submit(asked, refused).result()
        assert isinstance(failure, Failure)
        assert failure.kind is FailureClass.COMPILE
        assert "power of 2" in failure.message.splitlines()[0]
        assert isinstance(made.submit(asked, CONFIG).result(), Artifact)
        assert made.counts == Counts(compiled=1, failed=1)
    with compiler(tmp_path) as again:
        assert again.submit(asked, refused).result() == failure
        assert again.counts == Counts(stored=1, failed=1)


@pytest.mark.parametrize(
    ("in_worker", "kind", "said"),
    [
        ("import time; time.sleep(600)", FailureClass.TIMEOUT, "took longer than 5 s"),
        ("import ctypes; ctypes.string_at(0)", FailureClass.COMPILE, "the worker process died: SIGSEGV"),
        ("os._exit(7)", FailureClass.COMPILE, "the worker process died: exit code 7"),
        ("x = [bytearray(1 << 28) for _ in range(64)]", FailureClass.COMPILE, "took more than 2 GiB of memory"),
        ("raise ValueError('no luck')", FailureClass.COMPILE, "copy.py:8 raised ValueError on import: no luck"),
        ("sys.exit(3)", FailureClass.COMPILE, "copy.py:8 raised SystemExit on import: 3"),
    ],
    ids=["hangs", "segfaults", "exits", "eats", "raises", "leaves"],
)
def test_a_kernel_file_that_misbehaves_costs_one_trial_and_is_not_remembered(
    tmp_path: Path, in_worker: str, kind: FailureClass, said: str
) -> None:
    with compiler(tmp_path, timeout_s=5 if kind is FailureClass.TIMEOUT else 60) as made:
        failure = made.submit(copy(tmp_path, in_worker=in_worker), CONFIG).result(timeout=60)
        assert isinstance(failure, Failure)
        assert failure.kind is kind
        assert said in failure.message.splitlines()[0]
        assert isinstance(made.submit(copy(tmp_path, "sound.py", code=" + 1"), CONFIG).result(timeout=60), Artifact)
        assert made.counts == Counts(compiled=1, failed=1)
    assert entries(tmp_path) == [".artifact"]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda path: path.write_text(path.read_text().replace("tl.load(", "2 * tl.load(")), "copy.py was edited"),
        (lambda path: path.write_text(path.read_text().replace("::copy", "::other")), "no kernel 'test::copy'"),
        (lambda path: path.write_text(path.read_text()[:-20]), "copy.py:15 raised SyntaxError on import"),
        (lambda path: path.unlink(), "No such file"),
    ],
    ids=["changed", "renamed", "broken", "removed"],
)
def test_a_kernel_file_that_is_edited_meanwhile_fails_the_trial_for_now(
    tmp_path: Path, edit: Callable[[Path], object], said: str
) -> None:
    asked = copy(tmp_path)
    edit(tmp_path / "copy.py")
    with compiler(tmp_path) as made:
        failure = made.submit(asked, CONFIG).result()
    assert isinstance(failure, Failure)
    assert failure.kind is FailureClass.COMPILE
    assert said in failure.message.splitlines()[0]
    copy(tmp_path)
    with compiler(tmp_path) as again:
        assert isinstance(again.submit(asked, CONFIG).result(), Artifact)


ASSEMBLER = """#!/bin/sh
case "$*" in
    *--version*) exec {real} "$@" ;;
esac
{instead}
"""


@pytest.fixture
def assembler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a script in the place of ptxas, which may call the real one as $real."""
    from triton.backends.nvidia.compiler import get_ptxas

    real, path = get_ptxas(90).path, tmp_path / "ptxas"

    def put(instead: str) -> Path:
        path.write_text(ASSEMBLER.format(real=real, instead=f"real={real}\n{instead}"))
        path.chmod(0o755)
        for name in ("TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH"):  # which one depends on Triton and device
            monkeypatch.setenv(name, str(path))
        return path

    return put


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ("kill -KILL $$", "exit status -9"),
        ("exit 137", "exit status 137"),
        ("exit 3", "exit status 3"),
        ("echo 'ptxas fatal   : Memory allocation failure' >&2; exit 255", "took more than 2 GiB of memory"),
        ("echo 'ptxas fatal   : Could not open output file kernel.cubin' >&2; exit 255", "Could not open output file"),
        ('$real "$@" && truncate -s 2000 kernel.cubin', "2000 bytes that are no whole cubin"),
        ('$real "$@" && rm kernel.cubin', "the machine failed, not the compiler: [Errno 2]"),
    ],
)
def test_an_assembler_that_is_kept_from_its_work_fails_the_trial_for_now(
    tmp_path: Path, assembler: Callable[[str], Path], instead: str, said: str
) -> None:
    assembler(instead)
    with compiler(tmp_path) as made:
        failure = made.submit(increment(), CONFIG).result()
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.lasting) == (FailureClass.COMPILE, False)
    assert said in failure.message.splitlines()[0]
    assert entries(tmp_path) == []


def test_a_tool_that_is_gone_fails_the_trial_for_now(tmp_path: Path, assembler: Callable[[str], Path]) -> None:
    path = assembler('exec $real "$@"')
    with compiler(tmp_path) as made:
        assert isinstance(made.submit(increment(), CONFIG).result(), Artifact)
        path.unlink()
        failure = made.submit(increment(), {**CONFIG, "BLOCK_SIZE": 1024}).result()
    assert isinstance(failure, Failure) and not failure.lasting
    assert entries(tmp_path) == [".artifact"]


def test_what_was_killed_from_outside_is_tried_again(tmp_path: Path, assembler: Callable[[str], Path]) -> None:
    assembler(f'mkdir {tmp_path}/once 2>/dev/null && kill -KILL $$\nexec $real "$@"')
    with compiler(tmp_path) as made:
        assert isinstance(made.submit(increment(), CONFIG).result(), Artifact)
        assert made.counts == Counts(compiled=1)


def test_what_the_assembler_says_of_the_source_is_remembered(tmp_path: Path, assembler: Callable[[str], Path]) -> None:
    assembler("echo 'ptxas kernel.ptx, line 20; error   : Unknown symbol' >&2; exit 255")
    with compiler(tmp_path) as made:
        failure = made.submit(increment(), CONFIG).result()
    assert isinstance(failure, Failure) and failure.lasting
    assert entries(tmp_path) == [".failure"]


def test_launch_limits_are_those_of_the_sizes_asked_for(tmp_path: Path) -> None:
    for sizes in ([1 << 31, 4096], [4096, 1 << 31]):  # a cold store, then one that holds the code
        for size in sizes:
            with compiler(tmp_path) as made:
                result = made.submit(increment(size=size), CONFIG).result()
            if size == 4096:
                assert isinstance(result, Artifact)
            else:
                assert isinstance(result, Failure) and result.kind is FailureClass.CONSTRAINT
                assert "passes 2147483648, which does not fit" in result.message
    assert entries(tmp_path) == [".artifact"]


@pytest.mark.parametrize(
    "variables",
    [
        {"TRITON_INTERPRET": "1"},
        {"DISABLE_LLVM_OPT": "1", "TRITON_DEFAULT_FP_FUSION": "0", "PTXAS_OPTIONS": "-O0"},
        {"TRITON_OVERRIDE_ARCH": "sm80", "TRITON_F32_DEFAULT": "ieee", "USE_IR_LOC": "ttir"},
    ],
    ids=lambda variables: " ".join(variables),
)
def test_variables_of_the_shell_change_nothing(
    compiled: tuple[Path, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with compiler(tmp_path) as made:
        artifact = made.submit(increment(), CONFIG).result()
    assert isinstance(artifact, Artifact)
    assert (artifact.ptx, artifact.cubin) == (compiled[1].ptx, compiled[1].cubin)
    with compiler(compiled[0]) as made:
        made.submit(increment(), CONFIG).result()
        assert made.counts == Counts(stored=1)


def test_a_problem_that_no_tactic_could_serve_is_refused_at_once(tmp_path: Path) -> None:
    text = (ROOT / "kernels/increment.py").read_text().replace("n, y_ptr, amount", "y_ptr, N: tl.constexpr, amount")
    text = text.replace("offsets < n", "offsets < N").replace("args=(N,)", "args=()")
    (tmp_path / "fixed.py").write_text(text)
    asked = Problem.of(load_kernel("fixed.py", tmp_path), {"N": Range(1, 64, 128)}, {"T": "fp32"})
    with compiler(tmp_path) as made, pytest.raises(ConfigError, match="takes dimension 'N' as a"):
        made.submit(asked, CONFIG)


SCRIPT = """
from tuner.gpu.target import Target
from tuner.compile.compiler import Compiler

if "pytest" not in sys.modules:
    Compiler(Target((9, 0)), store=None, workers=1, timeout_s=60, memory_bytes=1 << 30)
"""


def test_a_kernel_file_that_starts_to_tune_when_imported_is_executed_up_to_there(tmp_path: Path) -> None:
    asked = copy(tmp_path)
    path = tmp_path / "copy.py"
    path.write_text(f"{path.read_text()}{SCRIPT}    raise RuntimeError('nothing after that is for a worker')\n")
    with compiler(tmp_path) as made:
        assert isinstance(made.submit(asked, CONFIG).result(), Artifact)


def test_closing_ends_the_wait_for_what_is_not_compiled(tmp_path: Path) -> None:
    hangs = copy(tmp_path, in_worker="import time; time.sleep(600)")
    with ThreadPoolExecutor(1) as elsewhere:
        with compiler(tmp_path, timeout_s=600) as made:
            answers = [made.submit(hangs, {**CONFIG, "BLOCK_SIZE": size}) for size in (512, 1024)]
            waiting = elsewhere.submit(wait, answers, 20)
        assert waiting.result().done == set(answers)
    for answer in answers:
        with pytest.raises(CancelledError):
            answer.result(timeout=0)


class BrokenStore(Store):
    def put(self, key: str, value: object) -> None:
        raise RuntimeError("a defect")


def test_an_answer_that_cannot_be_kept_is_not_waited_for_without_end(tmp_path: Path) -> None:
    made = Compiler(HOPPER, store=BrokenStore(tmp_path), workers=1, timeout_s=60, memory_bytes=2 * GIB)
    with closing(made), pytest.raises(RuntimeError, match="a defect"):
        made.submit(increment(), CONFIG).result(timeout=60)
