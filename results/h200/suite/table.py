"""Write the README from the raw data.

python results/h200/suite/table.py --out FOLDER [--data FILE]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import Arguments, markdown

HERE = Path(__file__).resolve().parent
CUBLAS = "cuBLAS "
SAME = 1e-3
"""At most this share of an equivalent's elements may be far from ours, else it computes something else."""

SLOWER = 0.99
"""Slower than torch: less than this many times its speed, since the same code differs by a percent."""

LARGE_BYTES = 128 << 20
"""Large: more than twice the 60 MB L2 of an H200."""

MEMORY_GOAL, ATTENTION_GOAL = 0.92, 0.70

INTRODUCTION = """# The suite on an H200: winner, default, torch, roofline

    python results/h200/suite/study.py --out results/h200/suite --seconds 48 [--cache FILE]  # needs torch
    python results/h200/suite/table.py --out results/h200/suite
    python results/h200/suite/study.py --dry  # one small problem on a simulated GPU

Every problem of the shipped Triton configs. In each row everything was timed in the same rounds, in rotating order,
with tensors evicted from the L2 between launches: the winner, the kernel's default, torch's equivalents, a copy that
moves as many bytes as the problem must, and for tensor-core kernels square cuBLAS products of the same input type.
Times are medians in microseconds; `data.json` has the samples.

- **trials**: tactics that the search tried. These are short searches: the configs' own budgets are 64 and 96. Those of
  add_rms_norm, argmax, depthwise_conv, embedding, layer_norm, quantize_fp8 and two of attention timed the code that the
  driver makes of PTX on loading, as everything in this table is. The others, at commit e2992e5, timed what the driver's
  linker makes of it (see [what that changed](../README.md#code-that-was-timed)), and may have missed a better tactic.
- **torch**: the fastest of its equivalents whose output is ours (all but 0.1 % of the elements within 5 % of themselves
  and of the root mean square), in eager mode, launched from a CUDA graph as ours are.
- **roofline**: the time of what bounds the problem, over the winner's. For memory that is the problem's bytes at the
  fastest rate of any copy in the session, for tensor cores its operations at the rate of the faster cuBLAS product.
  Above 100 % the copy, which writes half of what it moves, is slower than a kernel that mostly reads. A copy of a row's
  own number of bytes is in `data.json`; some sizes are copied much more slowly, so it would flatter.
"""


@dataclass(frozen=True)
class Row:
    """What one row of the data says.

    Attributes:
        times: median microseconds by name.
        torch: the fastest equivalent's name; None where torch has none.
        bound: "memory" or "tensor".
        bound_us: the least time that the bound allows.
    """

    name: str
    data: dict[str, Any]
    times: dict[str, float]
    torch: str | None
    bound: str
    bound_us: float

    @property
    def winner(self) -> float:
        return self.times["winner"]

    @property
    def roofline(self) -> float:
        return self.bound_us / self.winner

    @property
    def over_torch(self) -> float | None:
        return None if self.torch is None else self.times[self.torch] / self.winner

    @property
    def tensor_rate(self) -> float | None:
        """The winner's operations per second over those of the faster cuBLAS product."""
        rate = cublas_rate(self.times)
        return self.data["flops"] / self.winner / rate if rate else None


def cublas_rate(times: dict[str, float]) -> float:
    """Operations per microsecond of the faster square product; 0 where none was timed."""
    sizes = {name: int(name.removeprefix(CUBLAS)) for name in times if name.startswith(CUBLAS)}
    return max((2 * size**3 / times[name] for name, size in sizes.items()), default=0.0)


def copy_rate(data: Sequence[dict[str, Any]]) -> float:
    """Bytes per microsecond, read and written, of the fastest large copy."""
    rates = [r["bytes"] / median(r["samples_us"]["copy"]) for r in data if r["bytes"] >= LARGE_BYTES]
    return max(rates, default=0.0)


def read(data: dict[str, Any], fastest_copy: float) -> Row:
    times = {name: median(samples) for name, samples in data["samples_us"].items()}
    equivalents = [n for n in times if n not in ("winner", "default", "copy") and not n.startswith(CUBLAS)]
    same = [n for n in equivalents if data["differing"][n] <= SAME]
    rate = cublas_rate(times)
    limits = {"memory": data["bytes"] / fastest_copy, "tensor": data["flops"] / rate if rate else 0.0}
    bound = max(limits, key=lambda name: limits[name])
    torch = min(same, key=lambda name: times[name], default=None)
    return Row(f"{data['config']} {data['problem']}", data, times, torch, bound, limits[bound])


