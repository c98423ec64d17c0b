"""The finalists: their samples, the intervals of their medians, and who ties."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from tuner.backends.timing.statistics import median_interval
from tuner.report.blocks import Chart, PageBlock, Section, TableBlock, Text
from tuner.report.charts import ACCENT, MUTED, SECOND, colours, layered
from tuner.report.jobs import TunedProblem
from tuner.report.text import duration, percent, role, slower
from tuner.store.results import TacticRecord

if TYPE_CHECKING:
    import altair as alt

CONFIDENCE = 0.95
_SHOWN = 20
_SAMPLES = 80
"""As many samples of each finalist as a row has room for."""


def finalists(job: TunedProblem) -> Section | None:
    """Everyone who was confirmed, the fastest first."""
    timed = [f for f in job.finalists if f.time_us]
    if not timed:
        return None
    blocks: list[PageBlock] = []
    sampled = [(rank, f) for rank, f in enumerate(timed[:_SHOWN], start=1) if f.samples_us]
    if sampled:
        together = all("rounds" in f.facts for _, f in sampled)
        interleaved = "Finalists ran interleaved, a batch of each in a round. " if together else ""
        blocks.append(
            Chart(
                "Samples of the finalists",
                f"Each dot is one sample (a batch of launches); the bar is the {percent(CONFIDENCE)} interval of the "
                f"median, by order statistics. {interleaved}Numbers are ranks in the table.",
                lambda width: _chart(job, sampled, width),
                wide=True,
            )
        )
    elif job.kind == "prediction":
        blocks.append(Text("A prediction has no samples: the model gives the same number each time.", note=True))
    best = timed[0].time_us or math.nan
    names = list(dict.fromkeys(name for f in timed for name in f.config))
    rows = [
        [
            str(rank),
            role(job, f),
            duration(f.time_us),
            _interval(f),
            slower(f.time_us or math.nan, best) if rank > 1 else "",
            *(str(f.config.get(n, "")) for n in names),
            str(f.id),
        ]
        for rank, f in enumerate(timed, start=1)
    ]
    marked = frozenset(i for i, f in enumerate(timed) if job.winner is not None and f.id == job.winner.id)
    header = ["rank", "role", job.timed_word, "interval", "to fastest", *names, "tactic"]
    filled = [i for i in range(len(header)) if any(r[i] for r in rows)]
    header, rows = [header[i] for i in filled], [[r[i] for i in filled] for r in rows]
    blocks.append(TableBlock(header, rows, marked, "Finalists, the fastest first"))
    return Section("Finalists", blocks)


def _interval(finalist: TacticRecord) -> str:
    """The interval of the median; from a cache, which keeps no samples, the range of most of them."""
    if finalist.samples is not None:
        s = finalist.samples
        return f"{duration(s.low_us)} to {duration(s.high_us)} (5 to 95 % of {s.count} samples)"
    low, high = median_interval(finalist.samples_us, CONFIDENCE) if finalist.samples_us else (-math.inf, math.inf)
    return f"{duration(low)} to {duration(high)}" if math.isfinite(low) else ""


def _chart(job: TunedProblem, ranked: list[tuple[int, TacticRecord]], width: int) -> alt.LayerChart:
    import altair as alt
    import pandas as pd

    dots, bars = [], []
    for rank, f in ranked:
        label = f"{rank} {role(job, f)}".strip()
        what = "winner or tie" if _level(job, f) else "slower"
        step = math.ceil(len(f.samples_us) / _SAMPLES)
        dots += [(label, s) for s in f.samples_us[::step]]
        low, high = median_interval(f.samples_us, CONFIDENCE)
        middle = median(f.samples_us)
        bars.append((label, middle, *((low, high) if math.isfinite(low) else (middle, middle)), what))
    order = [b[0] for b in bars]
    y = alt.Y("finalist:N", sort=order, title=None, axis=alt.Axis(grid=True, labelLimit=110))
    scale = alt.Scale(zero=False, nice=True)
    samples = alt.Chart(pd.DataFrame(dots, columns=["finalist", "us"]))
    medians = alt.Chart(pd.DataFrame(bars, columns=["finalist", "us", "low", "high", "what"]))
    colour = colours(["winner or tie", "slower"], ACCENT, SECOND)
    x = alt.X("us:Q", scale=scale, axis=alt.Axis(title="time of a launch (µs)", format="~r", tickCount=6))
    layers = (
        samples.mark_circle(size=14, opacity=0.45, color=MUTED).encode(x=x, y=y),
        medians.mark_rule(strokeWidth=7, opacity=0.45).encode(x=alt.X("low:Q"), x2="high:Q", y=y, color=colour),
        medians.mark_tick(thickness=3, height=16).encode(x="us:Q", y=y, color=colour),
    )
    return layered(*layers, width=width, height=90 + 26 * len(ranked))


def _level(job: TunedProblem, finalist: TacticRecord) -> bool:
    return finalist.id in job.ties or (job.winner is not None and finalist.id == job.winner.id)
