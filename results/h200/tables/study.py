"""Measure every tactic of each shipped space at two sizes and write T4 tables.

    python results/h200/tables/study.py --out FOLDER [--seconds S]

A table that exists is kept; when the seconds are over no new one is begun.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
import dry
from common import Arguments
from recorded import as_recorded, record

SIZES: dict[str, list[dict[str, int]]] = {
    "increment": [{"N": 64 << 20}, {"N": 4 << 20}],
    "softmax": [{"M": 8192, "N": 4096}, {"M": 2048, "N": 16384}],
    "rms_norm": [{"M": 16384, "N": 8192}, {"M": 2048, "N": 4096}],
    "swiglu": [{"N": 64 << 20}, {"N": 4 << 20}],
    "transpose": [{"M": 16384, "N": 8192}, {"M": 2048, "N": 4096}],
    "gemm": [{"M": 4096, "N": 4096, "K": 4096}, {"M": 512, "N": 4096, "K": 4096}],
}


DRY = {"increment": [{"N": dry.SIZE}]}


def main() -> None:
    from tuner.tuning.config import load_config

    arguments = Arguments(__doc__)
    arguments.add_argument("--seconds", type=float, default=600.0)
    given = arguments.read()
    began = time.monotonic()
    wanted = DRY if given.dry else SIZES
    for position in range(max(map(len, wanted.values()))):
        for name, sizes in wanted.items():
            shape = "_".join(f"{d}{n}" for d, n in sizes[position].items())
            path = given.out / f"{name}_{shape}_T4.json.gz"
            if not path.exists() and time.monotonic() - began < given.seconds:
                problem = load_config(as_recorded("configs", f"{name}.toml")).problems[0].at(sizes[position])
                record(path, problem)


if __name__ == "__main__":
    main()
