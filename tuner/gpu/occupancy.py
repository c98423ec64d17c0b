"""How many blocks of a kernel fit on a multiprocessor, by the rules of NVIDIA's occupancy calculator."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.gpu.catalog import Device

REGISTERS_PER_SM = 65536
REGISTER_UNIT = 256
"""Registers are given to warps in multiples of this many."""
SMS_PER_GPC = 18
"""SMs of a graphics processing cluster of compute capability 9.0 at most: the blocks of a cluster run on one of them.
How many SMs each has left is no public number; those of a GPU are taken to be spread evenly, in pairs."""
SUBPARTITIONS = 4
"""Parts of an SM, each with a scheduler and a quarter of the registers, that a warp cannot leave."""
SHARED_UNIT = 128
"""Shared memory is given to blocks in multiples of this many bytes."""
RESERVED_SHARED = 1024
"""Bytes of shared memory per block that the system keeps, on compute capability 8.0 and newer."""
MAX_THREADS_PER_BLOCK = 1024
MAX_REGISTERS_PER_THREAD = 255


@dataclass(frozen=True)
class Occupancy:
    """How many blocks of a kernel one SM holds at a time.

    Attributes:
        blocks: per SM; 0 when not even one block fits.
        warps: per SM.
        fraction: of the warps the SM could hold.
        limit: what keeps another block out: "warps", "blocks", "registers" or "shared memory".
    """

    blocks: int
    warps: int
    fraction: float
    limit: str


def occupancy(device: Device, threads: int, registers: int, shared_bytes: int) -> Occupancy:
    """Blocks per SM, by the rules of NVIDIA's occupancy calculator (cuda_occupancy.h).

    Args:
        device: the GPU.
        threads: per block.
        registers: per thread.
        shared_bytes: per block, static and dynamic together.
    """
    arch = device.architecture
    warps = -(-threads // 32)
    registers_per_warp = _round_up(max(registers, 1) * 32, REGISTER_UNIT)
    warps_per_subpartition = REGISTERS_PER_SM // SUBPARTITIONS // registers_per_warp
    shared = _round_up(shared_bytes + RESERVED_SHARED, SHARED_UNIT)
    limits = {
        "warps": arch.max_warps // warps,
        "blocks": arch.max_blocks,
        "registers": warps_per_subpartition * SUBPARTITIONS // warps,
        "shared memory": arch.shared_per_sm // shared,
    }
    if threads > MAX_THREADS_PER_BLOCK:
        limits["warps"] = 0
    # A launch is checked as if a block took the same registers in every subpartition.
    if registers > MAX_REGISTERS_PER_THREAD or registers_per_warp * _round_up(warps, SUBPARTITIONS) > REGISTERS_PER_SM:
        limits["registers"] = 0
    if shared_bytes > arch.shared_per_block:
        limits["shared memory"] = 0
    limit = min(limits, key=lambda name: limits[name])
    blocks = limits[limit]
    return Occupancy(blocks, blocks * warps, blocks * warps / arch.max_warps, limit)


def resident_clusters(device: Device, blocks: int, size: int) -> int:
    """How many clusters a GPU holds at a time.

    Args:
        device: the GPU.
        blocks: of the kernel that fit on an SM.
        size: blocks of a cluster.
    """
    pairs, groups = device.sms // 2, -(-device.sms // SMS_PER_GPC)
    each, more = divmod(pairs, groups)
    return sum(2 * (each + (i < more)) * blocks // size for i in range(groups))


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
