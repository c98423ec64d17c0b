"""What a job leaves beside its study says what was found, and can be read by other tools."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import msgspec
import pytest

from tuner.compile.artifact import Code
from tuner.compile.pipeline import compile_tactic
from tuner.errors import StorageError
from tuner.gpu.catalog import find_device
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import data_of
from tuner.outcome import Failure, FailureClass, Origin, Timing
from tuner.search.tactic import Tactic
from tuner.store.results import JobData, Result, Trial, as_job, read_summary, write_summary

KERNEL = load_kernel("kernels/increment.py", Path(__file__).parents[2])
DEFAULT = KERNEL.default_tactic
FAST, TIED, BROKEN = (Tactic({**KERNEL.default, "BLOCK_SIZE": size}) for size in (2048, 4096, 8192))


def measured(time_us: float, *samples_us: float, verified: str = "verified") -> Timing:
    return Timing(time_us, "measurement", "median", samples_us, verified, {"registers": 16.0})


RESULT = Result(
    problem=Problem.of(KERNEL, {"N": 4096}),
    origin=Origin("cuda", "measurement", "NVIDIA H200", (9, 0), {"driver": "580.1"}),
    winner=FAST,
    default=DEFAULT,
    confirmed={DEFAULT: measured(20.0, 19.5, 20.5), FAST: measured(10.0, 9.0, 11.0), TIED: measured(10.1, 10.1)},
    ties=(TIED,),
    trials=(
        Trial(0, DEFAULT, measured(21.0)),
        Trial(1, FAST, measured(10.5, verified="unverified: no interpreter")),
        Trial(2, BROKEN, Failure(FailureClass.COMPILE, "first line\nsecond, with a comma")),
        Trial(3, TIED, measured(10.6)),
    ),
    resumed=1,
    stopped="trials",
)


def test_a_result_is_described_with_its_times_and_counts() -> None:
    job = msgspec.to_builtins(as_job(RESULT, Path("tactics.json"), Path("results/increment")))
    assert job == {
        "kernel": "example::increment",
        "problem": RESULT.problem.label,
        "backend": "cuda",
        "kind": "measurement",
        "device": "NVIDIA H200",
        "winner": {"id": FAST.id, "config": FAST.config, "time_us": 10.0, "verified": "verified"},
        "default": {"id": DEFAULT.id, "config": DEFAULT.config, "time_us": 20.0, "verified": "verified"},
        "ties": ({"id": TIED.id, "config": TIED.config, "time_us": 10.1, "verified": "verified"},),
        "speedup": 2.0,
        "bytes": 2 * 4096 * 4,
        "flops": 0,
        "dtypes": ("fp32",),
        "trials": 4,
        "resumed": 1,
        "stopped": "trials",
        "failures": {"compile": 1},
        "environment": {"driver": "580.1"},
        "cache": "tactics.json",
        "out": "results/increment",
        "capability": (9, 0),
        "data": {
            "kernel": "example::increment",
            "dims": {"N": 4096},
            "dtypes": {"T": "fp32"},
            "attributes": {"amount": 1},
        },
    }


def test_a_default_that_failed_has_neither_time_nor_speedup() -> None:
    confirmed = {t: timing for t, timing in RESULT.confirmed.items() if t != DEFAULT}
    job = msgspec.to_builtins(as_job(dataclasses.replace(RESULT, confirmed=confirmed), Path("c"), Path("o")))
    assert job["default"] == {"id": DEFAULT.id, "config": DEFAULT.config, "time_us": None}
    assert job["speedup"] is None
    assert job["winner"]["time_us"] == 10.0


def test_a_summary_adds_the_finalists_fastest_first_with_their_samples(tmp_path: Path) -> None:
    write_summary(tmp_path / "summary.json", [RESULT], Path("c"), Path("o"))
    (job,) = json.loads((tmp_path / "summary.json").read_text())["jobs"]
    finalists = job.pop("finalists")
    assert job == json.loads(msgspec.json.encode(as_job(RESULT, Path("c"), Path("o"))))
    assert [f["id"] for f in finalists] == [FAST.id, TIED.id, DEFAULT.id]
    assert [f["samples_us"] for f in finalists] == [[9.0, 11.0], [10.1], [19.5, 20.5]]
    assert all(
        (f["statistic"], f["verified"], f["facts"]) == ("median", "verified", {"registers": 16}) for f in finalists
    )


def test_a_summary_leaves_the_code_of_the_winner_and_the_default_beside_it(tmp_path: Path) -> None:
    artifact = compile_tactic(RESULT.problem, FAST.config, find_device("h200").target)
    result = dataclasses.replace(RESULT, code={FAST: Code((artifact,))})
    write_summary(tmp_path / "summary.json", [result], Path("c"), Path("o"))
    (job,) = json.loads((tmp_path / "summary.json").read_text())["jobs"]
    code = {f["id"]: f.get("code") for f in job["finalists"]}
    assert code[DEFAULT.id] is None
    assert (tmp_path / code[FAST.id]["ptx"]).read_text() == artifact.ptx
    assert (tmp_path / code[FAST.id]["cubin"]).read_bytes() == artifact.cubin
    assert code[FAST.id]["resources"]["registers"] == artifact.resources.registers > 0
    assert (code[FAST.id]["block"], code[FAST.id]["target"]) == ([128, 1, 1], artifact.target)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=f"{tmp_path}/file/summary.json"):
        write_summary(tmp_path / "file" / "summary.json", [RESULT], Path("c"), Path("o"))


def test_a_summary_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_summary(tmp_path / "summary.json", [RESULT], Path("c"), Path("o"))
    (job,) = read_summary(tmp_path).jobs
    assert msgspec.convert(msgspec.to_builtins(job), JobData) == as_job(RESULT, Path("c"), Path("o"))
    assert (job.origin, job.data) == (RESULT.origin, data_of(RESULT.problem))
    assert [f.samples_us for f in job.finalists] == [(9.0, 11.0), (10.1,), (19.5, 20.5)]
