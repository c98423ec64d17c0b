"""What a report on several problems begins with: a row for each."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.report.blocks import Section, TableBlock
from tuner.report.jobs import TunedProblem
from tuner.report.text import duration, tactic


def contents(jobs: Sequence[TunedProblem]) -> Section:
    """All problems with their winners."""
    rows = [
        [
            job.title,
            job.device,
            "-" if job.winner is None else f"{duration(job.winner.time_us)} ({job.timed_word})",
            "-" if job.speedup is None else f"{job.speedup:.3f}x",
            "none" if job.winner is None else tactic(job.winner.config),
        ]
        for job in jobs
    ]
    header = ["problem", "device", "time", "default / winner", "winner"]
    return Section("Winners", [TableBlock(header, rows, caption="Every problem and its winner", wrapped=True)])
