"""CUDA C++ as projects write it: standard headers, a launcher in the same file, templates, values by value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tuner import Kernel, Launch, Tensor, choice
from tuner.compile.pipeline import compile_tactic
from tuner.compile.ptx import parse
from tuner.frontends import CudaCpp
from tuner.gpu.target import Target
from tuner.kernel.problem import Problem
from tuner.outcome import TacticError

pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings is not installed")

H100 = Target((9, 0))

NORM = r"""
// In the style of llm.c: a kernel, its helpers, its launcher and a main function in one file.
#include <stdio.h>
#include <stdlib.h>
#include <float.h>
#include <assert.h>
#include <cuda_runtime.h>
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include "common.h"
namespace cg = cooperative_groups;

#define CEIL_DIV(M, N) (((M) + (N)-1) / (N))
#define cudaCheck(err) (cuda_check(err, __FILE__, __LINE__))

void cuda_check(cudaError_t error, const char *file, int line) {
    if (error != cudaSuccess) { printf("[CUDA ERROR] at file %s:%d\n", file, line); exit(EXIT_FAILURE); }
}

void layernorm_forward_cpu(float* out, const float* inp, int N, int C) {
    float eps = 1e-5f;  /* { */
    for (int i = 0; i < N * C; i++) { out[i] = inp[i] * eps; }
}

__global__ void __launch_bounds__(THREADS) layernorm_forward(
    float* __restrict__ out, const float* __restrict__ inp, const float* __restrict__ weight, int N, int C, float eps) {
    cg::thread_block block = cg::this_thread_block();
    cg::thread_block_tile<32> warp = cg::tiled_partition<32>(block);
    int row = blockIdx.x * warp.meta_group_size() + warp.meta_group_rank();
    if (row >= N) { return; }
    float sum = 0.0f;
    for (int i = warp.thread_rank(); i < C; i += warp.size()) { sum += inp[row * C + i] * inp[row * C + i]; }
    sum = cg::reduce(warp, sum, cg::plus<float>{});
    assert(sum < FLT_MAX);
    float s = rsqrtf(sum / C + eps);
    for (int c = warp.thread_rank(); c < C; c += warp.size()) { out[row * C + c] = s * inp[row * C + c] * weight[c]; }
}

void layernorm(float* out, const float* inp, const float* weight, int N, int C, cudaStream_t stream) {
    layernorm_forward<<<CEIL_DIV(N * 32, 256), 256, 0, stream>>>(out, inp, weight, N, C, 1e-5f);
    cudaCheck(cudaGetLastError());
}

int main(int argc, const char **argv) {
    float* out = (float*)malloc(4);
    layernorm(out, out, out, 1, 1, 0);
    return 0;
}
"""

ACTIVATION = r"""
// In the style of vLLM: outputs first, templates, a torch launcher.
#include <ATen/cuda/CUDAContext.h>
#include <torch/all.h>
#include <c10/cuda/CUDAGuard.h>
#include <cmath>
#include <algorithm>
#include <cuda_fp16.h>
#include <cuda_bf16.h>

#define DEVICE_INLINE __device__ __forceinline__

namespace vllm {

template <typename T> DEVICE_INLINE T silu(const T& x) { return (T)(((float)x) / (1.0f + expf((float)-x))); }

template <typename scalar_t, int VEC>
__global__ void act_and_mul(scalar_t* __restrict__ out, const scalar_t* __restrict__ input, const int d,
                            const float limit) {
    const int64_t token = blockIdx.x;
    for (int64_t i = threadIdx.x * VEC; i < d; i += blockDim.x * VEC) {
#pragma unroll
        for (int k = 0; k < VEC; ++k) {
            const scalar_t x = input[token * 2 * d + i + k];
            const float y = std::min((float)input[token * 2 * d + d + i + k], limit);
            out[token * d + i + k] = (scalar_t)((float)silu(x) * y);
        }
    }
}

}  // namespace vllm

#define LAUNCH(KERNEL) \
    VLLM_DISPATCH_FLOATING_TYPES(input.scalar_type(), "act", [&] { KERNEL<scalar_t, 4><<<grid, block>>>(); });

void silu_and_mul(torch::Tensor& out, torch::Tensor& input) {
    int d = input.size(-1) / 2;
    dim3 grid(input.numel() / input.size(-1));
    LAUNCH(vllm::act_and_mul);
}
"""

SOFTMAX = r"""
// In the style of FasterTransformer: cub, a structure of parameters by value, explicit instantiation.
#include <cub/cub.cuh>
#include <type_traits>
#include <limits>
#include <string>
#include <vector>

