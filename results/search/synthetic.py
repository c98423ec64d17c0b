"""Synthetic tuning tables: analytic cost models that behave as GPU kernels do, with noise and failures.

They keep the search from being fitted to the few recorded tables. None of them models a real device.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tuner.outcome import Failure, FailureClass, Outcome, Timing
from tuner.search.constraints import Constraint
from tuner.search.params import choice, integers, powers_of_two
from tuner.search.space import Space
from tuner.search.tactic import Config, canonical
from tuner.store.tables.table import Table


@dataclass(frozen=True)
class Device:
    """The few numbers the models below look at."""

    name: str
    sms: int
    threads: int  # resident per SM
    warp: int
    registers: int  # per SM
    shared: int  # bytes per SM
    gflops: float
    bandwidth: float  # GB/s


SMALL = Device("small", 48, 1536, 32, 65536, 100 * 1024, 19e3, 448)
LARGE = Device("large", 132, 2048, 32, 65536, 227 * 1024, 60e3, 4000)
WIDE = Device("wide", 104, 2048, 64, 131072, 64 * 1024, 45e3, 1600)


def occupancy(d: Device, threads: float, registers: float, shared: float) -> float:
    """Resident warps over what an SM can hold; 0 when one block does not fit."""
    warps = math.ceil(threads / d.warp)
    blocks = min(
        d.threads // (warps * d.warp) if warps else 0,
        d.registers // max(1, int(registers) * warps * d.warp),
        d.shared // max(1, int(shared)) if shared else 32,
        32,
    )
    return blocks * warps * d.warp / d.threads


def waves(d: Device, blocks: float, resident: float) -> float:
    """How much longer a grid takes than its blocks would if they filled the device evenly."""
    slots = d.sms * max(1.0, resident)
    return math.ceil(blocks / slots) * slots / blocks


def gemm(d: Device) -> tuple[Space, Callable[[Config], float | FailureClass]]:
    """Matrix product in the manner of CLBlast: nine parameters, three constraints."""
    space = Space(
        (
            powers_of_two("MWG", 16, 128),
            powers_of_two("NWG", 16, 128),
            choice("KWG", 16, 32),
            choice("MDIMC", 8, 16, 32),
            choice("NDIMC", 8, 16, 32),
            powers_of_two("VWM", 1, 8),
            powers_of_two("VWN", 1, 8),
            choice("SA", 0, 1),
            choice("SB", 0, 1),
        ),
        (
            Constraint("rows", lambda MWG, MDIMC, VWM: MWG % (MDIMC * VWM) == 0, "threads must cover the tile"),
            Constraint("columns", lambda NWG, NDIMC, VWN: NWG % (NDIMC * VWN) == 0, "threads must cover the tile"),
            Constraint("block", lambda MDIMC, NDIMC: 64 <= MDIMC * NDIMC <= 1024, "block size"),
        ),
    )

    def cost(c: dict) -> float | FailureClass:  # type: ignore[type-arg]
        threads = c["MDIMC"] * c["NDIMC"]
        work = c["MWG"] * c["NWG"] / threads
        registers = 24 + work + 2 * c["VWM"] + 2 * c["VWN"] + work**0.5
        shared = 4 * c["KWG"] * (c["SA"] * c["MWG"] + c["SB"] * c["NWG"])
        spill = max(0.0, registers - 255)
        occ = occupancy(d, threads, min(registers, 255), shared)
        if occ == 0:
            return FailureClass.RUNTIME
        n = 4096
        reuse = 1 / (c["MWG"] * (1.0 if c["SA"] else 0.55)) + 1 / (c["NWG"] * (1.0 if c["SB"] else 0.6))
        memory = 4 * n**3 * reuse / (d.bandwidth * 1e3) * (1 + 0.25 / c["VWM"] + 0.15 / c["VWN"]) * 0.35
        ilp = min(1.0, 0.25 + 0.16 * math.log2(work + 1)) * min(1.0, 0.4 + occ * 1.5)
        compute = 2 * n**3 / (d.gflops * 1e3) / ilp
        blocks = n * n / (c["MWG"] * c["NWG"])
        total = (max(compute, memory) + 0.3 * min(compute, memory)) * (1 + 0.02 * spill)
        total *= waves(d, blocks, occ * d.threads / threads) ** 0.5
        return total * (1.08 if c["SA"] != c["SB"] and c["KWG"] == 32 else 1.0)

    return space, cost


def triton_gemm(d: Device) -> tuple[Space, Callable[[Config], float | FailureClass]]:
    """Tiled tensor-core product: six parameters, no constraint, many launches that do not fit."""
    space = Space(
        (
            powers_of_two("BLOCK_M", 16, 256),
            powers_of_two("BLOCK_N", 16, 256),
            powers_of_two("BLOCK_K", 16, 128),
            choice("GROUP_M", 1, 4, 8, 16),
            choice("num_warps", 2, 4, 8),
            integers("num_stages", 2, 5),
        )
    )

    def cost(c: dict) -> float | FailureClass:  # type: ignore[type-arg]
        m, n, k = c["BLOCK_M"], c["BLOCK_N"], c["BLOCK_K"]
        shared = 2 * k * (m + n) * (c["num_stages"] - 1)
        threads = 32 * c["num_warps"]
        registers = 30 + m * n / threads * 1.1
        if shared > d.shared or registers > 600:
            return FailureClass.COMPILE
        occ = occupancy(d, threads, min(registers, 255), shared)
        if occ == 0:
            return FailureClass.RUNTIME
        size = 2048
        blocks = math.ceil(size / m) * math.ceil(size / n)
        tensor = min(1.0, (m / 128) ** 0.35) * min(1.0, (n / 128) ** 0.35) * min(1.0, (k / 64) ** 0.2)
        tensor *= 0.75 if m * n / threads > 128 else 1.0
        hide = min(1.0, 0.35 + 0.15 * c["num_stages"] + occ * 0.8)
        compute = 2 * size**3 / (d.gflops * 8e3) / tensor / hide
        memory = 2 * size**3 * (1 / m + 1 / n) / (d.bandwidth * 3e3) * (1 + 0.3 / c["GROUP_M"])
        total = max(compute, memory) + 0.2 * min(compute, memory)
        return 4 + total * waves(d, blocks, occ * d.threads / threads) * (1 + 0.01 * max(0.0, registers - 255))

    return space, cost


def stencil(d: Device) -> tuple[Space, Callable[[Config], float | FailureClass]]:
    """Time-tiled stencil: eight parameters, a large space, results that differ for some tilings."""
    space = Space(
        (
            choice("block_x", 1, 2, 4, 8, 16, *range(32, 257, 32)),
            powers_of_two("block_y", 1, 32),
            integers("tile_x", 1, 6),
            integers("tile_y", 1, 6),
            integers("steps", 1, 8),
            choice("unroll", 1, 2, 4),
            choice("shared_power", 0, 1),
            choice("blocks_per_sm", 0, 1, 2, 4),
        ),
        (
            Constraint("threads", lambda block_x, block_y: 32 <= block_x * block_y <= 1024, "block size"),
            Constraint("unroll", lambda steps, unroll: steps % unroll == 0, "unroll divides steps"),
            Constraint("halo", lambda block_x, tile_x, steps: block_x * tile_x > 2 * steps, "tile holds its halo"),
            Constraint("height", lambda block_y, tile_y, steps: block_y * tile_y > 2 * steps, "tile holds its halo"),
        ),
    )

    def cost(c: dict) -> float | FailureClass:  # type: ignore[type-arg]
        width, height = c["block_x"] * c["tile_x"], c["block_y"] * c["tile_y"]
        threads = c["block_x"] * c["block_y"]
        shared = 4 * width * height * (2 + c["shared_power"])
        registers = 20 + 6 * c["tile_x"] * c["tile_y"] + 2 * c["unroll"]
        if c["blocks_per_sm"]:
            limit = d.registers / (c["blocks_per_sm"] * threads)
            spill = max(0.0, registers - limit)
            registers = min(registers, limit)
        else:
            spill = max(0.0, registers - 255)
        occ = occupancy(d, threads, min(255, registers), shared)
        if occ == 0:
            return FailureClass.RUNTIME
        if c["tile_x"] * c["tile_y"] >= 30 and c["unroll"] == 4:
            return FailureClass.CORRECTNESS
        useful = (width - 2 * c["steps"] + 1) * (height - 2 * c["steps"] + 1) / (width * height)
        coalesced = min(1.0, (c["block_x"] / 32) ** 0.6)
        memory = 12 / c["steps"] / useful / coalesced / min(1.0, occ * 2) * (0.8 if c["shared_power"] else 1.0)
        compute = 3 / useful / min(1.0, 0.35 + occ) * (1 + 0.1 / c["unroll"]) * (1 + 0.03 * c["tile_x"])
        return 400 * (max(memory, compute) + 0.4 * min(memory, compute)) * (1 + 0.04 * spill) / d.bandwidth * 100

    return space, cost


def reduction(d: Device) -> tuple[Space, Callable[[Config], float | FailureClass]]:
    """Bandwidth-bound reduction: a small space with a choice that has no order, flat near the best."""
    space = Space(
        (
            powers_of_two("BLOCK", 32, 4096),
            choice("vector", 1, 2, 4, 8),
            choice("load", "plain", "streaming", "evict_last", "volatile"),
            choice("num_warps", 1, 2, 4, 8, 16),
            choice("persistent", False, True),
        ),
        (Constraint("lanes", lambda BLOCK, num_warps: num_warps * 32 <= BLOCK, "each lane has an element"),),
    )

    def cost(c: dict) -> float | FailureClass:  # type: ignore[type-arg]
        threads = 32 * c["num_warps"]
        each = c["BLOCK"] / threads
        registers = 16 + each * 1.2
        occ = occupancy(d, threads, min(255, registers), 4 * c["num_warps"])
        in_flight = occ * d.threads * min(each, 8) * min(c["vector"], each)
        speed = min(1.0, (in_flight / 4096) ** 0.5)
        speed *= {"plain": 0.97, "streaming": 1.0, "evict_last": 0.93, "volatile": 0.6}[c["load"]]
        launch = 0.002 * (2**26 / c["BLOCK"]) / d.sms if not c["persistent"] else 3.0 + 0.05 * each
        return 2**28 / (d.bandwidth * 1e3) / speed + launch + max(0.0, registers - 200) * 0.5

    return space, cost


def rugged(seed: int) -> tuple[Space, Callable[[Config], float | FailureClass]]:
    """Random main effects and pairwise interactions over parameters without meaning."""
    rng = random.Random(seed)
    widths = [rng.choice((2, 3, 4, 5, 6, 8)) for _ in range(6)]
    names = [f"p{i}" for i in range(len(widths))]
    space = Space(tuple(integers(n, 0, w - 1) for n, w in zip(names, widths, strict=True)))
    smooth = [[rng.uniform(-1, 1), rng.uniform(0, 1)] for _ in widths]
    main = [[rng.gauss(0, 0.1) for _ in range(w)] for w in widths]
    pairs = {
        (i, j): [[rng.gauss(0, 0.12) for _ in range(widths[j])] for _ in range(widths[i])]
        for i in range(len(widths))
        for j in range(i)
        if rng.random() < 0.4
    }

    def cost(c: dict) -> float | FailureClass:  # type: ignore[type-arg]
        at = [c[n] for n in names]
        total = sum(a * (x / (w - 1) - b) ** 2 * 2 for x, w, (a, b) in zip(at, widths, smooth, strict=True))
        total += sum(m[x] for m, x in zip(main, at, strict=True))
        total += sum(table[at[i]][at[j]] for (i, j), table in pairs.items())
        return 100 * math.exp(total)

    return space, cost


def table(
    name: str, model: tuple[Space, Callable[[Config], float | FailureClass]], noise: float, failing: float
) -> Table:
    """Evaluate a model everywhere; noise and failures depend on the configuration only."""
    space, cost = model
    outcomes: dict[str, Outcome] = {}
    for config in space:
        key = canonical(config)
        rng = random.Random(hashlib.sha256(f"{name} {key}".encode()).digest())
        time_us = cost(config)
        if isinstance(time_us, FailureClass):
            outcomes[key] = Failure(time_us, "modelled")
        elif rng.random() < failing:
            outcomes[key] = Failure(FailureClass.RUNTIME, "at random")
        else:
            outcomes[key] = Timing(time_us * math.exp(rng.gauss(0, noise)), "measurement", "model")
    best = min(o.time_us for o in outcomes.values() if isinstance(o, Timing))
    return Table(name, "", space, outcomes, best)


MODELS: dict[str, tuple[tuple[Space, Callable[[Config], float | FailureClass]], float, float]] = {
    "gemm-small": (gemm(SMALL), 0.01, 0.0),
    "gemm-wide": (gemm(WIDE), 0.04, 0.05),
    "triton-small": (triton_gemm(SMALL), 0.01, 0.0),
    "triton-large": (triton_gemm(LARGE), 0.03, 0.0),
    "stencil-small": (stencil(SMALL), 0.02, 0.0),
    "stencil-wide": (stencil(WIDE), 0.02, 0.0),
    "reduction-large": (reduction(LARGE), 0.01, 0.0),
    "rugged-1": (rugged(1), 0.01, 0.0),
    "rugged-2": (rugged(2), 0.02, 0.1),
}
"""By name: the model, its noise, and the share of configurations that fail at random."""


def tables(names: Iterable[str] = tuple(MODELS)) -> list[Table]:
    """Synthetic tables by their names; all of them without any."""
    return [table(name, *MODELS[name]) for name in names]
