"""What a prediction must respect whatever its constants: what is more work is not faster."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tuner import Kernel, Problem
from tuner.compile.artifact import Artifact
from tuner.compile.triton import compile_tactic
from tuner.devices import DEVICES, Device, find_device
from tuner.errors import ConfigError
from tuner.loader import load_kernel
from tuner.predict import predict
from tuner.tactic import Config, Tactic

FOLDER = Path(__file__).parents[1] / "kernels"
H200 = find_device("h200")
SIZES = {
    "increment": {"N": 64 << 20},
    "softmax": {"M": 8192, "N": 4096},
    "rms_norm": {"M": 16384, "N": 8192},
    "swiglu": {"N": 64 << 20},
    "transpose": {"M": 16384, "N": 8192},
    "gemm": {"M": 4096, "N": 4096, "K": 4096},
}


@cache
def kernel(name: str) -> Kernel:
    return load_kernel(str(FOLDER / f"{name}.py"), FOLDER)


def problem(name: str, **sizes: int) -> Problem:
    return Problem.of(kernel(name), {**SIZES[name], **sizes})


@cache
def _compiled(name: str, sizes: tuple[tuple[str, int], ...], tactic: Tactic, device: Device) -> Artifact:
    return compile_tactic(problem(name, **dict(sizes)), tactic.config, device.target)


def compiled(name: str, config: Config, device: Device = H200, **sizes: int) -> Artifact:
    return _compiled(name, tuple(sizes.items()), Tactic(config), device)


def time_us(name: str, config: Config, device: Device = H200, **sizes: int) -> float:
    return predict(device, problem(name, **sizes), config, compiled(name, config, device, **sizes)).time_us


def increment(block: int, warps: int) -> dict[str, int]:
    return {"BLOCK_SIZE": block, "num_warps": warps}


def softmax(rows: int, block: int, warps: int) -> dict[str, int]:
    return {"ROWS": rows, "BLOCK_N": block, "num_warps": warps}


def test_a_prediction_says_what_it_is_and_what_it_stands_on() -> None:
    config = increment(1024, 4)
    timing = predict(H200, problem("increment"), config, compiled("increment", config))
    assert (timing.kind, timing.statistic, timing.samples_us) == ("prediction", "model", ())
    assert timing.facts["blocks_per_sm"] == 16
    assert timing.facts["waves"] == pytest.approx(65536 / (132 * 16))
    assert timing.facts["dram_us"] == pytest.approx(2 * 4 * (64 << 20) / H200.copy_gbps / 1e3)
    assert all(name.endswith(("_us", "_percent", "_per_sm", "waves")) for name in timing.facts)


def test_the_same_tactic_is_predicted_the_same() -> None:
    config = softmax(1, 4096, 8)
    first, second = (predict(H200, problem("softmax"), config, compiled("softmax", config)) for _ in range(2))
    assert first == second


# Measured on one H200: the best tactics of each space.
@pytest.mark.parametrize(
    ("name", "config", "measured_us"),
    [("increment", increment(2048, 4), 126.3), ("softmax", softmax(1, 4096, 4), 34.2)],
)
def test_good_tactics_are_predicted_near_their_measured_times(
    name: str, config: Mapping[str, int], measured_us: float
) -> None:
    assert measured_us / 1.5 < time_us(name, config) < measured_us * 1.5


def test_many_tiny_blocks_are_much_slower_than_few_large_ones() -> None:
    assert time_us("increment", increment(64, 1)) > 2 * time_us("increment", increment(1024, 4))
    assert time_us("increment", increment(256, 4)) > time_us("increment", increment(1024, 4))


def test_wide_accesses_are_faster_than_narrow_ones() -> None:
    """An odd length keeps Triton from vector accesses: four instructions for one, and as many bytes."""
    config, odd = increment(1024, 4), (64 << 20) + 1
    assert compiled("increment", config).resources.load_widths == {16: 2}
    assert max(compiled("increment", config, N=odd).resources.load_widths) == 4
    assert time_us("increment", config) < time_us("increment", config, N=odd)


def test_bytes_in_flight_limit_a_kernel_of_single_word_loads() -> None:
    assert time_us("increment", increment(1024, 32)) > 1.05 * time_us("increment", increment(1024, 8))


def test_a_row_read_twice_is_slower_than_a_row_kept_in_registers() -> None:
    assert time_us("softmax", softmax(1, 4096, 4)) < time_us("softmax", softmax(1, 1024, 4))


def test_padding_a_row_costs_time() -> None:
    assert time_us("softmax", softmax(1, 4096, 8)) < time_us("softmax", softmax(1, 16384, 8))


def test_spills_cost_time() -> None:
    config = softmax(1, 4096, 8)
    artifact = compiled("softmax", config)
    times = [
        predict(H200, problem("softmax"), config, replace(artifact, resources=replaced)).time_us
        for stored, loaded in ((0, 0), (256, 0), (256, 256), (4096, 4096))
        for replaced in [replace(artifact.resources, spill_store_bytes=stored, spill_load_bytes=loaded)]
    ]
    assert times == sorted(set(times))


def test_less_occupancy_is_never_faster() -> None:
    config = softmax(1, 4096, 8)
    artifact = compiled("softmax", config)
    times = [
        predict(H200, problem("softmax"), config, replace(artifact, shared_bytes=n << 10)).time_us
        for n in (0, 25, 50, 100, 200)
    ]
    assert times == sorted(times) and times[0] < times[-1]


def test_a_wave_that_is_not_full_costs_time() -> None:
    config = softmax(1, 4096, 8)
    blocks = 132 * 8
    full, over, two = (time_us("softmax", config, M=m) for m in (blocks, blocks + 1, 2 * blocks))
    assert full < over < two


@pytest.mark.parametrize("name", ["increment", "softmax"])
def test_more_bandwidth_is_faster_for_what_memory_limits(name: str) -> None:
    config = kernel(name).default
    artifact, doubled = compiled(name, config), replace(H200, copy_gbps=2 * H200.copy_gbps)
    slow, fast = (predict(d, problem(name), config, artifact).time_us for d in (H200, doubled))
    assert fast < 0.9 * slow


def test_a_device_of_half_the_size_is_slower() -> None:
    config = softmax(1, 4096, 8)
    artifact = compiled("softmax", config)
    half = replace(H200, sms=66, l2_gbps=H200.l2_gbps / 2)
    assert predict(half, problem("softmax"), config, artifact).time_us > time_us("softmax", config)


def test_counting_machine_instructions_is_a_refinement() -> None:
    config = softmax(1, 4096, 8)
    artifact = compiled("softmax", config)
    uncounted = replace(artifact, resources=replace(artifact.resources, instructions={}))
    assert predict(H200, problem("softmax"), config, uncounted).time_us == pytest.approx(
        time_us("softmax", config), rel=0.05
    )


def test_no_prediction_is_below_the_time_of_the_bytes() -> None:
    for config in (increment(2048, 4), increment(16384, 1)):
        assert time_us("increment", config) > problem("increment").bytes() / H200.copy_gbps / 1e3


def test_a_block_that_does_not_fit_is_refused() -> None:
    config = increment(1024, 4)
    artifact = replace(compiled("increment", config), shared_bytes=228 << 10)
    with pytest.raises(ConfigError, match="does not fit on an SM: not enough shared memory"):
        predict(H200, problem("increment"), config, artifact)


@pytest.mark.parametrize("device", [find_device(a) for a in ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100")], ids=str)
def test_every_architecture_gives_every_kernel_a_time(device: Device) -> None:
    same = [d for d in DEVICES if d.capability == device.capability]
    for path in sorted(FOLDER.glob("*.py")):
        space = problem(path.stem).space
        config = random.Random(f"{path.stem} {device.short}").choice(space.sample(random.Random(0), 8))
        artifact = compiled(path.stem, config, device)
        for d in same:
            time = predict(d, problem(path.stem), config, artifact).time_us
            assert math.isfinite(time) and time > 0
