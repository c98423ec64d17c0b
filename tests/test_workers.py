"""What goes wrong in a worker costs one task."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import ConfigError
from tuner.outcome import Failure, FailureClass
from tuner.workers.environment import child_environment
from tuner.workers.faults import machine_at_fault
from tuner.workers.pool import WorkerPool

GIB = 1 << 30
LONG_S = 600
PATIENCE_S = 30
"""How long anything here may take on a busy machine."""


# -- tasks ---------------------------------------------------------------------------------------


def square(x: int) -> int:
    return x * x


def pid() -> int:
    return os.getpid()


class PickyError(Exception):
    """Cannot be made again from what it was raised with."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} is not {b}")


def refuse(error: type[Exception], *args: object) -> None:
    raise error(*args)


def give_a_function() -> Callable[[], None]:
    return lambda: None


def segfault() -> None:
    ctypes.string_at(0)


def leave(code: int) -> None:
    print("last words", file=sys.stderr)
    os._exit(code)


def leave_politely(code: int) -> None:
    sys.exit(code)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def eat_in_pieces(size: int) -> None:
    kept = []
    while True:
        kept.append(bytearray(size))


def keep(size: int) -> int:
    _kept.append(bytearray(size))
    return os.getpid()


_kept: list[bytearray] = []


def eat_and_explain() -> None:
    try:
        bytearray(4 * GIB)
    except MemoryError as e:
        raise ValueError("something went wrong") from e


def child_eats() -> int:
    return subprocess.run([sys.executable, "-c", "x = bytearray(4 << 30)"], capture_output=True).returncode


def sleep(file: str) -> None:
    Path(file).write_text(f"{os.getpid()}\n")
    time.sleep(LONG_S)


def hang_in_native_code(file: str) -> None:
    """Sleep without letting any other thread of Python run."""
    Path(file).write_text(f"{os.getpid()}\n")
    ctypes.PyDLL(None).sleep(LONG_S)


def wait_for_a_child(file: str) -> None:
    with subprocess.Popen(["sleep", str(LONG_S)]) as child:
        Path(file).write_text(f"{os.getpid()} {child.pid}\n")


def variable(name: str) -> str | None:
    return os.environ.get(name)


def shout() -> None:
    print("noise on stdout")
    os.write(1, b"noise on fd 1\n")
    print("noise on stderr", file=sys.stderr)


def limits() -> list[int]:
    return [resource.getrlimit(what)[0] for what in (resource.RLIMIT_DATA, resource.RLIMIT_FSIZE)]


def start_a_pool() -> None:
    WorkerPool(1, memory_bytes=GIB, died=FailureClass.COMPILE)


# -- helpers -------------------------------------------------------------------------------------


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(1, memory_bytes=GIB, died=FailureClass.COMPILE, environment={"TUNER_TEST_VARIABLE": "here"})
    yield pool
    pool.close()


def run(pool: WorkerPool, function: Callable[..., Any], *args: object) -> Any:
    return pool.submit(function, *args, timeout_s=PATIENCE_S).result(timeout=2 * PATIENCE_S)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def running(process: int) -> bool:
    return _state(process)[0] not in "ZX"


def wait_for_the_end(process: int) -> None:
    eventually(lambda: not running(process))


def children(parent: int) -> set[int]:
    found = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
    return {p for p in found if _state(p)[1] == parent}


def _state(process: int) -> tuple[str, int]:
    """A process's state, X when there is none, and its parent."""
    try:
        state, parent = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[:2]
    except OSError:
        return "X", 0
    return state, int(parent)


def processes(file: Path) -> list[int]:
    """The processes that a task wrote down, once it has."""
    eventually(lambda: file.exists() and file.read_text().endswith("\n"))
    return [int(p) for p in file.read_text().split()]


HEAD = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_workers as tasks
from tuner.outcome import FailureClass
from tuner.workers.environment import child_environment
from tuner.workers.faults import machine_at_fault
from tuner.workers.pool import WorkerPool

pool = WorkerPool(1, memory_bytes=1 << 30, died=FailureClass.COMPILE)
"""


def script(text: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a script with a pool in a process group of its own."""
    command = [sys.executable, "-c", HEAD + text, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0)


