"""What goes wrong in a worker costs one task."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.trial import Failure, FailureClass
from tuner.workers import WorkerPool

GIB = 1 << 30


def square(x: int) -> int:
    return x * x


def pid() -> int:
    return os.getpid()


def refuse() -> None:
    raise KeyError("no such thing")


def segfault() -> None:
    ctypes.string_at(0)


def leave(code: int) -> None:
    os._exit(code)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def eat() -> None:
    kept = []
    while True:
        kept.append(bytearray(64 << 20))


def child_eats() -> int:
    return subprocess.run([sys.executable, "-c", "x = bytearray(4 << 30)"], capture_output=True).returncode


def variable(name: str) -> str | None:
    return os.environ.get(name)


def shout() -> None:
    print("noise on stdout")
    os.write(1, b"noise on fd 1\n")


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(1, memory_bytes=GIB, died=FailureClass.COMPILE, environment={"TUNER_TEST_VARIABLE": "here"})
    yield pool
    pool.close()


def test_a_task_returns_its_value_or_raises_its_exception(pool: WorkerPool) -> None:
    assert pool.submit(square, 7, timeout_s=20).result() == 49
    with pytest.raises(KeyError, match="no such thing"):
        pool.submit(refuse, timeout_s=20).result()
    assert pool.submit(square, 8, timeout_s=20).result() == 64


@pytest.mark.parametrize(
    ("task", "said"),
    [(segfault, "SIGSEGV"), (die, "SIGKILL")],
)
def test_a_death_is_one_failure_that_names_the_signal(pool: WorkerPool, task: object, said: str) -> None:
    failure = pool.submit(task, timeout_s=20).result()  # type: ignore[arg-type]
    assert isinstance(failure, Failure)
    assert failure.kind is FailureClass.COMPILE
    assert said in failure.message.splitlines()[0]
    assert pool.submit(square, 3, timeout_s=20).result() == 9


def test_an_exit_is_a_failure_that_names_the_code(pool: WorkerPool) -> None:
    failure = pool.submit(leave, 3, timeout_s=20).result()
    assert isinstance(failure, Failure)
    assert "exit code 3" in failure.message


def test_a_task_that_takes_too_long_is_killed_and_the_next_one_runs(pool: WorkerPool) -> None:
    before = pool.submit(pid, timeout_s=20).result()
    failure = pool.submit(sleep, 600, timeout_s=0.3).result(timeout=20)
    assert isinstance(failure, Failure)
    assert failure.kind is FailureClass.TIMEOUT
    assert "0.3 s" in failure.message
    assert pool.submit(pid, timeout_s=20).result() != before


def test_eating_memory_is_a_failure_that_names_the_ceiling(pool: WorkerPool) -> None:
    failure = pool.submit(eat, timeout_s=60).result()
    assert isinstance(failure, Failure)
    assert failure.kind is FailureClass.COMPILE
    assert "1 GiB" in failure.message
    assert pool.submit(square, 2, timeout_s=20).result() == 4


def test_programs_that_a_worker_runs_have_the_same_ceiling(pool: WorkerPool) -> None:
    assert pool.submit(child_eats, timeout_s=60).result() != 0


def test_variables_are_set_in_workers_only(pool: WorkerPool) -> None:
    assert pool.submit(variable, "TUNER_TEST_VARIABLE", timeout_s=20).result() == "here"
    assert "TUNER_TEST_VARIABLE" not in os.environ


def test_what_workers_print_does_not_reach_stdout(pool: WorkerPool, capfd: pytest.CaptureFixture[str]) -> None:
    pool.submit(shout, timeout_s=20).result()
    assert capfd.readouterr() == ("", "")


def test_workers_run_side_by_side() -> None:
    pool = WorkerPool(2, memory_bytes=GIB, died=FailureClass.COMPILE)
    try:
        slow = pool.submit(sleep, 600, timeout_s=600)
        assert [pool.submit(square, i, timeout_s=20).result(timeout=30) for i in range(4)] == [0, 1, 4, 9]
        assert not slow.done()
    finally:
        pool.close()
    assert slow.cancelled() or slow.exception() is not None


SCRIPT = """
import os, sys, time
sys.path.insert(0, {folder!r})
from test_workers import pid, sleep
from tuner.trial import FailureClass
from tuner.workers import WorkerPool

pool = WorkerPool(1, memory_bytes=1 << 30, died=FailureClass.COMPILE)
print(pool.submit(pid, timeout_s=20).result(), flush=True)
pool.submit(sleep, 600, timeout_s=600)
time.sleep(600)
"""


def test_workers_end_with_a_parent_that_is_killed_even_in_the_middle_of_a_task() -> None:
    script = SCRIPT.format(folder=str(Path(__file__).parent))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{worker}").exists() and _state(worker) != "Z":
        assert time.monotonic() < deadline, "the worker outlives its parent"
        time.sleep(0.05)


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"
