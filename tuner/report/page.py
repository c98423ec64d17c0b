"""Put sections on a page: one HTML file that needs nothing else, no network and no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from tuner.report.blocks import Chart, Section
from tuner.report.charts import NARROW, WIDE, to_svg


@dataclass(frozen=True)
class Article:
    """The sections about one thing, with a link to them at the top of the page."""

    title: str
    subtitle: str
    badge: str
    sections: Sequence[Section]


def render(title: str, articles: Sequence[Article], made: str) -> str:
    """The page as HTML.

    Args:
        title: of the page.
        articles: what it holds.
        made: how and when it was made, a line at the foot.
    """
    import jinja2
    from markupsafe import Markup

    folder = files("tuner.report")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((folder / "page.html.j2").read_text())
    return template.render(
        title=title,
        articles=articles,
        made=made,
        style=Markup((folder / "page.css").read_text()),
        drawings=_drawings,
    )


def _drawings(chart: Chart) -> dict[str, object]:
    """A chart as SVG by the room it is for."""
    from markupsafe import Markup

    sizes = {"narrow": NARROW, "wide": WIDE} if chart.wide else {"any": NARROW}
    # Altair and Vega escape what they write, so this is markup; everything else is escaped by the template.
    return {room: Markup(to_svg(chart.draw(width))) for room, width in sizes.items()}
