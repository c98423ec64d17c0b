"""What a check comes to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tuner.kernel.problem_data import ProblemData, data_of

if TYPE_CHECKING:
    from tuner.kernel.problem import Problem
    from tuner.tuning.config import Job

CheckVerdict: TypeAlias = Literal["pass", "regression", "inconclusive"]
Number: TypeAlias = float | int | str | None

EXIT_CODES: dict[CheckVerdict, int] = {"pass": 0, "regression": 1, "inconclusive": 3}


@dataclass(frozen=True)
class Check:
    """One rule, applied to one recorded problem.

    Attributes:
        of: the problem that was checked.
        problem: its dimensions, data types and attributes in one line, for people.
        rule: its name.
        verdict: what it says.
        baseline, now: what was compared; None where there is nothing to compare.
        message: a sentence for the user.
        role: which tactic of the problem, "winner" or "default"; empty where it is about the problem.
        file: where the kernel is, for annotations. Neither is part of `--json`.
    """

    of: ProblemData
    problem: str
    rule: str
    verdict: CheckVerdict
    baseline: Number
    now: Number
    message: str
    role: str = ""
    file: str = ""

    @property
    def kernel(self) -> str:
        """The plugin id of the kernel."""
        return self.of.kernel

    def __str__(self) -> str:
        return f"{self.kernel} {self.problem}: {self.rule}: {self.message}"


def overall(checks: Iterable[Check]) -> CheckVerdict:
    """A regression anywhere makes one; else what could not be decided; else all is well."""
    found = {c.verdict for c in checks}
    return "regression" if "regression" in found else "inconclusive" if "inconclusive" in found else "pass"


def as_document(checks: Iterable[Check]) -> dict[str, Any]:
    """What `--json` prints."""
    checks = list(checks)
    fields = ("kernel", "problem", "rule", "verdict", "baseline", "now", "message")
    return {"verdict": overall(checks), "checks": [{f: getattr(c, f) for f in fields} for c in checks]}


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
        self, rule: str, verdict: CheckVerdict, message: str, before: Number = None, now: Number = None, role: str = ""
    ) -> Check:
        """A check of this problem."""
        of, label = data_of(self.problem), self.problem.label
        return Check(of, label, rule, verdict, before, now, message, role, self.file)
