"""How long kernels compile whose parameters stand in another order than a launch passes them, against their own order.

    python results/adopt/reordered.py --checkouts CHECKOUTS --out FOLDER

Three kernels of public projects whose code takes outputs before inputs or integers. Each compiles to a cubin five times
as it is served, its parameters rearranged with all the checks that belong to that, and five times as Triton leaves it,
alternately, in one process. A dry run takes a kernel of its own.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import statistics
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import Arguments  # noqa: E402

KERNELS = ("flash_rotary", "applied_softmax_forward", "applied_rms_norm_forward")
TIMES = 5
OWN = """
import triton
import triton.language as tl

from tuner import Kernel, Launch, Tensor, cdiv, choice


@triton.jit
def double(y_ptr, x_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + at, 2 * tl.load(x_ptr + at, mask=at < n), mask=at < n)


own = Kernel(
    id="public::own",
    source=double,
    inputs={"x": Tensor("T", "N")},
    outputs={"y": Tensor("T", "N")},
    dtypes={"T": ("fp16",)},
    params=[choice("BLOCK", 128, 256)],
    default={"BLOCK": 256},
    launch=lambda N, BLOCK: Launch(grid=(cdiv(N, BLOCK),), args=(N,)),
    reference=lambda x: 2 * x,
)
"""


def main() -> None:
    parser = Arguments(__doc__)
    parser.add_argument("--checkouts", type=Path, help="folder of the projects")
    given = parser.read()
    if given.dry:
        file = Path(tempfile.mkdtemp()) / "own.py"
        file.write_text(OWN)
        kernels = [
            {"name": "own", "declared": f"{file}:own", "problem": {"dims": {"N": 4096}, "dtypes": {"T": "fp16"}}}
        ]
    elif given.checkouts is None:
        parser.error("--checkouts FOLDER is missing: where the projects are")
    else:
        listed = tomllib.loads((HERE / "kernels.toml").read_text())["kernel"]
        kernels = [k for k in listed if k["name"] in KERNELS]
        sys.path += [str(given.checkouts.resolve() / k["project"] / k.get("root", "")) for k in kernels]
    compiled_by = {"triton": importlib.metadata.version("triton"), "cpus": os.cpu_count(), "target": "h200"}
    found = {**compiled_by, "kernels": [measured(k) for k in kernels]}
    (given.out / "reordered.json").write_text(json.dumps(found, indent=1) + "\n")
    for row in found["kernels"]:
        print("{name}: {rearranged_median_s:.3f} s, its own order {own_median_s:.3f} s: {ratio:.3f}".format(**row))


def measured(kernel: dict) -> dict:
    """The seconds of each compile of a kernel, in both forms, their medians and the ratio."""
    as_served, as_written = forms(kernel)
    as_served(), as_written()  # imports, and what compilers remember
    seconds: dict[str, list[float]] = {"rearranged": [], "own": []}
    for _ in range(TIMES):
        for name, form in (("rearranged", as_served), ("own", as_written)):
            started = time.perf_counter()
            form()
            seconds[name].append(time.perf_counter() - started)
    medians = {f"{name}_median_s": statistics.median(values) for name, values in seconds.items()}
    ratio = medians["rearranged_median_s"] / medians["own_median_s"]
    return {"name": kernel["name"], **medians, "ratio": ratio, "seconds": seconds}


def forms(kernel: dict) -> tuple[Callable[[], object], Callable[[], object]]:
    """What compiles a kernel as it is served, and as Triton leaves it."""
    from tuner import Problem
    from tuner.compile import ptx
    from tuner.compile.assembler import Assembler, assemble, newest_ptx, ptxas
    from tuner.compile.pipeline import compile_tactic
    from tuner.gpu.catalog import find_device
    from tuner.kernel.loader import load_kernel

    declared = load_kernel(kernel["declared"], HERE / "hand")
    problem = Problem.of(declared, kernel["problem"]["dims"], kernel["problem"]["dtypes"])
    config, target = declared.default, find_device("h200").target
    specialization = problem.specialize(config, target.capability, newest_ptx(target))
    emitted = problem.source(config).emit(specialization)
    if emitted.order is None or list(emitted.order) == sorted(o for o in emitted.order if o is not None):
        raise SystemExit(f"{kernel['name']}: its parameters stand in the launch's order already")

    def as_written() -> object:
        made = problem.source(config).emit(specialization)
        tool = ptxas(target)
        disassembler = tool.disassembler if target.disassemble else None
        return assemble(ptx.parse(made.text), Assembler(tool.path, ("-v", *made.ptxas), disassembler))

    return lambda: compile_tactic(problem, config, target), as_written


if __name__ == "__main__":
    main()
