"""The part of CUDA's driver API that timing needs, typed, with errors as exceptions.

Handles are the driver's own objects, addresses are ints, sizes are bytes. All calls act on the
context that `retain_context` made current in the calling thread, and all work goes to its default
stream.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tuner.gpu.target import Dim3

Address: TypeAlias = int
Handle: TypeAlias = Any

_LOG_BYTES = 8192


class DriverError(Exception):
    """A call that the driver refused, or an earlier launch that failed.

    Attributes:
        name: the driver's name for the error, for example "CUDA_ERROR_ILLEGAL_ADDRESS".
        call: the function that reported it. Launches are asynchronous: it may be a later one.
        log: what the driver's compiler said, if it was asked.
    """

    def __init__(self, name: str, call: str, log: str = "") -> None:
        super().__init__(name, call, log)
        self.name, self.call, self.log = name, call, log

    def __str__(self) -> str:
        return f"{self.name} from {self.call}" + (f": {self.log}" if self.log else "")


REFUSALS = (
    "CUDA_ERROR_INVALID_IMAGE",
    "CUDA_ERROR_INVALID_PTX",
    "CUDA_ERROR_INVALID_SOURCE",
    "CUDA_ERROR_NO_BINARY_FOR_GPU",
    "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
)
"""The errors by which the driver's compiler judges PTX; all others may be the machine's."""


@dataclass(frozen=True)
class LaunchShape:
    """One launch of a function, complete but for the pointers.

    Attributes:
        grid: blocks along x, y and z.
        block: threads per block along x, y and z.
        shared_bytes: dynamic shared memory per block.
    """

    grid: Dim3
    block: Dim3
    shared_bytes: int = 0


class Arguments:
    """The parameters of one launch: 64-bit addresses and 32-bit integers, in the kernel's order."""

    def __init__(self, inputs: Sequence[Address], integers: Sequence[int], outputs: Sequence[Address]) -> None:
        self._values = [
            *(ctypes.c_uint64(a) for a in inputs),
            *(ctypes.c_int32(i) for i in integers),
            *(ctypes.c_uint64(a) for a in outputs),
        ]
        self._pointers = np.array([ctypes.addressof(v) for v in self._values], dtype=np.uint64)

    @property
    def pointer(self) -> int:
        """The address of the array of pointers that the driver wants, valid while `self` lives."""
        return int(self._pointers.ctypes.data)


def init() -> None:
    """Start the driver; raises `DriverError`, or `RuntimeError` where there is no driver."""
    _call("cuInit", 0)


def driver_version() -> tuple[int, int]:
    """The newest CUDA version that the driver supports."""
    version = _call("cuDriverGetVersion")
    return version // 1000, version % 1000 // 10


def device_count() -> int:
    return int(_call("cuDeviceGetCount"))


def device(ordinal: int) -> Handle:
    return _call("cuDeviceGet", ordinal)


def device_name(device: Handle) -> str:
    return str(_call("cuDeviceGetName", 256, device).split(b"\0")[0].decode())


