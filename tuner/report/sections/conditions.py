"""Clocks, temperature, power and throttling while the finalists and the trials ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.report.blocks import Chart, PageBlock, Section, TableBlock, Text
from tuner.report.charts import MUTED, layered
from tuner.report.jobs import Trials, TunedProblem
from tuner.report.text import count, number, role
from tuner.store.results import TacticRecord

if TYPE_CHECKING:
    import altair as alt

CONDITIONS = {
    "sm_mhz": "SM clock (MHz)",
    "memory_mhz": "memory clock (MHz)",
    "temperature_c": "temperature (°C)",
    "power_w": "power (W)",
    "rounds": "rounds kept",
    "discarded_rounds": "rounds discarded as throttled",
    "throttled_rounds": "throttled rounds kept",
}
_DOTS = 1200


def conditions(job: TunedProblem) -> Section | None:
    """Conditions as recorded; a prediction has none."""
    told = [f for f in job.finalists if "sm_mhz" in f.facts or "throttled_rounds" in f.facts]
    trials = job.trials if job.trials is not None and "sm_mhz" in job.trials.frame else None
    if not told and trials is None:
        if job.kind == "measurement":
            return Section("Clocks and throttling", [Text("Nothing was recorded about clocks.", note=True)])
        return None
    blocks: list[PageBlock] = [Text(_throttling(told))] if told else []
    if trials is not None:
        blocks.append(
            Chart(
                "SM clock",
                "Median clock while each trial was screened. Times of trials at different clocks compare less well "
                "than those of finalists, which ran interleaved.",
                lambda width: _chart(trials, width),
                wide=True,
            )
        )
    if told:
        facts = {name: said for name, said in CONDITIONS.items() if any(name in f.facts for f in told)}
        rows = [[str(job.finalists.index(f) + 1), role(job, f), *(_fact(f, name) for name in facts)] for f in told]
        blocks.append(
            TableBlock(["rank", "role", *facts.values()], rows, caption="Conditions of the finalists (medians)")
        )
    return Section("Clocks and throttling", blocks)


def _fact(finalist: TacticRecord, name: str) -> str:
    return number(finalist.facts[name]) if name in finalist.facts else ""


def _throttling(finalists: list[TacticRecord]) -> str:
    # Rounds are common to all finalists, so the counts are not added up.
    discarded, kept = (
        int(max(f.facts.get(name, 0.0) for f in finalists)) for name in ("discarded_rounds", "throttled_rounds")
    )
    if not discarded and not kept:
        return "No round of the confirmation was throttled."
    said = f"{count(discarded, 'throttled round')} discarded during the confirmation"
    return f"{said}, and {kept} kept, since throttling was the machine's steady state." if kept else f"{said}."


def _chart(trials: Trials, width: int) -> alt.LayerChart:
    import altair as alt

    data = trials.frame[["number", "sm_mhz"]].dropna()
    data = data.iloc[:: -(-len(data) // _DOTS)]
    chart = (
        alt.Chart(data)
        .mark_circle(size=20, color=MUTED)
        .encode(
            x=alt.X("number:Q", title="trials", axis=alt.Axis(tickCount=width // 80), scale=alt.Scale(nice=False)),
            y=alt.Y("sm_mhz:Q", title="SM clock (MHz)", scale=alt.Scale(zero=False), axis=alt.Axis(format="d")),
        )
    )
    return layered(chart, width=width, height=170)
