"""Run a host function on Triton's interpreter, to compare with what a declaration makes of it."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.errors import UnavailableError
from tuner.gpu.catalog import find_device
from tuner.gpu.stand_in_driver import StandInDriver, answering


def on_interpreter(function: Callable[..., Any], results: int | tuple[int, ...]) -> HostReference:
    """Make a reference of a host function: the function itself, with its kernels on Triton's interpreter.

    Arrays become tensors on the CPU, in float32 where they are floating point, which say that they are on the GPU.
    An autotuner takes its first config.

    Args:
        function: the host function.
        results: which of the tensors that it returns, counted through lists and tuples.
    """
    owner = getattr(function, "__self__", None) or function
    module = str(owner.__module__)
    made = HostReference(f"{module}:{getattr(owner, '__qualname__', owner)}", _digest(module), results)
    _functions[made.name, made.digest] = function
    return made


_functions: dict[tuple[str, str], Callable[..., Any]] = {}
"""Host functions by their names and the digests of their packages."""


@dataclass(frozen=True)
class HostReference:
    """A host function that takes arrays for tensors, and returns arrays.

    Attributes:
        name: the module and name of the function.
        digest: of the files of its package that are loaded, so that a verdict is forgotten when they change.
        results: which of the tensors that it returns.
    """

    name: str
    digest: str
    results: int | tuple[int, ...]

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Run it.

        Raises:
            UnavailableError: in a process where kernels are compiled and not interpreted, or without torch.
        """
        return _run(_functions[self.name, self.digest], self.results, *args, **named)


def _digest(module: str) -> str:
    """The SHA-256 of all files that are loaded of a module's package."""
    top = module.partition(".")[0]
    files = {str(getattr(m, "__file__", None)) for n, m in list(sys.modules.items()) if n.partition(".")[0] == top}
    text = hashlib.sha256()
    for file in sorted(f for f in files if f.endswith(".py")):
        text.update(Path(file).read_bytes())
    return text.hexdigest()


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
    with answering(driver, always=True), _on_gpu_by_name(torch), _interpreter_put_right():
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

    class ByName(TorchFunctionMode):  # type: ignore[misc]
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


@contextlib.contextmanager
def _interpreter_put_right() -> Iterator[None]:
    """Have the interpreter know libdevice, count loops, and pass floats as Triton's launcher does: as fp32 scalars."""
    import numpy as np
    import triton.language as tl

    from tuner.gate.internals import interpreter
    from tuner.gate.interpreter import make_scalar, patch_tensor_to_count
    from tuner.gate.rewriting import replacements

    convert = interpreter._implicit_cvt

    def converted(value: Any) -> Any:
        return make_scalar(value, tl.float32) if isinstance(value, float) else convert(value)

    patches = interpreter._LangPatchScope()
    try:
        patches.set_attr(interpreter, "_implicit_cvt", converted)
        patches.set_attr(interpreter, "_patch_lang_tensor", patch_tensor_to_count)
        for owner, name, value in replacements(interpreter._get_np_dtype):
            patches.set_attr(owner, name, value)
        with np.errstate(all="ignore"):
            yield
    finally:
        patches.restore()


def _tensors(torch: Any, value: Any) -> Iterator[Any]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(torch, item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(torch, item)
