"""A CUDA driver over host memory: the functions, types and errors of `cuda.bindings.driver` that are used.

Memory that is not allocated, and objects that are destroyed, are refused; so is waiting for the device
while a stream is captured. Device time is a counter. What a captured graph replays only takes time. A
launch of a kernel does what the scenario's reference does (`simulated.launches`).
"""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Callable
from enum import IntEnum
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_INVALID_HANDLE = 400
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900


class CUdevice_attribute(IntEnum):  # noqa: N801
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16
    CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE = 38
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


class CUfunction_attribute(IntEnum):  # noqa: N801
    CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8


class CUstream_flags(IntEnum):  # noqa: N801
    CU_STREAM_NON_BLOCKING = 1


class CUevent_record_flags(IntEnum):  # noqa: N801
    CU_EVENT_RECORD_EXTERNAL = 1


class CUstreamCaptureMode(IntEnum):
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1


class CUjit_option(IntEnum):  # noqa: N801
    CU_JIT_ERROR_LOG_BUFFER = 5
    CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6


class CUDA_KERNEL_NODE_PARAMS(SimpleNamespace):  # noqa: N801
    pass


OK = CUresult.CUDA_SUCCESS
ATTRIBUTES = {16: 132, 38: 1 << 16, 75: 9, 76: 0}
TOTAL = 1 << 30
MOST_SHARED = 227 << 10
EMPTY_US = 1.5

_handles = count(1)
_memory: dict[int, Any] = {}
_clock = 0.0


class Object:
    """A stream, event or graph: valid until it is destroyed."""

    live: dict[int, Object] = {}

    def __init__(self) -> None:
        self.handle = next(_handles)
        Object.live[self.handle] = self

    def __int__(self) -> int:
        return self.handle


class Stream(Object):
    captured: Graph | None = None


class Event(Object):
    us = 0.0


class Graph(Object):
    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[Event | float] = []


class Function:
    def __init__(self, ptx: str) -> None:
        self.ptx = ptx


def enqueue(stream: int, us: float, work: Callable[[], None]) -> None:
    """Do work on a stream now, or only note its time when the stream is captured."""
    global _clock
    found = Object.live.get(stream)
    assert isinstance(found, Stream), f"{stream} is not a stream, or is destroyed"
    if found.captured is not None:
        found.captured.nodes.append(us)
    else:
        _clock += us
        work()


def array(address: int, size: int) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
    """Allocated memory as an array; None when not all of it is allocated."""
    for base, block in _memory.items():
        if base <= address and address + size <= base + len(block):
            return np.frombuffer(block, np.uint8)[address - base :][:size]
    return None


def _capturing() -> bool:
    return any(isinstance(o, Stream) and o.captured is not None for o in Object.live.values())


def _destroy(thing: Any) -> tuple[CUresult]:
    if not isinstance(thing, Object) or Object.live.pop(thing.handle, None) is None:
        return (CUresult.CUDA_ERROR_INVALID_HANDLE,)
    return (OK,)


def cuInit(flags: int) -> tuple[CUresult]:
    return (OK,)


def cuDriverGetVersion() -> tuple[CUresult, int]:
    return OK, 13000


def cuDeviceGetCount() -> tuple[CUresult, int]:
    from simulated import scenario

    return OK, int(scenario.told().get("devices", 1))


def cuDeviceGet(ordinal: int) -> tuple[CUresult, int]:
    return OK, ordinal


def cuDeviceGetName(length: int, device: int) -> tuple[CUresult, bytes]:
    from simulated import scenario

    return OK, scenario.told().get("device", "Simulated GPU").encode() + b"\0"


def cuDeviceGetUuid(device: int) -> tuple[CUresult, Any]:
    return OK, SimpleNamespace(bytes=bytes(15) + bytes([device]))


def cuDeviceGetAttribute(attribute: CUdevice_attribute, device: int) -> tuple[CUresult, int]:
    return OK, ATTRIBUTES[attribute]


