"""The launch that gives a tensor the value that it starts with."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature

import triton
import triton.language as tl

from tuner.kernel.arith import Int, cdiv
from tuner.kernel.launch import Launch
from tuner.kernel.tensor import Tensor
from tuner.search.tactic import Value


@triton.jit  # type: ignore[untyped-decorator]
def fill(rows, columns, out_ptr, VALUE: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Give each of rows x columns elements, whose number may take 64 bits, a value."""
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    elements = tl.full([], 1, tl.int64) * rows * columns
    tl.store(out_ptr + offsets, tl.full([BLOCK], VALUE, out_ptr.dtype.element_ty), mask=offsets < elements)


def fill_tactic(tensor: Tensor) -> dict[str, Value]:
    """The only tactic: 16 elements to a thread, which it stores four or more at a time."""
    assert tensor.start is not None
    return {"VALUE": tensor.start, "BLOCK": 4096, "num_warps": 8}


def fill_launch(tensor: Tensor) -> Callable[..., Launch]:
    """Blocks for all elements; the two integers are its first extent and the product of the others."""

    def launch(BLOCK: int, **sizes: Int) -> Launch:
        rows: Int = 1
        columns: Int = 1
        for axis, extent in enumerate(tensor.evaluate(sizes)):
            rows, columns = (rows, columns * extent) if axis else (extent, columns)
        return Launch(grid=(cdiv(rows * columns, BLOCK),), args=(rows, columns))

    names = ("BLOCK", *tensor.names)
    launch.__signature__ = Signature([Parameter(n, Parameter.KEYWORD_ONLY) for n in names])  # type: ignore[attr-defined]
    return launch
