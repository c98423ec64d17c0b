"""Entries come back whole or not at all."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tuner.compile.store import Store
from tuner.trial import Failure, FailureClass

ENTRY = Failure(FailureClass.COMPILE, "too much shared memory\nsecond line")
KEY = "ab" + "0" * 62


def only_file(folder: Path) -> Path:
    (path,) = [p for p in folder.rglob("*") if p.is_file()]
    return path


def test_an_entry_comes_back_equal_and_typed(tmp_path: Path) -> None:
    Store(tmp_path).put(KEY, ENTRY)
    assert Store(tmp_path).get(KEY, Failure) == ENTRY
    assert Store(tmp_path).get("cd" + KEY[2:], Failure) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
        lambda data: b"something else altogether",
        lambda data: pickle.dumps(ENTRY),
    ],
    ids=["empty", "short", "half", "flipped", "foreign", "pickle"],
)
def test_a_damaged_entry_is_a_miss_and_is_made_again(
    tmp_path: Path, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    store.put(KEY, ENTRY)
    path = only_file(tmp_path)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with caplog.at_level(logging.WARNING):
        assert store.get(KEY, Failure) is None
    assert str(path) in caplog.text
    store.put(KEY, ENTRY)
    assert store.get(KEY, Failure) == ENTRY


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, ("touch exploded",))


def test_a_pickle_in_the_folder_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "store")
    store.put(KEY, ENTRY)
    only_file(tmp_path / "store").write_bytes(pickle.dumps(Bomb()))
    assert store.get(KEY, Failure) is None
    assert not (tmp_path / "exploded").exists()


def test_the_least_recently_used_entries_go_first(tmp_path: Path) -> None:
    import hashlib

    text = "".join(hashlib.sha256(str(i).encode()).hexdigest() for i in range(200))  # does not compress to nothing
    keys = [f"{i:02x}" + "0" * 62 for i in range(20)]
    store = Store(tmp_path, limit_bytes=100_000)
    for i, key in enumerate(keys):
        store.put(key, Failure(FailureClass.COMPILE, f"{i} {text}"))
        os.utime(only_file(tmp_path / key[:2]), (i, i))
        store.get(keys[0], Failure)  # in use all along
    size = sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file())
    assert size <= 100_000
    assert store.get(keys[-1], Failure) is not None
    assert store.get(keys[0], Failure) is not None
    assert store.get(keys[1], Failure) is None


HAMMER = """
import sys
from pathlib import Path
from tuner.compile.store import Store
from tuner.trial import Failure, FailureClass
store = Store(Path(sys.argv[1]))
for round in range(int(sys.argv[2])):
    for i in range(16):
        key = f"{i:02x}" + "0" * 62
        store.put(key, Failure(FailureClass.COMPILE, f"entry {i} " + "x" * 50_000 * (i % 3)))
        found = store.get(key, Failure)
        assert found is not None and found.message.startswith(f"entry {i} "), found
"""


def test_many_processes_share_a_folder_and_a_killed_writer_leaves_no_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    command = [sys.executable, "-c", HAMMER, str(tmp_path)]
    steady = [subprocess.Popen([*command, "12"]) for _ in range(3)]
    for delay in (0.2, 0.3, 0.4):
        victim = subprocess.Popen([*command, "100000"])
        time.sleep(delay)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    assert [p.wait(timeout=60) for p in steady] == [0, 0, 0]
    with caplog.at_level(logging.WARNING):
        for i in range(16):
            found = Store(tmp_path).get(f"{i:02x}" + "0" * 62, Failure)
            assert found is not None
            assert found.message.startswith(f"entry {i} ")
    assert not caplog.records


FULL = """
import resource, signal, sys
from pathlib import Path
from tuner.compile.store import Store
from tuner.trial import Failure, FailureClass
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
store = Store(Path(sys.argv[1]))
for i in range(3):
    store.put(f"{i:02x}" + "0" * 62, Failure(FailureClass.COMPILE, "a message"))
assert store.get("00" + "0" * 62, Failure) is None
"""


def test_a_full_disk_costs_the_entry_and_one_warning(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be written") == 1
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
