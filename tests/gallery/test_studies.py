"""Recorded studies can be run again: each script starts here, dry, on a simulated GPU, and keeps what it should."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
SCRIPTS = {
    str(path.relative_to(ROOT)): path
    for path in sorted(RESULTS.rglob("*.py"))
    if '\nif __name__ == "__main__":\n' in path.read_text()
}


def readme(script: Path) -> str:
    """What the page of a study says: the nearest README."""
    return next(p / "README.md" for p in script.parents if (p / "README.md").exists()).read_text()


def pinned(name: str) -> bool:
    """Whether a script is said to run at a commit of before, and so not at this one."""
    return re.search(rf"`{re.escape(name)}` runs at commit `[0-9a-f]{{7,40}}`", readme(SCRIPTS[name])) is not None


def run(name: str, *arguments: str, compiled: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TUNER_COMPILE_CACHE": str(compiled), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(SCRIPTS[name]), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def recorded() -> dict[Path, tuple[int, int]]:
    """When each file that is kept under results/ was written, and its size."""
    files = (p for p in RESULTS.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in files}


def read(path: Path) -> Any:
    """What a file says, where it is one to be read by programs."""
    match path.suffixes:
        case [*_, ".json", ".gz"]:
            return json.loads(gzip.decompress(path.read_bytes()))
        case [*_, ".json"]:
            return json.loads(path.read_text())
        case [*_, ".jsonl"]:
            return [json.loads(line) for line in path.read_text().splitlines()]
        case [*_, ".toml"]:
            return tomllib.loads(path.read_text())
    return None


def failures(document: Any) -> Iterator[Any]:
    """What a document says went wrong."""
    if isinstance(document, dict):
        yield from (document[key] for key in ("error", "fault", "faults", "not_tuned") if document.get(key))
        yield from ([document] if document.get("verdict") == "error" else ())
    for inner in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from failures(inner)


def engines(out: Path) -> None:
    """The whole of a study in TensorRT, for which there is no machine yet."""
    (record,) = read(out / "data.json")["configs"]
    found = record["engines"]
    assert found["chosen"] in found["offered"]
    assert found["inspector"]["Layers"][0]["LayerType"] == "PluginV3"
    assert len(found["build_s"]) == len(found["build_s_timing_cache"]) == 5
    assert set(found["network_samples_us"]) == {"default", "winner"}
    assert all(f["samples_us"] for tune in ("tensorrt", "cuda") for f in record[tune]["finalists"])


def scratch_memory(out: Path) -> None:
    """Every tensor that a kernel of today is launched with has a place, scratch memory too."""
    tensors = {row["kernel"]: row["tensors"] for row in read(out / "data.json")["kernels"]}
    assert tensors["gemm"]["outputs"] == [[[4096, 4096], "float16"], [[101376], "int8"]]


def suite_page(out: Path) -> None:
    assert (out / "README.md").read_text() == (RESULTS / "h200" / "suite" / "README.md").read_text()


def check_tables(out: Path) -> None:
    lines = (out / "tables.md").read_text().splitlines()
    assert len(lines) > 100
    assert set(lines) <= set((RESULTS / "check" / "README.md").read_text().splitlines())


def shapes_replayed(out: Path) -> None:
    """The tables that were measured are read again."""
    found = read(out / "data.json")["kernels"]["softmax"]
    assert found["trials_alone"] == 4
    assert len(found["commands"]["portfolios"]) == 1


CONTENT: dict[str, Callable[[Path], None]] = {
    "results/check/table.py": check_tables,
    "results/h200/shapes/study.py": shapes_replayed,
    "results/h200/suite/table.py": suite_page,
    "results/h200/tuning_time/study.py": scratch_memory,
    "results/tensorrt/run.py": engines,
}


@pytest.mark.parametrize("name", [name for name in SCRIPTS if not pinned(name)])
def test_a_study_runs_dry(name: str, tmp_path: Path, compiled: Path) -> None:
    before = recorded()
    done = run(name, "--dry", "--out", str(tmp_path), compiled=compiled)
    assert done.returncode == 0, done.stderr
    assert "dry run" in done.stderr
    assert recorded() == before
    documents = {path: read(path) for path in tmp_path.rglob("*") if path.is_file()}
    assert any(documents.values()) or list(tmp_path.glob("*.md"))
    assert [wrong for document in documents.values() for wrong in failures(document)] == []
    if name in CONTENT:
        CONTENT[name](tmp_path)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_page_says_how_a_study_is_run(name: str) -> None:
    page = readme(SCRIPTS[name])
    assert pinned(name) or f"python {name} --out " in page
    assert pinned(name) or "--dry" in page


def test_a_dry_run_is_never_taken_for_a_record(compiled: Path) -> None:
    before = recorded()
    done = run("results/timing/rates.py", "--dry", "--out", str(RESULTS / "timing"), compiled=compiled)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: a dry run finds nothing worth keeping; choose an --out that is not in" in done.stderr
    assert recorded() == before


def test_what_is_found_is_kept_where_one_says(compiled: Path) -> None:
    done = run("results/timing/rates.py", "--pairs", "1", compiled=compiled)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("error: --out FOLDER is missing: where to keep what is found\n")
