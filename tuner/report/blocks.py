"""What a report is made of: sections of text, tables, charts and folded listings. The template gives them a shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import altair as alt

    from tuner.report.jobs import TunedProblem


@dataclass(frozen=True)
class Text:
    """A paragraph. A note says what is missing, or how far something can be trusted."""

    text: str
    note: bool = False
    type = "text"


@dataclass(frozen=True)
class Figures:
    """Numbers to see at a glance: a label, the number, and a line about it."""

    rows: Sequence[tuple[str, str, str]]
    type = "figures"


@dataclass(frozen=True)
class TableBlock:
    """Rows under a header.

    Attributes:
        header: names of the columns.
        rows: cells, as many as there are names.
        marked: indices of rows to stress.
        caption: what the table holds, for those who do not see what stands around it.
        wrapped: whether long cells may break into lines; without it the table scrolls sideways.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: frozenset[int] = frozenset()
    caption: str = ""
    wrapped: bool = False
    type = "table"


@dataclass(frozen=True)
class Chart:
    """A chart, drawn for the width at hand.

    Attributes:
        title: what it shows.
        says: what one reads from it: shown below, and read to those who do not see it.
        draw: makes it for a plot so many pixels wide.
        wide: whether it is worth the whole width of a page.
    """

    title: str
    says: str
    draw: Callable[[int], alt.LayerChart]
    wide: bool = False
    type = "chart"


@dataclass(frozen=True)
class Charts:
    """Small charts of one kind, side by side."""

    charts: Sequence[Chart]
    type = "charts"


@dataclass(frozen=True)
class Folded:
    """A long listing behind its title."""

    title: str
    text: str
    type = "folded"


PageBlock: TypeAlias = Text | Figures | TableBlock | Chart | Charts | Folded


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    heading: str
    blocks: Sequence[PageBlock]


Author: TypeAlias = "Callable[[TunedProblem], Section | None]"
"""Writes one section about a job, or None where the job gives no reason to."""
