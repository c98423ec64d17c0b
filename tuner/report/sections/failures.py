"""What failed, by class, with the messages."""

from __future__ import annotations

from collections import Counter

from tuner.report.analysis import FailureGroup, failure_groups
from tuner.report.blocks import Folded, PageBlock, Section, TableBlock, Text
from tuner.report.jobs import TunedProblem
from tuner.report.text import count, tactic

_SHOWN = 40


def failures(job: TunedProblem) -> Section | None:
    """Failed trials, those with the same message together."""
    if job.trials is None:
        return None
    if job.trials.failed.empty:
        return Section("Failures", [Text(f"None of {count(len(job.trials), 'trial')} failed.")])
    groups = failure_groups(job.trials)
    classes: Counter[str] = Counter()
    for g in groups:
        classes[g.kind] += g.count
    total = sum(classes.values())
    by_class = ", ".join(f"{n} {kind}" for kind, n in classes.most_common())
    blocks: list[PageBlock] = [Text(f"{total} of {count(len(job.trials), 'trial')} failed: {by_class}.")]
    rows = [[g.kind, str(g.count), _first_line(g), tactic(g.shared)] for g in groups[:_SHOWN]]
    blocks.append(
        TableBlock(
            ["class", "trials", "message", "what they share"], rows, caption="Failed trials by message", wrapped=True
        )
    )
    if len(groups) > _SHOWN:
        blocks.append(Text(f"{len(groups) - _SHOWN} rarer messages are in trials.csv.", note=True))
    blocks += [
        Folded(f"{g.kind}: {_first_line(g)}", g.message) for g in groups[:_SHOWN] if len(g.message.splitlines()) > 1
    ]
    return Section("Failures", blocks)


def _first_line(group: FailureGroup) -> str:
    lines = group.message.splitlines()
    return lines[0] if lines else "no message"