# -- values and exceptions -----------------------------------------------------------------------


def test_a_task_returns_its_value_or_raises_its_exception_in_one_process(pool: WorkerPool) -> None:
    worker = run(pool, pid)
    assert run(pool, square, 7) == 49
    with pytest.raises(KeyError, match="no such thing"):
        run(pool, refuse, KeyError, "no such thing")
    assert run(pool, pid) == worker


def test_an_exception_tells_where_in_the_worker_it_was_raised(pool: WorkerPool) -> None:
    with pytest.raises(KeyError) as raised:
        run(pool, refuse, KeyError, "no such thing")
    assert "in refuse" in "".join(raised.value.__notes__)


def test_what_cannot_be_sent_is_an_exception_with_its_text(pool: WorkerPool) -> None:
    with pytest.raises(RuntimeError, match="PickyError: 1 is not 2"):
        run(pool, refuse, PickyError, 1, 2)
    with pytest.raises((AttributeError, TypeError), match="give_a_function"):
        run(pool, give_a_function)
    assert run(pool, square, 2) == 4


def test_no_process_starts_before_the_first_task_or_for_more_than_there_are() -> None:
    before = children(os.getpid())
    pool = WorkerPool(4, memory_bytes=GIB, died=FailureClass.COMPILE)
    try:
        assert children(os.getpid()) == before
        worker = run(pool, pid)
        assert children(os.getpid()) == before | {worker}
    finally:
        pool.close()
    assert children(os.getpid()) == before


def test_workers_run_side_by_side(tmp_path: Path) -> None:
    pool = WorkerPool(2, memory_bytes=GIB, died=FailureClass.COMPILE)
    try:
        slow = pool.submit(sleep, str(tmp_path / "slow"), timeout_s=LONG_S)
        assert [run(pool, square, i) for i in range(4)] == [0, 1, 4, 9]
        assert not slow.done()
    finally:
        pool.close()


def test_a_pool_in_a_worker_is_refused(pool: WorkerPool) -> None:
    with pytest.raises(ConfigError, match="if __name__"):
        run(pool, start_a_pool)


# -- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "args", "said"),
    [
        (segfault, (), "SIGSEGV"),
        (die, (), "SIGKILL"),
        (leave, (3,), "exit code 3"),
        (leave_politely, (4,), "exit code 4"),
    ],
)
def test_a_death_is_one_failure_that_says_how(
    pool: WorkerPool, task: Callable[..., None], args: tuple[int, ...], said: str
) -> None:
    failure = run(pool, task, *args)
    assert isinstance(failure, Failure)
    assert failure.kind is FailureClass.COMPILE
    assert failure.message.splitlines()[0] == f"the worker process died: {said}"
    assert run(pool, square, 3) == 9


def test_a_failure_holds_what_the_task_printed_last_and_not_what_others_did(pool: WorkerPool) -> None:
    run(pool, shout)
    assert run(pool, leave, 1).message.splitlines()[1:] == ["last words"]


def test_a_worker_killed_from_outside_costs_its_task(pool: WorkerPool, tmp_path: Path) -> None:
    task = pool.submit(sleep, str(tmp_path / "pid"), timeout_s=LONG_S)
    (worker,) = processes(tmp_path / "pid")
    os.kill(worker, signal.SIGKILL)
    failure = task.result(timeout=PATIENCE_S)
    assert isinstance(failure, Failure)
    assert "SIGKILL" in failure.message
    assert run(pool, square, 3) == 9


def test_workers_killed_while_idle_cost_nothing(pool: WorkerPool) -> None:
    killed = set()
    for _ in range(4):
        worker = run(pool, pid)
        assert worker not in killed
        os.kill(worker, signal.SIGKILL)
        wait_for_the_end(worker)
        killed.add(worker)
    assert run(pool, square, 3) == 9


