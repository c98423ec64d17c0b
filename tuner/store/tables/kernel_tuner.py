"""Cache files of Kernel Tuner (https://kerneltuner.github.io), one per study, times in milliseconds.

Its simulation mode (version 1.4 and later) searches what was recorded without a failure:

    kernel_tuner.tune_cache("increment.json", objective="time", objective_higher_is_better=False)

The objective of a file of predictions is called `predicted_time`. Kernel Tuner knows three kinds of error; the
class of a failure is kept beside them, in `invalidity`. A limit on simulated time needs times of compiling that
are not recorded per trial; limit the number of evaluations, `max_fevals`, instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tuner.errors import ConfigError, StorageError
from tuner.outcome import VERIFIED, FailureClass, Outcome, Timing
from tuner.search.tactic import Tactic, Value
from tuner.store.studies import Study
from tuner.store.tables.rows import OBJECTIVES, US_PER_UNIT, Row, failed_outcome, kind_of, timed_outcome

ERRORS: Mapping[FailureClass, str] = {
    FailureClass.COMPILE: "CompilationFailedConfig",
    FailureClass.CONSTRAINT: "InvalidConfig",
    FailureClass.CORRECTNESS: "RuntimeFailedConfig",
    FailureClass.RUNTIME: "RuntimeFailedConfig",
    FailureClass.TIMEOUT: "RuntimeFailedConfig",
}

_FIELDS = frozenset({*OBJECTIVES.values(), "times", "verified", "invalidity", "message"})


def encode(study: Study) -> bytes:
    """A study as a cache file: a row per line, closed with the braces where Kernel Tuner looks for them."""
    values: dict[str, list[Value]] = {}
    for _, tactic, _ in study.trials:
        for name, value in tactic.config.items():
            if value not in values.setdefault(name, []):
                values[name].append(value)
    for name in sorted(_FIELDS & values.keys()):
        raise ConfigError(f"{study}: Kernel Tuner's files cannot hold a parameter called {name!r}; use --format t4")
    origin = study.origin
    objective = OBJECTIVES[origin.kind]
    header = CacheFile(
        device_name=origin.device,
        kernel_name=study.problem.kernel,
        problem=study.label,
        backend=origin.backend,
        kind=origin.kind,
        objective=objective,
        tune_params_keys=list(values),
        tune_params={name: sorted(known) for name, known in values.items()},
        cache={},
    )
    rows = [f"{_key(tactic)}: {json.dumps(_row(tactic, outcome, objective))}" for _, tactic, outcome in study.trials]
    opened = json.dumps(msgspec.to_builtins(header), indent=0).removesuffix("}\n}")
    return (opened + "\n" + ",\n".join(rows) + "}\n}\n").encode()


def _key(tactic: Tactic) -> str:
    return json.dumps(",".join(map(str, tactic.config.values())))


def _row(tactic: Tactic, outcome: Outcome, objective: str) -> dict[str, Any]:
    if not isinstance(outcome, Timing):
        error = {objective: ERRORS[outcome.kind], "invalidity": outcome.kind.value, "message": outcome.message}
        return {**tactic.config, **error}
    time = {objective: outcome.time_us / 1e3, "times": [us / 1e3 for us in outcome.samples_us]}
    return {**outcome.facts, **tactic.config, **time, "verified": outcome.verified}


class CacheFile(msgspec.Struct, kw_only=True):
    """A cache file of Kernel Tuner, as it is written and read.

    Fields that are written and never read are of any type: files of Kernel Tuner hold what they like there.

    Attributes:
        problem_size: from which Kernel Tuner would compute its grid; the sizes are in `problem`, in words.
        tune_params_keys, tune_params: the parameters' names, and the values of each.
        cache: a row for each configuration; its key joins the values with commas.
    """

    device_name: str = ""
    kernel_name: Any = ""
    problem_size: Any = (1,)
    problem: Any = ""
    backend: Any = ""
    kind: Any = ""
    objective: str = "time"
    tune_params_keys: list[str]
    tune_params: Any = msgspec.field(default_factory=dict)
    cache: dict[str, dict[str, Any]]


def rows_of_cache(path: Path, file: CacheFile) -> tuple[str, list[Row]]:
    """Read the device that a file names ("" when it names none), and its rows.

    Raises:
        StorageError: for a row without a parameter or a usable time; names `path` and the place.
    """
    rows: list[Row] = []
    kind = kind_of(file.objective)
    for key, fields in file.cache.items():
        place = f"cache[{key!r}]"
        for name in file.tune_params_keys:
            if name not in fields:
                raise StorageError(f"{path}: {place} has no {name!r}")
        config = {name: fields[name] for name in file.tune_params_keys}
        for name, value in config.items():
            if not isinstance(value, (int, float, bool, str)):
                raise StorageError(f"{path}: {place} has {name}={value!r}; it must be a number, bool or string")
        # Kernel Tuner 1.4 and later keep an error under a name of its own.
        name = file.objective if file.objective in fields else "__error__"
        if name not in fields:
            raise StorageError(f"{path}: {place} has no {file.objective!r}")
        time = fields[name]
        if isinstance(time, str):
            outcome: Outcome = failed_outcome(
                path, place, str(fields.get("invalidity", time)), str(fields.get("message", ""))
            )
        else:
            samples = fields.get("times", []) if file.objective in OBJECTIVES.values() else []
            if not isinstance(samples, list):
                raise StorageError(f"{path}: {place} has times={samples!r}; it must be a list of numbers")
            verified = str(fields.get("verified", VERIFIED))
            outcome = timed_outcome(path, place, time, US_PER_UNIT["ms"], samples, kind, verified)
        rows.append((place, config, outcome))
    return file.device_name, rows
