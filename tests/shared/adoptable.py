"""Host functions as people write them, and what makes them files."""

SOURCE = """
import torch
import triton
import triton.language as tl


@triton.jit
def _scale_kernel(out_ptr, out_stride, x_ptr, x_stride, w_ptr, n_cols, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * x_stride + at, mask=at < n_cols, other=0.0).to(tl.float32)
    w = tl.load(w_ptr + at, mask=at < n_cols, other=0.0).to(tl.float32)
    tl.store(out_ptr + row * out_stride + at, (x * w + eps).to(out_ptr.dtype.element_ty), mask=at < n_cols)


def scale(x, w, eps):
    rows, cols = x.shape
    out = torch.empty_like(x)
    if eps < 0:
        raise ValueError("eps is negative")
    if w is None:
        return x
    _scale_kernel[(rows,)](out, out.stride(0), x, x.stride(0), w, cols, eps, BLOCK=triton.next_power_of_2(cols))
    return out


@triton.jit
def _add_kernel(x_ptr, y_ptr, n, BLOCK_SIZE: tl.constexpr):
    at = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    x = tl.load(x_ptr + at, mask=at < n)
    tl.store(x_ptr + at, x + tl.load(y_ptr + at, mask=at < n), mask=at < n)


def add_(x, y):
    n = x.numel()
    _add_kernel[lambda meta: (triton.cdiv(n, meta["BLOCK_SIZE"]),)](x, y, n, BLOCK_SIZE=1024)
    return x


@triton.jit
def _sum_kernel(x_ptr, total_ptr, n, BLOCK_SIZE: tl.constexpr):
    row, part = tl.program_id(0), tl.program_id(1)
    at = part * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    tl.atomic_add(total_ptr + row, tl.sum(tl.load(x_ptr + row * n + at, mask=at < n, other=0.0)))


def row_sums(x):
    total = torch.zeros(x.shape[0], dtype=torch.float32, device=x.device)
    _sum_kernel[(x.shape[0], triton.cdiv(x.shape[1], 512))](x, total, x.shape[1], BLOCK_SIZE=512)
    return total


@triton.jit
def _parts_kernel(x_ptr, partial_ptr, N, TILE: tl.constexpr):
    row, part = tl.program_id(0), tl.program_id(1)
    at = part * TILE + tl.arange(0, TILE)
    value = tl.load(x_ptr + row * N + at, mask=at < N, other=0.0)
    tl.store(partial_ptr + row * tl.num_programs(1) + part, tl.max(tl.abs(value)))


@triton.jit
def _whole_kernel(partial_ptr, peak_ptr, P, WIDE: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, WIDE)
    tl.store(peak_ptr + row, tl.max(tl.load(partial_ptr + row * P + at, mask=at < P, other=0.0)))


def peak(x):
    rows, cols = x.shape
    parts = triton.cdiv(cols, 256)
    partial = torch.empty((rows, parts), dtype=torch.float32, device=x.device)
    out = torch.empty((rows,), dtype=torch.float32, device=x.device)
    _parts_kernel[(rows, parts)](x, partial, cols, TILE=256)
    _whole_kernel[(rows,)](partial, out, parts, WIDE=triton.next_power_of_2(parts))
    return out


def whole_rows(x, y):
    assert x.shape[1] % 128 == 0, "rows are multiples of 128"
    return add_(x, y)


def running(x):
    return add_(x, x.cumsum(0))
"""
