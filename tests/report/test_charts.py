"""Charts as SVG: coloured by the page, and safe to put on it."""

from __future__ import annotations

import altair as alt
import pandas as pd
import pytest
from page import Page
from recorded import HOSTILE

from tuner.report.charts import ACCENT, layered, log_steps, to_svg


def test_names_from_a_record_are_escaped_in_a_drawing() -> None:
    data = pd.DataFrame({"x": [1, 2], "what": [HOSTILE, "</text></svg>"]})
    chart = alt.Chart(data).mark_text().encode(x=alt.X("x:Q", title=HOSTILE), y="what:N", text="what:N")
    page = Page(to_svg(layered(chart, width=340, height=200)))
    assert not page.tags["script"] and page.unclosed == []


@pytest.mark.parametrize("width", [340, 740])
def test_a_drawing_has_the_size_asked_for_and_the_colours_of_the_page(width: int) -> None:
    chart = alt.Chart(pd.DataFrame({"x": [1, 200_000]})).mark_bar(color=ACCENT).encode(x="x:Q")
    svg = to_svg(layered(chart, width=width, height=120))
    assert f'width="{width}" height="120"' in svg
    assert 'fill="var(--accent)"' in svg and 'fill="var(--muted)"' in svg


def test_logarithmic_axes_have_round_labels_within_their_range() -> None:
    assert log_steps(18, 700) == [20, 30, 50, 100, 200, 300, 500]
    assert log_steps(11, 12) == []
