"""Run a Triton kernel on the CPU: Triton's interpreter on numpy arrays, each access checked.

The interpreter asks for torch tensors but uses little of them; `_Pointer` has that little. Memory is
one buffer in which every tensor lies between wide gaps, and no load, store or atomic reaches it
without its addresses being checked first, so a kernel that leaves its tensors is told where instead
of ending the process.

Triton 3.6 reads bfloat16 and float8 as plain integers, truncates where the hardware rounds to nearest
even, and cannot count loops with numpy 2.4. `_patched` mends these three for the length of a run: the
element types come from ml_dtypes, which calculates and rounds as the hardware does.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime import interpreter

from tuner.errors import UnavailableError
from tuner.frontends.dtypes import DTYPES
from tuner.frontends.triton import TritonSource
from tuner.gate.rewriting import replacements
from tuner.kernel.problem import Problem
from tuner.search.tactic import Config

Array = np.ndarray[Any, Any]

_GAP = 1 << 20
"""Bytes between tensors. Never touched, so they take address space and no memory."""
_ALIGNMENT = 256
"""Bytes; what device allocators give, and more than a tensor descriptor asks for."""
_EXTENDED = tuple(name for name, dtype in DTYPES.items() if dtype.extended)
"""The element types that come from ml_dtypes."""

# What `_patched` replaces and still needs.
_native, _np_dtype, _patch_tensor = (
    interpreter._interpreter,
    interpreter._get_np_dtype,
    interpreter._patch_lang_tensor,
)


class AccessError(Exception):
    """A program loads or stores outside its tensors, or stores to an input."""


class InterpretationError(Exception):
    """The interpreter cannot run the kernel, which says nothing about its results."""


def run(problem: Problem, config: Config, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
    """Launch a tactic on the CPU, block by block. What the kernel prints is dropped.

    Args:
        problem: fixed sizes; its kernel must have been loaded with TRITON_INTERPRET=1.
        config: the tactic's configuration.
        inputs: contiguous arrays in the declared shapes and data types; left as they are.
        outputs: likewise; overwritten with what the kernel leaves in them.

    Raises:
        AccessError: the kernel accesses memory that is not its own.
        MemoryError: as Python raises it.
        InterpretationError: anything else that the kernel or the interpreter raises.
        UnavailableError: the environment variable was not set when triton was imported.
    """
    kernel = problem.kernel
    code = problem.source(config)
    if not isinstance(code, TritonSource) or not isinstance(code.jit, interpreter.InterpretedFunction):
        raise UnavailableError(f"kernel {kernel.id!r} is compiled, not interpreted: set TRITON_INTERPRET=1 first")
    memory = _Memory(inputs, outputs)
    launch = problem.launch(config)
    tensors = {**kernel.inputs, **kernel.outputs}
    pointers = {name: _Pointer(problem.dtype(t), memory.regions[name].start) for name, t in tensors.items()}
    arguments = (*(pointers[n] for n in kernel.inputs), *launch.args, *(pointers[n] for n in kernel.outputs))
    with _patched(memory), _silent():
        try:
            named = dict(zip(code.arguments, arguments, strict=True))
            code.jit[launch.grid](**named, **problem.constants(config))
        except Exception as e:
            cause = _root(e)
            if isinstance(cause, (AccessError, MemoryError)):
                raise cause from None
            raise InterpretationError(f"{type(cause).__name__}: {cause}") from e
    for name, array in outputs.items():
        np.copyto(array, memory.read(name, array))


@dataclass(frozen=True)
class _Region:
    """Where a tensor lies: addresses in bytes, the end excluded."""

    name: str
    start: int
    end: int
    itemsize: int
    writable: bool


class _Memory:
    """The tensors of one launch, and the only way for the interpreter to reach them.

    Stands in for the interpreter's native module, whose functions follow addresses unchecked.
    """

    def __init__(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        arrays = {**inputs, **outputs}
        strides = [_GAP + -(-a.nbytes // _ALIGNMENT) * _ALIGNMENT for a in arrays.values()]
        self._buffer = np.empty(sum(strides) + _GAP + _ALIGNMENT, np.uint8)
        self._base = int(self._buffer.ctypes.data)
        self.regions: dict[str, _Region] = {}
        start = -(-(self._base + _GAP) // _ALIGNMENT) * _ALIGNMENT
        for (name, array), stride in zip(arrays.items(), strides, strict=True):
            self.regions[name] = _Region(name, start, start + array.nbytes, array.itemsize, name in outputs)
            self.read(name, array)[...] = array
            start += stride

    def read(self, name: str, like: Array) -> Array:
        """A view of a tensor, with the shape and data type of another array."""
        region = self.regions[name]
        memory = self._buffer[region.start - self._base : region.end - self._base]
        return memory.view(like.dtype).reshape(like.shape)

    def load(self, pointers: Array, mask: Array, other: Array, dtype: np.dtype[Any]) -> Array:
        self._check(pointers, mask, dtype.itemsize, "reads", writes=False)
        return _native.load(pointers, mask, other, dtype)  # type: ignore[no-any-return]

    def store(self, pointers: Array, value: Array, mask: Array) -> None:
        self._check(pointers, mask, value.itemsize, "writes", writes=True)
        _native.store(pointers, value, mask)

    def atomic_rmw(self, operation: Any, pointers: Array, value: Array, mask: Array, order: Any) -> Array:
        self._check(pointers, mask, value.itemsize, "writes", writes=True)
        return _native.atomic_rmw(operation, pointers, value, mask, order)  # type: ignore[no-any-return]

    def atomic_cas(self, pointers: Array, compare: Array, value: Array, order: Any) -> Array:
        self._check(pointers, np.ones_like(pointers, bool), value.itemsize, "writes", writes=True)
        return _native.atomic_cas(pointers, compare, value, order)  # type: ignore[no-any-return]

    def _check(self, pointers: Array, mask: Array, itemsize: int, verb: str, *, writes: bool) -> None:
        # A comparison of scalars, such as an argument with a loop's counter, holds integers once it meets a block.
        addresses = pointers[np.broadcast_to(mask, pointers.shape).astype(bool)]
        if not addresses.size:
            return
        first, last = int(addresses.min()), int(addresses.max()) + itemsize
        allowed = [r for r in self.regions.values() if r.writable or not writes]
        if any(r.start <= first and last <= r.end for r in allowed):
            return
        inside = np.zeros(addresses.shape, bool)
        for r in allowed:
            inside |= (addresses >= r.start) & (addresses <= r.end - itemsize)
        if not inside.all():
            raise AccessError(self._describe(int(addresses[~inside][0]), verb))

    def _describe(self, address: int, verb: str) -> str:
        nearest = min(self.regions.values(), key=lambda r: max(r.start - address, address - r.end + 1, 0))
        program = interpreter.interpreter_builder.grid_idx
        what = f"program {program} {verb} {nearest.name!r}"
        if nearest.start <= address < nearest.end:
            return f"{what}, which is an input"
        index, size = (address - nearest.start) // nearest.itemsize, (nearest.end - nearest.start) // nearest.itemsize
        return f"{what} out of bounds: element {index} of {size}"


@dataclass(frozen=True)
class _Pointer:
    """What the interpreter uses of a torch tensor. It lies on the host, so nothing is ever copied."""

    dtype: str
    address: int

    def data_ptr(self) -> int:
        return self.address

    def untyped_storage(self) -> _Pointer:
        return self

    def cpu(self) -> _Pointer:
        return self

    def new_empty(self, _: int, device: str) -> _Pointer:
        return self

    def set_(self, *_: Any) -> None: ...

    def copy_(self, _: Any) -> None: ...

    def storage_offset(self) -> int:
        return 0

    def size(self) -> tuple[int, ...]:
        return ()

    def stride(self) -> tuple[int, ...]:
        return ()


@contextmanager
def _patched(memory: _Memory) -> Iterator[None]:
    """Give the interpreter checked memory, the element types it lacks, and loops it can count."""

    def np_dtype(dtype: Any) -> np.dtype[Any]:
        element = dtype.element_ty if isinstance(dtype, tl.block_type) else dtype
        return DTYPES[element.name].numpy if element.name in _EXTENDED else _np_dtype(dtype)

    def convert_float(data: Array, _: Any, dtype: Any, _rounding: Any) -> Array:
        return data.astype(np_dtype(dtype))

    def get_bf16(_: Any, value: float) -> interpreter.TensorHandle:
        return interpreter.TensorHandle(np.array([value], DTYPES["bf16"].numpy), tl.bfloat16)

    def patch_tensor(tensor: Any, scope: Any) -> None:
        _patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    patches = interpreter._LangPatchScope()
    try:
        patches.set_attr(interpreter, "_interpreter", memory)
        patches.set_attr(interpreter, "_get_np_dtype", np_dtype)
        patches.set_attr(interpreter, "_convert_float", convert_float)
        patches.set_attr(interpreter, "_patch_lang_tensor", patch_tensor)
        patches.set_attr(interpreter.InterpreterBuilder, "get_bf16", get_bf16)
        for owner, name, value in replacements(np_dtype):
            patches.set_attr(owner, name, value)
        yield
    finally:
        patches.restore()


@contextmanager
def _silent() -> Iterator[None]:
    """No output and no warnings: numbers overflow on purpose in masked elements."""
    with redirect_stdout(io.StringIO()), np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        yield


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
