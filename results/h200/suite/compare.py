"""Time a problem's tactics beside torch and beside what bounds them: a copy, and cuBLAS at its best size."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from itertools import cycle
from math import ceil
from typing import Any

import dry
from operators import offers
from side_by_side import ROTATE_BYTES, TORCH_NAMES, Operator, Tactic, make, side_by_side, skipped

ROUNDS = 40
TENSOR_CORE = ("gemm", "batched_gemm", "quantized_gemm", "attention", "attention_any")
"""The kernels that tensor cores bound, unless memory does."""

CUBLAS_SIZES = (4096, 8192)
"""Square products that the rate of cuBLAS is taken of."""

NEAR = 0.05
"""Elements agree within this share of themselves and of the output's root mean square."""


def compare(spec: Any, tactics: Mapping[str, tuple[Mapping[str, Any], Any]]) -> dict[str, Any]:
    """Time everything in the same rounds.

    Args:
        spec: the problem.
        tactics: name → configuration and compiled code.

    Returns:
        For each name samples in microseconds; for each operator the share of output elements that are not near
        the winner's; and why torch could not run some.
    """
    problem = spec.load()
    ours = {name: _launcher(Tactic(problem, *tactic)) for name, tactic in tactics.items()}
    if dry.running():
        return {"differing": {}, "errors": {}, "samples_us": {}, **skipped(problem)}
    running, differing, errors = _tried(problem, ours)
    samples = side_by_side(running, lambda: make(problem), ROUNDS)
    return {
        "differing": differing,
        "errors": errors,
        "samples_us": {name: [float(f"{us:.5g}") for us in s] for name, s in samples.items()},
    }


def start() -> None:
    """Load torch and take a context, which is slow the first time."""
    if dry.running():
        return
    import torch

    torch.empty(1, device="cuda")


def _tried(problem: Any, ours: Mapping[str, Operator]) -> tuple[dict[str, Operator], dict[str, float], dict[str, str]]:
    """All that run, in a CUDA graph too; how far they are from the winner; and why others do not."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()  # of the problem before
    inputs, outputs = make(problem)
    winner = _outputs(ours["winner"], inputs, outputs)
    running: dict[str, Operator] = {}
    differing: dict[str, float] = {}
    errors: dict[str, str] = {}
    equivalents = {**ours, **offers(problem)}
    for name, operator in {**equivalents, **yardsticks(problem)}.items():
        try:
            made = _outputs(operator, inputs, outputs)
        except (RuntimeError, TypeError, ValueError) as e:
            errors[name] = str(e).strip().split("\n")[0]
            continue
        running[name] = operator
        if name in equivalents:
            differing[name] = max(_differing(a, b) for a, b in zip(made, winner, strict=True))
    return running, differing, errors


def yardsticks(problem: Any) -> dict[str, Operator]:
    """A copy that moves as many bytes as the problem must, and for tensor cores products by cuBLAS."""
    import torch

    half = problem.bytes() // 2
    count = ceil(ROTATE_BYTES / (2 * half)) + 1
    pairs = [[torch.empty(half, dtype=torch.uint8, device="cuda").random_() for _ in range(2)] for _ in range(count)]
    turn = cycle(pairs)

    def copy(x: list[Any], y: list[Any]) -> Any:
        source, target = next(turn)
        return target.copy_(source)

    found: dict[str, Operator] = {"copy": copy}
    if problem.kernel.name in TENSOR_CORE:
        dtype = problem.dtypes.get("Q") or problem.dtypes["T"]
        found |= {f"cuBLAS {size}": _product(dtype, size) for size in CUBLAS_SIZES}
    return found


def _product(dtype: str, size: int) -> Operator:
    """A square product of this type; b lies as its transpose, which 8-bit types need."""
    import torch

    a, b = (torch.randn(size, size, device="cuda") for _ in range(2))
    if dtype == "i8":
        a, b = (t.mul(4).to(torch.int8) for t in (a, b))
        return lambda x, y: torch._int_mm(a, b.t())
    a, b = (t.to(getattr(torch, TORCH_NAMES[dtype])) for t in (a, b))
    if a.dtype.itemsize == 1:
        one = torch.ones((), device="cuda")
        return lambda x, y: torch._scaled_mm(a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
    return lambda x, y: torch.matmul(a, b)


def _launcher(tactic: Tactic) -> Operator:
    def launch(x: list[Any], y: list[Any]) -> list[Any]:
        tactic(x, y)
        return y[: tactic.results]

    return launch


def _outputs(operator: Operator, inputs: list[Any], outputs: list[Any]) -> list[Any]:
    """What an operator makes, launched once as it is and once from a CUDA graph, as it will be timed."""
    import torch

    for t in outputs:
        t.view(torch.uint8).zero_()  # what others left there is no result
    operator(inputs, outputs)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = operator(inputs, outputs)
    graph.replay()
    torch.cuda.synchronize()
    return [t.clone() for t in (made if isinstance(made, list | tuple) else [made])]


def _differing(got: Any, expected: Any) -> float:
    """The share of elements that are not near; NaN is near nothing."""
    if not expected.dtype.is_floating_point:
        return float((got != expected).float().mean())
    got, expected = got.float(), expected.float()
    allowed = NEAR * (expected.abs() + expected.square().mean().sqrt())
    return float((~((got - expected).abs() <= allowed)).float().mean())