def test_many_deaths_in_a_row_cost_a_task_each() -> None:
    pool = WorkerPool(2, memory_bytes=GIB, died=FailureClass.RUNTIME)
    try:
        deaths = [pool.submit(leave, i, timeout_s=PATIENCE_S) for i in range(1, 9)]
        for i, death in enumerate(deaths, 1):
            failure = death.result(timeout=2 * PATIENCE_S)
            assert isinstance(failure, Failure)
            assert failure.kind is FailureClass.RUNTIME
            assert f"exit code {i}" in failure.message
        assert run(pool, square, 3) == 9
    finally:
        pool.close()


@pytest.mark.parametrize("task", [sleep, hang_in_native_code, wait_for_a_child])
def test_a_task_that_takes_too_long_is_killed_with_its_children(
    pool: WorkerPool, tmp_path: Path, task: Callable[[str], None]
) -> None:
    run(pool, pid)  # so that starting the worker takes none of the time
    failure = pool.submit(task, str(tmp_path / "pids"), timeout_s=1.5).result(timeout=PATIENCE_S)
    assert failure == Failure(FailureClass.TIMEOUT, "took longer than 1.5 s", lasting=False)
    for process in processes(tmp_path / "pids"):
        wait_for_the_end(process)
    assert run(pool, square, 3) == 9


@pytest.mark.parametrize(
    ("task", "args"),
    [(eat_in_pieces, (64 << 20,)), (eat_in_pieces, (500,)), (eat_and_explain, ())],
    ids=["large", "small", "cause"],
)
def test_eating_memory_is_a_failure_that_names_the_ceiling(
    pool: WorkerPool, task: Callable[..., None], args: tuple[int, ...]
) -> None:
    assert run(pool, task, *args) == Failure(FailureClass.COMPILE, "took more than 1 GiB of memory", lasting=False)
    assert run(pool, square, 2) == 4


def test_memory_that_earlier_tasks_kept_does_not_count_against_the_next(pool: WorkerPool) -> None:
    first, second = (run(pool, keep, 600 << 20) for _ in range(2))
    assert isinstance(second, int)
    assert second != first


def test_programs_that_a_worker_runs_have_the_same_ceiling(pool: WorkerPool) -> None:
    assert run(pool, child_eats) != 0


def test_lower_limits_of_the_parent_stay() -> None:
    text = f"""
import resource
print(tasks.run(pool, tasks.limits))
pool.close()
for what in (resource.RLIMIT_DATA, resource.RLIMIT_FSIZE):
    resource.setrlimit(what, ({GIB // 2}, {GIB // 2}))
pool = WorkerPool(1, memory_bytes=1 << 30, died=FailureClass.COMPILE)
print(tasks.run(pool, tasks.limits))
pool.close()
"""
    with script(text) as parent:
        out, _ = parent.communicate(timeout=2 * PATIENCE_S)
    assert out == f"{[GIB, GIB]}\n{[GIB // 2, GIB // 2]}\n"


# -- surroundings --------------------------------------------------------------------------------


def test_variables_are_set_in_workers_only(pool: WorkerPool) -> None:
    assert run(pool, variable, "TUNER_TEST_VARIABLE") == "here"
    assert "TUNER_TEST_VARIABLE" not in os.environ


MAIN = """
import triton
from tuner.outcome import FailureClass
from tuner.workers.environment import child_environment
from tuner.workers.faults import machine_at_fault
from tuner.workers.pool import WorkerPool
import interpreted

print(interpreted.kind())
pool = WorkerPool(1, memory_bytes=4 << 30, died=FailureClass.COMPILE, environment={"TRITON_INTERPRET": "1"})
print(pool.submit(interpreted.kind, timeout_s=60).result())
pool.close()
"""

INTERPRETED = """
import triton

@triton.jit
def nothing():
    pass

def kind():
    return type(nothing).__name__
"""


