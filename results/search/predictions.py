"""What the model predicts for every tactic of the tables measured on an H200, so that a search can be played on both.

    python results/search/predictions.py --out FOLDER [--store FOLDER]

Compiles each tactic as the measuring backends do, without disassembly, predicts it, and writes one line per table:
microseconds by the canonical text of the configuration.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import RESULTS, ROOT, Arguments, write_lines
from recorded import TABLES, as_recorded

TARGET = "h200"
SHAPES = RESULTS / "h200" / "shapes"


def problems() -> Iterator[tuple[Path, Any]]:
    """Each table, and the problem it is of."""
    from tuner.tuning.config import load_config

    for folder in (TABLES, SHAPES):
        for path in sorted(folder.glob("*_T4.json.gz")):
            name, *shape = path.name.removesuffix("_T4.json.gz").replace("rms_norm", "rms-norm").split("_")
            name = name.replace("-", "_")
            sizes = {part[0]: int(part[1:]) for part in shape}
            where = as_recorded("configs", f"{name}.toml") if folder == TABLES else ROOT / "configs" / f"{name}.toml"
            fixed = {"softmax": {"N": 4096}, "gemm": {"N": 4096, "K": 4096}}[name] if folder == SHAPES else {}
            yield path, load_config(where).problems[0].at({**fixed, **sizes})


def predicted(path: Path, problem: Any, compiler: Any, most: int | None) -> dict[str, float]:
    """The predictions for a table's tactics, those that compile."""
    from tuner.backends.model.predict import predict
    from tuner.compile.artifact import Artifact
    from tuner.gpu.catalog import find_device
    from tuner.store.tables.table import read_table

    configs = list(read_table(path).outcomes)[:most]
    futures = {text: compiler.submit(problem, json.loads(text)) for text in configs}
    found = {text: future.result() for text, future in futures.items()}
    return {
        text: round(predict(find_device(TARGET), problem, json.loads(text), artifact).time_us, 3)
        for text, artifact in found.items()
        if isinstance(artifact, Artifact)
    }


def main() -> None:
    from tuner.compile.blobs import Store
    from tuner.compile.compiler import Compiler
    from tuner.compile.options import CompileOptions
    from tuner.gpu.catalog import find_device

    arguments = Arguments(__doc__)
    arguments.add_argument("--store", type=Path, help="keeps what was compiled for another run")
    arguments.add_argument("--workers", type=int, default=0)
    given = arguments.read()
    target = replace(find_device(TARGET).target, disassemble=False)
    store = Store(given.store or Path(tempfile.mkdtemp()))
    compiler = Compiler.of(target, CompileOptions(workers=given.workers), store)
    rows = []
    try:
        for path, problem in problems():
            if given.dry and "increment" not in path.name:
                continue
            times = predicted(path, problem, compiler, 2 if given.dry else None)
            rows.append({"table": path.name.removesuffix(".json.gz"), "predicted_us": times})
            print(rows[-1]["table"], len(times), flush=True)
    finally:
        compiler.close()
    write_lines(given.out / "predictions.json", rows)


if __name__ == "__main__":
    main()
