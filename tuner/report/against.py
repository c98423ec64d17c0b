"""Two sets of results side by side: two runs, two devices, or predictions and measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.report.analysis import ranks_agree
from tuner.report.blocks import Chart, PageBlock, Section, TableBlock, Text
from tuner.report.charts import ACCENT, MUTED, layered, time_axis
from tuner.report.jobs import TunedProblem
from tuner.report.text import count, duration, number, slower, tactic
from tuner.store.results import TacticRecord

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

_DOTS = 1200
_LEAST_COMMON = 3


@dataclass(frozen=True)
class Pair:
    """The same problem in both sets."""

    a: TunedProblem
    b: TunedProblem

    @property
    def comparable(self) -> bool:
        """Whether both times are the same kind of number."""
        return self.a.kind == self.b.kind

    def common(self) -> pd.DataFrame:
        """The tactics that have a time in both; columns `tactic`, `a_us`, `b_us`."""
        import pandas as pd

        if self.a.trials is None or self.b.trials is None:
            return pd.DataFrame(columns=["tactic", "a_us", "b_us"])
        a, b = (j.trials.timed[["tactic", "time_us"]] for j in (self.a, self.b) if j.trials is not None)
        return a.merge(b, on="tactic").rename(columns={"time_us_x": "a_us", "time_us_y": "b_us"})


def pair_up(a: Sequence[TunedProblem], b: Sequence[TunedProblem]) -> list[Pair]:
    """Pair the jobs of the same problem; of several, those of the same backend and device first."""
    left = list(b)
    pairs = []
    for job in a:
        same = [o for o in left if _same_problem(o, job)]
        if same:
            other = max(same, key=lambda o: (o.backend == job.backend) + (o.device == job.device))
            left.remove(other)
            pairs.append(Pair(job, other))
    return pairs


def _same_problem(a: TunedProblem, b: TunedProblem) -> bool:
    """Whether both are of the same problem.

    An older results folder only has a label, without the attributes that are at their default: there the words of
    the one must all be words of the other.
    """
    if a.id and b.id:
        return a.id == b.id
    words = set(a.problem.split()), set(b.problem.split())
    return a.kernel == b.kernel and (words[0] <= words[1] or words[1] <= words[0])


def overview(a: Sequence[TunedProblem], b: Sequence[TunedProblem], names: tuple[str, str]) -> Section:
    """What both sets hold, a row for each problem.

    Args:
        a, b: the two sets.
        names: what to call them.
    """
    pairs = pair_up(a, b)
    blocks: list[PageBlock] = [Text(f"A is {names[0]}; B is {names[1]}.")]
    if not pairs:
        blocks.append(
            Text("They have no problem in common: a problem is a kernel id, sizes, data types and attributes.")
        )
    else:
        rows = [_row(p) for p in pairs]
        header = ["problem", "A", "B", "B / A", "winners", "A: device, backend", "B: device, backend"]
        blocks.append(TableBlock(header, rows, caption="The best of A and of B", wrapped=True))
    if any(not p.comparable for p in pairs):
        blocks.append(
            Text(
                "A ratio of a prediction and a measurement says how far the prediction is off, not which is faster.",
                note=True,
            )
        )
    if any(p.a.kind == p.b.kind == "measurement" for p in pairs):
        blocks.append(
            Text("A and B were measured apart: where they differ by a few per cent, it may be the sessions.", note=True)
        )
    for name, jobs, matched in (("A", a, [p.a for p in pairs]), ("B", b, [p.b for p in pairs])):
        alone = [j.title for j in jobs if not any(j is m for m in matched)]
        if alone:
            blocks.append(Text(f"Only in {name}: {'; '.join(alone)}."))
    return Section("Overview", blocks)


def _row(pair: Pair) -> list[str]:
    a, b = pair.a.winner, pair.b.winner
    ratio = f"{b.time_us / a.time_us:.3f}" if a is not None and b is not None and a.time_us and b.time_us else "-"
    return [
        pair.a.title,
        _time(pair.a),
        _time(pair.b),
        ratio,
        "no winner" if a is None or b is None else "same tactic" if a.id == b.id else "different tactics",
        f"{pair.a.device}, {pair.a.backend}",
        f"{pair.b.device}, {pair.b.backend}",
    ]


def _time(job: TunedProblem) -> str:
    return "-" if job.winner is None else f"{duration(job.winner.time_us)} ({job.timed_word})"


def against(pair: Pair) -> Section:
    """One problem in both sets: what each winner is worth in the other, and whether they rank tactics alike."""
    blocks: list[PageBlock] = []
    rows = []
    for name, job in (("A", pair.a), ("B", pair.b)):
        if job.winner is not None:
            here, there = (_worth(job.winner, of) for of in (pair.a, pair.b))
            rows.append([f"winner of {name}", tactic(job.winner.config), here, there])
    if rows:
        header = ["", "tactic", "in A, to A's best", "in B, to B's best"]
        blocks.append(TableBlock(header, rows, caption="What each winner is worth in both"))
    common = pair.common()
    if len(common) >= _LEAST_COMMON:
        agree = ranks_agree(common["a_us"].to_numpy(), common["b_us"].to_numpy())
        blocks.append(
            Chart(
                "Times of the tactics that both tried",
                f"{count(len(common), 'tactic')}; Spearman's rank correlation {agree:.3f}. "
                f"On the line, B takes {number(float((common['b_us'] / common['a_us']).median()))} times as long as A, "
                "the median ratio.",
                lambda width: _chart(pair, common, width),
            )
        )
    else:
        blocks.append(Text("Fewer than three tactics were timed in both, so their times are not drawn.", note=True))
    blocks.append(_environments(pair))
    return Section("Against B", blocks)


def _worth(winner: TacticRecord, job: TunedProblem) -> str:
    """A tactic's time in a job, in proportion to the job's best."""
    known = {f.id: f.time_us for f in job.finalists if f.time_us}
    if winner.id not in known and job.trials is not None:
        timed = job.trials.timed
        known |= dict(zip(timed["tactic"].astype(int), timed["time_us"].astype(float), strict=True))
    if winner.id not in known:
        return "not tried"
    best = min(known.values())
    return f"{duration(known[winner.id])} ({slower(known[winner.id] or best, best)})"


def _environments(pair: Pair) -> TableBlock:
    names = dict.fromkeys([*pair.a.environment, *pair.b.environment])
    rows = [[n, pair.a.environment.get(n, ""), pair.b.environment.get(n, "")] for n in names]
    marked = frozenset(i for i, (_, a, b) in enumerate(rows) if a != b)
    return TableBlock(["", "A", "B"], rows, marked, "Environments; rows that differ are stressed", wrapped=True)


def _chart(pair: Pair, common: pd.DataFrame, width: int) -> alt.LayerChart:
    import altair as alt
    import pandas as pd

    dots = common.iloc[:: -(-len(common) // _DOTS)]
    scales = {}
    for name, job in (("a", pair.a), ("b", pair.b)):
        times = [float(common[f"{name}_us"].min()), float(common[f"{name}_us"].max())]
        scales[name] = time_axis(name.upper(), times, f"{name.upper()}, {job.timed_word} (µs)")
    ratio = float((common["b_us"] / common["a_us"]).median())
    ends = [
        max(common["a_us"].min(), common["b_us"].min() / ratio),
        min(common["a_us"].max(), common["b_us"].max() / ratio),
    ]
    line = pd.DataFrame({"a_us": ends, "b_us": [ratio * e for e in ends]})
    x = alt.X("a_us:Q", scale=scales["a"][0], axis=scales["a"][1])
    y = alt.Y("b_us:Q", scale=scales["b"][0], axis=scales["b"][1])
    layers = (
        alt.Chart(line).mark_line(color=MUTED, strokeDash=[5, 3]).encode(x=x, y=y),
        alt.Chart(dots).mark_circle(size=28, opacity=0.6, color=ACCENT).encode(x=x, y=y),
    )
    return layered(*layers, width=width, height=300)
