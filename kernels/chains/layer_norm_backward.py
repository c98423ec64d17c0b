"""Backward pass of LayerNorm: the gradient of the input row by row, those of weight and bias in two launches.

Programs stay and take every so many rows, so that each adds up the gradients of weight and bias of its rows in
registers; a second launch adds what the programs have.
"""

import numpy as np
import triton
import triton.language as tl

from tuner import Chain, Constraint, Launch, Step, Tensor, Tolerance, cdiv, choice, next_power_of_2, powers_of_two


@triton.jit
def backward(
    dy_ptr,
    x_ptr,
    weight_ptr,
    M,
    N,
    dx_ptr,
    partial_weight_ptr,
    partial_bias_ptr,
    eps: tl.constexpr,
    GROUPS: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    group = tl.program_id(0)
    columns = tl.arange(0, BLOCK_N)
    inside = columns < N
    weight = tl.load(weight_ptr + columns, mask=inside, other=0.0).to(tl.float32)
    dweight = tl.zeros([BLOCK_N], tl.float32)
    dbias = tl.zeros([BLOCK_N], tl.float32)
    offsets = group.to(tl.int64) * N + columns
    stride = tl.full([], GROUPS, tl.int64) * N
    for _ in range(group, M, GROUPS):
        x = tl.load(x_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
        dy = tl.load(dy_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
        mean = tl.sum(x, axis=0) / N
        centred = tl.where(inside, x - mean, 0.0)
        scale = tl.rsqrt(tl.sum(centred * centred, axis=0) / N + eps)
        normal = centred * scale
        weighted = weight * dy
        along = tl.sum(normal * weighted, axis=0) / N
        level = tl.sum(weighted, axis=0) / N
        dx = (weighted - normal * along - level) * scale
        tl.store(dx_ptr + offsets, dx.to(dx_ptr.dtype.element_ty), mask=inside)
        dweight += dy * normal
        dbias += dy
        offsets += stride
    tl.store(partial_weight_ptr + group * N + columns, dweight, mask=inside)
    tl.store(partial_bias_ptr + group * N + columns, dbias, mask=inside)


@triton.jit
def add_groups(
    partial_weight_ptr,
    partial_bias_ptr,
    N,
    dweight_ptr,
    dbias_ptr,
    GROUPS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    dweight = tl.zeros([COLUMNS], tl.float32)
    dbias = tl.zeros([COLUMNS], tl.float32)
    for first in range(0, GROUPS, ROWS):
        rows = first + tl.arange(0, ROWS)[:, None]
        at = rows * N + columns[None, :]
        mask = (rows < GROUPS) & (columns[None, :] < N)
        dweight += tl.sum(tl.load(partial_weight_ptr + at, mask=mask, other=0.0), axis=0)
        dbias += tl.sum(tl.load(partial_bias_ptr + at, mask=mask, other=0.0), axis=0)
    tl.store(dweight_ptr + columns, dweight.to(dweight_ptr.dtype.element_ty), mask=columns < N)
    tl.store(dbias_ptr + columns, dbias.to(dbias_ptr.dtype.element_ty), mask=columns < N)


def reference(dy, x, weight, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
    normal, weighted = centred * scale, weight * dy
    along = (normal * weighted).mean(axis=-1, keepdims=True)
    dx = (weighted - normal * along - weighted.mean(axis=-1, keepdims=True)) * scale
    return dx, (dy * normal).sum(axis=0), dy.sum(axis=0)


kernel = Chain(
    id="example::layer_norm_backward",
    inputs={"dy": Tensor("T", "M N"), "x": Tensor("T", "M N"), "weight": Tensor("T", "N")},
    workspace={"partial_weight": Tensor("fp32", "GROUPS N"), "partial_bias": Tensor("fp32", "GROUPS N")},
    outputs={"dx": Tensor("T", "M N"), "dweight": Tensor("T", "N"), "dbias": Tensor("T", "N")},
    dtypes={"T": ("fp16", "bf16", "fp32")},
    attributes={"eps": 1e-5},
    steps=[
        Step(
            "rows",
            backward,
            inputs=("dy", "x", "weight"),
            outputs=("dx", "partial_weight", "partial_bias"),
            params=[powers_of_two("num_warps", 4, 32)],
            launch=lambda M, N, GROUPS: Launch(grid=(GROUPS,), args=(M, N)),
            constants=lambda N: {"BLOCK_N": next_power_of_2(N)},
        ),
        Step(
            "columns",
            add_groups,
            inputs=("partial_weight", "partial_bias"),
            outputs=("dweight", "dbias"),
            params=[powers_of_two("ROWS", 8, 64), powers_of_two("COLUMNS", 32, 128), choice("num_warps", 4)],
            launch=lambda N, COLUMNS: Launch(grid=(cdiv(N, COLUMNS),), args=(N,)),
        ),
    ],
    params=[choice("GROUPS", 66, 132, 264, 528)],  # half to four for each of the 132 multiprocessors of an H200
    constraints=[
        Constraint(
            "registers_per_thread",
            lambda rows_num_warps, N: N <= 32 * rows_num_warps * 32 or rows_num_warps == 32,
            "a thread would keep more than 32 elements of a row, and as many of each sum, in registers",
        ),
    ],
    default={
        "GROUPS": 132,
        "rows_num_warps": 32,
        "columns_ROWS": 16,
        "columns_COLUMNS": 64,
        "columns_num_warps": 4,
    },
    reference=reference,
    # fp32 inside. A gradient of weight or bias is a sum over M rows that may cancel: 2^-24 of partial sums of about
    # sqrt(M) for each step, 2^-11 bounds it for M up to 16 Ki; so does it what cancels in a row of dx, of which short
    # ones have a small variance. Then one rounding to T.
    tolerances={
        "fp32": Tolerance(rtol=2**-16, atol=2**-11),
        "fp16": Tolerance(rtol=2**-10, atol=2**-10),
        "bf16": Tolerance(rtol=2**-7, atol=2**-10),
    },
    flops=lambda M, N: 15 * M * N,
)
