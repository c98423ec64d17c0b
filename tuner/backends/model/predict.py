"""Predict how long a tactic takes, from its code, its launch and a description of the GPU.

One block is run on integers alone (`tuner.backends.model.trace`), which gives the instructions a warp executes and
the memory they ask for. From these follow, for one block,

- its *demands*: cycles for which it keeps each unit of the SM busy (issue slots, special functions, the
  shared-memory and L1 pipe, tensor cores) and its share of the L2's bandwidth: the roofline, with one roof per unit
  (Williams, Waterman and Patterson, "Roofline", 2009);
- its *path*: cycles from its start to its end when it has the SM for itself. Instructions start in order of
  basic blocks once their operands are there; loads, asynchronous copies, barriers, shuffles and tensor instructions
  take what they take. So independent loads overlap and dependent ones do not, a pipelined loop hides latency as far as
  its stages reach, and a barrier waits for the slowest.

`blocks` resident blocks (occupancy) overlap their paths and compete for the units. A round of them takes
the larger of the path and of `blocks` times the largest demand: the idea of warp parallelism of Hong and
Kim, "An Analytical Model for a GPU Architecture with Memory-level and Thread-level Parallelism Awareness"
(2009), with blocks in place of warps, and Little's law: bytes in flight are bandwidth times latency. An SM
gets ceil(grid / SMs) blocks, in full rounds and one that is not full: the tail. Above the SMs stand the time
memory needs for the bytes that must cross it, and the time the GPU needs to hand out the blocks.

Where two times overlap, neither hides the other entirely near the point where they are equal. A norm stands for
that: of order 4 between memory and SMs (equal times give 1.19 times either, a time half as long adds 1.5 %), of order 8
inside an SM, whose schedulers mix the work of many warps (1.09). Handing out blocks goes on beside everything else: of
that time and the others', the larger counts, as measurements show.

Assumptions, besides those of `traffic`. Blocks are alike: the one in the middle of the grid is traced. Local
memory (spills) goes through the L2. Stores finish on their own. Clocks are boost clocks; tensor cores run at what
power allows, `SUSTAINED_TENSOR`.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import cast

from tuner.backends.model.program import Instruction, Program
from tuner.backends.model.trace import SECTOR, Access, Trace, first_addresses, trace
from tuner.backends.model.traffic import Traffic, find_traffic
from tuner.compile.artifact import Artifact, Code
from tuner.errors import ConfigError
from tuner.frontends.dtypes import DTYPES
from tuner.gpu.catalog import Device
from tuner.gpu.occupancy import Occupancy, occupancy
from tuner.kernel.problem import Problem
from tuner.outcome import Timing
from tuner.search.tactic import Config

# Calibrated on one H200 with one exhaustive table for each shipped kernel; tables of other sizes were held out.
LAUNCH_US = 1.5
"""From the end of one kernel to the first instruction of the next, in a graph."""
SUSTAINED_TENSOR = 0.85
"""Share of the tensor cores' peak that power leaves to dense matrix products."""

BLOCK_LAUNCH_NS = 0.605
"""The GPU hands out one block in this time: 2**20 blocks of next to no work take 634 us, of 1 warp as of 2."""
BLOCK_START_CYCLES = 300
"""From a free slot on an SM to the first instruction of the block that gets it."""
QUEUE_CYCLES = 350
"""What a load waits for those of all other SMs, once on its way to the L2 and once to memory; the latencies of `Device`
are those of a load alone."""
PARTIAL_SECTORS = 8
"""The L2 takes as long as for this many sectors to store a part of one: it has to merge the rest."""
CROWDING = 0.1
"""Memory takes this much longer for blocks that together load as much as the L1 holds, and less in proportion to the
square: loads in flight hold lines of the L1, and each block opens pages of its own."""
WARP_START_CYCLES = 12
"""For each warp of a block, which start one after another; the slot is free when the slowest of them has ended."""

# Estimates.
EXPANSION, MAX_EXPANSION = 1.1, 1.25
"""Machine instructions for one of PTX, where they were not counted and at most: where there seem to be more, the
assembler has unrolled loops."""
MMA_SYNC_SHARE = 0.62
"""Share of the tensor peak that warp-level instructions reach where warp-group ones exist (9.0 and newer)."""

# Cycles from issue to result: Luo et al. (see `tuner.gpu.catalog`) for memory and tensor cores, the CUDA C++
# Programming Guide ("about 4 cycles") for arithmetic.
LATENCY = {"alu": 4, "special": 18, "shuffle": 24, "shared_load": 30, "l1": 40, "mma": 33, "wgmma": 32, "barrier": 20}
SPECIAL_LANES = 16
SHUFFLE_LANES = 32
"""A cycle and SM, as for special functions: the Programming Guide's table of throughputs; through the memory pipe."""
MEMORY_PIPE_BYTES = 128
"""Per cycle and SM, of shared memory and L1 together."""
SCHEDULERS = 4
WARP_GROUP = 4
"""Warps that issue a wgmma instruction together."""