struct SoftmaxParams {
    float scale;  // applied first
    int length;
    bool causal = false;
};

template <typename T, int BLOCK_SIZE>
__global__ void masked_softmax(T* output, const T* qk, SoftmaxParams params) {
    typedef cub::BlockReduce<float, BLOCK_SIZE> BlockReduce;
    __shared__ typename BlockReduce::TempStorage storage;
    __shared__ float shared_max, shared_sum;
    const int row = blockIdx.x;
    float top = std::numeric_limits<float>::lowest();
    for (int i = threadIdx.x; i < params.length; i += BLOCK_SIZE) {
        if (!params.causal || i <= row) { top = fmaxf(top, (float)qk[row * params.length + i] * params.scale); }
    }
    top = BlockReduce(storage).Reduce(top, [](float a, float b) { return fmaxf(a, b); });
    if (threadIdx.x == 0) { shared_max = top; }
    __syncthreads();
    float sum = 0.0f;
    for (int i = threadIdx.x; i < params.length; i += BLOCK_SIZE) {
        sum += expf((float)qk[row * params.length + i] * params.scale - shared_max);
    }
    sum = BlockReduce(storage).Sum(sum);
    if (threadIdx.x == 0) { shared_sum = sum; }
    __syncthreads();
    for (int i = threadIdx.x; i < params.length; i += BLOCK_SIZE) {
        const float value = expf((float)qk[row * params.length + i] * params.scale - shared_max);
        output[row * params.length + i] = (T)(value / shared_sum);
    }
}

template <typename T>
void invokeMaskedSoftmax(T* output, const T* qk, SoftmaxParams params, cudaStream_t stream) {
    std::vector<int> sizes{1, 2};
    masked_softmax<T, 256><<<1, 256, 0, stream>>>(output, qk, params);
}

