"""What a prediction must respect whatever its constants: what is more work is not faster."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tuner import Kernel, Problem
from tuner.backends.model.predict import predict
from tuner.compile.artifact import Artifact
from tuner.compile.pipeline import compile_tactic
from tuner.errors import ConfigError
from tuner.gpu.catalog import DEVICES, Device, find_device
from tuner.kernel.loader import load_kernel
from tuner.outcome import TacticError
from tuner.search.tactic import Config, Tactic

FOLDER = Path(__file__).parents[3] / "kernels"
H200 = find_device("h200")
SIZES = {
    "increment": {"N": 64 << 20},
    "softmax": {"M": 8192, "N": 4096},
    "matmul": {"M": 4096, "N": 4096, "K": 4096},
    "attention": {"B": 8, "G": 4, "S": 1024, "D": 128},
    "batched_gemm": {"B": 8, "M": 512, "K": 1024, "N": 1024},
    "depthwise_conv": {"B": 8, "H": 56, "W": 56, "C": 128, "R": 3, "S": 3},
    "embedding": {"V": 32000, "D": 1024, "B": 4096, "L": 1},
    "rope": {"M": 4096, "H": 32, "G": 8, "C": 64},
}

MATMUL = """\
import triton
import triton.language as tl

from tuner import Kernel, Launch, Tensor, cdiv, choice


@triton.jit
def matmul(a_ptr, b_ptr, M, N, K, c_ptr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr):
    rows, columns = tl.cdiv(M, BM), tl.cdiv(N, BN)
    pid = tl.program_id(0)
    first = pid // (GROUP * columns) * GROUP
    height = min(rows - first, GROUP)
    m = (first + pid % (GROUP * columns) % height) * BM + tl.arange(0, BM)
    n = pid % (GROUP * columns) // height * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    total = tl.zeros((BM, BN), tl.float32)
    for start in range(0, K, BK):
        a = tl.load(a_ptr + m[:, None] * K + (start + k)[None, :])
        b = tl.load(b_ptr + (start + k)[:, None] * N + n[None, :])
        total = tl.dot(a, b, total)
    tl.store(c_ptr + m[:, None] * N + n[None, :], total.to(tl.float16))