def device_uuid(device: Handle) -> str:
    """As NVML spells it: "GPU-" and groups of hexadecimal digits."""
    h = bytes(_call("cuDeviceGetUuid", device).bytes).hex()
    return f"GPU-{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def attribute(device: Handle, name: str) -> int:
    """A device attribute by the end of its name, for example "L2_CACHE_SIZE"."""
    from cuda.bindings import driver

    member = getattr(driver.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
    return int(_call("cuDeviceGetAttribute", member, device))


def retain_context(ordinal: int) -> None:
    """Make the primary context of a device current in this thread."""
    _call("cuCtxSetCurrent", _call("cuDevicePrimaryCtxRetain", device(ordinal)))


def synchronize() -> None:
    """Wait for all work; raises the error of a launch that failed."""
    _call("cuCtxSynchronize")


def memory() -> tuple[int, int]:
    """Free and total device memory."""
    free, total = _call("cuMemGetInfo")
    return int(free), int(total)


def alloc(size: int) -> Address:
    return int(_call("cuMemAlloc", size))


def free(address: Address) -> None:
    _call("cuMemFree", address)


def upload(address: Address, data: np.ndarray[Any, Any]) -> None:
    """Copy a contiguous array to the device."""
    _call("cuMemcpyHtoD", address, data.ctypes.data, data.nbytes)


def download(address: Address, size: int) -> bytes:
    data = np.empty(size, np.uint8)
    _call("cuMemcpyDtoH", data.ctypes.data, address, size)
    return data.tobytes()


def copy(target: Address, source: Address, size: int) -> None:
    _call("cuMemcpyDtoD", target, source, size)


def fill(address: Address, byte: int, size: int) -> None:
    """Set every byte."""
    _call("cuMemsetD8", address, byte, size)


def load(image: bytes) -> Handle:
    """Load PTX text, which the driver compiles now, or machine code; returns the module."""
    options, values, log = _logging()
    return _call("cuModuleLoadDataEx", image + b"\0", len(options), options, values, log=log)


def unload(module: Handle) -> None:
    _call("cuModuleUnload", module)


def function(module: Handle, name: str) -> Handle:
    return _call("cuModuleGetFunction", module, name.encode())


def allow_shared(function: Handle, size: int) -> None:
    """Let a function be launched with more dynamic shared memory than the 48 KiB given without asking."""
    from cuda.bindings import driver

    attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    _call("cuFuncSetAttribute", function, attribute, size)


def stream() -> Handle:
    """A stream that does not wait for the default one."""
    from cuda.bindings import driver

    return _call("cuStreamCreate", int(driver.CUstream_flags.CU_STREAM_NON_BLOCKING))


def destroy_stream(stream: Handle) -> None:
    _call("cuStreamDestroy", stream)


def launch(function: Handle, launch: LaunchShape, arguments: Arguments) -> None:
    """Start a function once, asynchronously."""
    _call("cuLaunchKernel", function, *launch.grid, *launch.block, launch.shared_bytes, 0, arguments.pointer, 0)


@dataclass(frozen=True)
class KernelNode:
    """One launch in a graph."""

    function: Handle
    launch: LaunchShape
    arguments: Arguments


class TimedGraph:
    """Launches in a chain between two events, all in one graph.

    The events are nodes of the graph, so what lies between them is decided by the device alone: the
    host takes no part in it, however busy it is.
    """

    def __init__(self, nodes: Sequence[KernelNode]) -> None:
        """The launches, one after another."""
        from cuda.bindings import driver

        self._events = [_call("cuEventCreate", 0), _call("cuEventCreate", 0)]
        graph = _call("cuGraphCreate", 0)
        params = driver.CUDA_KERNEL_NODE_PARAMS()
        node = _call("cuGraphAddEventRecordNode", graph, [], 0, self._events[0])
        for n in nodes:
            params.func = n.function
            params.gridDimX, params.gridDimY, params.gridDimZ = n.launch.grid
            params.blockDimX, params.blockDimY, params.blockDimZ = n.launch.block
            params.sharedMemBytes = n.launch.shared_bytes
            params.kernelParams = n.arguments.pointer
            node = _call("cuGraphAddKernelNode", graph, [node], 1, params)
        _call("cuGraphAddEventRecordNode", graph, [node], 1, self._events[1])
        self._graph = _call("cuGraphInstantiate", graph, 0)
        _call("cuGraphDestroy", graph)

    def run(self) -> float:
        """Replay once; microseconds between the events."""
        _call("cuGraphLaunch", self._graph, 0)
        _call("cuStreamSynchronize", 0)
        return float(_call("cuEventElapsedTime", *self._events)) * 1000

    def close(self) -> None:
        _call("cuGraphExecDestroy", self._graph)
        for event in self._events:
            _call("cuEventDestroy", event)


class CapturedGraph(TimedGraph):
    """Whatever a function puts on a stream, between two events, all in one graph."""

    def __init__(self, stream: Handle, enqueue: Callable[[], None]) -> None:
        """Capture what `enqueue` does; it must not wait for the device."""
        from cuda.bindings import driver

        self._events = [_call("cuEventCreate", 0), _call("cuEventCreate", 0)]
        external = int(driver.CUevent_record_flags.CU_EVENT_RECORD_EXTERNAL)
        _call("cuStreamBeginCapture", stream, driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        try:
            _call("cuEventRecordWithFlags", self._events[0], stream, external)
            enqueue()
            _call("cuEventRecordWithFlags", self._events[1], stream, external)
        finally:
            graph = _call("cuStreamEndCapture", stream)
        self._graph = _call("cuGraphInstantiate", graph, 0)
        _call("cuGraphDestroy", graph)


def _call(name: str, *args: Any, log: bytearray | None = None) -> Any:
    """Call a function of the driver; returns its one result, a tuple of several, or None."""
    from cuda.bindings import driver

    error, *results = getattr(driver, name)(*args)
    if error != driver.CUresult.CUDA_SUCCESS:
        said = log.split(b"\0")[0].decode(errors="replace").strip() if log else ""
        raise DriverError(error.name, name, said)
    if not results:
        return None
    return results[0] if len(results) == 1 else tuple(results)


def _logging() -> tuple[list[Any], list[Any], bytearray]:
    """Options that make the driver's compiler write its errors to a buffer, and the buffer."""
    from cuda.bindings import driver

    log = bytearray(_LOG_BYTES)
    o = driver.CUjit_option
    return [o.CU_JIT_ERROR_LOG_BUFFER, o.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES], [log, _LOG_BYTES], log
