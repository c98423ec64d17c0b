"""Hold the model against a kernel it was not calibrated with: the gemm with tensor descriptors.

python results/model/descriptors.py --out FOLDER

The measurements are the tables of ../h200/shapes: 49 tactics at each M, N = K = 4096. No constant was changed for them.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from evaluate import score

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import RESULTS, ROOT, Arguments, write

from tuner import Problem
from tuner.backends.model.predict import predict
from tuner.compile.artifact import Artifact
from tuner.compile.compiler import Compiler
from tuner.gpu.catalog import find_device
from tuner.kernel.loader import load_kernel
from tuner.outcome import Timing
from tuner.search.tactic import Tactic
from tuner.store.tables.table import read_table

SIZES = (1, 16, 64, 256, 1024, 4096)


def main() -> None:
    given = Arguments(__doc__).read()
    device = find_device("h200")
    kernel = load_kernel("gemm.py", ROOT / "kernels")
    target = replace(device.target, disassemble=False)
    compiler = Compiler(target, store=None, workers=0, timeout_s=100, memory_bytes=4 << 30)
    found = {}
    for size in SIZES[:1] if given.dry else SIZES:
        table = read_table(RESULTS / "h200" / "shapes" / f"gemm_M{size}_T4.json.gz")
        problem = Problem.of(kernel, {"M": size, "N": 4096, "K": 4096}, {"T": "fp16"})
        outcomes = [(config, table.outcome(config)) for config in table.space]
        # The default first, as `score` expects.
        outcomes.sort(key=lambda pair: Tactic(pair[0]) != kernel.default_tactic)
        timed = [(c, o.time_us) for c, o in outcomes if isinstance(o, Timing)]
        begun = [(c, time_us, compiler.submit(problem, c)) for c, time_us in (timed[:2] if given.dry else timed)]
        measured, predicted = [], []
        for config, time_us, code in begun:
            artifact = code.result()
            if isinstance(artifact, Artifact):
                measured.append(time_us)
                predicted.append(predict(device, problem, config, artifact).time_us)
        found[f"M={size}"] = score(measured, predicted)
        print(size, found[f"M={size}"], flush=True)
    compiler.close()
    write(given.out / "descriptors.json", found)


if __name__ == "__main__":
    main()
