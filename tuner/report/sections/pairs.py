"""The two strongest parameters together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.report.analysis import importances, plain, varied
from tuner.report.blocks import Chart, Section
from tuner.report.charts import ACCENT, BAD, SECOND, layered
from tuner.report.jobs import Trials, TunedProblem
from tuner.report.text import duration
from tuner.store.columns import param_of

if TYPE_CHECKING:
    import altair as alt

_TEXT_PIXELS = 40
"""A cell this wide has room for a number."""


def strongest_pair(job: TunedProblem) -> Section | None:
    """The fastest trial at each pair of values of the two most important parameters."""
    trials = job.trials
    if trials is None:
        return None
    found = importances(trials)
    names = sorted(varied(trials), key=lambda n: -found.get(n, 0.0))[:2]
    if len(names) < 2 or not found:
        return None
    best = float(trials.timed["time_us"].min())
    says = (
        f"The fastest trial at each pair of values, as a multiple of the best ({duration(best)}, {job.timed_word}); "
        "darker is faster, a cross marks pairs of which every trial failed, and empty ones were not tried."
    )
    chart = Chart(
        " and ".join(map(param_of, names)), says, lambda width: _chart(job, trials, (names[0], names[1]), width), True
    )
    return Section("Strongest parameters together", [chart])


def _chart(job: TunedProblem, trials: Trials, names: tuple[str, str], width: int) -> alt.LayerChart:
    import altair as alt
    import pandas as pd

    across, down = names
    best = trials.frame.groupby([across, down])["time_us"].min()
    order = {n: [str(plain(v)) for v in sorted(best.index.unique(n))] for n in names}
    cells = pd.DataFrame([map(str, map(plain, pair)) for pair in best.index], columns=["x", "y"])
    cells["ratio"] = best.to_numpy() / best.min()
    cells["shade"] = 1 / cells["ratio"]
    won = None if job.winner is None else tuple(str(plain(job.winner.config.get(param_of(n)))) for n in names)
    cells["won"] = [pair == won for pair in zip(cells["x"], cells["y"], strict=True)]
    x = alt.X(
        "x:N",
        sort=order[across],
        title=param_of(across),
        axis=alt.Axis(labelAngle=0, labelOverlap=True, labelSeparation=5),
    )
    y = alt.Y("y:N", sort=order[down], title=param_of(down))
    timed = alt.Chart(cells.dropna()).encode(x=x, y=y)
    opacity = alt.Opacity("shade:Q", scale=alt.Scale(domain=[0.25, 1], range=[0.05, 0.6], clamp=True), legend=None)
    layers = [
        timed.mark_rect(color=ACCENT).encode(opacity=opacity),
        alt.Chart(cells[cells["won"]]).mark_rect(filled=False, stroke=SECOND, strokeWidth=3).encode(x=x, y=y),
        alt.Chart(cells[cells["ratio"].isna()]).mark_text(text="\N{MULTIPLICATION SIGN}", color=BAD).encode(x=x, y=y),
    ]
    if (width - 90) / len(order[across]) >= _TEXT_PIXELS:
        layers.append(timed.mark_text(fontSize=11).encode(text=alt.Text("ratio:Q", format=".2f")))
    return layered(*layers, width=width, height=80 + 28 * len(order[down]))
