"""What is compared of a compiled tactic when its code has changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod

from msgspec import Struct

from tuner.check.fingerprint import grid_of
from tuner.compile.artifact import Artifact
from tuner.kernel.launch import Launch
from tuner.outcome import Timing
from tuner.store.entry import Microseconds


class Facts(Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers about a compiled tactic and its launch. Counts of instructions are static: how often each is executed is
    in the prediction.

    Attributes:
        registers: per thread.
        spill_bytes: moved to and from local memory per thread because registers ran out.
        stack_bytes: of local memory per thread.
        shared_bytes: per block, static and dynamic together.
        warps_per_sm: resident at a time on the recorded device: occupancy.
        loads, load_bytes, load_width: global loads, copies to shared memory included: how many, the bytes that a
            thread loads with all of them, and their mean width in bytes.
        stores, store_bytes, store_width: the same of global stores.
        async_copies: loads that go to shared memory while the block computes.
        atomics: atomic operations.
        tensor_macs: multiply-adds in the tensor-core instructions, each counted once.
        barriers: instructions that wait for other warps, or for memory to become visible to them.
        instructions: all of them.
        blocks: of the launch.
        predicted_us: what the analytical model predicts for the recorded device: a prediction.
    """

    registers: int
    spill_bytes: int
    stack_bytes: int
    shared_bytes: int
    warps_per_sm: int
    loads: int
    load_bytes: int
    load_width: float
    stores: int
    store_bytes: int
    store_width: float
    async_copies: int
    atomics: int
    tensor_macs: int
    barriers: int
    instructions: int
    blocks: int
    predicted_us: Microseconds


def facts_of(artifact: Artifact, launch: Launch, predicted: Timing) -> Facts:
    """Read the facts of a tactic that was compiled with its instructions counted, and predicted."""
    r = artifact.resources
    load_bytes, store_bytes = _moved(r.load_widths), _moved(r.store_widths)
    loads, stores = sum(r.load_widths.values()), sum(r.store_widths.values())
    return Facts(
        registers=r.registers,
        spill_bytes=r.spill_store_bytes + r.spill_load_bytes,
        stack_bytes=r.stack_bytes,
        shared_bytes=r.shared_bytes + artifact.shared_bytes,
        warps_per_sm=round(predicted.facts["blocks_per_sm"]) * -(-prod(artifact.block) // 32),
        loads=loads,
        load_bytes=load_bytes,
        load_width=round(load_bytes / max(loads, 1), 3),
        stores=stores,
        store_bytes=store_bytes,
        store_width=round(store_bytes / max(stores, 1), 3),
        async_copies=r.instructions["async_copy"],
        atomics=r.instructions["atomic"],
        tensor_macs=sum(n * _macs(shape) for shape, n in r.tensor_shapes.items()),
        barriers=r.instructions["barrier"],
        instructions=r.instructions["total"],
        blocks=prod(grid_of(launch)),
        predicted_us=round(predicted.time_us, 4),
    )


def total(parts: Sequence[Facts], predicted: Timing) -> Facts:
    """The facts of a tactic of several launches: what they take together, and at most, one after another."""
    if len(parts) == 1:
        return parts[0]
    most = {"registers", "shared_bytes"}
    found: dict[str, float] = {
        name: (max if name in most else min if name == "warps_per_sm" else sum)(getattr(p, name) for p in parts)
        for name in Facts.__struct_fields__
    }
    for kind in ("load", "store"):
        found[f"{kind}_width"] = round(found[f"{kind}_bytes"] / max(found[f"{kind}s"], 1), 3)
    return Facts(**{**found, "predicted_us": round(predicted.time_us, 4)})  # type: ignore[arg-type]


def _moved(widths: Mapping[int, int]) -> int:
    return sum(width * count for width, count in widths.items())


def _macs(instruction: str) -> int:
    """Multiply-adds of a tensor-core instruction, from m, n and k as the machine spells them; 1 where it does not."""
    shape = re.search(r"\.(\d+)x(\d+)x(\d+)|\.(16|8)(8)(\d+)\b", instruction)
    return prod(int(n) for n in shape.groups() if n) if shape else 1
