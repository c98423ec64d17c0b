"""What Triton's driver says of a GPU that is not here, for files that ask while they are imported.

Public modules choose their configs by the capability or the number of multiprocessors of "the" GPU, and compile
without naming a target. Where Triton finds no GPU, `answering` lets a `StandInDriver` answer for a named one, through
`triton.runtime.driver.active` and, where torch is installed, through `torch.cuda`. Nothing is imported for it: what is
not imported yet is seen to when it is. One thread at a time.

This is the one place that knows how Triton keeps its active driver (Triton 3.6 to 3.9).
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

from tuner.errors import UnavailableError
from tuner.gpu.catalog import Capability, Device, architecture_name
from tuner.gpu.torch_cuda import answers, standing_in

_WARP = 32
_DRIVER = "triton.runtime.driver"


class CompilationTarget:
    """Answers for the GPU that is compiled for, which code may ask while it is compiled: `tl.target_info`."""

    def __init__(self, capability: Capability) -> None:
        self._capability = capability

    def get_current_target(self) -> Any:
        """Triton's name for what is compiled for, `GPUTarget("cuda", 90, 32)` for example."""
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", architecture_name(self._capability).number, _WARP)


class StandInDriver(CompilationTarget):
    """Answers as Triton's CUDA driver does, for a device of the catalog; it has no memory and runs nothing.

    Who wants to know what would be launched derives a class, and replaces `launcher_cls`, `load_binary` and
    `get_benchmarker`.

    Attributes:
        device: whom it answers for.
        asked: whether anybody asked so far.
        looking: whether a real driver is being looked for, which Triton does by asking torch.
        utils: the functions that Triton's driver has in C, among them `get_device_properties`.
    """

    def __init__(self, device: Device) -> None:
        super().__init__(device.capability)
        self.device = device
        self.asked = self.looking = False
        self.utils = SimpleNamespace(
            get_device_properties=self.get_device_properties,
            load_binary=self.load_binary,
            unload_module=lambda module: None,
            set_printf_fifo_size=lambda size: None,
            cuOccupancyMaxActiveClusters=self._refuse("asks how many clusters fit"),
        )

    def get_current_device(self) -> int:
        return 0

    def set_current_device(self, device: int) -> None:
        """There is no other."""

    def get_current_stream(self, device: int | None = None) -> int:
        return 0

    def get_device_capability(self, device: int | None = None) -> Capability:
        return self.device.capability

    def get_device_properties(self, device: int = 0) -> dict[str, int]:
        """What Triton's driver tells: bytes, registers per block, multiprocessors, clocks in kHz, bits."""
        gpu = self.device
        return {
            "max_shared_mem": gpu.architecture.shared_per_block,
            "max_num_regs": 1 << 16,
            "multiprocessor_count": gpu.sms,
            "warpSize": _WARP,
            "sm_clock_rate": gpu.boost_mhz * 1000,
            # Both edges of the clock carry data: the data sheet's bandwidth, as the driver tells it.
            "mem_clock_rate": round(gpu.dram_gbps * 1e9 * 8 / (2 * gpu.memory_bus_bits) / 1000),
            "mem_bus_width": gpu.memory_bus_bits,
        }

    def get_active_torch_device(self) -> Any:
        import torch

        return torch.device("cuda", 0)

    def get_device_interface(self) -> Any:
        """`torch.cuda`, which answers for the same device, or what stands for it where torch is missing."""
        if importlib.util.find_spec("torch") is None:
            return SimpleNamespace(**answers(self.device))
        import torch

        return torch.cuda

    def map_python_to_cpp_type(self, ty: str) -> str:
        from triton.backends.nvidia.driver import ty_to_cpp

        return str(ty_to_cpp(ty))

    def launcher_cls(self, source: Any, metadata: Any) -> Any:
        """Make what launches a compiled kernel; refused here."""
        return self._refuse("launches a kernel")()

    def load_binary(self, name: str, binary: bytes, shared_bytes: int, device: int) -> tuple[Any, Any, int, int, int]:
        """The module, the function, its registers, spills, and threads per block at most; refused here."""
        return self._refuse("launches a kernel")()  # type: ignore[no-any-return]

    def get_benchmarker(self) -> Callable[..., Any]:
        return self._refuse("times a kernel")

    def get_empty_cache_for_benchmark(self) -> Any:
        return self._refuse("times a kernel")()

    def clear_cache(self, cache: Any) -> None:
        self._refuse("times a kernel")()

    def assemble_tensormap_to_arg(self, tensormaps_info: Any, args: Any) -> Any:
        return args

    def _refuse(self, what: str) -> Callable[..., Any]:
        def refuse(*_: Any, **__: Any) -> Any:
            raise UnavailableError(f"the file {what} on a GPU, and there is none here; {self.device} only answers")

        return refuse


