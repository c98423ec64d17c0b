"""What torch offers for each operator of the suite, by name.

An offer takes a problem's inputs and outputs, launches on torch's current stream and returns the outputs,
whether it wrote into those given or made its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from side_by_side import Operator


def offers(problem: Any) -> dict[str, Operator]:
    """The equivalents of a problem's kernel, with the problem's attributes."""
    return _OFFERS[problem.kernel.name](**problem.scope())


def _increment(**_: Any) -> dict[str, Operator]:
    import torch

    return {"torch.add": lambda x, y: torch.add(x[0], 1, out=y[0])}


def _gelu(approximate: bool, **_: Any) -> dict[str, Operator]:
    from torch.nn import functional

    form = "tanh" if approximate else "none"
    return {f"gelu, {form}": lambda x, y: functional.gelu(x[0], approximate=form)}


def _swiglu(**_: Any) -> dict[str, Operator]:
    from torch.nn import functional

    return {"silu(gate) * up": lambda x, y: functional.silu(x[0]) * x[1]}


def _softmax(**_: Any) -> dict[str, Operator]:
    import torch

    return {"torch.softmax": lambda x, y: torch.softmax(x[0], -1, out=y[0])}


def _layer_norm(N: int, eps: float, **_: Any) -> dict[str, Operator]:
    from torch.nn import functional

    return {"layer_norm": lambda x, y: functional.layer_norm(x[0], (N,), x[1], x[2], eps)}


def _rms_norm(N: int, eps: float, **_: Any) -> dict[str, Operator]:
    from torch.nn import functional

    return {"rms_norm": lambda x, y: functional.rms_norm(x[0], (N,), x[1], eps)}


def _add_rms_norm(N: int, eps: float, **_: Any) -> dict[str, Operator]:
    from torch.nn import functional

    def add_rms_norm(x: list[Any], y: list[Any]) -> Any:
        total = x[0] + x[1]
        return functional.rms_norm(total, (N,), x[2], eps), total

    return {"add, rms_norm": add_rms_norm}


def _transpose(**_: Any) -> dict[str, Operator]:
    return {"x.t().contiguous()": lambda x, y: x[0].t().contiguous()}


def _argmax(**_: Any) -> dict[str, Operator]:
    import torch

    return {"torch.max": lambda x, y: tuple(torch.max(x[0], -1))}


def _quantize_fp8(**_: Any) -> dict[str, Operator]:
    import torch

    def quantize(x: list[Any], y: list[Any]) -> Any:
        scale = (x[0].abs().amax(-1, keepdim=True).float() / 448).clamp_min(1e-30)
        return (x[0] / scale).to(torch.float8_e4m3fn), scale.squeeze(-1)

    return {"abs, amax, divide, cast": quantize}


def _rope(**_: Any) -> dict[str, Operator]:
    import torch

    def rotate(x: Any, cos: Any, sin: Any) -> Any:
        a, b = x.unbind(-2)
        return torch.stack((a * cos - b * sin, b * cos + a * sin), -2).to(x.dtype)

    def rope(x: list[Any], y: list[Any]) -> Any:
        cos, sin = x[2].unsqueeze(-2), x[3].unsqueeze(-2)
        return rotate(x[0], cos, sin), rotate(x[1], cos, sin)

    return {"multiply, add, stack": rope}


def _embedding(L: int, **_: Any) -> dict[str, Operator]:
    from torch.nn import functional

    offered: dict[str, Operator] = {
        "embedding_bag, sum": lambda x, y: functional.embedding_bag(x[1], x[0], mode="sum"),
    }
    if L == 1:
        offered["embedding"] = lambda x, y: functional.embedding(x[1].squeeze(-1), x[0])
    return offered


def _depthwise_conv(R: int, S: int, C: int, **_: Any) -> dict[str, Operator]:
    import torch
    from torch.nn import functional

    def convolve(benchmark: bool, x: list[Any], y: list[Any]) -> Any:
        image, weight = x[0].permute(0, 3, 1, 2), x[1].permute(2, 0, 1).unsqueeze(1)
        with torch.backends.cudnn.flags(enabled=True, benchmark=benchmark):
            return functional.conv2d(image, weight, padding=(R // 2, S // 2), groups=C).permute(0, 2, 3, 1)

    return {"conv2d": partial(convolve, False), "conv2d, cudnn.benchmark": partial(convolve, True)}


def _gemm(**_: Any) -> dict[str, Operator]:
    import torch

    return {"torch.matmul": lambda x, y: torch.matmul(x[0], x[1], out=y[0])}


def _quantized_gemm(Q: str, silu: bool, fast: bool, **_: Any) -> dict[str, Operator]:
    import torch
    from torch.nn import functional

    def activate(c: Any) -> Any:
        return functional.silu(c) if silu else c

    def epilogue(c: Any, x: list[Any]) -> Any:
        return activate(c.float() * x[2].unsqueeze(1) * x[3] + x[4]).to(x[4].dtype)

    def dequantize(x: list[Any], y: list[Any]) -> Any:
        return epilogue(torch.matmul(x[0].to(x[4].dtype), x[1].to(x[4].dtype).t()), x)

    def scaled(x: list[Any], y: list[Any]) -> Any:
        scales = {"scale_a": x[2].unsqueeze(1), "scale_b": x[3].unsqueeze(0)}
        return activate(
            torch._scaled_mm(x[0], x[1].t(), **scales, bias=x[4], out_dtype=x[4].dtype, use_fast_accum=fast)
        )

    def integer(x: list[Any], y: list[Any]) -> Any:
        return epilogue(torch._int_mm(x[0], x[1].t()), x)

    direct = {"_int_mm, scale": integer} if Q == "i8" else {"_scaled_mm": scaled}
    return {"cast, matmul, scale": dequantize, **direct}


def _attention(causal: bool, **_: Any) -> dict[str, Operator]:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention

    def attend(backend: Any, x: list[Any], y: list[Any]) -> Any:
        queries, keys, values = x[0].flatten(-4, -3), x[1], x[2]  # heads of one group lie side by side
        with sdpa_kernel(backend):
            heads = scaled_dot_product_attention(queries, keys, values, is_causal=causal, enable_gqa=True)
        return heads.reshape(x[0].shape)

    return {
        "sdpa, flash": partial(attend, SDPBackend.FLASH_ATTENTION),
        "sdpa, cuDNN": partial(attend, SDPBackend.CUDNN_ATTENTION),
    }


_OFFERS: dict[str, Callable[..., dict[str, Operator]]] = {
    "increment": _increment,
    "gelu": _gelu,
    "swiglu": _swiglu,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "add_rms_norm": _add_rms_norm,
    "transpose": _transpose,
    "argmax": _argmax,
    "quantize_fp8": _quantize_fp8,
    "rope": _rope,
    "embedding": _embedding,
    "depthwise_conv": _depthwise_conv,
    "gemm": _gemm,
    "batched_gemm": _gemm,
    "quantized_gemm": _quantized_gemm,
    "attention": _attention,
    "attention_any": _attention,
}
