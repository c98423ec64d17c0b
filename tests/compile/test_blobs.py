"""Entries come back whole or not at all."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tuner.compile.artifact import Artifact, Resources
from tuner.compile.blobs import Store, default_folder
from tuner.gate.verifier import Verdict
from tuner.outcome import Failure, FailureClass

KEY = "ab" + "0" * 62
ENTRY = Failure(FailureClass.COMPILE, "too much shared memory\nsecond line, with \u00fc")
RESOURCES = Resources(
    registers=32,
    spill_store_bytes=0,
    spill_load_bytes=4,
    stack_bytes=0,
    local_bytes=16,
    shared_bytes=1024,
    barriers=1,
    instructions={"total": 90},
    load_widths={4: 2, 16: 1},
    store_widths={16: 1},
    tensor_shapes={},
    loop_instructions={"total": 7},
    loop_load_widths={16: 1},
    loop_store_widths={},
    loop_tensor_shapes={"HMMA.16816.F32": 2},
)
ARTIFACT = Artifact(
    ptx=".version 8.7\n",
    entry="increment",
    block=(128, 1, 1),
    shared_bytes=2048,
    target="sm_90a",
    ptx_version=(8, 7),
    resources=RESOURCES,
    cubin=bytes(range(256)),
    compiler="triton 3.6.0, ptxas 12.8.93",
    seconds=0.7,
)


def key(i: int) -> str:
    return f"{i:02x}" + "0" * 62


def files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file()]


def only_file(folder: Path) -> Path:
    (path,) = files(folder)
    return path


@pytest.mark.parametrize(
    "entry", [ENTRY, ARTIFACT, Verdict("wrong", "y is off")], ids=lambda entry: type(entry).__name__
)
def test_an_entry_comes_back_equal(tmp_path: Path, entry: object) -> None:
    Store(tmp_path).put(KEY, entry)
    assert Store(tmp_path).get(KEY, type(entry)) == entry


def test_what_was_never_kept_or_is_of_another_type_is_a_miss(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path / "none")
    assert store.get(KEY, Failure) is None
    assert not (tmp_path / "none").exists()
    store.put(KEY, ENTRY)
    assert store.get(key(0), Failure) is None
    assert store.get(KEY, Artifact) is None
    assert not caplog.records


def test_the_last_entry_under_a_key_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(KEY, ENTRY)
    store.put(KEY, Failure(FailureClass.TIMEOUT, "later"))
    assert store.get(KEY, Failure) == Failure(FailureClass.TIMEOUT, "later")
    assert len(files(tmp_path)) == 1


# -- damage --------------------------------------------------------------------------------------


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, ("touch exploded",))


def sealed(content: bytes) -> Callable[[bytes], bytes]:
    """An entry with this content and a checksum that is right."""

    def seal(data: bytes) -> bytes:
        payload = zlib.compress(content)
        return data[: data.index(b"\n") + 1] + hashlib.sha256(payload).digest() + payload

    return seal


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "one byte short": lambda data: data[:-1],
    "half": lambda data: data[: len(data) // 2],
    "head only": lambda data: data[:30],
    "flipped in the content": lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
    "flipped in the checksum": lambda data: data[:25] + bytes([data[25] ^ 1]) + data[26:],
    "foreign": lambda data: b"something else altogether",
    "another version": lambda data: data.replace(b" 1\n", b" 2\n", 1),
    "a pickle": lambda data: pickle.dumps(Bomb()),
    "a pickle inside": sealed(pickle.dumps(Bomb())),
    "not MessagePack": sealed(b"\xc1"),
    "another type": sealed(msgspec.msgpack.encode(ARTIFACT)),
    "a wrong type inside": sealed(msgspec.msgpack.encode({"kind": "compile", "message": 5})),
    "an unknown class": sealed(msgspec.msgpack.encode({"kind": "bad luck", "message": ""})),
    "deeply nested": sealed(b"\x81" + msgspec.msgpack.encode("unknown") + b"\x91" * 100_000),
    "too much when decompressed": sealed(msgspec.msgpack.encode({"kind": "compile", "message": "x" * (256 << 20)})),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_is_a_miss_and_is_made_again(
    tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "store")
    store.put(KEY, ENTRY)
    path = only_file(tmp_path / "store")
    path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert store.get(KEY, Failure) is None
        assert store.get(KEY, Failure) is None
    (record,) = caplog.records
    assert str(path) in record.getMessage()
    assert not (tmp_path / "exploded").exists()
    store.put(KEY, ENTRY)
    assert store.get(KEY, Failure) == ENTRY


# -- size ----------------------------------------------------------------------------------------


def large(i: int) -> Failure:
    """An entry of about 7 kB that does not compress to nothing."""
    return Failure(FailureClass.COMPILE, "".join(hashlib.sha256(f"{i} {j}".encode()).hexdigest() for j in range(200)))


def test_the_least_recently_used_entries_go_first(tmp_path: Path) -> None:
    store = Store(tmp_path, limit_bytes=100_000)
    for i in range(40):
        store.put(key(i), large(i))
        os.utime(only_file(tmp_path / key(i)[:2]), (i, i))
        assert store.get(key(0), Failure) == large(0)  # in use all along
        assert sum(p.stat().st_size for p in files(tmp_path)) <= 100_000
    kept = [i for i in range(40) if store.get(key(i), Failure)]
    assert kept == [0, *range(40 - len(kept) + 1, 40)]
    assert len(kept) >= 8


def test_what_earlier_processes_kept_counts(tmp_path: Path) -> None:
    for i in range(10):
        Store(tmp_path).put(key(i), large(i))
        os.utime(only_file(tmp_path / key(i)[:2]), (i, i))
    Store(tmp_path, limit_bytes=30_000).put(key(10), large(10))
    assert sum(p.stat().st_size for p in files(tmp_path)) <= 30_000
    assert Store(tmp_path).get(key(10), Failure) == large(10)
    assert Store(tmp_path).get(key(0), Failure) is None


def test_what_killed_writers_left_is_cleared_and_what_others_are_writing_is_not(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    old, new = tmp_path / "ab" / f".{'0' * 16}.tmp", tmp_path / "ab" / f".{'1' * 16}.tmp"
    old.write_bytes(b"half an en")
    new.write_bytes(b"half an en")
    day_ago = old.stat().st_mtime - 86400
    os.utime(old, (day_ago, day_ago))
    Store(tmp_path).put(KEY, ENTRY)
    assert not old.exists()
    assert new.exists()
    assert Store(tmp_path).get(KEY, Failure) == ENTRY


def test_files_of_others_in_the_folder_are_no_entries(tmp_path: Path) -> None:
    (tmp_path / "py").mkdir()
    (tmp_path / "ab").mkdir()
    mine = [tmp_path / "py" / "thesis.tex", tmp_path / "py" / "notes.tmp", tmp_path / "ab" / "cdef"]
    for path in mine:
        path.write_bytes(b"x" * 100_000)
        os.utime(path, (1, 1))
    store = Store(tmp_path, limit_bytes=30_000)
    for i in range(10):
        store.put(key(i), large(i))
    assert all(path.exists() for path in mine)
    assert store.get(key(9), Failure) == large(9) and store.get(key(8), Failure) == large(8)


# -- many processes, and no room -----------------------------------------------------------------

HAMMER = """
import sys
from pathlib import Path
from tuner.compile.blobs import Store
from tuner.outcome import Failure, FailureClass

