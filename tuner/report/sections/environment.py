"""What the times depend on, and where they are recorded."""

from __future__ import annotations

from tuner.report.blocks import Section, TableBlock
from tuner.report.jobs import TunedProblem


def environment(job: TunedProblem) -> Section:
    """Versions, settings and places."""
    rows = list(job.environment.items())
    return Section(
        "Environment", [TableBlock(["", "value"], rows, caption="Versions, settings and places", wrapped=True)]
    )