def cuDevicePrimaryCtxRetain(device: int) -> tuple[CUresult, int]:
    return OK, 1


def cuCtxSetCurrent(context: int) -> tuple[CUresult]:
    return (OK,)


def cuCtxSynchronize() -> tuple[CUresult]:
    return (CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED if _capturing() else OK,)


def cuStreamSynchronize(stream: Any) -> tuple[CUresult]:
    return cuCtxSynchronize()


def cuMemGetInfo() -> tuple[CUresult, int, int]:
    return OK, TOTAL - sum(map(len, _memory.values())), TOTAL


def cuMemAlloc(size: int) -> tuple[CUresult, int] | tuple[CUresult]:
    if size > cuMemGetInfo()[1]:
        return (CUresult.CUDA_ERROR_OUT_OF_MEMORY,)
    block = (ctypes.c_uint8 * (size + 256))()
    base = -(-ctypes.addressof(block) // 256) * 256  # as aligned as the real one's
    _memory[base] = (ctypes.c_uint8 * size).from_buffer(block, base - ctypes.addressof(block))
    return OK, base


def cuMemFree(address: int) -> tuple[CUresult]:
    return (OK if _memory.pop(address, None) is not None else CUresult.CUDA_ERROR_INVALID_VALUE,)


def _copy(target: int, source: int, size: int, *device: int) -> tuple[CUresult]:
    if _capturing():
        return (CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,)
    if any(array(address, size) is None for address in device):
        return (CUresult.CUDA_ERROR_INVALID_VALUE,)
    ctypes.memmove(target, source, size)
    return (OK,)


def cuMemcpyHtoD(target: int, source: int, size: int) -> tuple[CUresult]:
    return _copy(target, source, size, target)


def cuMemcpyDtoH(target: int, source: int, size: int) -> tuple[CUresult]:
    return _copy(target, source, size, source)


def cuMemcpyDtoD(target: int, source: int, size: int) -> tuple[CUresult]:
    return _copy(target, source, size, target, source)


def cuMemsetD8(address: int, byte: int, size: int) -> tuple[CUresult]:
    found = array(address, size)
    if found is None:
        return (CUresult.CUDA_ERROR_INVALID_VALUE,)
    found[:] = byte
    return (OK,)


def cuModuleLoadDataEx(image: bytes, number: int, options: Any, values: Any) -> tuple[CUresult, str]:
    return OK, image.rstrip(b"\0").decode()


def cuModuleUnload(module: str) -> tuple[CUresult]:
    return (OK,)


def cuModuleGetFunction(module: str, name: bytes) -> tuple[CUresult, Function]:
    return OK, Function(module)


def cuFuncSetAttribute(function: Function, attribute: CUfunction_attribute, value: int) -> tuple[CUresult]:
    return (OK if value <= MOST_SHARED else CUresult.CUDA_ERROR_INVALID_VALUE,)


def cuLaunchKernel(function: Function, *launch: int) -> tuple[CUresult]:
    """Runs a probe of `tuner.backends.cuda.probes`, or computes what the scenario's kernel does."""
    if ".entry probe(" not in function.ptx:
        from simulated import launches

        launches.compute(function.ptx, launch[-2])
        return (OK,)
    pointers = (ctypes.c_uint64 * 4).from_address(launch[-2])
    source, table, number, result = ((ctypes.c_uint64).from_address(p).value for p in pointers)
    from tuner.backends.cuda import probes

    for size in (1, 2, 4, 8):
        kind = np.dtype(f"u{size}")
        if function.ptx == probes.count_ptx(size):
            wanted = np.frombuffer(_at(table, 8), np.uint64)[0].astype(kind)
            _words(result)[0] += np.uint64(np.count_nonzero(_at(source, number * size).view(kind) == wanted))
            return (OK,)
        if function.ptx == probes.gather_ptx(size):
            positions = _at(table, number * 8).view(np.uint64)
            last = int(positions.max(initial=0)) + 1
            _at(result, number * size).view(kind)[:] = _at(source, last * size).view(kind)[positions]
            return (OK,)
    assert function.ptx == probes.checksum_ptx(), "a probe that is not known"
    words = _at(source, number * 8).view(np.uint64)
    _words(result)[0] += np.sum(words * (2 * np.arange(number, dtype=np.uint64) + np.uint64(1)), dtype=np.uint64)
    return (OK,)


def _at(address: int, size: int) -> np.ndarray[Any, Any]:
    found = array(address, size)
    assert found is not None, f"{size} bytes at {address} are not allocated"
    return found


def _words(address: int) -> np.ndarray[Any, Any]:
    return _at(address, 8).view(np.uint64)


def cuStreamCreate(flags: int) -> tuple[CUresult, Stream]:
    return OK, Stream()


def cuStreamDestroy(stream: Stream) -> tuple[CUresult]:
    return _destroy(stream)


def cuEventCreate(flags: int) -> tuple[CUresult, Event]:
    return OK, Event()


def cuEventDestroy(event: Event) -> tuple[CUresult]:
    return _destroy(event)


def cuEventElapsedTime(begin: Event, end: Event) -> tuple[CUresult, float]:
    return OK, (end.us - begin.us) / 1000


def cuEventRecordWithFlags(event: Event, stream: Stream, flags: int) -> tuple[CUresult]:
    if stream.captured is None:
        return (CUresult.CUDA_ERROR_INVALID_VALUE,)  # the flag is for captured streams alone
    stream.captured.nodes.append(event)
    return (OK,)


def cuStreamBeginCapture(stream: Stream, mode: CUstreamCaptureMode) -> tuple[CUresult]:
    if stream.captured is not None or stream.handle not in Object.live:
        return (CUresult.CUDA_ERROR_INVALID_VALUE,)
    stream.captured = Graph()
    return (OK,)


def cuStreamEndCapture(stream: Stream) -> tuple[CUresult, Graph] | tuple[CUresult]:
    graph, stream.captured = stream.captured, None
    return (OK, graph) if graph is not None else (CUresult.CUDA_ERROR_INVALID_VALUE,)


def cuGraphCreate(flags: int) -> tuple[CUresult, Graph]:
    return OK, Graph()


def cuGraphAddEventRecordNode(
    graph: Graph, dependencies: list[Any], number: int, event: Event
) -> tuple[CUresult, Event]:
    graph.nodes.append(event)
    return OK, event


def cuGraphAddKernelNode(graph: Graph, dependencies: list[Any], number: int, params: Any) -> tuple[CUresult, None]:
    graph.nodes.append(_launch_us(params.func.ptx))
    return OK, None


def _launch_us(ptx: str) -> float:
    """An empty kernel's time; more for any other, the same for the same code."""
    from tuner.backends.cuda import probes

    return EMPTY_US + (0.0 if ptx == probes.EMPTY_PTX else 2 + zlib.crc32(ptx.encode()) % 1000 / 100)


def cuGraphInstantiate(graph: Graph, flags: int) -> tuple[CUresult, Graph]:
    executable = Graph()
    executable.nodes = list(graph.nodes)
    return OK, executable


def cuGraphDestroy(graph: Graph) -> tuple[CUresult]:
    return _destroy(graph)


def cuGraphExecDestroy(graph: Graph) -> tuple[CUresult]:
    return _destroy(graph)


def cuGraphLaunch(graph: Graph, stream: Any) -> tuple[CUresult]:
    global _clock
    if graph.handle not in Object.live:
        return (CUresult.CUDA_ERROR_INVALID_HANDLE,)
    for node in graph.nodes:
        if isinstance(node, Event):
            node.us = _clock
        else:
            _clock += node
    return (OK,)
