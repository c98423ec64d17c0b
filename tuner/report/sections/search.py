"""The course of the search: best so far, against the same trials in random order."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tuner.report.analysis import best_so_far, random_order, trials_until
from tuner.report.blocks import Chart, PageBlock, Section, Text
from tuner.report.charts import ACCENT, MUTED, SECOND, colours, layered, log_steps, time_axis
from tuner.report.jobs import Trials, TunedProblem
from tuner.report.text import count

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

_DOTS = 1200
"""As many trials as a chart has room for."""

_LONG = 200

SEARCH, RANDOM = "best so far", "random order, median"


def search(job: TunedProblem) -> Section | None:
    """Best so far; nothing where no trial has a time."""
    trials = job.trials
    if trials is None or trials.timed.empty:
        return None
    course, baseline = best_so_far(trials), random_order(trials)
    blocks: list[PageBlock] = [Text(_how_soon(course, baseline))]
    says = "A dot is a trial."
    if len(trials.timed) > _DOTS:
        says = f"Dots are {_DOTS} of {len(trials.timed)} trials."
    says += (
        " The band holds 80 % of random orders: the best of n trials drawn at random from the recorded ones, failures "
        "included, computed exactly. "
    )
    says += (
        "The whole space was tried, so this is what random search without repetition does."
        if job.exhausted
        else "They are no random sample of the space: where the search looked mostly among good tactics, a random "
        "search of the whole space would do worse than this."
    )
    blocks.append(
        Chart("Best so far", says, lambda width: _chart(job, trials, course, baseline, width), wide=True),
    )
    return Section("Search", blocks)


def _how_soon(course: pd.DataFrame, baseline: pd.DataFrame) -> str:
    near = 1.01 * float(course["best_us"].iloc[-1])
    mine, theirs = trials_until(course, "best_us", near), trials_until(baseline, "median_us", near)
    said = f"Within 1 % of its best after {count(mine or 0, 'trial')}"
    return f"{said}; the same trials in random order need {theirs}, in the median." if theirs else f"{said}."


def _chart(
    job: TunedProblem, trials: Trials, course: pd.DataFrame, baseline: pd.DataFrame, width: int
) -> alt.LayerChart:
    import altair as alt
    import pandas as pd

    timed = trials.frame.assign(trials=range(1, len(trials) + 1))[["trials", "time_us"]].dropna()
    dots = timed.iloc[:: math.ceil(len(timed) / _DOTS)]
    lines = pd.concat(
        [
            course.rename(columns={"best_us": "us"}).assign(what=SEARCH),
            baseline[["trials", "median_us"]].rename(columns={"median_us": "us"}).dropna().assign(what=RANDOM),
        ]
    )
    scale, axis = time_axis("time", [float(timed["time_us"].min()), float(timed["time_us"].max())])
    axis.title = f"{job.timed_word} time (µs)"
    x = _trials_axis(len(trials), width)
    band = alt.Chart(baseline.dropna())
    layers = (
        band.mark_area(opacity=0.18, color=SECOND, interpolate="step-after").encode(
            x=x, y=alt.Y("low_us:Q", scale=scale, axis=axis), y2="high_us:Q"
        ),
        alt.Chart(dots).mark_circle(size=16, opacity=0.45, color=MUTED).encode(x=x, y=alt.Y("time_us:Q")),
        alt.Chart(lines)
        .mark_line(interpolate="step-after", strokeWidth=2.5)
        .encode(x=x, y=alt.Y("us:Q"), color=colours([SEARCH, RANDOM], ACCENT, SECOND)),
    )
    return layered(*layers, width=width, height=300)


def _trials_axis(count: int, width: int) -> alt.X:
    """Logarithmic for a long search, the first trials of which matter most."""
    import altair as alt

    domain = [1, max(2, count)]
    if count > _LONG:
        axis = alt.Axis(values=log_steps(*domain), format=",d", labelOverlap=True)
        return alt.X("trials:Q", title="trials", axis=axis, scale=alt.Scale(type="log", nice=False, domain=domain))
    axis = alt.Axis(tickCount=width // 80)
    return alt.X("trials:Q", title="trials", axis=axis, scale=alt.Scale(nice=False, domain=domain))
