"""What the times depend on, and where they are recorded."""

from __future__ import annotations

from tuner.report.blocks import Section, Table
from tuner.report.jobs import Job


def environment(job: Job) -> Section:
    """Versions, settings and places."""
    rows = list(job.environment.items())
    return Section("Environment", [Table(["", "value"], rows, caption="Versions, settings and places", wrapped=True)])
