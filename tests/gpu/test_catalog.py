"""Naming a GPU, and counting the blocks that fit on one of its SMs."""

from __future__ import annotations

import pytest

from tuner.errors import ConfigError
from tuner.gpu.catalog import (
    DEVICES,
    Device,
    architecture_name,
    find_device,
    is_portable,
    parse_architecture,
)
from tuner.gpu.occupancy import occupancy, resident_clusters
from tuner.gpu.target import Target

H200 = find_device("h200")


@pytest.mark.parametrize("name", ["h200", "H200", "NVIDIA H200", "nvidia  h200", "sm_90", "sm_90a", "SM_90A"])
def test_one_device_answers_to_all_its_names(name: str) -> None:
    assert find_device(name).name == "NVIDIA H200"


@pytest.mark.parametrize(
    ("architecture", "short"), [("sm_80", "a100"), ("sm_86", "a10"), ("sm_89", "l4"), ("sm_100a", "b200")]
)
def test_an_architecture_gives_its_representative(architecture: str, short: str) -> None:
    assert find_device(architecture).short == short


@pytest.mark.parametrize(
    ("name", "nearest"), [("h20", "h200"), ("rtx4080", "rtx4090"), ("NVIDIA A100-SXM4-40GB", "a100")]
)
def test_an_unknown_device_is_refused_with_the_nearest_name(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '.*{nearest}"):
        find_device(name)


def test_every_device_is_found_by_its_own_names() -> None:
    for device in DEVICES:
        assert find_device(device.short) is device
        assert find_device(device.name) is device


@pytest.mark.parametrize(
    ("capability", "name"), [((8, 0), "sm_80"), ((8, 9), "sm_89"), ((9, 0), "sm_90a"), ((12, 0), "sm_120a")]
)
def test_the_name_of_a_target_has_all_its_features(capability: tuple[int, int], name: str) -> None:
    assert str(architecture_name(capability)) == name
    assert parse_architecture(name) == architecture_name(capability)


@pytest.mark.parametrize(("name", "portable"), [("sm_90", True), ("sm_90a", False), ("sm_100f", False), ("90", False)])
def test_code_with_features_of_its_own_runs_on_no_newer_device(name: str, portable: bool) -> None:
    assert is_portable(name) is portable


def test_the_target_is_the_compute_capability() -> None:
    assert H200.target == Target((9, 0))
    assert find_device("b200").target == Target((10, 0))


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: d.short)
def test_published_peaks_follow_from_sms_and_clock(device: Device) -> None:
    peak = device.sms * device.architecture.fp32_lanes * 2 * device.boost_mhz * 1e6 / 1e12
    assert device.fp32_tflops == pytest.approx(peak, rel=0.01)
    assert device.copy_gbps < device.dram_gbps < device.l2_gbps


# Expected values worked out by hand from the rules in cuda_occupancy.h.
@pytest.mark.parametrize(
    ("device", "threads", "registers", "shared", "blocks", "limit"),
    [
        ("h200", 1024, 32, 0, 2, "warps"),
        ("h200", 128, 32, 0, 16, "warps"),
        ("h200", 32, 32, 0, 32, "blocks"),
        ("a10", 32, 32, 0, 16, "blocks"),
        ("l4", 32, 32, 0, 24, "blocks"),
        # 168 registers are 5376 per warp: 3 warps in each of the 4 subpartitions.
        ("h200", 32, 168, 0, 12, "registers"),
        # 33 registers round up to 40: 1280 per warp, 12 warps per subpartition, 48 in all.
        ("h200", 256, 33, 0, 6, "registers"),
        ("h200", 128, 255, 0, 2, "registers"),
        # 227 KiB and the reserved KiB fill the SM.
        ("h200", 128, 32, 227 << 10, 1, "shared memory"),
        # 56 KiB + 1 KiB: 4 in 228 KiB. One byte more costs a granule of 128 bytes.
        ("h200", 128, 32, 56 << 10, 4, "shared memory"),
        ("h200", 128, 32, (56 << 10) + 1, 3, "shared memory"),
        ("a100", 128, 32, 163 << 10, 1, "shared memory"),
    ],
)
def test_occupancy_follows_the_cuda_rules(
    device: str, threads: int, registers: int, shared: int, blocks: int, limit: str
) -> None:
    found = occupancy(find_device(device), threads, registers, shared)
    assert (found.blocks, found.limit) == (blocks, limit)
    assert found.warps == blocks * threads // 32
    assert found.fraction == pytest.approx(found.warps / find_device(device).architecture.max_warps)


@pytest.mark.parametrize(("size", "clusters"), [(1, 132), (2, 66), (4, 32), (8, 16)])
def test_a_cluster_stays_on_one_part_of_the_gpu(size: int, clusters: int) -> None:
    assert resident_clusters(H200, 1, size) == clusters
    assert resident_clusters(H200, 2, size) >= 2 * clusters


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "limit"),
    [
        (1024, 72, 0, "registers"),
        (128, 32, (227 << 10) + 1, "shared memory"),
        (1056, 32, 0, "warps"),
        (128, 256, 0, "registers"),
    ],
)
def test_what_cannot_be_launched_has_no_blocks(threads: int, registers: int, shared: int, limit: str) -> None:
    found = occupancy(H200, threads, registers, shared)
    assert (found.blocks, found.limit) == (0, limit)
