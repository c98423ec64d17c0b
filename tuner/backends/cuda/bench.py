"""What the process that owns a GPU does: place tensors, check a tactic's outputs, time it.

Knows nothing of kernels and problems: tensors are bytes, and what a value should be is judged by the
caller. Everything that crosses the process boundary is defined here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from statistics import median
from typing import TYPE_CHECKING, Any

from tuner.backends.cuda.probes import EMPTY_PTX, Probes
from tuner.gpu import driver
from tuner.gpu.driver import Address, Arguments, LaunchShape

if TYPE_CHECKING:
    import numpy as np

GUARD_BYTES = 1 << 16
"""Before and after each tensor. A tile of 128 x 256 fp16 is as large."""
GUARD_BYTE = 0xC3
ALIGNMENT = 256
"""What cuMemAlloc, and TensorRT, align a tensor to."""
MEMORY_SHARE = 0.6
"""Of the free device memory, how much the rotating sets may take."""
UNASKED_SHARED_BYTES = 48 << 10
"""Dynamic shared memory that a function may use without asking for more."""
MAX_SETS = 1024
"""Every set is a node of the graph, and a graph of 1024 nodes takes milliseconds to build."""

_EMPTY_LAUNCH = LaunchShape((1, 1, 1), (32, 1, 1))
_EMPTY_LAUNCHES = 256


@dataclass(frozen=True, eq=False)
class Input:
    """An input of `size` bytes that repeats a tile."""

    size: int
    tile: np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Output:
    """An output of `size` bytes.

    Attributes:
        poison: the bits every element holds before a launch.
        unlikely: whether no right result has those bits, so that finding them means "not written".
        samples: 64-bit positions of the elements to bring back.
        alias: the position of the input that it is, changed in place; it begins with its values instead of poison.
    """

    size: int
    poison: bytes
    unlikely: bool
    samples: np.ndarray[Any, Any]
    alias: int | None = None


@dataclass(frozen=True, eq=False)
class Workload:
    """The tensors of a problem at one size, and how many bytes to rotate through (0: one set, warm)."""

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    rotate_bytes: int = 0

    @property
    def size(self) -> int:
        """Bytes in all tensors."""
        return sum(t.size for t in self.inputs) + sum(t.size for t in self.outputs if t.alias is None)


@dataclass(frozen=True)
class Workspace:
    """A tensor between the launches of a tactic: `size` bytes of which each holds `poison` before a check."""

    name: str
    size: int
    poison: int


@dataclass(frozen=True)
class StepLaunch:
    """One launch of a tactic.

    Attributes:
        shape: grid, block and shared memory.
        integers: the extra integers.
        inputs, outputs: the tensors that it takes: positions among the inputs, the outputs and the workspace together.
    """

    shape: LaunchShape
    integers: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class LaunchPlan:
    """How a tactic is launched at one size: its launches in order, and the tensors between them."""

    steps: tuple[StepLaunch, ...]
    workspace: tuple[Workspace, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """What one launch left behind.

    Attributes:
        unwritten: for each output, how many elements still hold the poison.
        guards: for each output, how many bytes next to it changed.
        changed: the inputs that changed, or the bytes next to them, by position.
        samples: for each output, the elements asked for.
        workspace: the tensors between launches whose neighbouring bytes changed, by name.
    """

    unwritten: tuple[int, ...]
    guards: tuple[int, ...]
    changed: tuple[int, ...]
    samples: tuple[bytes, ...]
    workspace: tuple[str, ...] = ()


class Bench:
    """Owns the context of one device.

    Attributes:
        probes: look at memory where it is.
        placed: workloads on the device, by the key that they were placed with.
    """

    def __init__(self, ordinal: int) -> None:
        driver.init()
        driver.retain_context(ordinal)
        self.probes = Probes()
        self.placed: dict[int, Placed] = {}
        self._loaded: dict[int, _LoadedFunction] = {}
        self._handles = count()

    def healthy(self) -> bool:
        """Whether the context still works: most errors of a kernel spoil it for good."""
        try:
            driver.synchronize()
        except driver.DriverError:
            return False
        return True

    def compile(self, ptx: str) -> None:
        """Have the driver's own compiler make machine code of PTX, which it keeps in its cache on disk."""
        driver.unload(driver.load(ptx.encode()))

    def place(self, key: int, workload: Workload) -> int:
        """Allocate and fill the tensors of a workload; returns how many sets of them there are."""
        self.placed[key] = placed = Placed(workload, self.probes)
        return len(placed.sets)

    def clear(self) -> None:
        """Free the tensors of all workloads."""
        while self.placed:
            _, placed = self.placed.popitem()
            placed.free()

    def load(self, image: bytes, entry: str, shared_bytes: int) -> int:
        """Load PTX text; returns a handle."""
        module = driver.load(image)
        function = driver.function(module, entry)
        if shared_bytes > UNASKED_SHARED_BYTES:
            driver.allow_shared(function, shared_bytes)
        handle = next(self._handles)
        self._loaded[handle] = _LoadedFunction(module, function)
        return handle

    def check(self, handles: Sequence[int], key: int, plan: LaunchPlan) -> Evidence:
        """Launch once on poisoned outputs, and look at what came of it; there is a handle for each step."""
        placed, workspace = self.placed[key], self._workspace(handles[0], key, plan)
        placed.poison()
        for tensor, buffer in zip(plan.workspace, workspace, strict=True):
            driver.fill(buffer.address, tensor.poison, tensor.size)
        for node in self._nodes(handles, plan, placed.addresses()[0], workspace):
            driver.launch(node.function, node.launch, node.arguments)
        driver.synchronize()
        damaged = [t.name for t, buffer in zip(plan.workspace, workspace, strict=True) if buffer.damage()]
        return replace(placed.evidence(self.probes), workspace=tuple(damaged))

    def time(self, handles: Sequence[int], key: int, plan: LaunchPlan, launches: int) -> float:
        """Microseconds that the tactic takes back to back; `launches` is a multiple of the number of sets.

        What it changes in place is restored before, in no time that counts; so a launch may find what an earlier one
        on the same tensors left.
        """
        loaded, placed = self._loaded[handles[0]], self.placed[key]
        if launches not in loaded.graphs:
            workspace = self._workspace(handles[0], key, plan)
            sets = [self._nodes(handles, plan, addresses, workspace) for addresses in placed.addresses()]
            nodes = [node for i in range(launches) for node in sets[i % len(sets)]]
            loaded.graphs[launches] = driver.TimedGraph(nodes)
        placed.restore()
        return loaded.graphs[launches].run()

    def unload(self, handle: int) -> None:
        """Forget what `load` gave the handle for."""
        loaded = self._loaded.pop(handle)
        for graph in loaded.graphs.values():
            graph.close()
        for buffers in loaded.workspace.values():
            for buffer in buffers:
                driver.free(buffer.base)
        driver.unload(loaded.module)

    def _workspace(self, handle: int, key: int, plan: LaunchPlan) -> list[_Buffer]:
        """The tensors between the launches, of which all sets share one."""
        held = self._loaded[handle].workspace
        if key not in held:
            held[key] = [_Buffer(tensor.size) for tensor in plan.workspace]
        return held[key]

    def _nodes(
        self, handles: Sequence[int], plan: LaunchPlan, placed: Sequence[Address], workspace: Sequence[_Buffer]
    ) -> list[driver.KernelNode]:
        """The launches on one set of tensors, by the addresses of its inputs and outputs."""
        at = [*placed, *(buffer.address for buffer in workspace)]
        return [
            driver.KernelNode(
                self._loaded[handle].function,
                step.shape,
                Arguments([at[i] for i in step.inputs], step.integers, [at[i] for i in step.outputs]),
            )
            for handle, step in zip(handles, plan.steps, strict=True)
        ]

    def empty_us(self) -> float:
        """Microseconds that launching a kernel that does nothing takes in a graph."""
        handle = self.load(EMPTY_PTX.encode(), "empty", 0)
        loaded = self._loaded[handle]
        node = driver.KernelNode(loaded.function, _EMPTY_LAUNCH, Arguments([], [], []))
        loaded.graphs[0] = driver.TimedGraph([node] * _EMPTY_LAUNCHES)
        time_us = median(loaded.graphs[0].run() for _ in range(9)) / _EMPTY_LAUNCHES
        self.unload(handle)
        return time_us