def test_variables_are_there_before_triton_is_imported_and_a_script_runs_once(tmp_path: Path) -> None:
    (tmp_path / "interpreted.py").write_text(INTERPRETED)
    (tmp_path / "main.py").write_text(MAIN)
    done = subprocess.run([sys.executable, tmp_path / "main.py"], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout.split() == ["JITFunction", "InterpretedFunction"]


def test_what_workers_print_reaches_nobody(pool: WorkerPool, capfd: pytest.CaptureFixture[str]) -> None:
    run(pool, shout)
    assert capfd.readouterr() == ("", "")


# -- the end -------------------------------------------------------------------------------------


def test_closing_ends_running_and_queued_tasks(tmp_path: Path) -> None:
    pool = WorkerPool(1, memory_bytes=GIB, died=FailureClass.COMPILE)
    tasks = [pool.submit(wait_for_a_child, str(tmp_path / str(i)), timeout_s=LONG_S) for i in range(5)]
    started = processes(tmp_path / "0")
    pool.close()
    pool.close()
    for task in tasks:
        with pytest.raises(CancelledError):
            task.result(timeout=0)
    for process in started:
        wait_for_the_end(process)


@pytest.mark.parametrize("task", ["sleep", "hang_in_native_code", "wait_for_a_child"])
def test_workers_end_with_a_parent_that_is_killed_in_the_middle_of_a_task(tmp_path: Path, task: str) -> None:
    text = "pool.submit(getattr(tasks, sys.argv[1]), sys.argv[2], timeout_s=600)"
    with script(text, task, str(tmp_path / "pids")) as parent:
        started = processes(tmp_path / "pids")
        parent.kill()
    for process in started:
        wait_for_the_end(process)


def test_an_idle_worker_ends_with_a_parent_that_is_killed() -> None:
    with script("import time\nprint(tasks.run(pool, tasks.pid), flush=True)\ntime.sleep(600)") as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert running(worker)
        parent.kill()
    wait_for_the_end(worker)


def test_an_interrupt_from_the_terminal_is_for_the_parent_alone(tmp_path: Path) -> None:
    text = """
task = pool.submit(tasks.sleep, sys.argv[1], timeout_s=600)
try:
    task.result()
except KeyboardInterrupt:
    print(task.done())
    pool.close()
"""
    with script(text, str(tmp_path / "pid")) as parent:
        (worker,) = processes(tmp_path / "pid")
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.communicate(timeout=PATIENCE_S) == ("False\n", "")
    assert not running(worker)


# -- what a worker inherits ------------------------------------------------------------------------


def test_whatever_triton_reads_from_the_environment_is_kept_from_children_or_says_where_something_is() -> None:
    from triton import knobs

    source = Path(knobs.__file__).read_text()
    read = set(re.findall(r'env_\w+(?:\[\w+\])?\(\s*"(\w+)"', source))
    assert {"TRITON_INTERPRET", "PTXAS_OPTIONS", "DISABLE_PTXAS_OPT", "USE_IR_LOC"} <= read
    kept = child_environment(dict.fromkeys(read, "1"))
    tools = {"ptxas", "cuobjdump", "nvdisasm"}  # of which Triton makes TRITON_PTXAS_PATH and so on
    assert set(kept) <= {"TRITON_HOME", "TRITON_CACHE_DIR", "TRITON_LIBCUDA_PATH", "CC", *tools}


def test_children_inherit_the_rest(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"TRITON_PTXAS_PATH": "/opt/ptxas", "CUDA_VISIBLE_DEVICES": "1", "MY_KERNEL": "x", "PATH": "/bin"}
    names = (
        "TRITON_INTERPRET",
        "NUMBA_ENABLE_CUDASIM",
        "CUDA_LAUNCH_BLOCKING",
        "NVCC_APPEND_FLAGS",
        "LLVM_IR_ENABLE_DUMP",
    )
    assert child_environment({**given, **dict.fromkeys(names, "1")}) == given
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert run(pool, os.getenv, "TRITON_INTERPRET") is None


def test_the_machine_is_at_fault_for_files_memory_and_missing_modules() -> None:
    def raised(cause: Exception) -> Exception:
        try:
            try:
                raise cause
            except Exception as e:
                raise RuntimeError("the pass failed") from e
        except RuntimeError as e:
            return e

    for cause in (OSError(28, "No space left on device"), PermissionError(), MemoryError(), ModuleNotFoundError()):
        assert machine_at_fault(cause) and machine_at_fault(raised(cause))
    assert not machine_at_fault(raised(ValueError())) and not machine_at_fault(None)
