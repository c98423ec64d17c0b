"""What recorded trials say about the search and about the parameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tuner.report.jobs import Trials
from tuner.store.columns import param_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

LEAST_TRIALS = 8
"""Importances of fewer trials than this say nothing."""

_POINTS = 240
"""Numbers of trials at which a course is drawn: more than a chart has room for would only cost bytes."""


def best_so_far(trials: Trials) -> pd.DataFrame:
    """The best time in microseconds after each number of trials; columns `trials`, `best_us`.

    Only where the best changed, the first trial with a time, and the end.
    """
    import numpy as np
    import pandas as pd

    best = np.fmin.accumulate(trials.frame["time_us"].to_numpy(dtype=float))
    course = pd.DataFrame({"trials": np.arange(1, len(best) + 1), "best_us": best}).dropna()
    changed = course["best_us"].diff().ne(0)
    changed.iloc[-1:] = True
    return course[changed]


def random_order(trials: Trials) -> pd.DataFrame:
    """The best of the first n trials when the recorded ones come in random order.

    Exact, without simulation: of N trials, of which k are at least as fast as t, a random n hold none of
    those k with probability C(N-k, n) / C(N, n). Failed trials count as infinitely slow.

    Returns:
        Columns `trials`, and the quantiles `low_us` (10 %), `median_us`, `high_us` (90 %) in microseconds, NaN
        where so many orders have met nothing but failures.
    """
    import numpy as np
    import pandas as pd

    times = np.sort(trials.frame["time_us"].to_numpy(dtype=float))  # failures, as NaN, come last
    total = len(times)
    counts = np.unique(np.linspace(1, total, min(total, _POINTS)).round().astype(int))
    rows = []
    for n in counts:
        i = np.arange(total)
        reached = 1 - np.cumprod(np.clip((total - n - i) / (total - i), 0, None))
        ranks = np.searchsorted(reached, [0.1 - 1e-12, 0.5 - 1e-12, 0.9 - 1e-12])
        rows.append((n, *times[np.minimum(ranks, total - 1)]))
    return pd.DataFrame(rows, columns=["trials", "low_us", "median_us", "high_us"])


def trials_until(course: pd.DataFrame, column: str, limit_us: float) -> int | None:
    """After how many trials a course is at or below a time."""
    reached = course[course[column] <= limit_us]
    return None if reached.empty else int(reached["trials"].iloc[0])


def varied(trials: Trials) -> tuple[str, ...]:
    """The columns of the parameters of which timed trials have more than one value."""
    return tuple(p for p in trials.params if trials.timed[p].nunique() > 1)


@lru_cache(maxsize=1)  # several sections of one job ask
def importances(trials: Trials) -> dict[str, float]:
    """How much each parameter decides whether a tactic is among the fastest tenth, the most important first.

    Optuna's PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023), scaled to add up to 1. Empty where there are
    fewer than `LEAST_TRIALS` timed trials or nothing varies.
    """
    import optuna

    names, timed = varied(trials), trials.timed
    if len(timed) < LEAST_TRIALS or not names or timed["time_us"].nunique() < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    columns = {p: [plain(v) for v in timed[p]] for p in names}
    spaces = {p: optuna.distributions.CategoricalDistribution(list(dict.fromkeys(v))) for p, v in columns.items()}
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    study.add_trials(
        optuna.trial.create_trial(
            params=dict(zip(names, values, strict=True)), distributions=dict(spaces), value=float(time_us)
        )
        for time_us, *values in zip(timed["time_us"], *columns.values(), strict=True)
    )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: value for name, value in found.items() if value == value}


@dataclass(frozen=True)
class FailureGroup:
    """Failed trials of one class with one message.

    Attributes:
        kind: the class of failure.
        message: all lines of the first one's message.
        count: how many.
        shared: the parameters of which all of them have the same value.
    """

    kind: str
    message: str
    count: int
    shared: dict[str, Any]


def failure_groups(trials: Trials) -> list[FailureGroup]:
    """The failed trials by class and first line of their message, the most frequent first."""
    failed = trials.failed
    first_lines = failed["message"].str.split("\n").str[0]
    groups = []
    for (kind, _), rows in failed.groupby([failed["status"], first_lines], sort=False):
        shared = {
            param_of(p): plain(rows[p].iloc[0]) for p in trials.params if len(rows) > 1 and rows[p].nunique() == 1
        }
        groups.append(FailureGroup(str(kind), rows["message"].iloc[0], len(rows), shared))
    return sorted(groups, key=lambda g: -g.count)


def plain(value: Any) -> Any:
    """A value of a table as Python's own type; a whole number as an integer."""
    value = value.item() if hasattr(value, "item") else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def ranks_agree(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Spearman's rank correlation."""
    import pandas as pd

    return float(pd.Series(a).rank().corr(pd.Series(b).rank()))
