"""A report of what was found: results are read, written up in sections, and put on one self-contained page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tuner import __version__
from tuner.errors import StorageError
from tuner.report.blocks import Section
from tuner.report.charts import require_library
from tuner.report.jobs import TunedProblem, read_results
from tuner.store.files import write_atomic
from tuner.store.portfolios import read_portfolios


@dataclass(frozen=True)
class Written:
    """What was written: the number of problems on the page, and its size in bytes."""

    problems: int
    size: int


def write_report(sources: Sequence[Path], out: Path, *, against: Path | None = None) -> Written:
    """Write a report as one HTML file.

    Args:
        sources: results folders and cache files.
        out: the file to write.
        against: results or a cache to compare with.

    Raises:
        StorageError: when something cannot be read or written.
        UnavailableError: where the libraries of the extra ``report`` are not installed.
    """
    require_library()
    from tuner.report.against import against as write_up_pair
    from tuner.report.against import overview, pair_up
    from tuner.report.page import Article, render
    from tuner.report.portfolio import portfolio as write_up
    from tuner.report.sections import SECTIONS
    from tuner.report.winners import contents

    jobs = [job for path in sources for job in read_results(path)]
    names = ", ".join(map(str, sources))
    articles = []
    pairs = {}
    if against is not None:
        others = read_results(against)
        pairs = {id(p.a): p for p in pair_up(jobs, others)}
        articles.append(Article("A against B", "", "", [overview(jobs, others, (names, str(against)))]))
    elif len(jobs) > 1:
        articles.append(Article("All problems", "", "", [contents(jobs)]))
    for job in jobs:
        sections: list[Section] = [s for s in (author(job) for author in SECTIONS) if s is not None]
        if id(job) in pairs:
            sections.insert(1, write_up_pair(pairs[id(job)]))
        articles.append(Article(job.title, _subtitle(job), job.kind if job.winner else "", sections))
    for found in (portfolio for path in sources for portfolio in read_portfolios(path)):
        subtitle = f"{found.device}, backend {found.backend}"
        articles.append(
            Article(f"Portfolio of {found.kernel} {found.problem}", subtitle, found.kind, [write_up(found)])
        )
    title = f"Tuning report: {jobs[0].title if len(jobs) == 1 else f'{len(jobs)} problems'}"
    made = f"{_MADE_BY} {__version__} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC from {names}."
    data = render(title, articles, made).encode()
    _require_own(out)
    write_atomic(out, data)
    return Written(len(jobs), len(data))


_MADE_BY = "Made by qdp-tuner"
"""What every report says of itself."""


def _require_own(out: Path) -> None:
    """Refuse to replace what is no report.

    Raises:
        StorageError: when it is something else, or a symbolic link.
    """
    if os.path.lexists(out) and (out.is_symlink() or not out.is_file() or _MADE_BY.encode() not in out.read_bytes()):
        raise StorageError(f"{out} exists and is no report of tuner's; choose another --out, or move it away")


def _subtitle(job: TunedProblem) -> str:
    return f"{job.device}, backend {job.backend}"