folder, rounds, limit = sys.argv[1:]
store = Store(Path(folder), int(limit))
for round in range(int(rounds)):
    for i in range(16):
        key = f"{i:02x}" + "0" * 62
        store.put(key, Failure(FailureClass.COMPILE, f"entry {i} " + "x" * 1_000_000 * (i % 3)))
        found = store.get(key, Failure)
        assert found is None or found.message.startswith(f"entry {i} "), found
        assert found or int(limit) < 1 << 30
    if round == 0:
        print("busy", flush=True)
"""


def hammer(folder: Path, rounds: int, limit: int = 1 << 30) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HAMMER, str(folder), str(rounds), str(limit)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_many_processes_share_a_folder_and_killed_writers_damage_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    steady = [hammer(tmp_path, 8) for _ in range(3)]
    for _ in range(3):
        with hammer(tmp_path, 100_000) as victim:
            assert victim.stdout is not None
            assert victim.stdout.readline() == "busy\n"
            victim.send_signal(signal.SIGKILL)
    for process in steady:
        _, printed = process.communicate(timeout=60)
        assert (process.returncode, printed) == (0, "")
    with caplog.at_level(logging.WARNING):
        for i in range(16):
            found = Store(tmp_path).get(key(i), Failure)
            assert found is not None
            assert found.message.startswith(f"entry {i} ")
    assert not caplog.records


def test_many_processes_may_remove_entries_at_once(tmp_path: Path) -> None:
    together = [hammer(tmp_path, 4, limit=10_000) for _ in range(3)]
    for process in together:
        _, printed = process.communicate(timeout=60)
        assert (process.returncode, printed) == (0, "")


FULL = """
import resource, signal, sys
from pathlib import Path
from tuner.compile.blobs import Store
from tuner.outcome import Failure, FailureClass

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
store = Store(Path(sys.argv[1]))
for i in range(3):
    store.put(f"{i:02x}" + "0" * 62, Failure(FailureClass.COMPILE, "a message"))
assert store.get("00" + "0" * 62, Failure) is None
"""


def test_a_full_disk_costs_the_entries_and_one_warning(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (warning,) = done.stderr.splitlines()
    assert f"{tmp_path}" in warning
    assert "cannot be written (File too large)" in warning
    assert not files(tmp_path)


def test_a_folder_that_cannot_be_made_costs_the_entries_and_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file" / "store")
    with caplog.at_level(logging.WARNING):
        for i in range(3):
            store.put(key(i), ENTRY)
            assert store.get(key(i), Failure) is None
    (record,) = caplog.records
    assert "cannot be written" in record.getMessage()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_folder_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Store(tmp_path).put(KEY, ENTRY)
    Store(tmp_path).put("ac" + KEY[2:], ENTRY)
    damaged = next((tmp_path / "ac").iterdir())
    damaged.write_bytes(b"")
    folders = [tmp_path / "ab", tmp_path / "ac", tmp_path]
    for folder in folders:
        folder.chmod(0o555)
    try:
        store = Store(tmp_path)
        assert store.get(KEY, Failure) == ENTRY
        assert store.get("ac" + KEY[2:], Failure) is None
        store.put(KEY, ENTRY)
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_the_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_COMPILE_CACHE", str(tmp_path / "here"))
    assert default_folder() == tmp_path / "here"
    monkeypatch.delenv("TUNER_COMPILE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder() == tmp_path / "xdg" / "qdp-tuner" / "compile"
