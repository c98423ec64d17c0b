"""A folder with a kernel, jobs and recorded tables, and the `tuner` command at work in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KERNEL = """
import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, cdiv, choice, powers_of_two


@triton.jit
def scale(x_ptr, n, y_ptr, factor: tl.constexpr, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    y = tl.load(x_ptr + offsets, mask=mask) * factor
    tl.store(y_ptr + offsets, y, mask=mask)


kernel = Kernel(
    id="test::scale",
    source=scale,
    inputs={"x": Tensor("T", "*N")},
    outputs={"y": Tensor("T", "*N")},
    dtypes={"T": ("fp32", "fp16")},
    attributes={"factor": 2.0},
    params=[powers_of_two("BLOCK", 128, 2048), choice("num_warps", 2, 4)],
    constraints=[Constraint("work", lambda BLOCK, num_warps: BLOCK >= 64 * num_warps, "idle warps")],
    default={"BLOCK": 256, "num_warps": 4},
    launch=lambda N, BLOCK: Launch(grid=(cdiv(N, BLOCK),), args=(N,)),
    reference=lambda x, factor: x * factor,
    tiles={"N": "BLOCK"},
)
"""
STORE = "    tl.store(y_ptr"

UNROLLED = [f"U{i}" for i in range(11)]
WIDE_KERNEL = (
    KERNEL.replace("BLOCK: tl.constexpr", f"BLOCK: tl.constexpr, {', '.join(f'{u}: tl.constexpr' for u in UNROLLED)}")
    .replace('choice("num_warps", 2, 4)', f"*(choice(u, *range(1, 11)) for u in {UNROLLED})")
    .replace('"work", lambda BLOCK, num_warps: BLOCK >= 64 * num_warps', '"budget", LEGAL, "over the budget"')
    .replace(', "idle warps"', "")
    .replace('"num_warps": 4}', f"**dict.fromkeys({UNROLLED}, 1)}}")
)
"""One constraint, to be written for `LEGAL`, over eleven of twelve parameters: a space that cannot be counted."""


def wide_kernel(condition: str) -> str:
    """`WIDE_KERNEL` with a condition on `total`, the sum of the eleven parameters, which are 1 in the default."""
    return WIDE_KERNEL.replace(
        "LEGAL", f"lambda {', '.join(UNROLLED)}: (lambda total: {condition})({'+'.join(UNROLLED)})"
    )


CONFIG = """
version = 1
kernel = "kernel.py"

[problem]
dims = {{ N = 4194304 }}

[search]
trials = {trials}
"""


@dataclass(frozen=True)
class Run:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What `--json` wrote."""
        return json.loads(self.out)

    @property
    def job(self) -> dict[str, Any]:
        """The only job in what `tune --json` wrote."""
        (job,) = self.document["jobs"]
        return dict(job)


@dataclass(frozen=True)
class Workspace:
    """Runs `tuner` in a folder of its own, with its own tactic cache.

    Attributes:
        folder: holds `kernel.py` and `job.toml`.
        compiled: the compile cache, shared among tests.
    """

    folder: Path
    compiled: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        own = {"TUNER_CACHE": str(self.folder / "tactics.json"), "TUNER_COMPILE_CACHE": str(self.compiled)}
        return {**os.environ, "XDG_CACHE_HOME": str(self.folder / "xdg"), **own, **self.variables}

    def write(self, kernel: str = KERNEL, trials: int = 6, more: str = "") -> None:
        """Write the kernel and the job."""
        (self.folder / "kernel.py").write_text(kernel)
        (self.folder / "job.toml").write_text(CONFIG.format(trials=trials) + more)

    def table(self, name: str = "table.csv", **replaced: str) -> str:
        """Write a recorded table of every tactic of `KERNEL`; `replaced` gives rows by block size, as B512="…"."""
        rows = [
            f"{block},{warps},{replaced.get(f'B{block}', 10 + abs(block - 1024) / 256 + warps)}"
            for block in (128, 256, 512, 1024, 2048)
            for warps in (2, 4)
            if block >= 64 * warps
        ]
        (self.folder / name).write_text("\n".join(["BLOCK,num_warps,time_us", *rows]) + "\n")
        return name

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start the command in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", "from tuner.cli import main; main()", *arguments],
            **{
                "cwd": self.folder,
                "env": self.environment,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "text": True,
                "process_group": 0,
                **options,
            },
        )

    def run(self, *arguments: str, **options: Any) -> Run:
        """Run the command in a process of its own."""
        with self.start(*arguments, **options) as process:
            out, err = process.communicate(timeout=120)
        return Run(process.returncode, out, err)

    def tune(self, *arguments: str, **options: Any) -> Run:
        """Run `tuner tune job.toml --backend model --json`."""
        return self.run("tune", "job.toml", "--backend", "model", "--json", *arguments, **options)

    def replay(self, *arguments: str, **options: Any) -> Run:
        """Run `tuner tune job.toml` on `table.csv`."""
        recorded = ("--backend", "replay", "--table", "table.csv", "--json")
        return self.run("tune", "job.toml", *recorded, *arguments, **options)
