"""LayerNorm over the last dimension: rows that fit in registers are read once, longer ones in blocks."""

import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, powers_of_two


@triton.jit
def layer_norm(x_ptr, weight_ptr, bias_ptr, M, N, y_ptr, eps: tl.constexpr, ROWS: tl.constexpr, BLOCK_N: tl.constexpr):
    first = tl.program_id(0) * ROWS
    x_ptr += first.to(tl.int64) * N
    y_ptr += first.to(tl.int64) * N
    rows = tl.arange(0, ROWS)[:, None]
    columns = tl.arange(0, BLOCK_N)[None, :]
    inside = first + rows < M
    offsets = rows * N + columns
    if N <= BLOCK_N:  # the same for all programs, so it costs one branch
        mask = inside & (columns < N)
        x = tl.load(x_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
        mean = tl.sum(x, axis=1, keep_dims=True) / N
        centred = tl.where(columns < N, x - mean, 0.0)
        scale = tl.rsqrt(tl.sum(centred * centred, axis=1, keep_dims=True) / N + eps)
        weight = tl.load(weight_ptr + columns, mask=columns < N).to(tl.float32)
        bias = tl.load(bias_ptr + columns, mask=columns < N).to(tl.float32)
        tl.store(y_ptr + offsets, (centred * scale * weight + bias).to(y_ptr.dtype.element_ty), mask=mask)
    else:
        # Means and squared deviations of blocks merge as in "Updating formulae and a pairwise algorithm for computing
        # sample variances" (Chan, Golub, LeVeque, 1979).
        mean = tl.zeros([ROWS, 1], tl.float32)
        squares = tl.zeros([ROWS, 1], tl.float32)
        for start in range(0, N, BLOCK_N):
            count = min(BLOCK_N, N - start)
            x = tl.load(x_ptr + start + offsets, mask=inside & (start + columns < N), other=0.0).to(tl.float32)
            block_mean = tl.sum(x, axis=1, keep_dims=True) / count
            centred = tl.where(columns < count, x - block_mean, 0.0)
            step = block_mean - mean
            share = count / (start + count)
            squares += tl.sum(centred * centred, axis=1, keep_dims=True) + step * step * share * start
            mean += step * share
        scale = tl.rsqrt(squares / N + eps)
        for start in range(0, N, BLOCK_N):
            mask = inside & (start + columns < N)
            x = tl.load(x_ptr + start + offsets, mask=mask).to(tl.float32)
            weight = tl.load(weight_ptr + start + columns, mask=start + columns < N).to(tl.float32)
            bias = tl.load(bias_ptr + start + columns, mask=start + columns < N).to(tl.float32)
            y = (x - mean) * scale * weight + bias
            tl.store(y_ptr + start + offsets, y.to(y_ptr.dtype.element_ty), mask=mask)


def reference(x, weight, bias, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / (centred.var(axis=-1, keepdims=True) + eps) ** 0.5 * weight + bias


kernel = Kernel(
    id="example::layer_norm",
    source=layer_norm,
    inputs={"x": Tensor("T", "*M N"), "weight": Tensor("T", "N"), "bias": Tensor("T", "N")},
    outputs={"y": Tensor("T", "*M N")},
    dtypes={"T": ("fp16", "bf16", "fp32")},
    attributes={"eps": 1e-5},
    params=[
        powers_of_two("ROWS", 1, 16),
        powers_of_two("BLOCK_N", 256, 32768),
        powers_of_two("num_warps", 1, 32),
    ],
    constraints=[
        Constraint(
            "thread_has_work",
            lambda ROWS, BLOCK_N, num_warps: ROWS * BLOCK_N >= 32 * num_warps * 4,
            "threads would hold fewer than 4 elements, too few for wide loads",
        ),
        Constraint(
            "registers_per_thread",
            lambda ROWS, BLOCK_N, num_warps: ROWS * BLOCK_N <= 32 * num_warps * 128,
            "a thread would keep more than 128 elements in registers",
        ),
        Constraint(
            "register_file",
            lambda ROWS, BLOCK_N: ROWS * BLOCK_N <= 32768,
            "a block would need more than the 64 Ki registers of a multiprocessor, and spill",
        ),
        Constraint(
            "block_within_row",
            lambda BLOCK_N, N: BLOCK_N < 2 * N or BLOCK_N <= 4096,
            "more than half of a large block would lie beyond the row",
        ),
    ],
    default={"ROWS": 1, "BLOCK_N": 4096, "num_warps": 8},
    launch=lambda M, N, ROWS: Launch(grid=(cdiv(M, ROWS),), args=(M, N)),
    reference=reference,
    # fp32 inside: sums are off by an ulp for each level of their trees and each step of a thread, about 32 of them,
    # rsqrt and the products add a few: 2^-18 of the product with the weight, which is below 16 for inputs of unit
    # variance and may cancel with the bias: 2^-14 absolute. Then one rounding to T.
    tolerances={
        "fp32": Tolerance(rtol=2**-18, atol=2**-14),
        "fp16": Tolerance(rtol=2**-10, atol=2**-14),
        "bf16": Tolerance(rtol=2**-7, atol=2**-14),
    },
    flops=lambda M, N: 8 * M * N,
    tiles={"M": "ROWS", "N": "BLOCK_N"},
)
