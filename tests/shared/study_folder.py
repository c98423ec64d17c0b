"""A results folder with a study of every kind of outcome, recorded through the journal."""

from __future__ import annotations

from pathlib import Path

from tuner import choice
from tuner.kernel.problem_data import DimData, ProblemData
from tuner.outcome import Failure, FailureClass, Kind, Origin, Outcome, Timing
from tuner.search.space import Space
from tuner.search.tactic import Config, Tactic
from tuner.store.journal import open_journal
from tuner.store.study_data import StudyIdentity

SPACE = Space((choice("BLOCK", 128, 256, 512, 1024), choice("fast", False, True), choice("split", 0.5, 1.0)))


def scale(n: DimData = 4096, dtype: str = "fp16") -> ProblemData:
    """A problem of the kernel."""
    return ProblemData("test::scale", {"N": n}, {"T": dtype})


PROBLEM = scale()


def config(block: int, fast: bool = False, split: float = 0.5) -> Config:
    return {"BLOCK": block, "fast": fast, "split": split}


def outcomes(kind: Kind = "measurement") -> list[tuple[Config, Outcome]]:
    """Two times, one of them not checked, and a failure of each class."""
    samples = (11.25, 11.5, 12.75) if kind == "measurement" else ()
    statistic = "median" if kind == "measurement" else "model"
    failures = [
        (config(512, fast=i % 2 > 0, split=0.5 + i % 4 // 2 / 2), c) for i, c in enumerate(list(FailureClass)[:4])
    ]
    return [
        (config(128), Timing(11.5, kind, statistic, samples, facts={"registers": 32.0, "dram_us": 9.75})),
        (config(256), Timing(12.5, kind, statistic, samples, "unverified: no interpreter")),
        *((made, Failure(failure, f"why: {failure}\nsecond line")) for made, failure in failures),
        (config(1024), Failure(FailureClass.CONSTRAINT, "too large")),
    ]


def record(
    where: Path | str,
    kind: Kind = "measurement",
    *,
    problem: ProblemData = PROBLEM,
    label: str | None = None,
    source: str = "abc",
    trials: list[tuple[Config, Outcome]] | None = None,
    space: Space = SPACE,
) -> None:
    """Record a study in a results folder, or at a storage URL."""
    backend = "cuda" if kind == "measurement" else "model"
    origin = Origin(backend, kind, "NVIDIA H200", (9, 0), {"tuner": "1.2.3", "driver": "580.1"})
    identity = StudyIdentity(problem, label or problem.label, origin, {"source": source})
    folder, url = (Path(), where) if isinstance(where, str) else (where, None)
    folder.mkdir(parents=True, exist_ok=True)
    journal = open_journal(folder, url, identity, space)
    for number, (tried, outcome) in enumerate(outcomes(kind) if trials is None else trials):
        journal.add(number, Tactic(tried), outcome)
