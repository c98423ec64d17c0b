"""What a portfolio gives away: by what part each of its tactics is slower than the fastest, shape by shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.report.blocks import Chart, Section, TableBlock, Text
from tuner.report.charts import BAD, INK, SECOND, layered
from tuner.report.text import count, duration, percent, tactic
from tuner.store.portfolios import Portfolio

if TYPE_CHECKING:
    import altair as alt

_WORST = 0.2
"""Losses from here on have one colour: what matters is told apart below."""


def portfolio(found: Portfolio) -> Section:
    """The tactics taken, and a heatmap of losses."""
    taken = [c for c in found.candidates if c.taken]
    word = "predicted" if found.kind == "prediction" else "measured"
    says = (
        f"By what percentage each candidate is slower than the fastest of them at each shape ({word}); darker loses "
        f"more, and those of the portfolio that serve a shape within {percent(found.within, 1)} are framed. Tactics "
        "by id, those taken first."
    )
    proof = "no smaller set does" if found.method == "exact" else f"found by: {found.method}"
    lead = (
        f"{count(len(taken), 'tactic')} of {len(found.candidates)} serve every shape within "
        f"{percent(found.within, 1)} of the fastest; {proof}."
    )
    rows = [
        [str(c.id), tactic(c.config), str(sum(at[i] <= found.within for at in found.losses())), duration(c.range_us)]
        for i, c in enumerate(found.candidates)
    ]
    header = ["id", "tactic", f"shapes served of {len(found.shapes)}", f"mean over the range ({word})"]
    marked = frozenset(range(len(taken)))
    return Section(
        "Portfolio",
        [
            Text(lead),
            Chart("Loss by shape", says, lambda width: _heatmap(found, width), wide=True),
            TableBlock(header, rows, marked, caption="Candidates, those of the portfolio stressed", wrapped=True),
            *(Text(f"Left out: {reason}", note=True) for reason in found.left_out),
        ],
    )


def _heatmap(found: Portfolio, width: int) -> alt.LayerChart:
    import altair as alt
    import pandas as pd

    ids = [str(c.id) for c in found.candidates]
    cells = pd.DataFrame(
        [
            {"shape": label, "tactic": name, "loss": 100 * loss, "served": loss <= found.within and c.taken}
            for label, losses in zip(found.shapes, found.losses(), strict=True)
            for name, loss, c in zip(ids, losses, found.candidates, strict=True)
        ]
    )
    x = alt.X("tactic:N", sort=ids, title="tactic", axis=alt.Axis(labelAngle=-40, labelOverlap=True))
    y = alt.Y("shape:N", sort=list(found.shapes), title=None, axis=alt.Axis(labelLimit=width // 3))
    base = alt.Chart(cells).encode(x=x, y=y)
    scale = alt.Scale(domain=[0, 100 * _WORST], range=[0.04, 0.75], clamp=True)
    layers = [
        base.mark_rect(color=BAD).encode(opacity=alt.Opacity("loss:Q", scale=scale, legend=None)),
        alt.Chart(cells[cells["served"]]).mark_rect(filled=False, stroke=SECOND, strokeWidth=2).encode(x=x, y=y),
    ]
    if width * 2 // 3 >= 44 * len(ids):
        layers.append(base.mark_text(fontSize=11, color=INK).encode(text=alt.Text("loss:Q", format=".1f")))
    return layered(*layers, width=width, height=90 + 22 * len(found.shapes))