kernel = Kernel(
    id="test::matmul",
    source=matmul,
    inputs={"a": Tensor("T", "M K"), "b": Tensor("T", "K N")},
    outputs={"c": Tensor("T", "M N")},
    dtypes={"T": ("fp16",)},
    params=[
        choice("BM", 64, 128), choice("BN", 64, 256), choice("BK", 64), choice("GROUP", 1, 8),
        choice("num_warps", 2, 4, 8), choice("num_stages", 1, 3),
    ],
    default={"BM": 128, "BN": 256, "BK": 64, "GROUP": 8, "num_warps": 8, "num_stages": 3},
    launch=lambda M, N, K, BM, BN: Launch((cdiv(M, BM) * cdiv(N, BN),), (M, N, K)),
    reference=lambda a, b: a @ b,
    flops=lambda M, N, K: 2 * M * N * K,
)
"""


_TEMPORARY = TemporaryDirectory()
(Path(_TEMPORARY.name) / "matmul.py").write_text(MATMUL)


@cache
def kernel(name: str) -> Kernel:
    folder = Path(_TEMPORARY.name) if name == "matmul" else FOLDER
    return load_kernel(f"{name}.py", folder)


def problem(name: str, **sizes: int) -> Problem:
    return Problem.of(kernel(name), {**dict.fromkeys(kernel(name).dims, 4096), **SIZES.get(name, {}), **sizes})


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


def matmul(rows: int = 128, columns: int = 256, **changes: int) -> dict[str, int]:
    return {"BM": rows, "BN": columns, "BK": 64, "GROUP": 8, "num_warps": 8, "num_stages": 3, **changes}


def matmul_facts(config: Config, **sizes: int) -> Mapping[str, float]:
    """All sizes are multiples of 16, so one compile serves them."""
    return predict(H200, problem("matmul", **sizes), config, compiled("matmul", config)).facts


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


def test_handing_out_blocks_takes_as_long_whatever_their_warps() -> None:
    """Measured on one H200: 634.6 and 634.5 us."""
    few, more = time_us("increment", increment(64, 1)), time_us("increment", increment(64, 2))
    assert few == more == pytest.approx(634.5, rel=0.05)


def test_storing_half_a_sector_costs_more_than_loading_half_a_sector() -> None:
    """Eight halves are 16 bytes. Measured on one H200 for M = 16384 and N = 8192: 475 and 188 us."""
    store, load = {"BLOCK_M": 8, "BLOCK_N": 128}, {"BLOCK_M": 128, "BLOCK_N": 8}
    slow, fast = (time_us("transpose", {**tile, "num_warps": 8}) for tile in (store, load))
    assert slow > 1.5 * fast


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


# The default of increment will not do: it waits for its blocks to be handed out.
@pytest.mark.parametrize(("name", "config"), [("increment", increment(1024, 8)), ("softmax", softmax(1, 4096, 8))])
def test_more_bandwidth_is_faster_for_what_memory_limits(name: str, config: Mapping[str, int]) -> None:
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


def test_large_tiles_read_less() -> None:
    small, large = matmul(64, 64, num_warps=4), matmul()
    assert matmul_facts(large)["l2_us"] < matmul_facts(small)["l2_us"] / 2
    assert time_us("matmul", large) < time_us("matmul", small)


def test_a_pipelined_loop_hides_latency() -> None:
    piped, plain = matmul(), matmul(num_stages=1)
    assert matmul_facts(piped)["path_us"] < 0.8 * matmul_facts(plain)["path_us"]
    assert time_us("matmul", piped) < time_us("matmul", plain)


def test_warp_group_instructions_are_faster_than_those_of_a_warp() -> None:
    group, warp = matmul(64, 64, num_warps=4), matmul(64, 64, num_warps=2)
    assert matmul_facts(group)["tensor_us"] < matmul_facts(warp)["tensor_us"]


def test_the_order_of_blocks_decides_what_they_share() -> None:
    grouped, rows = matmul(), matmul(GROUP=1)
    assert matmul_facts(grouped, M=16384, N=16384)["dram_us"] < matmul_facts(rows, M=16384, N=16384)["dram_us"]


def test_tensor_time_follows_the_declared_operations() -> None:
    """132 blocks, one on each SM, all of K: the loop was counted right."""
    facts = matmul_facts(matmul(), M=128 * 132, N=256)
    flops = 2 * 128 * 132 * 256 * 4096
    assert facts["tensor_us"] == pytest.approx(flops / (0.85 * H200.tensor_tflops["fp16"] * 1e6), rel=1e-6)


def test_one_block_too_many_costs_a_matrix_product_a_whole_round() -> None:
    config = matmul()
    full, over = (
        predict(H200, problem("matmul", M=128 * m, N=256), config, compiled("matmul", config)).time_us
        for m in (132, 133)
    )
    assert over > 1.8 * full


SHIPPED = sorted(path.stem for path in FOLDER.glob("*.py"))
ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_100")


@pytest.mark.parametrize(
    ("name", "architecture"),
    [(n, "sm_90") for n in SHIPPED] + [(n, ARCHITECTURES[i % len(ARCHITECTURES)]) for i, n in enumerate(SHIPPED)],
)
def test_every_device_has_a_time_for_what_compiles(name: str, architecture: str) -> None:
    device = find_device(architecture)
    for config in problem(name).space.sample(random.Random(architecture), 8):
        try:
            artifact = compiled(name, config, device)
        except TacticError:
            continue
        for same in DEVICES:
            if same.capability == device.capability:
                time = predict(same, problem(name), config, artifact).time_us
                assert math.isfinite(time) and time > 0
        return
    pytest.fail(f"none of 8 tactics of {name} compiles")
