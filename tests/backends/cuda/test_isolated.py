"""Processes that hang, crash and lose their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.backends.cuda.isolated import Isolated
from tuner.workers.faults import WorkerDied, WorkerTimeout


class Fragile:
    """Counts, and breaks in every way there is."""

    def __init__(self) -> None:
        self._count = 0
        self._ill = False

    def healthy(self) -> bool:
        return not self._ill

    def count(self) -> int:
        self._count += 1
        return self._count

    def pid(self) -> int:
        return os.getpid()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def die(self, number: int) -> None:
        os.kill(os.getpid(), number)

    def leave(self, code: int) -> None:
        print("out of patience", file=sys.stderr)
        os._exit(code)

    def refuse(self, ill: bool) -> None:
        self._ill = ill
        raise KeyError("no such thing")


class Doubled(Fragile):
    def count(self) -> int:
        return 2 * super().count()


class Unborn:
    def __init__(self) -> None:
        raise OSError("there is no device")

    def healthy(self) -> bool:
        return False


@pytest.fixture
def fragile() -> Iterator[Isolated]:
    isolated = Isolated(Fragile)
    yield isolated
    isolated.close()


def test_calls_reach_one_object(fragile: Isolated) -> None:
    assert [fragile.call(10, Fragile.count) for _ in range(3)] == [1, 2, 3]
    assert fragile.call(10, Fragile.pid) != os.getpid()


def test_a_call_that_hangs_is_killed_and_a_clean_process_takes_over(fragile: Isolated) -> None:
    pid = fragile.call(10, Fragile.pid)
    fragile.call(10, Fragile.count)
    with pytest.raises(WorkerTimeout, match=r"0\.2 s"):
        fragile.call(0.2, Fragile.sleep, 600)
    assert not Path(f"/proc/{pid}").exists()
    assert (fragile.call(10, Fragile.count), fragile.replaced) == (1, 1)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_is_named_and_replaced(fragile: Isolated, number: signal.Signals) -> None:
    with pytest.raises(WorkerDied, match=number.name):
        fragile.call(10, Fragile.die, number)
    assert fragile.call(10, Fragile.count) == 1


def test_an_exit_is_named(fragile: Isolated) -> None:
    with pytest.raises(WorkerDied, match="exit code 7"):
        fragile.call(10, Fragile.leave, 7)


def test_an_exception_comes_back_and_only_an_ill_object_is_replaced(fragile: Isolated) -> None:
    fragile.call(10, Fragile.count)
    with pytest.raises(KeyError, match="no such thing"):
        fragile.call(10, Fragile.refuse, False)
    assert fragile.call(10, Fragile.count) == 2
    with pytest.raises(KeyError):
        fragile.call(10, Fragile.refuse, True)
    assert fragile.call(10, Fragile.count) == 1


def test_what_a_class_makes_of_an_inherited_method_is_what_is_called() -> None:
    isolated = Isolated(Doubled)
    assert [isolated.call(10, Fragile.count) for _ in range(2)] == [2, 4]
    isolated.close()


def test_the_last_words_of_a_process_are_kept(fragile: Isolated) -> None:
    with pytest.raises(WorkerDied, match=r"exit code 7\n.*out of patience"):
        fragile.call(10, Fragile.leave, 7)


def test_an_object_that_cannot_be_made_says_why() -> None:
    isolated = Isolated(Unborn)
    with pytest.raises(OSError, match="there is no device"):
        isolated.call(10, Fragile.count)
    isolated.close()


def test_processes_end_with_their_parent_even_in_the_middle_of_a_call(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from test_isolated import Fragile\n"
        "from tuner.backends.cuda.isolated import Isolated\n"
        "isolated = Isolated(Fragile)\n"
        "print(isolated.call(10, Fragile.pid), flush=True)\n"
        "isolated.call(600, Fragile.sleep, 600)\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    parent = subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1]:
            return
        time.sleep(0.1)
    pytest.fail("the process outlived its parent")
