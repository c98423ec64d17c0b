"""What the study of attention does in the process that has the GPU: hold tactics against torch, and time them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import dry

LENGTHS = (1, 63, 64, 65, 128, 129, 200, 333, 1024, 1111)


def start() -> None:
    """Load torch and take a context, which is slow the first time."""
    if not dry.running():
        import torch

        torch.empty(1, device="cuda")


def check(spec: Any, config: Mapping[str, Any], code: Any) -> dict[str, Any]:
    """How far one tactic is from torch at every length: norm of the difference over norm of the result."""
    import side_by_side

    problem = spec.load()
    if dry.running():
        return side_by_side.skipped(problem)
    import torch

    found: dict[str, Any] = {"lengths": {}, "fault": ""}
    for length in LENGTHS:
        torch.manual_seed(length)
        instance = problem.at({"B": (2, 3), "G": problem.sizes()["G"], "S": length, "D": problem.sizes()["D"]})
        inputs, outputs = side_by_side.make(instance)
        launch, made = side_by_side.Tactic(instance, config, code), []
        for _ in range(3):
            outputs[0].fill_(float("nan"))
            launch(inputs, outputs)
            torch.cuda.synchronize()
            made.append(outputs[0].clone())
        expected = _attention(*inputs, **problem.attributes)
        error = float((made[0].float() - expected).norm() / expected.norm())
        found["lengths"][length] = error
        if not error < 0.01:
            found["fault"] = f"off by {error} at a length of {length}"
        elif any(not torch.equal(m, made[0]) for m in made[1:]):
            found["fault"] = f"launches differ at a length of {length}"
    return found


def _attention(q: Any, k: Any, v: Any, causal: bool, window: int) -> Any:
    import torch

    q, k, v = q.float(), k.float().unsqueeze(-3), v.float().unsqueeze(-3)
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device="cuda")
    seen = seen.tril() if causal else seen
    seen = seen.triu(1 - window) if window else seen
    return scores.masked_fill(~seen, float("-inf")).softmax(-1) @ v


def measure(spec: Any, codes: Mapping[str, tuple[Mapping[str, Any], Any]]) -> dict[str, Any]:
    """Time tactics briefly; then the fastest, Triton's, torch's and cuBLAS in the same rounds."""
    import side_by_side

    problem = spec.load()
    if dry.running():
        return side_by_side.skipped(problem)
    from statistics import median

    import compare

    ours = {name: compare._launcher(side_by_side.Tactic(problem, *tactic)) for name, tactic in codes.items()}
    briefly = side_by_side.side_by_side(ours, lambda: side_by_side.make(problem), rounds=5, batch_us=1000.0)
    gluon = min((n for n in ours if codes[n][0]["source"] == "gluon"), key=lambda n: median(briefly[n]))
    triton = next((n for n in ours if codes[n][0]["source"] == "triton"), None)
    best = {"winner": ours[gluon], **({"triton": ours[triton]} if triton else {})}
    running, differing, errors = compare._tried(problem, best)
    if problem.attributes["window"]:
        running |= _flex(problem)
        running = {n: o for n, o in running.items() if not n.startswith("sdpa")}  # which have no window
    samples = side_by_side.side_by_side(running, lambda: side_by_side.make(problem), rounds=30)
    return {
        "winner": dict(codes[gluon][0]),
        "flops": problem.flops(),
        "differing": differing,
        "errors": errors,
        "tuning_us": {json.dumps(codes[n][0]): s for n, s in briefly.items()},
        "samples_us": samples,
    }


def _flex(problem: Any) -> dict[str, Any]:
    """torch's compiled flex_attention with the problem's window."""
    import torch
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    size, window = problem.sizes(), problem.attributes["window"]

    def seen(b: Any, h: Any, row: Any, key: Any) -> Any:
        return (key <= row) & (key > row - window)

    mask = create_block_mask(seen, None, None, size["S"], size["S"], device="cuda")
    compiled = torch.compile(flex_attention)

    def attend(x: list[Any], y: list[Any]) -> Any:
        return compiled(x[0].flatten(-4, -3), x[1], x[2], block_mask=mask, enable_gqa=True).reshape(x[0].shape)

    return {"flex_attention": attend}
