"""Attention in Gluon beside torch's: is it right, and how long does it take.

    python results/attention/study.py --out FOLDER [--budget-s S] [--known FOLDER] [--only equal|varlen]

Every kind of attention is checked first: all tactics that are timed later, at lengths on and beside their tiles,
against torch in fp32; three launches have to agree to the bit. Tactics that fail are not timed. Then each row times the
remaining tactics briefly, and the fastest of them beside the Triton alternative, torch's SDPA on cuDNN and on
FlashAttention, and cuBLAS, in the same rounds; packed sequences beside SDPA of nested tensors. Every task is a line of
`samples.jsonl` as soon as it is done. When the budget is over nothing new begins; `--known` takes the lines of a run
before and repeats none of its tasks.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.extend(str(Path(__file__).parents[1] / folder) for folder in (".", "h200/suite"))
import device
import dry
import packed
from common import ROOT, Arguments, machine, write

LONGEST = 16384
TIMEOUT_S = 60.0
MEMORY_BYTES = 1 << 40
"""Private memory that the measuring process may take: CUDA reserves much more than it uses."""


@dataclass(frozen=True)
class Kind:
    """What code is compiled for, whatever the length and the number of heads."""

    D: int
    G: int
    causal: bool
    T: str = "bf16"
    window: int = 0
    check = staticmethod(device.check)
    measure = staticmethod(device.measure)

    def problem(self, B: Any, S: Any) -> Any:
        from tuner import load_kernel
        from tuner.kernel.problem import Problem

        kernel = load_kernel("attention.py", ROOT / "kernels" / "gluon")
        attributes = {"causal": self.causal, "window": self.window}
        return Problem.of(kernel, {"B": B, "G": self.G, "S": S, "D": self.D}, {"T": self.T}, attributes)

    def any_length(self) -> Any:
        from tuner.kernel.problem import Range

        return self.problem((Range(1, 1, 64), Range(1, 8, 64)), Range(1, 4096, LONGEST))


@dataclass(frozen=True)
class Packed:
    """What code for packed sequences is compiled for, whatever their number and lengths."""

    D: int
    H: int
    G: int
    causal: bool
    T: str = "bf16"
    check = staticmethod(packed.check)
    measure = staticmethod(packed.measure)

    def problem(self, B: Any, N: Any) -> Any:
        from tuner import load_kernel
        from tuner.kernel.problem import Problem

        kernel = load_kernel("packed_attention.py", ROOT / "kernels" / "gluon")
        sizes = {"B": B, "N": N, "H": self.H, "G": self.G, "D": self.D}
        return Problem.of(kernel, sizes, {"T": self.T}, {"causal": self.causal})

    def any_length(self) -> Any:
        from tuner.kernel.problem import Range

        return self.problem(Range(1, 8, 256), Range(1, LONGEST, 4 * LONGEST))


ROWS = (
    (Kind(128, 1, False), (1, 64), 4096),
    (Kind(128, 8, True), (1, 8), 4096),
    (Kind(128, 4, False), (2, 8), 4096),
    (Kind(64, 4, True), (2, 8), 4096),
    (Kind(128, 4, True), (2, 8), 4096),
    (Kind(128, 1, True), (1, 64), 4096),
    (Kind(64, 1, False), (1, 64), 4096),
    (Kind(128, 1, False), (1, 16), LONGEST),
    (Kind(128, 1, True), (1, 16), LONGEST),
    (Kind(128, 1, False), (8, 16), 1024),
    (Kind(128, 1, False, "fp16"), (1, 64), 4096),
    (Kind(128, 8, True, window=1024), (1, 8), 8192),
)
"""Kind, batch x heads of keys and values, length; the first four are the goals."""

PACKED_ROWS = (
    (Packed(128, 16, 1, False), 8, 16384),
    (Packed(128, 16, 1, True), 8, 16384),
    (Packed(128, 8, 4, True), 8, 16384),
    (Packed(128, 16, 1, True), 64, 32768),
)
"""Kind, number of sequences, tokens of all of them."""

TASKS = (
    {"BLOCK_N": 128, "STAGES": 2, "CONSUMERS": 2},
    {"BLOCK_N": 128, "STAGES": 3, "CONSUMERS": 3},
    {"BLOCK_N": 64, "STAGES": 4, "CONSUMERS": 2},
    {"BLOCK_N": 64, "STAGES": 3, "CONSUMERS": 3},
)
TURNS = ({"TURNS": 0}, {"TURNS": 1})
ORDERS = tuple({"HEADS": heads, "PROGRAMS": programs} for heads in (1, 16) for programs in (132, 8192))


def tactics(problem: Any) -> Iterator[dict[str, Any]]:
    """The legal ones among all tiles with and without turns, each in one order, and the first tiles in all orders."""
    gluon = {"source": "gluon", "LOADER_REGISTERS": 24}
    usual = ORDERS[2] if problem.attributes["causal"] else ORDERS[0]
    found = [{**gluon, **tiles, **turns, **usual} for tiles in TASKS for turns in TURNS]
    found += [{**gluon, **TASKS[0], **TURNS[1], **order} for order in ORDERS if order != usual]
    found += [{**gluon, **TASKS[0], **TURNS[1], **usual, "LOADER_REGISTERS": 40}]
    triton = {"source": "triton", **problem.kernel.alternatives["triton"].default}
    yield from (c for c in [*found[: 1 if dry.running() else None], triton] if c in problem.space)


class Study:
    """A compiler, a process that measures, and the lines that are known."""

    def __init__(self, out: Path, known: Path | None, until: float) -> None:
        from tuner.compile.blobs import Store, default_folder
        from tuner.compile.compiler import Compiler
        from tuner.gpu.present import describe

        target = replace(describe((0,))[0].target, disassemble=False)
        store = Store(default_folder())
        self.compiler = Compiler(target, store=store, workers=0, timeout_s=120, memory_bytes=8 << 30)
        self.until = until
        self._file = out / "samples.jsonl"
        lines = (known / "samples.jsonl").read_text().splitlines() if known else []
        self._file.write_text("".join(line + "\n" for line in lines))
        self.lines: dict[str, Any] = {row["task"]: row for row in map(json.loads, lines)}
        self.pool = _pool()

    def once(self, task: str, function: Any, *args: Any) -> dict[str, Any] | None:
        """The line of a task, made now unless it is known; None when the time is over."""
        from tuner.outcome import Failure

        if task in self.lines:
            return self.lines[task]
        if time.monotonic() > self.until:
            return None
        started, row = time.monotonic(), {"task": task}
        try:
            answer = self.pool.submit(function, *args, timeout_s=TIMEOUT_S).result()
            row |= {"error": answer.message.splitlines()[0]} if isinstance(answer, Failure) else answer
        except Exception as e:
            row["error"] = f"{type(e).__name__}: {e}".splitlines()[0]
        if "error" in row:  # what failed may have left a broken context
            self.pool.close()
            self.pool = _pool()
        row["seconds"] = round(time.monotonic() - started, 1)
        with self._file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.lines[task] = row
        print(task, row.get("error") or row.get("fault") or "", row["seconds"], "s", flush=True)
        return row

    def close(self) -> None:
        self.compiler.close()
        self.pool.close()


def _pool() -> Any:
    from tuner.outcome import FailureClass
    from tuner.workers.pool import WorkerPool

    pool = WorkerPool(1, memory_bytes=MEMORY_BYTES, died=FailureClass.RUNTIME)
    pool.submit(device.start, timeout_s=TIMEOUT_S)
    return pool


def run(study: Study, rows: Any) -> int:
    """Check and time all rows; returns how many tasks the time was too short for."""
    from tuner.kernel.references import ProblemSpec
    from tuner.outcome import Failure

    kinds = {kind: kind.any_length() for kind, _, _ in rows}
    codes = {k: [(c, study.compiler.submit(p, c)) for c in tactics(p)] for k, p in kinds.items()}
    missing = 0
    for kind, B, S in rows:
        right = {}
        for config, code in codes[kind]:
            artifact = code.result()
            name = json.dumps(config)
            if isinstance(artifact, Failure):
                print(kind, config, artifact.message.splitlines()[0])
                continue
            row = study.once(f"check {kind} {name}", kind.check, ProblemSpec.of(kinds[kind]), config, artifact)
            if row is None:
                missing += 1
            elif not row.get("error") and not row.get("fault"):
                right[name] = (config, artifact)
        gluon = [n for n, (config, _) in right.items() if config["source"] == "gluon"]
        if gluon:
            problem = kind.problem(B, S)
            missing += study.once(f"time {problem.label}", kind.measure, ProblemSpec.of(problem), right) is None
    return missing


def main() -> None:
    began = time.monotonic()
    arguments = Arguments(__doc__)
    arguments.add_argument("--budget-s", type=float, default=220.0, help="seconds after which nothing new begins")
    arguments.add_argument("--known", type=Path, help="folder of a run before, whose tasks are not repeated")
    arguments.add_argument("--only", choices=("equal", "varlen"), help="sequences of one length, or packed ones")
    given = arguments.read()
    study = Study(given.out, given.known, began + given.budget_s)
    parts = {"equal": ROWS, "varlen": PACKED_ROWS}
    chosen = [rows[: 1 if given.dry else None] for name, rows in parts.items() if given.only in (None, name)]
    missing = run(study, [row for rows in chosen for row in rows])
    study.close()
    write(given.out / "machine.json", {**machine(), "missing": missing})
    failed = [task for task, row in study.lines.items() if row.get("error") or row.get("fault")]
    print(
        f"{len(study.lines)} tasks, {missing} missing, {len(failed)} failed in {time.monotonic() - began:.0f} s", failed
    )


if __name__ == "__main__":
    main()