def line(row: Row) -> list[str]:
    default = row.times.get("default", row.winner)
    torch = f"{row.times[row.torch]:.4g} ({row.torch})" if row.torch else ""
    return [
        row.data["config"],
        row.data["problem"],
        str(row.data["trials"]),
        f"{row.winner:.4g}",
        f"{default:.4g}",
        f"{default / row.winner:.2f}",
        torch,
        f"{row.over_torch:.2f}" if row.over_torch else "",
        row.bound,
        percent(row.roofline),
    ]


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


HEAD = ("kernel", "problem", "trials", "winner", "default", "speed-up", "torch", "speed-up", "bound", "roofline")


def goal(title: str, met: dict[str, tuple[bool, str]]) -> str:
    """One line for a goal, and one for each row that misses it."""
    missed = [f"  - missed by {name}: {said}" for name, (ok, said) in met.items() if not ok]
    return "\n".join([f"- **{title}**: {len(met) - len(missed)} of {len(met)}.", *missed])


def yardsticks(rows: Sequence[Row]) -> str:
    """What the bounds were in this session."""
    copies = [r.data["bytes"] / r.times["copy"] / 1e6 for r in rows if r.data["bytes"] >= LARGE_BYTES]
    rates: dict[str, list[float]] = {}
    for row in rows:
        if rate := cublas_rate(row.times):
            dtypes = row.data["dtypes"]
            rates.setdefault(dtypes.get("Q") or dtypes["T"], []).append(rate / 1e6)
    said = [f"cuBLAS computed {span(found, 0)} Tera operations per second in {name}" for name, found in rates.items()]
    if copies:
        size = f"{LARGE_BYTES >> 20} MiB"
        said.insert(0, f"copies of {size} and more moved {span(copies)} TB/s, reads and writes counted")
    return f"In this session: {'; '.join(said) or 'nothing measured'}."


def span(values: Sequence[float], digits: int = 2) -> str:
    low, high = (f"{edge:.{digits}f}" for edge in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def goals(rows: Sequence[Row]) -> str:
    memory = [r for r in rows if r.bound == "memory" and r.data["bytes"] >= LARGE_BYTES]
    rates = {r.name: r.tensor_rate for r in rows if r.data["config"] == "attention"}
    size = f"{LARGE_BYTES >> 20} MiB"
    torch = {r.name: (r.over_torch, r.torch) for r in rows}
    default = {r.name: r.times["default"] / r.winner for r in rows if "default" in r.times}
    return "\n".join(
        (
            goal(
                f"Memory-bound problems of {size} and more at {percent(MEMORY_GOAL, 0)} of the copy's rate",
                {r.name: (r.roofline >= MEMORY_GOAL, percent(r.roofline)) for r in memory},
            ),
            goal(
                f"Attention at {percent(ATTENTION_GOAL, 0)} of the rate of cuBLAS",
                {name: (rate >= ATTENTION_GOAL, percent(rate)) for name, rate in rates.items() if rate},
            ),
            goal(
                "Not slower than torch",
                {name: (x >= SLOWER, f"{x:.2f} times as fast as {which}") for name, (x, which) in torch.items() if x},
            ),
            goal(
                "Not slower than the default, where another tactic won",
                {name: (x >= SLOWER, f"{x:.3f} times as fast") for name, x in default.items()},
            ),
        )
    )


def not_there(data: dict[str, Any], rows: Sequence[Row]) -> str:
    """What failed, what torch could not do or did differently, and what the time did not reach."""
    lines = [f"- {r['config']} {r['problem']} failed: {r['error']}" for r in data["rows"] if "error" in r]
    for row in rows:
        lines += [f"- {row.name}, {name}: {why}" for name, why in row.data["errors"].items()]
        lines += [
            f"- {row.name}, {name}: {percent(share, 2)} of the elements differ, so it is no equivalent"
            for name, share in row.data["differing"].items()
            if share > SAME
        ]
    lines += [f"- {problem}: the time was over before it" for problem in data["missing"]]
    return "\n".join(lines) or "Nothing failed and nothing is missing."


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.add_argument("--data", type=Path, default=HERE / "data.json")
    given = arguments.read()
    (given.out / "README.md").write_text(page(json.loads(given.data.read_text())))


def page(data: dict[str, Any]) -> str:
    """The README."""
    timed = [r for r in data["rows"] if "error" not in r]
    fastest_copy = copy_rate(timed)
    rows = sorted((read(r, fastest_copy) for r in timed), key=lambda row: row.data["config"])
    machine = data["machine"]
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in ("torch", "triton"))
    commit = f", commit {machine['commit']}" if machine["commit"] else ""
    parts = (
        INTRODUCTION,
        f"{machine['gpu']['name']}, {versions}, {machine['date'][:10]}{commit}.\n",
        yardsticks(rows) + "\n",
        markdown(HEAD, map(line, rows)) + "\n",
        "## Goals\n",
        goals(rows) + "\n",
        "## What is not in the table\n",
        not_there(data, rows),
    )
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
