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

from tuner.backends.cuda.isolated import Isolated, WorkerDied, WorkerTimeout


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
        os._exit(code)

    def refuse(self, ill: bool) -> None:
        self._ill = ill
        raise KeyError("no such thing")


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
    assert [fragile.call("count", timeout_s=10) for _ in range(3)] == [1, 2, 3]
    assert fragile.call("pid", timeout_s=10) != os.getpid()


def test_a_call_that_hangs_is_killed_and_a_clean_process_takes_over(fragile: Isolated) -> None:
    pid = fragile.call("pid", timeout_s=10)
    fragile.call("count", timeout_s=10)
    with pytest.raises(WorkerTimeout, match=r"0\.2 s"):
        fragile.call("sleep", 600, timeout_s=0.2)
    assert not Path(f"/proc/{pid}").exists()
    assert (fragile.call("count", timeout_s=10), fragile.replaced) == (1, 1)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_is_named_and_replaced(fragile: Isolated, number: signal.Signals) -> None:
    with pytest.raises(WorkerDied, match=number.name):
        fragile.call("die", number, timeout_s=10)
    assert fragile.call("count", timeout_s=10) == 1


def test_an_exit_is_named(fragile: Isolated) -> None:
    with pytest.raises(WorkerDied, match="exit code 7"):
        fragile.call("leave", 7, timeout_s=10)


def test_an_exception_comes_back_and_only_an_ill_object_is_replaced(fragile: Isolated) -> None:
    fragile.call("count", timeout_s=10)
    with pytest.raises(KeyError, match="no such thing"):
        fragile.call("refuse", False, timeout_s=10)
    assert fragile.call("count", timeout_s=10) == 2
    with pytest.raises(KeyError):
        fragile.call("refuse", True, timeout_s=10)
    assert fragile.call("count", timeout_s=10) == 1


def test_an_object_that_cannot_be_made_says_why() -> None:
    isolated = Isolated(Unborn)
    with pytest.raises(OSError, match="there is no device"):
        isolated.call("anything", timeout_s=10)
    isolated.close()


def test_processes_end_with_their_parent_even_in_the_middle_of_a_call(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from test_isolated import Fragile\n"
        "from tuner.backends.cuda.isolated import Isolated\n"
        "if __name__ == '__main__':\n"
        "    isolated = Isolated(Fragile)\n"
        "    print(isolated.call('pid', timeout_s=10), flush=True)\n"
        "    isolated.call('sleep', 600, timeout_s=600)\n"
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
