"""T4, the results format of the autotuning community: a JSON document per study, times in milliseconds.

The format is that of Tørring et al., "FAIR Sharing of Data in Autotuning Research"
(https://doi.org/10.1145/3629527.3651429), whose schema allows fields of one's own. Used here are `verified`
and `message` of a result, `statistic` of a measurement, and what the metadata says of the study. The
objective is called `predicted_time` when it is a prediction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from tuner.errors import StorageError
from tuner.outcome import VERIFIED, FailureClass, Outcome, Timing
from tuner.search.tactic import Tactic, Value
from tuner.store.studies import Study
from tuner.store.tables.rows import OBJECTIVES, Row, failed_outcome, kind_of, scale_of, timed_outcome

SCHEMA_VERSION = "1.0.0"


def encode(study: Study) -> bytes:
    """A study as a T4 document."""
    metadata = {
        "kernel": study.problem.kernel,
        "problem": study.label,
        "device": study.origin.device,
        "backend": study.origin.backend,
        "kind": study.origin.kind,
        "environment": dict(sorted(study.origin.environment.items())),
    }
    content = document(((tactic, outcome) for _, tactic, outcome in study.trials), metadata)
    return (json.dumps(content, indent=1) + "\n").encode()


# Fields that are written and never read are of any type: files of other tools hold what they like there.


class _Measurement(msgspec.Struct):
    name: str
    value: float | str
    unit: str = ""
    statistic: Any = UNSET


class _Times(msgspec.Struct):
    runtimes: list[float] = []


class _T4Result(msgspec.Struct, kw_only=True):
    configuration: dict[str, Value]
    times: _Times = msgspec.field(default_factory=_Times)
    invalidity: str = "correct"
    correctness: Any = UNSET
    measurements: list[_Measurement] = []
    objectives: list[str] = []
    verified: str | UnsetType = UNSET
    message: str | UnsetType = UNSET


class T4File(msgspec.Struct, kw_only=True):
    """A T4 file, as it is written and read."""

    schema_version: Any = SCHEMA_VERSION
    metadata: dict[str, Any] = {}
    results: list[_T4Result]


def document(trials: Iterable[tuple[Tactic, Outcome]], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Trials and what is to be said of them all as the content of a T4 file."""
    results = [_result(tactic, outcome) for tactic, outcome in trials]
    return dict(msgspec.to_builtins(T4File(metadata={"timeunit": "milliseconds", **metadata}, results=results)))


def _result(tactic: Tactic, outcome: Outcome) -> _T4Result:
    if not isinstance(outcome, Timing):
        return _T4Result(
            configuration=dict(tactic.config),
            invalidity="constraints" if outcome.kind is FailureClass.CONSTRAINT else outcome.kind.value,
            correctness=0.0,
            message=outcome.message,
        )
    objective = OBJECTIVES[outcome.kind]
    time = _Measurement(objective, outcome.time_us / 1e3, "ms", outcome.statistic)
    return _T4Result(
        configuration=dict(tactic.config),
        times=_Times([us / 1e3 for us in outcome.samples_us]),
        correctness=1.0 if outcome.verified == VERIFIED else 0.0,
        measurements=[time, *(_Measurement(name, value) for name, value in outcome.facts.items())],
        objectives=[objective],
        verified=outcome.verified,
    )


def rows_of_t4(path: Path, file: T4File) -> tuple[str, list[Row]]:
    """Read the device that a T4 file names ("" when it names none), and its rows.

    Raises:
        StorageError: for a result without a usable time; names `path` and the place.
    """
    rows: list[Row] = []
    unit_of_file = str(file.metadata.get("timeunit", ""))
    for i, result in enumerate(file.results):
        place = f"results[{i}]"
        objective = result.objectives[0] if result.objectives else "time"
        measured = next((m for m in result.measurements if m.name == objective), None)
        if result.invalidity != "correct":
            rows.append(
                (place, result.configuration, failed_outcome(path, place, result.invalidity, result.message or ""))
            )
        elif measured is None:
            raise StorageError(f"{path}: {place} has no measurement named {objective!r}")
        else:
            verified = VERIFIED if result.verified is UNSET else result.verified
            scale = scale_of(path, place, measured.unit or unit_of_file)
            outcome = timed_outcome(
                path, place, measured.value, scale, result.times.runtimes, kind_of(objective), verified
            )
            rows.append((place, result.configuration, outcome))
    return str(file.metadata.get("device", "")), rows
