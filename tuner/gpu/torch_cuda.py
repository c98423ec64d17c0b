"""What `torch.cuda` says of a GPU that is not here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol

from tuner.gpu.catalog import Device, architecture_name

_REGISTERS = 1 << 16
_CUDA = "12.8"
"""The CUDA version that a torch built without CUDA tells meanwhile: that of the oldest Triton's tools."""


class Answering(Protocol):
    """Who answers for a device, keeps in mind that it was asked, and may be looking for a real one."""

    device: Device
    asked: bool
    looking: bool


@contextmanager
def standing_in(torch: ModuleType, driver: Answering) -> Iterator[None]:
    """Let `torch.cuda` answer for a device."""

    def noted(answer: Any) -> Any:
        def ask(*args: Any, **named: Any) -> Any:
            driver.asked = True
            return answer(*args, **named)

        return ask

    places = [(torch.cuda, name, noted(answer)) for name, answer in answers(driver.device).items()]
    places.append((torch.cuda, "is_available", noted(lambda: not driver.looking)))
    places.append((torch.version, "cuda", torch.version.cuda or _CUDA))
    before = [(place, name, vars(place)[name]) for place, name, _ in places if name in vars(place)]
    try:
        for place, name, value in places:
            setattr(place, name, value)
        yield
    finally:
        for place, name, _ in places:
            vars(place).pop(name, None)
        for place, name, value in before:
            setattr(place, name, value)


def answers(device: Device) -> dict[str, Any]:
    """The functions of `torch.cuda` that ask for the GPU, by name, as they answer for a device."""
    architecture = device.architecture
    stream = SimpleNamespace(
        cuda_stream=0, stream_id=0, device_index=0, synchronize=_nothing, wait_stream=_nothing, query=lambda: True
    )
    properties = SimpleNamespace(
        name=device.name,
        major=device.capability[0],
        minor=device.capability[1],
        total_memory=device.memory_bytes,
        multi_processor_count=device.sms,
        max_threads_per_multi_processor=architecture.max_warps * 32,
        max_threads_per_block=1024,
        regs_per_multiprocessor=_REGISTERS,
        shared_memory_per_block=48 << 10,
        shared_memory_per_block_optin=architecture.shared_per_block,
        shared_memory_per_multiprocessor=architecture.shared_per_sm,
        L2_cache_size=device.l2_bytes,
        clock_rate=device.boost_mhz * 1000,
        warp_size=32,
        is_integrated=0,
        is_multi_gpu_board=0,
    )
    return {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "init": _nothing,
        "_lazy_init": _nothing,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": _nothing,
        "device": _nowhere,
        "device_of": _nowhere,
        "stream": _nowhere,
        "get_device_name": lambda of=None: device.name,
        "get_device_capability": lambda of=None: device.capability,
        "get_device_properties": lambda of=None: properties,
        "get_arch_list": lambda: [str(architecture_name(device.capability)).rstrip("a")],
        "is_bf16_supported": lambda *_, **__: device.capability >= (8, 0),
        "current_stream": lambda of=None: stream,
        "default_stream": lambda of=None: stream,
        "synchronize": _nothing,
        "empty_cache": _nothing,
        "mem_get_info": lambda of=None: (device.memory_bytes, device.memory_bytes),
        "is_current_stream_capturing": lambda: False,
    }


def _nothing(*_: Any, **__: Any) -> None:
    """There is nothing to do, and nobody to wait for."""


def _nowhere(*_: Any, **__: Any) -> Any:
    """Stands for going to a device or stream: there is one of each."""
    return nullcontext()
