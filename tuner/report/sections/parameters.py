"""Each parameter: how much it decides, and the times at each of its values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.report.analysis import LEAST_TRIALS, importances, plain, varied
from tuner.report.blocks import Chart, Charts, PageBlock, Section, Text
from tuner.report.charts import ACCENT, SECOND, layered, time_axis
from tuner.report.jobs import Trials, TunedProblem
from tuner.store.columns import param_of

if TYPE_CHECKING:
    import altair as alt


def parameters(job: TunedProblem) -> Section | None:
    """Importances and slices; nothing where no parameter varies."""
    trials = job.trials
    if trials is None or not (names := varied(trials)):
        return None
    found = importances(trials)
    blocks: list[PageBlock] = []
    if found:
        blocks.append(
            Chart(
                "Importance",
                "How much each parameter decides whether a tactic is among the fastest tenth (Optuna's PED-ANOVA, "
                "scaled to add up to 1).",
                lambda width: _importance(found, width),
            )
        )
    else:
        blocks.append(Text(f"Importances need at least {LEAST_TRIALS} trials with different times.", note=True))
    ordered = sorted(names, key=lambda n: -found.get(n, 0.0))
    slices = [Chart(param_of(name), "", lambda width, name=name: _slice(job, trials, name, width)) for name in ordered]  # type: ignore[misc]
    blocks.append(
        Text(
            "Slices, the most important first. A bar goes from the fastest (the dot) to the median trial at a value, "
            "whatever the other parameters were. Orange: the winner's value."
        )
    )
    blocks.append(Charts(slices))
    return Section("Parameters", blocks)


def _importance(found: dict[str, float], width: int) -> alt.LayerChart:
    import altair as alt
    import pandas as pd

    data = pd.DataFrame({"parameter": [param_of(name) for name in found], "importance": list(found.values())})
    base = alt.Chart(data).encode(
        x=alt.X("importance:Q", title="importance", scale=alt.Scale(domain=[0, 1.12 * max(found.values())])),
        y=alt.Y("parameter:N", sort=list(data["parameter"]), title=None),
    )
    layers = (
        base.mark_bar(color=ACCENT, height=16),
        base.mark_text(align="left", dx=4).encode(text=alt.Text("importance:Q", format=".2f")),
    )
    return layered(*layers, width=width, height=60 + 28 * len(found))


def _slice(job: TunedProblem, trials: Trials, name: str, width: int) -> alt.LayerChart:
    import altair as alt

    timed = trials.timed
    won = None if job.winner is None else str(plain(job.winner.config.get(param_of(name))))
    data = timed["time_us"].groupby(timed[name]).agg(best="min", middle="median")
    data = data.assign(value=[str(plain(v)) for v in data.index])
    data["won"] = data["value"] == won
    scale, axis = time_axis("time", [float(data["best"].min()), float(data["middle"].max())])
    axis.title = f"{job.timed_word} (µs)"
    colour = alt.when(alt.datum.won).then(alt.value(SECOND)).otherwise(alt.value(ACCENT))
    x = alt.X(
        "value:N",
        sort=list(data["value"]),
        title=param_of(name),
        axis=alt.Axis(labelAngle=0, labelOverlap=True, labelSeparation=5),
    )
    base = alt.Chart(data[["value", "best", "middle", "won"]]).encode(x=x, color=colour)
    layers = (
        base.mark_rule(strokeWidth=6, opacity=0.4).encode(y=alt.Y("best:Q", scale=scale, axis=axis), y2="middle:Q"),
        base.mark_circle(size=60, opacity=1).encode(y=alt.Y("best:Q")),
    )
    return layered(*layers, width=width, height=210)
