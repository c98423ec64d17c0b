"""What a check is about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tuner.check.verdict import Check, Number, Verdict
from tuner.config import Config as Job
from tuner.problem import Problem


@dataclass(frozen=True)
class Subject:
    """A problem of a config, with today's kernel."""

    job: Job
    problem: Problem

    @property
    def file(self) -> str:
        """The kernel's file relative to the current folder, where it is below it; or its module."""
        location = self.job.kernel.partition(":")[0]
        path = Path(location)
        return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else location

    def check(
        self, rule: str, verdict: Verdict, message: str, before: Number = None, now: Number = None, role: str = ""
    ) -> Check:
        """A check of this problem."""
        return Check(self.problem.kernel.id, self.problem.label, rule, verdict, before, now, message, role, self.file)