@dataclass(eq=False)
class _LoadedFunction:
    """A module on the device; of a tactic's first launch also its graphs by number of launches, and its workspace."""

    module: driver.Handle
    function: driver.Handle
    graphs: dict[int, driver.TimedGraph] = field(default_factory=dict)
    workspace: dict[int, list[_Buffer]] = field(default_factory=dict)


class _Buffer:
    """A tensor between two guard zones, all in one allocation."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.total = GUARD_BYTES + -(-size // ALIGNMENT) * ALIGNMENT + GUARD_BYTES
        self.base = driver.alloc(self.total)
        self.address = self.base + GUARD_BYTES
        driver.fill(self.base, GUARD_BYTE, self.total)

    def damage(self) -> int:
        """How many bytes of the guard zones changed."""
        end = self.address + self.size
        around = driver.download(self.base, GUARD_BYTES) + driver.download(end, self.base + self.total - end)
        return len(around) - around.count(GUARD_BYTE)


class Placed:
    """A workload on the device: one or more sets of its inputs and outputs."""

    def __init__(self, workload: Workload, probes: Probes) -> None:
        self.workload = workload
        room = int(driver.memory()[0] * MEMORY_SHARE) // max(workload.size, 1)
        wanted = math.ceil(workload.rotate_bytes / max(workload.size, 1))
        self.sets = [_Set(workload) for _ in range(max(1, min(wanted, room, MAX_SETS)))]
        first = self.sets[0]
        self._aliases = {o.alias: i for i, o in enumerate(workload.outputs) if o.alias is not None}
        self._sums = [probes.checksum(b.base, b.total) for b in first.inputs]
        self._begins = {i: driver.alloc(workload.inputs[i].size) for i in self._aliases}
        for i, address in self._begins.items():
            driver.copy(address, first.inputs[i].address, workload.inputs[i].size)
        self._positions = []
        self._gathered = []
        for output in workload.outputs:
            self._positions.append(driver.alloc(max(output.samples.nbytes, 8)))
            driver.upload(self._positions[-1], output.samples)
            self._gathered.append(driver.alloc(max(len(output.samples) * len(output.poison), 8)))

    def free(self) -> None:
        """Give its memory back."""
        for buffer in (b for s in self.sets for b in s.buffers):
            driver.free(buffer.base)
        for address in (*self._positions, *self._gathered, *self._begins.values()):
            driver.free(address)

    def addresses(self) -> list[list[Address]]:
        """The addresses of inputs, then outputs, in each set."""
        return [[b.address for b in (*s.inputs, *s.outputs)] for s in self.sets]

    def poison(self) -> None:
        """Make every element of the first set's outputs hold its poison, or what it begins with."""
        for output, buffer in zip(self.workload.outputs, self.sets[0].outputs, strict=True):
            if output.alias is None:
                _repeat(buffer.address, output.size, output.poison)
        self._restore(self.sets[0])

    def restore(self) -> None:
        """Put back what launches changed in place."""
        for one in self.sets:
            self._restore(one)

    def _restore(self, one: _Set) -> None:
        for i, address in self._begins.items():
            driver.copy(one.inputs[i].address, address, self.workload.inputs[i].size)

    def evidence(self, probes: Probes) -> Evidence:
        """Look at the first set after a launch."""
        outputs = list(zip(self.workload.outputs, self.sets[0].outputs, strict=True))
        unwritten = tuple(
            probes.count(b.address, o.size // len(o.poison), o.poison) if o.unlikely else 0 for o, b in outputs
        )
        samples = []
        for (o, b), positions, target in zip(outputs, self._positions, self._gathered, strict=True):
            probes.gather(b.address, positions, len(o.samples), len(o.poison), target)
            samples.append(driver.download(target, len(o.samples) * len(o.poison)))
        inputs = enumerate(zip(self.sets[0].inputs, self._sums, strict=True))
        return Evidence(
            unwritten=unwritten,
            guards=tuple(b.damage() for _, b in outputs),
            changed=tuple(
                i
                for i, (b, expected) in inputs
                if i not in self._aliases and probes.checksum(b.base, b.total) != expected
            ),
            samples=tuple(samples),
        )


class _Set:
    """One copy of every tensor; an output that is an input has its buffer."""

    def __init__(self, workload: Workload) -> None:
        self.inputs = [_Buffer(i.size) for i in workload.inputs]
        self.outputs = [_Buffer(o.size) if o.alias is None else self.inputs[o.alias] for o in workload.outputs]
        self.buffers = [*self.inputs, *(b for b in self.outputs if b not in self.inputs)]
        for i, buffer in zip(workload.inputs, self.inputs, strict=True):
            _repeat(buffer.address, i.size, i.tile.tobytes())


def _repeat(address: Address, size: int, tile: bytes) -> None:
    """Fill memory with copies of a tile: upload it once, then double what is there."""
    import numpy as np

    if len(set(tile)) == 1:
        driver.fill(address, tile[0], size)
        return
    filled = min(len(tile), size)
    driver.upload(address, np.frombuffer(tile, np.uint8)[:filled])
    while filled < size:
        step = min(filled, size - filled)
        driver.copy(address + filled, address, step)
        filled += step
