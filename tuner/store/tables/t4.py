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

from tuner.errors import StorageError
from tuner.outcome import VERIFIED, FailureClass, Outcome, Timing
from tuner.search.tactic import Tactic, Value
from tuner.store.studies import Study
from tuner.store.tables.rows import OBJECTIVES, Row, failed_outcome, kind_of, scale_of, timed_outcome

SCHEMA_VERSION = "1.0.0"


def encode(study: Study) -> bytes:
    """A study as a T4 document."""
    metadata = {
        "kernel": study.kernel,
        "problem": study.label,
        "device": study.device,
        "backend": study.backend,
        "kind": study.kind,
        "environment": json.loads(study.identity["versions"]),
    }
    content = document(((tactic, outcome) for _, tactic, outcome in study.trials), metadata)
    return (json.dumps(content, indent=1) + "\n").encode()


def document(trials: Iterable[tuple[Tactic, Outcome]], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Trials and what is to be said of them all as the content of a T4 file."""
    return {
        "schema_version": SCHEMA_VERSION,
        "metadata": {"timeunit": "milliseconds", **metadata},
        "results": [_result(tactic, outcome) for tactic, outcome in trials],
    }


def _result(tactic: Tactic, outcome: Outcome) -> dict[str, Any]:
    if not isinstance(outcome, Timing):
        broken = outcome.kind is FailureClass.CONSTRAINT
        return {
            "configuration": tactic.config,
            "times": {"runtimes": []},
            "invalidity": "constraints" if broken else outcome.kind.value,
            "correctness": 0.0,
            "measurements": [],
            "objectives": [],
            "message": outcome.message,
        }
    objective = OBJECTIVES[outcome.kind]
    time = {"name": objective, "value": outcome.time_us / 1e3, "unit": "ms", "statistic": outcome.statistic}
    facts = [{"name": name, "value": value, "unit": ""} for name, value in outcome.facts.items()]
    return {
        "configuration": tactic.config,
        "times": {"runtimes": [us / 1e3 for us in outcome.samples_us]},
        "invalidity": "correct",
        "correctness": 1.0 if outcome.verified == VERIFIED else 0.0,
        "measurements": [time, *facts],
        "objectives": [objective],
        "verified": outcome.verified,
    }


# -- JSON ----------------------------------------------------------------------------------------------


class _Measurement(msgspec.Struct):
    name: str
    value: float | str
    unit: str = ""


class _Times(msgspec.Struct):
    runtimes: list[float] = []


class _T4Result(msgspec.Struct):
    configuration: dict[str, Value]
    verified: str = VERIFIED
    message: str = ""
    measurements: list[_Measurement] = []
    invalidity: str = "correct"
    objectives: list[str] = []
    times: _Times = msgspec.field(default_factory=_Times)


class T4File(msgspec.Struct):
    results: list[_T4Result]
    metadata: dict[str, Any] = {}


def rows_of_t4(path: Path, file: T4File) -> tuple[str, list[Row]]:
    rows: list[Row] = []
    unit_of_file = str(file.metadata.get("timeunit", ""))
    for i, result in enumerate(file.results):
        place = f"results[{i}]"
        objective = result.objectives[0] if result.objectives else "time"
        measured = next((m for m in result.measurements if m.name == objective), None)
        if result.invalidity != "correct":
            rows.append((place, result.configuration, failed_outcome(path, place, result.invalidity, result.message)))
        elif measured is None:
            raise StorageError(f"{path}: {place} has no measurement named {objective!r}")
        else:
            scale = scale_of(path, place, measured.unit or unit_of_file)
            outcome = timed_outcome(
                path, place, measured.value, scale, result.times.runtimes, kind_of(objective), result.verified
            )
            rows.append((place, result.configuration, outcome))
    return str(file.metadata.get("device", "")), rows
