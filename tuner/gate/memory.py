"""The memory that an interpreted kernel sees: every access is checked before it happens.

Both kinds stand in for the interpreter's native module, whose functions follow addresses unchecked. `Memory` holds
the tensors in one buffer, between wide gaps. `AddressSpace` holds nothing: it lays tensors of any size out in a
64-bit address space, so that single programs of a grid can be followed at sizes that no machine would allocate.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from triton.runtime import interpreter

from tuner.errors import UnavailableError
from tuner.frontends.base import NOTHING
from tuner.frontends.dtypes import DTYPES
from tuner.gate.drawing import largest
from tuner.gate.inputs import Array, draw_input, draw_part, generator, separate
from tuner.kernel.problem import Problem
from tuner.kernel.tensor import Tensor
from tuner.kernel.values import ValueRule

_GAP = 1 << 20
"""Bytes between tensors that are held. Never touched, so they take address space and no memory."""
_ALIGNMENT = 256
"""Bytes; what device allocators give, and more than a tensor descriptor asks for."""
_FAR = 1 << 46
"""Bytes from one tensor to the next where none is held: farther than any 32-bit offset leads."""

_HELD = 1 << 26
"""Most elements of an input that is drawn as a whole, for what is loaded of it."""

_native = interpreter._interpreter


class AccessError(Exception):
    """A program loads or stores outside its tensors, or stores to an input."""


@dataclass(frozen=True)
class Region:
    """Where a tensor lies: addresses in bytes, the end excluded."""

    name: str
    start: int
    end: int
    itemsize: int
    writable: bool


class Regions:
    """The tensors of one launch, by name, and whether an access stays within them."""

    def __init__(self) -> None:
        self.regions: dict[str, Region] = {}

    def check(self, pointers: Array, mask: Array, itemsize: int, verb: str, *, writes: bool) -> None:
        """Refuse an access that is not wholly within the tensors.

        Args:
            pointers: addresses.
            mask: which of them are used; of their shape or one that broadcasts to it.
            itemsize: bytes at each address.
            verb: what the program does, for the message.
            writes: whether inputs are out of bounds, too.

        Raises:
            AccessError: naming the program and the element.
        """
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


class Memory(Regions):
    """Tensors that are held, with what is in them."""

    def __init__(
        self, inputs: Mapping[str, Array], outputs: Mapping[str, Array], aliases: Mapping[str, str] = NOTHING
    ) -> None:
        """Hold copies of the tensors; `aliases` names the outputs that lie where an input does, which they begin as."""
        super().__init__()
        arrays = {**inputs, **{name: array for name, array in outputs.items() if name not in aliases}}
        written = {*outputs, *aliases.values()}
        strides = [_GAP + -(-a.nbytes // _ALIGNMENT) * _ALIGNMENT for a in arrays.values()]
        self._buffer = np.empty(sum(strides) + _GAP + _ALIGNMENT, np.uint8)
        self._base = int(self._buffer.ctypes.data)
        start = -(-(self._base + _GAP) // _ALIGNMENT) * _ALIGNMENT
        for (name, array), stride in zip(arrays.items(), strides, strict=True):
            self.regions[name] = Region(name, start, start + array.nbytes, array.itemsize, name in written)
            self.read(name, array)[...] = array
            start += stride
        self.regions |= {name: self.regions[of] for name, of in aliases.items()}

    def read(self, name: str, like: Array) -> Array:
        """A view of a tensor, with the shape and data type of another array."""
        region = self.regions[name]
        memory = self._buffer[region.start - self._base : region.end - self._base]
        return memory.view(like.dtype).reshape(like.shape)

    def load(self, pointers: Array, mask: Array, other: Array, dtype: np.dtype[Any]) -> Array:
        self.check(pointers, mask, dtype.itemsize, "reads", writes=False)
        return _native.load(pointers, mask, other, dtype)  # type: ignore[no-any-return]

    def store(self, pointers: Array, value: Array, mask: Array) -> None:
        self.check(pointers, mask, value.itemsize, "writes", writes=True)
        _native.store(pointers, value, mask)

    def atomic_rmw(self, operation: Any, pointers: Array, value: Array, mask: Array, order: Any) -> Array:
        self.check(pointers, mask, value.itemsize, "writes", writes=True)
        return _native.atomic_rmw(operation, pointers, value, mask, order)  # type: ignore[no-any-return]

    def atomic_cas(self, pointers: Array, compare: Array, value: Array, order: Any) -> Array:
        self.check(pointers, np.ones_like(pointers, bool), value.itemsize, "writes", writes=True)
        return _native.atomic_cas(pointers, compare, value, order)  # type: ignore[no-any-return]


class AddressSpace(Regions):
    """Tensors of a problem at its own sizes, with nothing in them.

    Integers that are loaded from an input are drawn as `make_inputs` draws them, and where a rule says how, the largest
    there is is among them: offsets may be made of them. All else reads as zeros, and stores vanish.
    """

    def __init__(self, problem: Problem, seed: int, made: Collection[str] = ()) -> None:
        """Lay the tensors out; `made` names inputs that an earlier launch makes, of whose values nothing is known."""
        super().__init__()
        self._made, aliases = made, problem.kernel.aliases
        self._problem, self._seed, self._rng = problem, seed, np.random.default_rng(seed)
        self._wholes: dict[str, Array] = {}
        self._tensors: dict[str, Tensor] = {**problem.kernel.inputs, **problem.kernel.outputs}
        for i, (name, tensor) in enumerate(self._tensors.items()):
            itemsize = DTYPES[problem.dtype(tensor)].itemsize
            start, size = (i + 1) * _FAR, prod(problem.shape(tensor)) * itemsize
            writable = name in problem.kernel.outputs or name in aliases.values()
            self.regions[name] = Region(name, start, start + size, itemsize, writable)
        self.regions |= {name: self.regions[of] for name, of in aliases.items()}

    def load(self, pointers: Array, mask: Array, other: Array, dtype: np.dtype[Any]) -> Array:
        self.check(pointers, mask, dtype.itemsize, "reads", writes=False)
        used = np.broadcast_to(mask, pointers.shape).astype(bool)
        values = np.zeros(pointers.shape, dtype)
        if used.any():
            region = self._at(int(pointers[used].flat[0]))
            tensor = self._tensors[region.name]
            declared = DTYPES[self._problem.dtype(tensor)]
            known = not region.writable and region.name not in self._made
            if known and declared.kind != "f" and declared.numpy == dtype:
                values = self._drawn(region, tensor, pointers)
        return np.where(used, values, other).astype(dtype)

    def store(self, pointers: Array, value: Array, mask: Array) -> None:
        self.check(pointers, mask, value.itemsize, "writes", writes=True)

    def atomic_rmw(self, _operation: Any, pointers: Array, value: Array, mask: Array, _order: Any) -> Array:
        self.check(pointers, mask, value.itemsize, "writes", writes=True)
        return np.zeros_like(value)

    def atomic_cas(self, pointers: Array, compare: Array, value: Array, _order: Any) -> Array:
        self.check(pointers, np.ones_like(pointers, bool), value.itemsize, "writes", writes=True)
        return compare.copy()

    def _drawn(self, region: Region, tensor: Tensor, pointers: Array) -> Array:
        """What an input of integers holds at some addresses, which may lie outside of it where they are masked."""
        if separate(tensor):
            values = np.array(draw_part(self._problem, tensor, pointers.shape, self._rng))
            if isinstance(tensor.drawn, ValueRule):
                values.flat[-1] = largest(tensor.drawn, self._problem.scope())
            return values
        if region.name not in self._wholes:
            elements = prod(self._problem.shape(tensor))
            if elements > _HELD:
                raise UnavailableError(
                    f"the {elements} values of {region.name!r} follow from each other: too many to draw"
                )
            rng = generator(self._problem, region.name, self._seed)
            self._wholes[region.name] = draw_input(self._problem, region.name, rng).reshape(-1)
        whole = self._wholes[region.name]
        return whole.take((pointers - region.start) // region.itemsize, mode="clip")

    def _at(self, address: int) -> Region:
        return next(r for r in self.regions.values() if r.start <= address < r.end)
