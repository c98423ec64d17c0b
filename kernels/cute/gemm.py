"""C = A B in CuTe DSL: tiles pass through shared memory by asynchronous copies to warp-level tensor cores.

Strides are constants, so that 16-byte copies are known to be aligned; every layout is made where it is used.
"""

import cutlass
from cutlass import cute
from cutlass.cute.nvgpu import cpasync, warp
from cutlass.memory import SmemAllocator

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, choice
from tuner.frontends import CuteDsl

WIDTH = 8
"""Elements in a 16-byte copy."""


@cute.kernel
def gemm(
    a: cute.Pointer,
    b: cute.Pointer,
    M: cutlass.Int32,
    c: cute.Pointer,
    N: cutlass.Constexpr,
    K: cutlass.Constexpr,
    BLOCK_M: cutlass.Constexpr,
    BLOCK_N: cutlass.Constexpr,
    BLOCK_K: cutlass.Constexpr,
    GROUP_M: cutlass.Constexpr,
    WARPS_M: cutlass.Constexpr,
    WARPS_N: cutlass.Constexpr,
    STAGES: cutlass.Constexpr,
):
    thread, _, _ = cute.arch.thread_idx()
    block, _, _ = cute.arch.block_idx()
    # Blocks run down GROUP_M rows of tiles before they move on, so that those at work share what the L2 holds.
    group, place = block // (GROUP_M * (N // BLOCK_N)), block % (GROUP_M * (N // BLOCK_N))
    rows = cutlass.min(M // BLOCK_M - group * GROUP_M, GROUP_M)
    m, n = group * GROUP_M + place % rows, place // rows

    dtype = a.value_type
    gA = cute.local_tile(cute.make_tensor(a, cute.make_layout((M, K), stride=(K, 1))), (BLOCK_M, BLOCK_K), (m, None))
    gB = cute.local_tile(cute.make_tensor(b, cute.make_layout((N, K), stride=(1, N))), (BLOCK_N, BLOCK_K), (n, None))
    gC = cute.local_tile(cute.make_tensor(c, cute.make_layout((M, N), stride=(N, 1))), (BLOCK_M, BLOCK_N), (m, n))

    # Swizzled, so that neither the copies nor ldmatrix meet a bank twice.
    memory = SmemAllocator()
    swizzle = cute.make_swizzle({32: 2, 64: 3}[BLOCK_K], 3, 3)
    rows_of_a = cute.make_composed_layout(swizzle, 0, cute.make_layout((8, BLOCK_K), stride=(BLOCK_K, 1)))
    columns_of_b = cute.make_composed_layout(cute.make_swizzle(3, 3, 3), 0, cute.make_layout((64, 8), stride=(1, 64)))
    sA = memory.allocate_tensor(dtype, cute.tile_to_shape(rows_of_a, (BLOCK_M, BLOCK_K, STAGES), (0, 1, 2)), 128)
    sB = memory.allocate_tensor(dtype, cute.tile_to_shape(columns_of_b, (BLOCK_N, BLOCK_K, STAGES), (0, 1, 2)), 128)

    threads, across_a, across_b = 32 * WARPS_M * WARPS_N, BLOCK_K // WIDTH, BLOCK_N // WIDTH
    bypass = cpasync.CopyG2SOp(cache_mode=cpasync.LoadCacheMode.GLOBAL)
    wide = cute.make_copy_atom(bypass, dtype, num_bits_per_copy=128)
    copy_a = cute.make_tiled_copy_tv(
        wide, cute.make_layout((threads // across_a, across_a), stride=(across_a, 1)), cute.make_layout((1, WIDTH))
    )
    copy_b = cute.make_tiled_copy_tv(
        wide, cute.make_layout((across_b, threads // across_b)), cute.make_layout((WIDTH, 1))
    )
    from_a, to_a = copy_a.get_slice(thread).partition_S(gA), copy_a.get_slice(thread).partition_D(sA)
    from_b, to_b = copy_b.get_slice(thread).partition_S(gB), copy_b.get_slice(thread).partition_D(sB)

    # Two instructions side by side along n fill what one ldmatrix loads.
    instruction = warp.MmaF16BF16Op(dtype, cutlass.Float32, (16, 8, 16))
    mma = cute.make_tiled_mma(instruction, (WARPS_M, WARPS_N, 1), permutation_mnk=(WARPS_M * 16, WARPS_N * 16, 16))
    mine = mma.get_slice(thread)
    rA = mma.make_fragment_A(mine.partition_A(sA)[None, None, None, 0])
    rB = mma.make_fragment_B(mine.partition_B(sB)[None, None, None, 0])
    gC = mine.partition_C(gC)
    total = mma.make_fragment_C(gC)
    total.fill(0.0)
    load_a = cute.make_tiled_copy_A(cute.make_copy_atom(warp.LdMatrix8x8x16bOp(False, 4), dtype), mma)
    load_b = cute.make_tiled_copy_B(cute.make_copy_atom(warp.LdMatrix8x8x16bOp(True, 4), dtype), mma)
    sA, sB = load_a.get_slice(thread).partition_S(sA), load_b.get_slice(thread).partition_S(sB)
    rA_loaded, rB_loaded = load_a.retile(rA), load_b.retile(rB)

    for stage in cutlass.range_constexpr(STAGES - 1):
        if cutlass.const_expr(stage < K // BLOCK_K):
            cute.copy(copy_a, from_a[None, None, None, stage], to_a[None, None, None, stage])
            cute.copy(copy_b, from_b[None, None, None, stage], to_b[None, None, None, stage])
        cute.arch.cp_async_commit_group()
    for k in cutlass.range(K // BLOCK_K):
        cute.arch.cp_async_wait_group(STAGES - 2)
        cute.arch.sync_threads()  # the tile is there for all, and all are done with the stage that is filled next
        ahead, stage = k + STAGES - 1, k % STAGES
        if ahead < K // BLOCK_K:
            free = ahead % STAGES
            cute.copy(copy_a, from_a[None, None, None, ahead], to_a[None, None, None, free])
            cute.copy(copy_b, from_b[None, None, None, ahead], to_b[None, None, None, free])
        cute.arch.cp_async_commit_group()
        for step in cutlass.range_constexpr(BLOCK_K // 16):
            cute.copy(load_a, sA[None, None, step, stage], rA_loaded[None, None, step])
            cute.copy(load_b, sB[None, None, step, stage], rB_loaded[None, None, step])
            cute.gemm(mma, total, rA[None, None, step], rB[None, None, step], total)

    result = cute.make_rmem_tensor(total.shape, dtype)
    result.store(total.load().to(dtype))
    cute.autovec_copy(result, gC)


@cute.jit
def launch(
    a: cute.Pointer,
    b: cute.Pointer,
    M: cutlass.Int32,
    c: cute.Pointer,
    N: cutlass.Constexpr,
    K: cutlass.Constexpr,
    BLOCK_M: cutlass.Constexpr,
    BLOCK_N: cutlass.Constexpr,
    BLOCK_K: cutlass.Constexpr,
    GROUP_M: cutlass.Constexpr,
    WARPS_M: cutlass.Constexpr,
    WARPS_N: cutlass.Constexpr,
    STAGES: cutlass.Constexpr,
):
    tile = (BLOCK_M, BLOCK_N, BLOCK_K, GROUP_M, WARPS_M, WARPS_N, STAGES)
    gemm(a, b, M, c, N, K, *tile).launch(grid=(1, 1, 1), block=(32 * WARPS_M * WARPS_N, 1, 1))


kernel = Kernel(
    id="example::gemm_cute",
    source=CuteDsl(launch),
    inputs={"a": Tensor("T", "M K"), "b": Tensor("T", "K N")},
    outputs={"c": Tensor("T", "M N")},
    dtypes={"T": ("fp16", "bf16")},
    params=[
        choice("BLOCK_M", 64, 128, 256),
        choice("BLOCK_N", 64, 128, 256),
        choice("BLOCK_K", 32, 64),
        choice("GROUP_M", 1, 8),
        choice("WARPS_M", 1, 2, 4),
        choice("WARPS_N", 1, 2, 4),
        choice("STAGES", 2, 3, 4, 5),
    ],
    constraints=[
        Constraint(
            "tiles_fill_the_matrices",
            lambda BLOCK_M, BLOCK_N, BLOCK_K, M, N, K: M % BLOCK_M == N % BLOCK_N == K % BLOCK_K == 0,
            "the kernel has no code for a part of a tile",
        ),
        Constraint(
            "shared_memory",
            lambda BLOCK_M, BLOCK_N, BLOCK_K, STAGES: 2 * STAGES * BLOCK_K * (BLOCK_M + BLOCK_N) <= 227 * 1024,
            "the stages would not fit in shared memory",
        ),
        Constraint(
            "accumulators_per_thread",
            lambda BLOCK_M, BLOCK_N, WARPS_M, WARPS_N: 32 <= BLOCK_M * BLOCK_N // (32 * WARPS_M * WARPS_N) <= 128,
            "a thread would hold fewer than 32 or more than 128 sums",
        ),
        Constraint(
            "warps_per_block",
            lambda WARPS_M, WARPS_N: 4 <= WARPS_M * WARPS_N <= 8,
            "fewer than 4 warps do not keep the schedulers busy, more than 8 leave each too few registers",
        ),
        Constraint(
            "threads_have_copies",
            lambda BLOCK_M, BLOCK_N, BLOCK_K, WARPS_M, WARPS_N: (
                32 * WARPS_M * WARPS_N <= min(BLOCK_M, BLOCK_N) * BLOCK_K // WIDTH
            ),
            "a tile would be fewer copies than there are threads",
        ),
    ],
    default={
        "BLOCK_M": 128,
        "BLOCK_N": 128,
        "BLOCK_K": 32,
        "GROUP_M": 8,
        "WARPS_M": 2,
        "WARPS_N": 2,
        "STAGES": 3,
    },
    launch=lambda M, N, BLOCK_M, BLOCK_N, BLOCK_K, STAGES: Launch(
        grid=((M // BLOCK_M) * (N // BLOCK_N),),
        args=(M,),
        shared_bytes=2 * STAGES * BLOCK_K * (BLOCK_M + BLOCK_N),
    ),
    reference=lambda a, b: a @ b,
    # Those of the Triton kernel, whose sums have as many terms.
    tolerances={"fp16": Tolerance(rtol=2**-10, atol=2**-5), "bf16": Tolerance(rtol=2**-7, atol=2**-5)},
    flops=lambda M, N, K: 2 * M * N * K,
    tiles={"M": "BLOCK_M", "N": "BLOCK_N", "K": "BLOCK_K"},
)
