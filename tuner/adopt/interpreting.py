"""Run a host function on Triton's interpreter, to compare with what a declaration makes of it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from tuner.errors import UnavailableError
from tuner.gpu.catalog import find_device
from tuner.gpu.stand_in_driver import StandInDriver, answering


def on_interpreter(function: Callable[..., Any], results: int | tuple[int, ...]) -> Callable[..., Any]:
    """Make a reference of a host function: the function itself, with its kernels on Triton's interpreter.

    Arrays become tensors on the CPU, in float32 where they are floating point, which say that they are on the GPU.
    An autotuner takes its first config.

    Args:
        function: the host function.
        results: which of the tensors that it returns, counted through lists and tuples.

    Returns:
        A function that takes what the host function takes, with arrays for tensors, and returns arrays.

    Raises:
        UnavailableError: when it is called in a process where kernels are compiled and not interpreted, or without torch.
    """
    return functools.partial(_run, function, results)


def _run(host: Callable[..., Any], results: int | tuple[int, ...], *args: Any, **named: Any) -> Any:
    import numpy as np

    try:
        import torch
    except ImportError as e:
        raise UnavailableError("running a host function takes torch; or write the reference in numpy") from e
    from triton import knobs

    if not knobs.runtime.interpret:
        raise UnavailableError(
            f"{host} runs on Triton's interpreter alone, and here kernels are compiled: write the reference in numpy"
        )

    def given(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            kind = np.float32 if value.dtype.kind == "f" else value.dtype
            return torch.from_numpy(np.array(value, dtype=kind))
        if isinstance(value, list | tuple):
            return type(value)(map(given, value))
        return getattr(torch, torch_spelling(value)) if type(value).__name__ == "DType" else value

    driver = _FirstConfig(find_device("h200"))
    with answering(driver, always=True), _on_gpu_by_name(torch):
        returned = host(*map(given, args), **{n: given(v) for n, v in named.items()})
    tensors = list(_tensors(torch, returned))
    found = [tensors[i].detach().double().numpy() for i in (results if isinstance(results, tuple) else (results,))]
    return tuple(found) if isinstance(results, tuple) else found[0]


def torch_spelling(dtype: Any) -> str:
    """What torch calls a data type of a declaration."""
    from tuner.adopt.recording import torch_name

    return torch_name(dtype.name)


class _FirstConfig(StandInDriver):
    """Tells an autotuner that its first config is the fastest."""

    def get_benchmarker(self) -> Callable[..., Any]:
        return lambda _call, quantiles=None, **_: [1.0] * len(quantiles or (0,))


@contextlib.contextmanager
def _on_gpu_by_name(torch: Any) -> Iterator[None]:
    """Let tensors of the CPU say that they are on the GPU, and be made where a GPU is asked for."""
    from torch.overrides import TorchFunctionMode

    is_cuda, device = torch.Tensor.is_cuda.__get__, torch.Tensor.device.__get__
    gpu = torch.device("cuda", 0)

    def moved(value: Any) -> Any:
        if isinstance(value, torch.device):
            return torch.device("cpu")
        return "cpu" if isinstance(value, str) and value.partition(":")[0] == "cuda" else value

    class ByName(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is is_cuda:
                return True
            if func is device:
                return gpu
            if getattr(func, "__name__", "") == "cuda":
                return args[0]
            return func(*map(moved, args), **{n: moved(v) for n, v in (kwargs or {}).items()})

    with ByName():
        yield


def _tensors(torch: Any, value: Any) -> Iterator[Any]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(torch, item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(torch, item)
