"""A build script registers a kernel: cached winners are served, and what is not tuned is said."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from entries import DEFAULT, FAST, entry
from plugin_kernels import SCALE, write

from tuner.errors import ConfigError, UnavailableError
from tuner.gpu.present import available
from tuner.kernel.identity import kernel_hash
from tuner.kernel.kernel import Kernel
from tuner.outcome import Kind
from tuner.qdp import register
from tuner.qdp.rehearsal.builder import PlayedTensor, play
from tuner.search.tactic import Config, Tactic
from tuner.store.cache import Cache
from tuner.store.entry import Entry

SLOW: Config = {"BLOCK": 128, "num_warps": 2}
OTHER: Config = {"BLOCK": 512, "num_warps": 2}


@pytest.fixture(autouse=True)
def compile_cache(compiled: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    monkeypatch.setenv("TUNER_COMPILE_CACHE", str(compiled))
    with caplog.at_level(logging.INFO, "tuner.qdp"):
        yield


def stored(kernel: Kernel, N: int, winner: Config, backend: str = "cuda", kind: Kind = "measurement") -> Entry:
    """What tuning the kernel for N elements would have left in a cache."""
    source = kernel_hash(kernel)
    return entry(kernel.id, N=N, dtype="fp32", source=source, winner=winner, backend=backend, kind=kind)


def offered(kernel: Kernel, N: int, **attributes: int) -> list[int]:
    """The tactics that the builder would choose from for a tensor of N elements."""
    rehearsal = play(kernel.id, [PlayedTensor("FLOAT", (N,), (N,), (N,))], attributes or {"amount": 1})
    assert not rehearsal.broken
    return list(rehearsal.offered)


def test_the_winner_for_the_very_problem_is_served(
    layer: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = write(tmp_path, "exact", SCALE)
    register(kernel, cache=Cache([stored(kernel, 4096, FAST)]), device="h200", workers=1)
    assert offered(kernel, 4096) == [Tactic(FAST).id]
    (record,) = caplog.records  # once, however often TensorRT asks
    assert record.levelno == logging.INFO
    assert "test::exact N=4096 T=fp32: serving (BLOCK=1024 num_warps=4); exact: " in record.getMessage()


def test_the_winner_of_the_nearest_shape_is_served(
    layer: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = write(tmp_path, "nearest", SCALE)
    cache = Cache([stored(kernel, 4096, FAST), stored(kernel, 1 << 20, SLOW)])
    register(kernel, cache=cache, device="NVIDIA H200", workers=1)
    assert offered(kernel, 5000) == [Tactic(FAST).id]
    assert offered(kernel, 1 << 21) == [Tactic(SLOW).id]
    assert [r.levelno for r in caplog.records] == [logging.INFO, logging.INFO]
    assert all("nearest shape: " in r.getMessage() for r in caplog.records)


def test_without_an_entry_the_default_is_served_with_a_warning(
    layer: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = write(tmp_path, "untuned", SCALE)
    register(kernel, cache=tmp_path / "absent.json", device="h200", workers=1)
    assert offered(kernel, 4096) == [Tactic(DEFAULT).id]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "serving the default (BLOCK=256 num_warps=4), which is not tuned" in record.getMessage()
    assert not (tmp_path / "absent.json").exists()


def test_an_entry_of_another_source_is_not_served(
    layer: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = write(tmp_path, "edited", SCALE)
    register(kernel, cache=Cache([entry(kernel.id, N=4096, dtype="fp32", source="old")]), device="h200", workers=1)
    assert offered(kernel, 4096) == [Tactic(DEFAULT).id]
    assert "1 of this kernel in the cache, none with this source" in caplog.text


@pytest.mark.parametrize(
    ("backends", "winner"), [("model cuda tensorrt", FAST), ("model cuda", SLOW), ("model", OTHER)]
)
def test_times_of_engines_come_before_those_of_kernels_and_predictions_last(
    layer: ModuleType, tmp_path: Path, backends: str, winner: Config
) -> None:
    kernel = write(tmp_path, backends.replace(" ", "_"), SCALE)
    known = {
        "tensorrt": stored(kernel, 4096, FAST, "tensorrt"),
        "cuda": stored(kernel, 4096, SLOW, "cuda"),
        "model": stored(kernel, 4096, OTHER, "model", "prediction"),
    }
    register(kernel, cache=Cache([known[b] for b in backends.split()]), device="h200", workers=1)
    assert offered(kernel, 4096) == [Tactic(winner).id]


def test_a_winner_without_the_pinned_value_is_not_served(
    layer: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = write(tmp_path, "pins", SCALE)
    cache = Cache([stored(kernel, 4096, FAST)])
    register(kernel, cache=cache, device="h200", workers=1, attributes={"block_size": "BLOCK"})
    assert offered(kernel, 4096, block_size=512) == [Tactic({"BLOCK": 512, "num_warps": 4}).id]
    assert "(BLOCK=1024 num_warps=4) has not the pinned values" in caplog.text


def test_given_configurations_are_offered(layer: ModuleType, tmp_path: Path) -> None:
    kernel = write(tmp_path, "given", SCALE)
    register(kernel, tactics=[FAST, SLOW], device="h200", workers=1)
    assert offered(kernel, 4096) == sorted([Tactic(FAST).id, Tactic(SLOW).id])


def test_all_legal_configurations_are_offered(layer: ModuleType, tmp_path: Path) -> None:
    kernel = write(tmp_path, "everything", SCALE)
    register(kernel, tactics="all", device="h200", workers=1)
    assert len(offered(kernel, 4096)) == 8


def test_a_kernel_is_registered_once(layer: ModuleType, tmp_path: Path) -> None:
    kernel = write(tmp_path, "twice", SCALE)
    register(kernel, device="h200", cache=tmp_path / "tactics.json")
    with pytest.raises(ConfigError, match="'test::twice' is already registered"):
        register(kernel, device="h200", cache=tmp_path / "tactics.json")


def test_unknown_words_are_refused(layer: ModuleType, tmp_path: Path) -> None:
    kernel = write(tmp_path, "words", SCALE)
    with pytest.raises(ConfigError, match=r"unknown device 'h201'.*h200"):
        register(kernel, device="h201")
    with pytest.raises(ConfigError, match='use "cached", "all" or a list'):
        register(kernel, device="h200", tactics="best")  # type: ignore[arg-type]


@pytest.mark.skipif(available() is None, reason="there is a GPU")
def test_without_a_gpu_the_device_has_to_be_named(layer: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match='name one with device="h200"'):
        register(write(tmp_path, "nameless", SCALE))
