"""What `tuner check` says, without a GPU, of harmless edits and of planted regressions.

    python results/check/study.py --out FOLDER [--edits 200] [--seed 0]

Each edited kernel is checked as the command checks it, one after the other, against a baseline of the shipped
kernels. Rows are appended to `harmless.jsonl` and `planted.jsonl` as they are found; those that are there are kept.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from corpus import DEVICE, check, record, sources, write_job
from harmless import make_edits
from planted import PLANTED

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import Arguments, write

from tuner.check.setting import Setting


def run(jobs: list[tuple[str, str, dict[str, Any]]], out: Path, setting: Setting, folder: Path) -> None:
    """Check kernels, given as name, text and what to record of them; skips as many as the file has rows."""
    done = len(out.read_text().splitlines()) if out.exists() else 0
    for i, (kernel, text, about) in enumerate(jobs[done:], done):
        row = {"kernel": kernel, **about, **check(write_job(folder / str(i), kernel, text), setting)}
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(i, kernel, *about.values(), row["verdict"], flush=True)


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.add_argument("--edits", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.read()
    out, seed = given.out, given.seed
    count = 1 if given.dry else given.edits
    files = sources()
    planted = [p for p in PLANTED if p.kernel in files][: 1 if given.dry else None]
    names = ("triton", "msgspec", "numpy")
    about = {
        "edits": count,
        "seed": seed,
        "device": f"{DEVICE} (compiled for)",
        "python": sys.version.split()[0],
        "versions": {n: importlib.metadata.version(n) for n in names},
        "commit": os.environ.get("STUDY_COMMIT", ""),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write(out / "run.json", about)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        setting = record(folder, DEVICE, "model")
        edited = [(p.kernel, p.apply(files[p.kernel]), {"name": p.name, "group": p.group}) for p in planted]
        run(edited, out / "planted.jsonl", setting, folder / "planted")
        harmless = [(e.kernel, e.text, {"steps": e.steps}) for e in make_edits(files, count, seed)]
        run(harmless, out / "harmless.jsonl", setting, folder / "harmless")


if __name__ == "__main__":
    main()