_OPERAND_TYPES = {d.mma: d.tensor for d in DTYPES.values() if d.mma}


@dataclass(frozen=True)
class _TracedKernel:
    """A tactic on a device.

    Attributes:
        warps: per block.
        issue_slots: machine instructions for each one of PTX.
        spill_bytes: per block, to and from local memory.
    """

    device: Device
    trace: Trace
    traffic: Traffic
    warps: int
    issue_slots: float
    spill_bytes: float


def predict(device: Device, problem: Problem, config: Config, artifact: Artifact) -> Timing:
    """Predict the time of one launch at the problem's optimal sizes.

    Args:
        device: what it would run on.
        problem: the kernel with its dimensions and data types.
        config: the tactic.
        artifact: the tactic, compiled for the device's architecture.

    Returns:
        The prediction, whose facts are the times in microseconds that each unit alone would take (`dram_us`,
        `l2_us`, `tensor_us`, …), the occupancy and the number of waves.

    Raises:
        ConfigError: when the device cannot hold even one block.
    """
    launch = problem.launch(config)
    grid, args = cast(tuple[int, int, int], launch.grid), cast(tuple[int, ...], launch.args)
    blocks = prod(grid)
    resources = artifact.resources
    threads = prod(artifact.block)
    fit = occupancy(device, threads, resources.registers, artifact.shared_bytes + resources.shared_bytes)
    if fit.blocks == 0:
        raise ConfigError(f"{device}: a block of {config} does not fit on an SM: not enough {fit.limit}")
    middle = (grid[0] // 2, grid[1] // 2, grid[2] // 2)
    program = Program.read(artifact.ptx)
    run = trace(program, artifact.block, grid, args, middle)
    starts = first_addresses(program, artifact.block, grid, args, min(blocks, device.sms * fit.blocks))
    l1_bytes = device.architecture.l1_bytes / fit.blocks - artifact.shared_bytes
    kernel = _TracedKernel(
        device=device,
        trace=run,
        traffic=find_traffic(problem, run, blocks, starts, l1_bytes, device.l2_bytes),
        warps=ceil(threads / 32),
        issue_slots=_issue_slots(resources.instructions.get("total"), run.static),
        spill_bytes=(resources.spill_store_bytes + resources.spill_load_bytes)
        * threads
        * max(1.0, len(run.steps) / max(run.static, 1)),
    )
    # What a trace that was cut off missed is assumed to be like what it saw.
    seen = sum(kernel.traffic.moved.values())
    repeat = max(1.0, problem.bytes() / max(seen, 1.0)) if not run.complete else 1.0
    # Blackwell's tensor cores take their shapes at run time, from one thread that the trace does not follow.
    hidden_flops = problem.flops() / blocks if "tcgen05.mma" in artifact.ptx else 0.0
    demands = {unit: cycles * repeat for unit, cycles in _demands(kernel, hidden_flops).items()}
    return _time(kernel, fit, blocks, demands, _path(kernel) * repeat)


def predict_steps(device: Device, problem: Problem, config: Config, code: Code) -> Timing:
    """Predict the time of all launches of a tactic, one after another; arguments and errors as for `predict`.

    Of several launches the facts are the sums of those that are times.
    """
    steps = problem.steps(config)
    parts = [predict(device, s.problem, s.config, a) for s, a in zip(steps, code.steps, strict=True)]
    if len(parts) == 1:
        return parts[0]
    names = [name for name in parts[0].facts if name.endswith("_us") and all(name in part.facts for part in parts)]
    facts = {name: sum(part.facts[name] for part in parts) for name in names}
    return Timing(sum(part.time_us for part in parts), "prediction", "model", facts=facts)


def _time(kernel: _TracedKernel, fit: Occupancy, blocks: int, demands: Mapping[str, float], path: float) -> Timing:
    device = kernel.device
    per_sm = ceil(blocks / device.sms)
    rounds, rest = divmod(per_sm, fit.blocks)
    demand = _norm(8, *demands.values())
    sm_cycles = rounds * _norm(8, path, fit.blocks * demand) + (_norm(8, path, rest * demand) if rest else 0.0)
    sm_us = sm_cycles / device.clock_ghz / 1e3
    dram_us = kernel.traffic.cost_bytes / device.copy_gbps / 1e3
    launch_us = blocks * BLOCK_LAUNCH_NS / 1e3
    memory_us = dram_us * (1 + CROWDING * _loaded_share(kernel, fit.blocks) ** 2)
    # Units are busy for what all blocks of an SM ask of them.
    facts = {f"{unit}_us": per_sm * cycles / device.clock_ghz / 1e3 for unit, cycles in demands.items()}
    facts |= {
        "path_us": ceil(per_sm / fit.blocks) * path / device.clock_ghz / 1e3,
        "dram_us": dram_us,
        "block_launch_us": launch_us,
        "launch_us": LAUNCH_US,
        "blocks_per_sm": float(fit.blocks),
        "occupancy_percent": 100 * fit.fraction,
        "waves": blocks / (device.sms * fit.blocks),
    }
    return Timing(LAUNCH_US + max(_norm(4, sm_us, memory_us), launch_us), "prediction", "model", facts=facts)


def _loaded_share(kernel: _TracedKernel, blocks: int) -> float:
    """Bytes that the resident blocks of an SM load at once, as a share of its L1; at most 1.

    A load does not move ahead of a store, which could be to the same place.
    """
    loaded = most = 0
    for step in kernel.trace.steps:
        if step.instruction.kind == "store":
            loaded = 0
        elif step.instruction.kind == "load" and step.access is not None:
            loaded += step.access.bytes
            most = max(most, loaded)
    return min(1.0, blocks * most / kernel.device.architecture.l1_bytes)


def _issue_slots(machine: int | None, ptx: int) -> float:
    """Machine instructions for each one of PTX."""
    return EXPANSION if machine is None else min(machine / max(ptx, 1), MAX_EXPANSION)


def _norm(order: int, *times: float) -> float:
    return float(sum(t**order for t in times) ** (1 / order))


# -- one block -----------------------------------------------------------------------------------


def _demands(kernel: _TracedKernel, hidden_flops: float) -> dict[str, float]:
    """Cycles that one block keeps each unit of its SM busy; `hidden_flops` are those of no traced instruction."""
    device, warps = kernel.device, kernel.warps
    cycles: defaultdict[str, float] = defaultdict(float)
    sectors = kernel.spill_bytes / SECTOR
    for step, times in kernel.trace.counts():
        instruction, kind = step.instruction, step.instruction.kind
        if kind != "free":
            cycles["issue"] += times * kernel.issue_slots * warps / SCHEDULERS
        if kind == "special":
            cycles["special"] += times * warps * 32 / SPECIAL_LANES
        elif kind == "shuffle":
            cycles["memory_pipe"] += times * warps * 32 / SHUFFLE_LANES
        elif step.access is not None:
            cycles["memory_pipe"] += times * step.access.wavefronts
            sectors += times * step.access.sectors * _l2_part(kind, step.access.tensor, kernel)
            if kind == "store":
                sectors += times * PARTIAL_SECTORS * _partial_sectors(step.access)
        elif kind in ("mma", "wgmma"):
            cycles["tensor"] += times * _tensor_cycles(instruction, kernel)
            cycles["memory_pipe"] += times * _operand_cycles(instruction, kernel)
    cycles["tensor"] += hidden_flops / _flops_per_cycle(device, "fp16")
    cycles["memory_pipe"] += kernel.spill_bytes / MEMORY_PIPE_BYTES
    cycles["l2"] += _l2_cycles(sectors, kernel)
    return dict(cycles)


def _partial_sectors(access: Access) -> float:
    """Sectors of which a store covers about half."""
    return 2 * max(0.0, access.sectors - access.bytes / SECTOR)


def _flops_per_cycle(device: Device, operand: str) -> float:
    """Of the tensor cores of one SM."""
    tflops = device.tensor_tflops.get(operand, device.tensor_tflops["fp16"])
    return SUSTAINED_TENSOR * tflops * 1e3 / device.sms / device.clock_ghz


def _tensor_cycles(instruction: Instruction, kernel: _TracedKernel) -> float:
    """Cycles of the SM's tensor cores for one instruction of all warps, or warp groups, of a block."""
    if instruction.shape is None:
        return 0.0
    flops = 2 * prod(instruction.shape)
    if instruction.kind == "wgmma":
        operand = _OPERAND_TYPES.get(instruction.parts[-2], "fp16")
        return flops * kernel.warps / WARP_GROUP / _flops_per_cycle(kernel.device, operand)
    rate = _flops_per_cycle(kernel.device, _OPERAND_TYPES.get(instruction.parts[-3], "fp16"))
    return flops * kernel.warps / (rate * (MMA_SYNC_SHARE if kernel.device.architecture.warp_group_mma else 1.0))


def _operand_cycles(instruction: Instruction, kernel: _TracedKernel) -> float:
    """Cycles of the memory pipe for the operands a warp group's instruction reads, at 2 bytes an element."""
    if instruction.kind != "wgmma" or instruction.shape is None:
        return 0.0
    m, n, k = instruction.shape
    in_registers = len(instruction.operands) > 1 and instruction.operands[1].startswith("{")
    return 2 * (n * k + (0 if in_registers else m * k)) * kernel.warps / WARP_GROUP / MEMORY_PIPE_BYTES


def _path(kernel: _TracedKernel) -> float:
    """Cycles from start to end of a block that is alone on its SM."""
    slot = kernel.issue_slots * max(1.0, kernel.warps / SCHEDULERS)
    ready: dict[str, float] = {}
    floor = issue = latest = end = 0.0  # no start before `floor`; the next issue slot; the latest start; the last end
    pipe = l2 = tensor = 0.0  # when the memory pipe, the SM's share of the L2 and the tensor cores are free
    open_group = {"cp": 0.0, "wgmma": 0.0}
    groups: dict[str, deque[float]] = {"cp": deque(), "wgmma": deque(), "mbarrier": deque()}
    busy = {
        id(i): max(_tensor_cycles(i, kernel), _operand_cycles(i, kernel))
        for i in {step.instruction for step, _ in kernel.trace.counts()}
        if i.kind in ("mma", "wgmma")
    }
    for step in kernel.trace.steps:
        instruction, access = step.instruction, step.access
        kind = instruction.kind
        start = max(floor, issue)
        for register in instruction.reads:
            start = max(start, ready.get(register, 0.0))
        if instruction.guard is not None:
            start = max(start, ready.get(instruction.guard, 0.0))
        if kind == "free":
            done = start
        else:
            issue = max(issue, floor) + slot
            done = start + LATENCY.get(kind, LATENCY["alu"])
        if access is not None:
            start = max(start, pipe)
            pipe = start + access.wavefronts
            done = pipe + _memory_latency(kind, access.tensor, kernel)
            if kind in ("load", "async", "bulk"):
                l2 = max(l2, start) + _l2_cycles(access.sectors, kernel) * _l2_part(kind, access.tensor, kernel)
                done = max(done, l2 + _memory_latency(kind, access.tensor, kernel))
            if kind == "async":
                open_group["cp"] = max(open_group["cp"], done)
            elif kind == "bulk" and access.bytes:
                groups["mbarrier"].append(done)
        elif kind == "shuffle":
            pipe = max(start, pipe) + kernel.warps * 32 / SHUFFLE_LANES
            done = pipe + LATENCY[kind]
        elif kind in ("mma", "wgmma"):
            tensor = max(start, tensor) + busy[id(instruction)]
            done = tensor + LATENCY[kind]
            open_group["wgmma"] = max(open_group["wgmma"], done) if kind == "wgmma" else open_group["wgmma"]
        elif kind == "commit":
            queue = instruction.parts[0]
            groups[queue].append(open_group[queue])
            open_group[queue] = 0.0
        elif kind == "wait":
            pending = groups[instruction.parts[0]]
            for _ in range(_awaited(instruction, len(pending))):
                floor = max(floor, pending.popleft())
        latest = max(latest, start)
        if kind == "barrier":
            floor = max(floor, latest) + LATENCY["barrier"] + kernel.warps
        elif kind == "branch":
            floor = max(floor, latest)
        if kind != "wgmma":
            for register in instruction.writes:
                ready[register] = done
        end = max(end, done)
    spills = kernel.spill_bytes / MEMORY_PIPE_BYTES
    return BLOCK_START_CYCLES + WARP_START_CYCLES * kernel.warps + end + spills


def _awaited(instruction: Instruction, pending: int) -> int:
    """How many of the pending groups of copies or products an instruction waits for."""
    if instruction.parts[0] == "mbarrier":  # a stage of the pipeline, filled in the order in which it is used
        return min(pending, 1)
    left = int(instruction.operands[0]) if instruction.operands else 0
    return max(pending - left, 0)


def _l2_cycles(sectors: float, kernel: _TracedKernel) -> float:
    """Cycles for which an SM that takes no more than its share keeps the L2 busy."""
    device = kernel.device
    return sectors * SECTOR * device.sms * device.clock_ghz / device.l2_gbps


def _l2_part(kind: str, tensor: int, kernel: _TracedKernel) -> float:
    """Share of an access that reaches the L2; asynchronous copies pass the L1 by."""
    return kernel.traffic.l2_share.get(tensor, 1.0) if kind == "load" else 1.0


def _memory_latency(kind: str, tensor: int, kernel: _TracedKernel) -> float:
    if kind in ("store", "shared_store"):
        return 0.0
    if kind == "shared_load":
        return LATENCY["shared_load"]
    device = kernel.device
    beyond_l1 = _l2_part(kind, tensor, kernel) * (QUEUE_CYCLES + device.l2_latency_cycles - LATENCY["l1"])
    beyond_l2 = kernel.traffic.dram_share(tensor) * (
        QUEUE_CYCLES + device.dram_latency_cycles - device.l2_latency_cycles
    )
    return LATENCY["l1"] + beyond_l1 + beyond_l2
