"""A module that stands for torch where it is not installed, as far as host functions of kernels need it.

It has, and nothing else is followed:

- data types: those of `tuner.frontends.dtypes`, by torch's names, with `itemsize` and `is_floating_point`
- making tensors: `empty`, `empty_like`, `empty_strided`, `zeros`, `zeros_like`, `ones`, `ones_like`, `full`,
  `full_like`
- of a tensor: `shape`, `size`, `stride`, `ndim`, `dim`, `numel`, `nelement`, `dtype`, `device`, `is_cuda`,
  `requires_grad`, `element_size`, `itemsize`, `data_ptr`, `storage_offset`, `is_contiguous`, `contiguous`, `detach`,
  `view`, `reshape`, `view_as`, `flatten`, `squeeze`, `unsqueeze`, `transpose`, `permute`, `t`, `T`, `zero_`, `fill_`,
  `new_empty`, `new_zeros`, `is_floating_point`, `get_device`
- `device`, `Size`, `Tensor`, `is_tensor`, `finfo`, `autograd.Function` with `apply`, `nn.Module`, `nn.Parameter`, and
  `cuda`, which answers for the named GPU

Whatever else is asked for is a stand-in that does nothing; calling it is noted on the tape.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from types import ModuleType, SimpleNamespace
from typing import Any

from tuner.adopt.missing import StandInModule, stand_in
from tuner.adopt.recording import TORCH_NAMES, torch_name
from tuner.adopt.tape import ARGUMENT, EMPTY, Allocation, SeenFill, Tape, View
from tuner.frontends.dtypes import DTYPES

_ADDRESS_STEP = 1 << 40


class StandInDType:
    """A data type, spelt as torch does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.itemsize = DTYPES[name].itemsize
        self.is_floating_point = DTYPES[name].kind == "f"

    def __repr__(self) -> str:
        return f"torch.{torch_name(self.name)}"


_DTYPES = {name: StandInDType(name) for name in DTYPES if name in TORCH_NAMES}


class StandInDevice:
    """The GPU that is not there."""

    def __init__(self, kind: Any = "cuda", index: int | None = None) -> None:
        kind, _, number = str(kind).partition(":")
        self.type, self.index = kind, index if index is not None else int(number or 0)

    def __eq__(self, other: object) -> bool:
        return str(other) in (str(self), self.type)

    def __hash__(self) -> int:
        return hash(self.type)

    def __str__(self) -> str:
        return f"{self.type}:{self.index}"


