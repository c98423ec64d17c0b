"""Charts as SVG that takes its colours from the page, so that dark, light and paper each get their own.

Altair describes a chart and vl-convert draws it without a browser: the page holds no script.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from tuner.errors import UnavailableError

if TYPE_CHECKING:
    import altair as alt

NARROW, WIDE = 340, 740
"""Pixels: what a telephone and what the page has room for. Text keeps its size in both."""

ACCENT, SECOND, MUTED, BAD, INK = (f"var(--{name})" for name in ("accent", "second", "muted", "bad", "ink"))

_FONT = "system-ui, sans-serif"
_AXIS = {
    "labelColor": MUTED,
    "titleColor": MUTED,
    "gridColor": "var(--grid)",
    "domainColor": "var(--line)",
    "tickColor": "var(--line)",
    "labelFontSize": 12,
    "titleFontSize": 12,
    "titleFontWeight": "normal",
    "labelLimit": 120,
}
_LEGEND = {
    "labelColor": INK,
    "titleColor": MUTED,
    "labelFontSize": 12,
    "symbolStrokeWidth": 3,
    "labelLimit": 320,
    "columnPadding": 16,
    "orient": "top",
    "direction": "horizontal",
    "title": None,
}
_CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": _FONT,
    "axis": _AXIS,
    "legend": _LEGEND,
    "view": {"stroke": None},
    "mark": {"aria": False},
    "text": {"fill": INK, "fontSize": 12},
}


def require_library() -> None:
    """Raise `UnavailableError` where the libraries of the extra are not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("altair", "jinja2", "vl_convert") if find_spec(name) is None]
    if missing:
        raise UnavailableError(
            f"a report needs {', '.join(missing)}, not installed here; run: pip install 'qdp-tuner[report]'"
        )


def colours(domain: list[str], *palette: str) -> alt.Color:
    """A colour for each name in a column `what`, with a legend above the chart."""
    import altair as alt

    columns = 1 if max(map(len, domain)) > 22 else len(domain)
    return alt.Color("what:N", scale=alt.Scale(domain=domain, range=list(palette)), legend=alt.Legend(columns=columns))


def time_axis(field: str, times_us: Any, title: str = "") -> tuple[Any, Any]:
    """A scale and an axis for times in microseconds: logarithmic where they spread, never from zero."""
    import altair as alt

    spread = max(times_us) > 4 * min(times_us)
    scale = alt.Scale(type="log", nice=False, padding=8) if spread else alt.Scale(zero=False, nice=True, padding=8)
    axis = alt.Axis(title=title or f"{field} (µs)", format="~r", tickCount=6)
    if spread and len(steps := log_steps(min(times_us), max(times_us))) > 1:
        axis.values = steps
    return scale, axis


def log_steps(low: float, high: float) -> list[float]:
    """Labels for a logarithmic axis: those that Vega chooses are too few or too many below two decades."""
    return [s for e in range(-2, 9) for m in (1, 2, 3, 5) if low <= (s := m * 10.0**e) <= high]


def to_svg(chart: alt.LayerChart) -> str:
    """Draw a chart."""
    text = io.StringIO()
    chart.configure(**_CONFIG).save(text, format="svg")
    return text.getvalue()


def layered(*layers: alt.Chart, width: int, height: int) -> alt.LayerChart:
    """Layers as one chart of this size in all, axes and legend included, in pixels."""
    import altair as alt

    autosize = alt.AutoSizeParams(type="fit", contains="padding")
    return alt.LayerChart(layer=layers, width=width, height=height, autosize=autosize)
