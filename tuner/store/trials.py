"""``trials.csv``: every trial of a job as a row, for spreadsheets, other tools and the report."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import StorageError
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import data_of
from tuner.outcome import Timing
from tuner.store.columns import param_columns
from tuner.store.files import write_atomic
from tuner.store.results import Trial

if TYPE_CHECKING:
    import pandas as pd

TRIALS = "trials.csv"
TRIAL_COLUMNS = ("problem", "number", "tactic", "status", "kind", "time_us", "verified", "message")
"""The columns that every file has. Older files have no `problem_id`."""

_ID = "problem_id"
_FIRST = ("problem", "number", "tactic", "status", "kind", "time_us", "verified")
_LAST = (_ID, "message")  # the id is for programs


@dataclass(frozen=True, eq=False)
class ProblemTrials:
    """The rows of one problem.

    Attributes:
        id: `ProblemData.id`; "" in an older file.
        title: kernel and label, for people.
        frame: a row per trial in the order of asking. Columns: `TRIAL_COLUMNS`, one per parameter, one per fact,
            without those of the latter that no row fills. `time_us` is NaN for a failed trial.
    """

    id: str
    title: str
    frame: pd.DataFrame


def write_trials(path: Path, trials: Mapping[Problem, Sequence[Trial]], missing: Collection[Problem] = ()) -> None:
    """Write one row per trial, in the order of asking, for each problem.

    Where problems are missing, rows of theirs and of others that the file already holds stay in it, unless `trials`
    has as many of the same problem with a time.

    Columns: problem (for people), number, tactic, status ("ok" or the class of failure), kind, time_us, verified, one
    per parameter, one per fact about the code or the run, problem_id (by which the problem is found in a summary),
    message. A parameter that is called like another column is kept apart, see `tuner.store.columns`.

    Args:
        path: the file.
        trials: those that there are of each problem.
        missing: problems of the job that were not finished, with or without trials.

    Raises:
        StorageError: when the file cannot be written.
    """
    ended = [trial for finished in trials.values() for trial in finished]
    facts = {name for t in ended if isinstance(t.outcome, Timing) for name in t.outcome.facts}
    columns = param_columns(dict.fromkeys(name for t in ended for name in t.tactic.config), {*_FIRST, *_LAST, *facts})
    rows: list[dict[str, Any]] = []
    for problem, finished in trials.items():
        of_problem = {"problem": str(problem), _ID: data_of(problem).id}
        for trial in finished:
            row: dict[str, Any] = {**of_problem, "number": trial.number, "tactic": trial.tactic.id}
            config = {columns[name]: value for name, value in trial.tactic.config.items()}
            outcome = trial.outcome
            if isinstance(outcome, Timing):
                row |= {"status": "ok", "kind": outcome.kind, "time_us": outcome.time_us, "verified": outcome.verified}
                row |= {**config, **outcome.facts, "message": ""}
            else:
                row |= {"status": outcome.kind.value, **config, "message": outcome.message}
            rows.append(row)
    content = _written(rows)
    if missing:
        done = {data_of(p).id for p in trials if p not in missing}
        content = _with_earlier(path, content, done)
    write_atomic(path, content.encode())


def _with_earlier(path: Path, content: str, done: Collection[str]) -> str:
    """A table, with the rows of a file for problems that are not done and of which the file tells more."""
    now = _rows_by_problem(content)
    try:
        earlier = _rows_by_problem(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, csv.Error):
        return content
    kept = {key: rows for key, rows in earlier.items() if key not in done and _worth(rows) > _worth(now.get(key, ()))}
    if not kept:
        return content
    rows = [row for found in {**now, **kept}.values() for row in found]
    return _written(rows)


def _written(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of some rows. What a row does not have, and what is no number, is left empty."""
    known = dict.fromkeys(name for row in rows for name in row)
    columns = [*_FIRST, *(c for c in known if c not in (*_FIRST, *_LAST)), *_LAST]
    written = io.StringIO()
    writer = csv.DictWriter(written, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({n: "" if isinstance(v, float) and math.isnan(v) else v for n, v in row.items()} for row in rows)
    return written.getvalue()


def _worth(rows: Sequence[Mapping[str, str]]) -> tuple[int, int]:
    """How much the rows of a problem tell: how many have a time, and how many there are."""
    return sum(row["status"] == "ok" for row in rows), len(rows)


def _rows_by_problem(content: str) -> dict[str, list[dict[str, str]]]:
    """The rows of each problem, by its id. An older file has none; its rows are no longer told apart."""
    found: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader(io.StringIO(content), restval=""):
        if None not in row and row.get(_ID):
            found.setdefault(row[_ID], []).append(row)
    return found


def read_trials(folder: Path) -> list[ProblemTrials]:
    """Read the trials in a results folder, a table for each problem; none where there is no file.

    Raises:
        StorageError: when the file cannot be read or is no such table.
    """
    import pandas as pd

    path = folder / TRIALS
    if not path.exists():
        return []
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""], low_memory=False, dtype={_ID: str})
        missing = [c for c in TRIAL_COLUMNS if c not in frame]
        if missing:
            raise ValueError(f"it has no column {missing[0]!r}")
        frame["time_us"] = pd.to_numeric(frame["time_us"])
        wrong = frame[frame["time_us"].notna() & ~frame["time_us"].between(0, math.inf, inclusive="neither")]
        if len(wrong):
            raise ValueError(f"row {wrong.index[0] + 1}: the time {wrong['time_us'].iloc[0]} is not a positive number")
    except (OSError, ValueError) as e:
        raise StorageError(f"{path} cannot be read: {e}; run the job again to write it anew") from e
    frame["message"] = frame["message"].astype(object).fillna("").astype(str)
    identified = _ID in frame
    found = []
    for key, rows in frame.groupby(_ID if identified else "problem", sort=False):
        kept = [c for c in rows if c != _ID and (c in TRIAL_COLUMNS or rows[c].notna().any())]
        ordered = rows[kept].sort_values("number").reset_index(drop=True)
        found.append(ProblemTrials(str(key) if identified else "", str(rows["problem"].iloc[0]), ordered))
    return found
