"""Tensors of torch that hold no data, on a GPU that is not there, and what is done with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tuner.adopt.recording import data_type_name, torch_name
from tuner.adopt.tape import ARGUMENT, COMPUTED, EMPTY, Allocation, SeenFill, SeenOperation, Tape, View

_EMPTY = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted")
_FILLED = {"zeros": 0, "zeros_like": 0, "new_zeros": 0, "ones": 1, "ones_like": 1, "new_ones": 1}
_WITH_VALUE = ("full", "full_like", "new_full", "fill", "fill_")
_ADDRESS_STEP = 1 << 40


class FakeTensors:
    """Makes tensors and follows them, where torch is installed."""

    def __init__(self) -> None:
        from torch._subclasses import FakeTensorMode

        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._tape = Tape({})
        self._numbers: dict[int, int] = {}
        self._alive: list[Any] = []

    def dtype(self, name: str) -> Any:
        """Torch's data type of that name."""
        import torch

        return getattr(torch, torch_name(name))

    def argument(self, name: str, dtype: str, shape: tuple[int, ...]) -> Any:
        """A tensor for the call."""
        import torch

        with self._mode:
            tensor = torch.empty(shape, dtype=self.dtype(dtype), device="cuda")
        self._allocate(tensor, ARGUMENT, name)
        return tensor

    def view_of(self, value: Any) -> View | None:
        import torch

        if not isinstance(value, torch.Tensor):
            return None
        number = self._number(value)
        if number is None:
            number = self._allocate(value, COMPUTED, "a tensor of the module")
        name = data_type_name(value.dtype) or str(value.dtype)
        return View(number, name, tuple(value.shape), tuple(value.stride()), int(value.storage_offset()))

    @contextmanager
    def running(self, tape: Tape) -> Iterator[None]:
        """Write to a tape what is done with tensors meanwhile."""
        from torch._subclasses import FakeTensor, fake_tensor

        self._tape, self._numbers, self._alive = tape, {}, []
        before = {n: FakeTensor.__dict__[n] for n in ("data_ptr", "contiguous") if n in FakeTensor.__dict__}
        touch_gpu = fake_tensor.init_gpu_context
        fake_tensor.init_gpu_context = lambda device: None  # there is none, though `torch.cuda` says so
        FakeTensor.data_ptr = lambda tensor: self._address(tensor)
        FakeTensor.contiguous = _contiguous
        try:
            yield
        finally:
            fake_tensor.init_gpu_context = touch_gpu
            for name in ("data_ptr", "contiguous"):
                delattr(FakeTensor, name)
            for name, method in before.items():
                setattr(FakeTensor, name, method)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Watch what the function does."""
        with self._mode, _watcher(self):
            yield

    def _address(self, tensor: Any) -> int:
        view = self.view_of(tensor)
        assert view is not None
        return (view.memory + 1) * _ADDRESS_STEP + view.offset * int(tensor.element_size())

    def _number(self, tensor: Any) -> int | None:
        return self._numbers.get(tensor.untyped_storage()._cdata)

    def _allocate(self, tensor: Any, origin: str, name: str) -> int:
        number = len(self._tape.memory)
        dtype = data_type_name(tensor.dtype) or str(tensor.dtype)
        self._tape.memory.append(Allocation(origin, name, dtype, tuple(tensor.shape)))
        self._numbers[tensor.untyped_storage()._cdata] = number
        self._alive.append(tensor)  # another one would otherwise get its place
        return number

    def seen(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Take in one operation of torch."""
        import torch
        from torch.utils._pytree import tree_leaves

        name = function.overloadpacket.__name__
        inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        outputs = [t for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
        reads = tuple(dict.fromkeys(n for t in inputs if (n := self._number(t)) is not None))
        new = [t for t in outputs if self._number(t) is None]
        if name in _EMPTY:
            for tensor in new:
                self._allocate(tensor, EMPTY, name)
            return
        changed = function._schema.is_mutable
        if name in _FILLED or name in _WITH_VALUE or (name == "zero_"):
            value = 0 if name == "zero_" else _FILLED.get(name)
            if value is None:
                value = kwargs.get("fill_value", next((a for a in reversed(args) if isinstance(a, int | float)), None))
            for tensor in new:
                self._allocate(tensor, EMPTY, name)
            if value is not None:
                for tensor in outputs:
                    view = self.view_of(tensor)
                    assert view is not None
                    self._tape.events.append(SeenFill(view, float(value)))
                return
        made = tuple(self._allocate(t, COMPUTED, str(function)) for t in new)
        written = tuple(n for t in outputs if (n := self._number(t)) is not None) if changed else made
        if written or name in ("_local_scalar_dense", "item"):
            self._tape.events.append(SeenOperation(f"aten.{name}", reads, tuple(dict.fromkeys((*made, *written)))))


def _contiguous(tensor: Any, **_: Any) -> Any:
    """As the method, which asks a torch built for CUDA to go to the device."""
    import torch

    if tensor.is_contiguous():
        return tensor
    return torch.ops.aten.clone.default(tensor, memory_format=torch.contiguous_format)


def _watcher(tensors: FakeTensors) -> Any:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watcher(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            tensors.seen(func, args, kwargs or {}, result)
            return result

    return Watcher()
