"""What `tuner check` says, without a GPU, of harmless edits and of planted regressions.

    python results/check/study.py OUT_FOLDER [EDITS] [SEED]

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

from corpus import check, record, sources, write_job
from harmless import make_edits
from planted import PLANTED

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
    out = Path(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    out.mkdir(parents=True, exist_ok=True)
    files = sources()
    names = ("triton", "msgspec", "numpy")
    about = {
        "edits": count,
        "seed": seed,
        "device": "NVIDIA H200 (compiled for)",
        "python": sys.version.split()[0],
        "versions": {n: importlib.metadata.version(n) for n in names},
        "commit": os.environ.get("STUDY_COMMIT", ""),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (out / "run.json").write_text(json.dumps(about, indent=1) + "\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        setting = record(folder, "h200", "model")
        planted = [(p.kernel, p.apply(files[p.kernel]), {"name": p.name, "group": p.group}) for p in PLANTED]
        run(planted, out / "planted.jsonl", setting, folder / "planted")
        harmless = [(e.kernel, e.text, {"steps": e.steps}) for e in make_edits(files, count, seed)]
        run(harmless, out / "harmless.jsonl", setting, folder / "harmless")


if __name__ == "__main__":
    main()