_answering: list[StandInDriver] = []
"""Who answers, the innermost last."""


@contextmanager
def answering(driver: StandInDriver, *, always: bool = False) -> Iterator[None]:
    """Let a driver answer whoever asks Triton or torch for the GPU.

    Within another such block for the same device the other's driver goes on answering.

    Args:
        driver: its `asked` tells afterwards whether anybody did.
        always: also where Triton or torch find a GPU of their own, which otherwise answer themselves.
    """
    if _answering and _answering[-1].device == driver.device:
        outer = _answering[-1]
        before, outer.asked = outer.asked, False
        try:
            yield
        finally:
            driver.asked = outer.asked
            outer.asked |= before
        return
    with ExitStack() as stack:
        _answering.append(driver)
        stack.callback(_answering.remove, driver)
        stack.enter_context(
            _now_or_when_imported(
                {
                    _DRIVER: lambda module: stack.enter_context(_active(module, _Asked(driver, module, always))),
                    "torch": lambda module: stack.enter_context(
                        standing_in(module, driver) if always or not _has_gpu(module) else nullcontext()
                    ),
                }
            )
        )
        yield


@contextmanager
def compiling_for(capability: Capability) -> Iterator[None]:
    """Let Triton's active driver answer for a compute capability while code for it is compiled."""
    import triton  # noqa: F401

    with _active(sys.modules[_DRIVER], CompilationTarget(capability)):
        yield


class _Asked:
    """Decides when it is asked: finding the real driver may take importing torch."""

    def __init__(self, driver: StandInDriver, module: ModuleType, always: bool) -> None:
        self._driver, self._module, self._always = driver, module, always
        self._real: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._real is None:
            self._real = False if self._always else self._find()
        if self._real:
            return getattr(self._real, name)
        self._driver.asked = True
        return getattr(self._driver, name)

    def _find(self) -> Any:
        with _looking():
            try:
                return self._module.driver.default
            except RuntimeError:  # "0 active drivers"
                return False


@contextmanager
def _looking() -> Iterator[None]:
    """Look for a real driver or GPU: meanwhile nobody who answers pretends that there is one."""
    before = [(driver, driver.looking) for driver in _answering]
    for driver, _ in before:
        driver.looking = True
    try:
        yield
    finally:
        for driver, looking in before:
            driver.looking = looking


def _has_gpu(torch: ModuleType) -> bool:
    with _looking():
        return bool(torch.cuda.is_available())


@contextmanager
def _active(module: ModuleType, driver: Any) -> Iterator[None]:
    """Make a driver Triton's active one for a while, and then the one that was, or none as yet."""
    config = module.driver
    before = config._active
    config.set_active(driver)
    try:
        yield
    finally:
        config.set_active(before)


@contextmanager
def _now_or_when_imported(actions: Mapping[str, Callable[[ModuleType], object]]) -> Iterator[None]:
    """Do something to each module, by its name: now, or as soon as it is imported within the block."""
    waiting = dict(actions)
    for name in actions:
        if name in sys.modules:
            waiting.pop(name)(sys.modules[name])
    finder = _Watcher(waiting)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Watcher:
    """Finds nothing itself, and sees to modules that others find."""

    def __init__(self, waiting: dict[str, Callable[[ModuleType], object]]) -> None:
        self._waiting = waiting

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in self._waiting:
            return None
        action = self._waiting.pop(name)
        spec = importlib.util.find_spec(name)  # comes here again, and goes on to the others
        if spec is None or spec.loader is None:
            self._waiting[name] = action  # who looks whether it is installed imports nothing
            return spec
        execute = spec.loader.exec_module

        def execute_and_act(module: ModuleType) -> None:
            execute(module)
            action(module)

        spec.loader.exec_module = execute_and_act  # type: ignore[method-assign]
        return spec