class StandInTensor:
    """A tensor without data. What it has is listed at the head of this file."""

    is_cuda = True
    requires_grad = False
    device = StandInDevice()
    grad = None

    def __init__(
        self, dtype: StandInDType, shape: Sequence[int], memory: int, strides: Sequence[int] | None = None
    ) -> None:
        self.dtype, self.shape, self.memory = dtype, StandInSize(map(int, shape)), memory
        self._strides = tuple(strides) if strides is not None else _row_major(self.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def T(self) -> StandInTensor:
        return self.permute(*reversed(range(self.ndim)))

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def stride(self, dim: int | None = None) -> Any:
        return self._strides if dim is None else self._strides[dim]

    def dim(self) -> int:
        return self.ndim

    def numel(self) -> int:
        return prod(self.shape)

    nelement = numel

    def element_size(self) -> int:
        return self.itemsize

    def data_ptr(self) -> int:
        return (self.memory + 1) * _ADDRESS_STEP

    def storage_offset(self) -> int:
        return 0

    def get_device(self) -> int:
        return 0

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def is_contiguous(self, **_: Any) -> bool:
        return View(0, "", self.shape, self._strides, 0).whole

    def contiguous(self, **_: Any) -> Any:
        return self if self.is_contiguous() else _unknown("Tensor.contiguous of a tensor that is not")

    def detach(self) -> StandInTensor:
        return self

    def view(self, *shape: Any) -> Any:
        if len(shape) == 1 and isinstance(shape[0], StandInDType):
            return _unknown("Tensor.view(dtype)")
        wanted = list(_flat(shape))
        if not self.is_contiguous():
            return _unknown("Tensor.view of a tensor that is not contiguous")
        if -1 in wanted:
            wanted[wanted.index(-1)] = self.numel() // max(1, -prod(wanted))
        if prod(wanted) != self.numel():
            raise RuntimeError(f"shape '{wanted}' is invalid for input of size {self.numel()}")
        return StandInTensor(self.dtype, wanted, self.memory)

    reshape = view

    def view_as(self, other: StandInTensor) -> Any:
        return self.view(*other.shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Any:
        first, last = start_dim % max(1, self.ndim), end_dim % max(1, self.ndim)
        return self.view(*self.shape[:first], prod(self.shape[first : last + 1]), *self.shape[last + 1 :])

    def unsqueeze(self, dim: int) -> StandInTensor:
        place = dim % (self.ndim + 1)
        step = self._strides[place] * self.shape[place] if place < self.ndim else 1
        shape = (*self.shape[:place], 1, *self.shape[place:])
        return StandInTensor(self.dtype, shape, self.memory, (*self._strides[:place], step, *self._strides[place:]))

    def squeeze(self, dim: int | None = None) -> StandInTensor:
        gone = [i for i, s in enumerate(self.shape) if s == 1 and (dim is None or i == dim % self.ndim)]
        kept = [i for i in range(self.ndim) if i not in gone]
        return StandInTensor(self.dtype, [self.shape[i] for i in kept], self.memory, [self._strides[i] for i in kept])

    def permute(self, *dims: Any) -> StandInTensor:
        order = list(_flat(dims))
        return StandInTensor(self.dtype, [self.shape[i] for i in order], self.memory, [self._strides[i] for i in order])

    def transpose(self, first: int, second: int) -> StandInTensor:
        order = list(range(self.ndim))
        order[first], order[second] = order[second], order[first]
        return self.permute(*order)

    def t(self) -> StandInTensor:
        return self.transpose(0, -1) if self.ndim > 1 else self

    def fill_(self, value: float) -> StandInTensor:
        _current().tape.events.append(SeenFill(_view(self), float(value)))
        return self

    def zero_(self) -> StandInTensor:
        return self.fill_(0)

    def new_empty(self, *shape: Any, dtype: Any = None, **_: Any) -> StandInTensor:
        return _made(_flat(shape), dtype or self.dtype)

    def new_zeros(self, *shape: Any, dtype: Any = None, **_: Any) -> StandInTensor:
        return _made(_flat(shape), dtype or self.dtype).zero_()

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: _unknown(f"Tensor.{name}")


class StandInSize(tuple[int, ...]):
    """A shape."""

    def numel(self) -> int:
        return prod(self)


class StandInTensors:
    """Makes stand-in tensors and follows them."""

    def __init__(self) -> None:
        self.tape = Tape({})

    def dtype(self, name: str) -> Any:
        return _DTYPES[name]

    def argument(self, name: str, dtype: str, shape: tuple[int, ...]) -> Any:
        return self.allocate(ARGUMENT, name, _DTYPES[dtype], shape)

    def allocate(self, origin: str, name: str, dtype: StandInDType, shape: Sequence[int]) -> StandInTensor:
        """A tensor in memory of its own."""
        self.tape.memory.append(Allocation(origin, name, dtype.name, tuple(shape)))
        return StandInTensor(dtype, shape, len(self.tape.memory) - 1)

    def view_of(self, value: Any) -> View | None:
        return _view(value) if isinstance(value, StandInTensor) else None

    @contextmanager
    def running(self, tape: Tape) -> Iterator[None]:
        """Write to a tape what is done with tensors meanwhile."""
        global _watching
        self.tape, _watching = tape, self
        try:
            yield
        finally:
            _watching = None

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Nothing more is needed while the function runs."""
        yield


_watching: StandInTensors | None = None


def _current() -> StandInTensors:
    return _watching or StandInTensors()


def _unknown(what: str) -> Any:
    """Note something that the stand-in does not do."""
    _current().tape.note(f"{what} is not among what stands for torch; install torch to have it followed")
    return stand_in(what)


def _view(tensor: StandInTensor) -> View:
    return View(tensor.memory, tensor.dtype.name, tuple(tensor.shape), tuple(tensor.stride()), 0)


def _row_major(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


def _flat(shape: Any) -> Iterator[int]:
    for item in shape:
        if isinstance(item, tuple | list):
            yield from _flat(item)
        else:
            yield int(item)


def _made(shape: Any, dtype: Any = None) -> StandInTensor:
    return _current().allocate(EMPTY, "empty", dtype or _DTYPES["fp32"], tuple(shape))


# -- the module ----------------------------------------------------------------------------------------


def make_module(name: str) -> ModuleType:
    """Make torch, or a module of it."""
    module = _TorchModule(name)
    vars(module).update(_CONTENTS.get(name, dict)())
    return module


class _TorchModule(StandInModule):
    """Has every name; calling what is not listed at the head of this file is noted."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        full = f"{self.__name__}.{name}"
        if full in sys.modules:
            return sys.modules[full]
        return stand_in(full, lambda: _unknown(full))


def _torch() -> dict[str, Any]:
    def like(value: float | None) -> Callable[..., Any]:
        def make(tensor: StandInTensor, *args: Any, dtype: Any = None, fill_value: Any = None, **_: Any) -> Any:
            made = _made(tensor.shape, dtype or tensor.dtype)
            start = value if fill_value is None and not args else fill_value if fill_value is not None else args[0]
            return made if start is None else made.fill_(start)

        return make

    def plain(value: float | None) -> Callable[..., Any]:
        def make(*shape: Any, size: Any = None, dtype: Any = None, **_: Any) -> Any:
            made = _made(_flat((size,) if size is not None else shape), dtype)
            return made if value is None else made.fill_(value)

        return make

    def full(size: Any, fill_value: float, dtype: Any = None, **_: Any) -> Any:
        return _made(_flat(size if isinstance(size, tuple | list) else (size,)), dtype).fill_(fill_value)

    def empty_strided(size: Any, stride: Any, dtype: Any = None, **_: Any) -> Any:
        made = _made(size, dtype)
        return StandInTensor(made.dtype, size, made.memory, stride)

    names: dict[str, Any] = {torch_name(n): d for n, d in _DTYPES.items()}
    names |= {"half": names["float16"], "float": names["float32"], "double": names["float64"]}
    names |= {"int": names["int32"], "long": names["int64"], "short": names["int16"]}
    return {
        **names,
        "__version__": "2.0.0",
        "Tensor": StandInTensor,
        "Size": StandInSize,
        "device": StandInDevice,
        "dtype": StandInDType,
        "is_tensor": lambda value: isinstance(value, StandInTensor),
        "finfo": lambda dtype: SimpleNamespace(eps=DTYPES[dtype.name].epsilon),
        "empty": plain(None),
        "zeros": plain(0),
        "ones": plain(1),
        "full": full,
        "empty_like": like(None),
        "zeros_like": like(0),
        "ones_like": like(1),
        "full_like": like(None),
        "empty_strided": empty_strided,
        "version": SimpleNamespace(cuda=None, hip=None),
        "cuda": make_module("torch.cuda"),
        "autograd": make_module("torch.autograd"),
        "nn": make_module("torch.nn"),
    }


class _Function:
    """What `torch.autograd.Function` does, but for gradients."""

    @classmethod
    def apply(cls, *args: Any, **named: Any) -> Any:
        context = SimpleNamespace(
            needs_input_grad=(False,) * len(args),
            save_for_backward=lambda *_: None,
            mark_dirty=lambda *_: None,
            mark_non_differentiable=lambda *_: None,
            set_materialize_grads=lambda _: None,
        )
        forward: Any = cls.forward  # type: ignore[attr-defined]
        return forward(context, *args, **named)


class _Module:
    """A base for the classes of a file."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Nothing is kept."""


_CONTENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "torch": _torch,
    "torch.cuda": lambda: {"is_available": lambda: False},
    "torch.autograd": lambda: {"Function": _Function},
    "torch.nn": lambda: {"Module": _Module, "Parameter": lambda value, **_: value},
}