template void invokeMaskedSoftmax(float* output, const float* qk, SoftmaxParams params, cudaStream_t stream);
"""

EMBED = r"""
#include <cstdint>
#include <stdint.h>
#include <utility>
extern "C" __global__ void embed(const int32_t* __restrict__ ids, const uint16_t* table,
                                 const uint16_t* bias, int width, uint16_t* __restrict__ rows) {
    const std::size_t row = blockIdx.x;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        std::uint16_t value = table[static_cast<std::int64_t>(ids[row]) * width + i];
        rows[row * width + i] = bias == nullptr ? value : static_cast<uint16_t>(value + bias[i]);
    }
}
#ifndef __CUDACC_RTC__
#include <iostream>
int main() { std::cout << "host" << std::endl; }
#endif
"""

SCALE = r"""
template <typename T, int N> __global__ void scale(T* y, const T* x, int count, T factor, bool clip) {
    const int i = (blockIdx.x * blockDim.x + threadIdx.x) * N;
#pragma unroll
    for (int k = 0; k < N; k++) {
        T value = x[i + k] * factor;
        if (i + k < count) y[i + k] = clip && value > T(1) ? T(1) : value;
    }
}
template __global__ void scale<float, 4>(float*, const float*, int, float, bool);
static void launch(float* y, const float* x, int n) { scale<float, 4><<<n / 4, 128>>>(y, x, n, 2.0f, true); }
"""


def norm() -> Problem:
    kernel = declared(
        CudaCpp(NORM, "layernorm_forward"),
        inputs={"inp": Tensor("fp32", "N C"), "weight": Tensor("fp32", "C")},
        outputs={"out": Tensor("fp32", "N C")},
        attributes={"eps": 1e-5},
        launch=lambda N, C, THREADS: Launch((N,), args={"N": N, "C": C}, block=(THREADS,)),
        reference=lambda inp, weight, eps: inp,
    )
    return Problem.of(kernel, {"N": 64, "C": 128})


def activation() -> Problem:
    kernel = declared(
        CudaCpp(ACTIVATION, "vllm::act_and_mul<T, VEC>"),
        inputs={"input": Tensor("T", "M D")},
        outputs={"out": Tensor("T", "M D")},
        dtypes={"T": ("fp16", "bf16")},
        attributes={"limit": 7.0},
        params=[choice("THREADS", 64, 128), choice("VEC", 2, 4)],
        default={"THREADS": 64, "VEC": 4},
        launch=lambda M, D, THREADS: Launch((M,), args={"d": D}, block=(THREADS,)),
        reference=lambda input, limit: input,  # noqa: A006,
    )
    return Problem.of(kernel, {"M": 64, "D": 128}, {"T": "bf16"})


def softmax() -> Problem:
    kernel = declared(
        CudaCpp(SOFTMAX, "masked_softmax<T, THREADS>"),
        inputs={"qk": Tensor("T", "M N")},
        outputs={"output": Tensor("T", "M N")},
        dtypes={"T": ("fp32", "fp16")},
        attributes={"scale": 0.125, "causal": False},
        launch=lambda M, N, THREADS: Launch((M,), args={"length": N}, block=(THREADS,)),
        reference=lambda qk, scale, causal: qk,
    )
    return Problem.of(kernel, {"M": 64, "N": 128}, {"T": "fp16"})


def embed() -> Problem:
    kernel = declared(
        CudaCpp(EMBED, "embed"),
        inputs={"ids": Tensor("i32", "M"), "table": Tensor("fp16", "V N")},
        outputs={"rows": Tensor("fp16", "M N")},
        absent=("bias",),
        launch=lambda M, N, THREADS: Launch((M,), args={"width": N}, block=(THREADS,)),
        reference=lambda ids, table: table[ids],
    )
    return Problem.of(kernel, {"M": 64, "N": 128, "V": 1000})


def scale() -> Problem:
    kernel = declared(
        CudaCpp(SCALE, "scale<float, 4>"),
        inputs={"x": Tensor("fp32", "N")},
        outputs={"y": Tensor("fp32", "N")},
        attributes={"factor": 2.0, "clip": True},
        launch=lambda N, THREADS: Launch((N,), args={"count": N}, block=(THREADS,)),
        reference=lambda x, factor, clip: x,
    )
    return Problem.of(kernel, {"N": 4096})


def declared(source: CudaCpp, **fields: Any) -> Kernel:
    fields = {"params": [choice("THREADS", 64, 128)], "default": {"THREADS": 64}, **fields}
    return Kernel(id="test::real", source=source, **fields)


REAL: Mapping[str, tuple[Callable[[], Problem], list[int]]] = {
    "norm": (norm, [8, 8, 4, 4, 8]),
    "activation": (activation, [8, 4, 8]),
    "softmax": (softmax, [8, 4, 8]),
    "embed": (embed, [8, 8, 4, 8]),
    "scale": (scale, [8, 4, 8]),
}


@pytest.mark.parametrize(("make", "sizes"), REAL.values(), ids=REAL)
def test_kernels_as_projects_write_them_compile_as_they_are(make: Callable[[], Problem], sizes: list[int]) -> None:
    problem = make()
    artifact = compile_tactic(problem, problem.kernel.default, H100)
    assert [p.size for p in parse(artifact.ptx).entry.params] == sizes
    assert artifact.block == (64, 1, 1)
    assert artifact.resources.spill_store_bytes == 0


def test_a_value_that_is_compiled_in_leads_to_other_code() -> None:
    plain = scale()
    clipped = Problem.of(plain.kernel, {"N": 4096}, {}, {"factor": 2.0, "clip": False})
    codes = [compile_tactic(p, p.kernel.default, H100).ptx for p in (plain, clipped)]
    assert codes[0] != codes[1] and codes[0].count("min") + codes[0].count("setp") > codes[1].count("setp")


def test_a_header_that_is_needed_and_missing_is_named() -> None:
    source = CudaCpp(NORM.replace("rsqrtf(", "inverse_root("), "layernorm_forward")
    kernel = declared(
        source,
        inputs={"inp": Tensor("fp32", "N C"), "weight": Tensor("fp32", "C")},
        outputs={"out": Tensor("fp32", "N C")},
        attributes={"eps": 1e-5},
        launch=lambda N, C, THREADS: Launch((N,), args={"N": N, "C": C}, block=(THREADS,)),
        reference=lambda inp, weight, eps: inp,
    )
    with pytest.raises(TacticError, match=r"^kernel\.cu\(\d+\): identifier \"inverse_root\" is undefined; .*common\.h"):
        compile_tactic(Problem.of(kernel, {"N": 64, "C": 128}), {"THREADS": 64}, H100)


def test_a_file_with_its_launcher_is_compiled_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "common.h").write_text("#include <vector>\nstd::vector<int> sizes();\n#define ONE 1\n")
    (tmp_path / "norm.cu").write_text(NORM)
    kernel = norm().kernel
    source = CudaCpp(tmp_path / "norm.cu", "layernorm_forward")
    fields = {n: getattr(kernel, n) for n in ("inputs", "outputs", "attributes", "launch", "reference")}
    problem = Problem.of(declared(source, **fields), {"N": 64, "C": 128})
    assert compile_tactic(problem, {"THREADS": 64}, H100).block == (64, 1, 1)
