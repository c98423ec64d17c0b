"""What the study does with packed sequences in the process that has the GPU: hold tactics against torch, time them."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import dry

CHECKED = ((1,), (64, 0, 65), (0, 127, 128, 129, 0), (333, 1, 1, 1024, 63), (0, 0, 700))
"""Lengths of sequences on and beside the tiles, some of them empty."""


def lengths(count: int, total: int) -> list[int]:
    """Lengths that add up to `total`: the same ones for the same numbers."""
    cuts = sorted(random.Random(total).sample(range(1, total), count - 1))
    return [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]


def check(spec: Any, config: Mapping[str, Any], code: Any) -> dict[str, Any]:
    """How far one tactic is from torch for all lists of lengths: norm of the difference over norm of the result."""
    import side_by_side

    problem = spec.load()
    if dry.running():
        return side_by_side.skipped(problem)
    import torch

    found: dict[str, Any] = {"lengths": {}, "fault": ""}
    for each in CHECKED:
        torch.manual_seed(sum(each))
        instance = problem.at({"B": len(each), "N": sum(each), **{n: problem.sizes()[n] for n in ("H", "G", "D")}})
        inputs, outputs = _made(instance, each)
        launch, made = side_by_side.Tactic(instance, config, code), []
        for _ in range(3):
            outputs[0].fill_(float("nan"))
            launch(inputs, outputs)
            torch.cuda.synchronize()
            made.append(outputs[0].clone())
        expected = _attention(inputs, each, problem.attributes["causal"])
        error = float((made[0].float() - expected).norm() / expected.norm())
        found["lengths"][str(each)] = error
        if not error < 0.01:
            found["fault"] = f"off by {error} at lengths of {each}"
        elif any(not torch.equal(m, made[0]) for m in made[1:]):
            found["fault"] = f"launches differ at lengths of {each}"
    return found


def measure(spec: Any, codes: Mapping[str, tuple[Mapping[str, Any], Any]]) -> dict[str, Any]:
    """Time tactics briefly; then the fastest, Triton's and torch's in the same rounds."""
    import side_by_side

    problem = spec.load()
    if dry.running():
        return side_by_side.skipped(problem)
    from statistics import median

    import compare

    size, causal = problem.sizes(), problem.attributes["causal"]
    each = lengths(size["B"], size["N"])
    ours = {name: compare._launcher(side_by_side.Tactic(problem, *tactic)) for name, tactic in codes.items()}
    briefly = side_by_side.side_by_side(ours, lambda: _made(problem, each), rounds=5, batch_us=1000.0)
    gluon = min((n for n in ours if codes[n][0]["source"] == "gluon"), key=lambda n: median(briefly[n]))
    triton = next((n for n in ours if codes[n][0]["source"] == "triton"), None)
    best = {"winner": ours[gluon], **({"triton": ours[triton]} if triton else {})}
    running, differing, errors = {}, {}, {}
    inputs, outputs = _made(problem, each)
    winner = compare._outputs(ours[gluon], inputs, outputs)[0].flatten()
    for name, operator in {**best, **_torch(each, size["G"], causal)}.items():
        try:
            (made,) = compare._outputs(operator, inputs, outputs)
        except (AttributeError, RuntimeError, TypeError, ValueError) as e:
            errors[name] = str(e).strip().split("\n")[0]
            continue
        running[name] = operator
        differing[name] = compare._differing(made.flatten(), winner)
    samples = side_by_side.side_by_side(running, lambda: _made(problem, each), rounds=30)
    pairs = sum(n * n for n in each) // (2 if causal else 1)
    return {
        "winner": dict(codes[gluon][0]),
        "lengths": each,
        "flops": 4 * size["H"] * size["G"] * pairs * size["D"],
        "differing": differing,
        "errors": errors,
        "tuning_us": {json.dumps(codes[n][0]): s for n, s in briefly.items()},
        "samples_us": samples,
    }


def _made(problem: Any, each: Sequence[int]) -> tuple[list[Any], list[Any]]:
    """Random inputs with the offsets of these lengths, and outputs."""
    import side_by_side
    import torch

    (q, k, v, _), outputs = side_by_side.make(problem)
    offsets = torch.tensor([0, *accumulate(each)], dtype=torch.int32, device="cuda")
    return [q, k, v, offsets], outputs


def _attention(inputs: Sequence[Any], each: Sequence[int], causal: bool) -> Any:
    import torch

    q, k, v = (t.float() for t in inputs[:3])
    made = []
    for queries, keys, values in zip(q.split(list(each)), k.split(list(each)), v.split(list(each)), strict=True):
        scores = torch.einsum("ahgd,bhd->hgab", queries, keys) / q.shape[-1] ** 0.5
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device="cuda")
        scores = scores.masked_fill(~(seen.tril() if causal else seen), float("-inf"))
        made.append(torch.einsum("hgab,bhd->ahgd", scores.softmax(-1), values))
    return torch.cat(made)


def _torch(each: Sequence[int], G: int, causal: bool) -> dict[str, Any]:
    """SDPA of nested tensors, and what it calls, which alone takes groups of queries."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention

    longest = max(each)

    def nested(backend: Any) -> Any:
        def attend(x: list[Any], y: list[Any]) -> Any:
            def jagged(t: Any) -> Any:
                made = torch.nested.nested_tensor_from_jagged(t, x[3], min_seqlen=min(each), max_seqlen=longest)
                return made.transpose(1, 2)

            with sdpa_kernel(backend):
                heads = jagged(x[0].flatten(1, 2)), jagged(x[1]), jagged(x[2])
                return scaled_dot_product_attention(*heads, is_causal=causal).transpose(1, 2).values()

        return attend

    def flash(x: list[Any], y: list[Any]) -> Any:
        taken = x[0].flatten(1, 2), x[1], x[2], x[3], x[3], longest, longest
        return torch.ops.aten._flash_attention_forward(*taken, 0.0, causal, False)[0]

    def cudnn(x: list[Any], y: list[Any]) -> Any:
        taken = x[0].flatten(1, 2), x[1], x[2], None, x[3], x[3], longest, longest
        return torch.ops.aten._cudnn_attention_forward(*taken, False, 0.0, causal, False)[0]

    found = {"varlen, flash": flash, "varlen, cuDNN": cudnn}
    if G == 1:
        backends = {"flash": SDPBackend.FLASH_ATTENTION, "cuDNN": SDPBackend.CUDNN_ATTENTION}
        found |= {f"nested, {name}": nested(backend) for name, backend in backends.items()}
    return found
