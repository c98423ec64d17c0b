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

from tuner.errors import ConfigError
from tuner.export import Request
from tuner.export.per_study import export_studies
from tuner.formats import OBJECTIVES
from tuner.studies import Study
from tuner.tactic import Tactic, Value
from tuner.trial import FailureClass, Outcome, Timing

ERRORS: Mapping[FailureClass, str] = {
    FailureClass.COMPILE: "CompilationFailedConfig",
    FailureClass.CONSTRAINT: "InvalidConfig",
    FailureClass.CORRECTNESS: "RuntimeFailedConfig",
    FailureClass.RUNTIME: "RuntimeFailedConfig",
    FailureClass.TIMEOUT: "RuntimeFailedConfig",
}

_FIELDS = frozenset({*OBJECTIVES.values(), "times", "verified", "invalidity", "message"})


def export(request: Request) -> list[Path]:
    """Write the selected studies, each as a cache file.

    Raises:
        ConfigError: also for a parameter named like a field of a row, which holds both.
    """
    return export_studies(request, encode)


def encode(study: Study) -> bytes:
    """A study as a cache file: a row per line, closed with the braces where Kernel Tuner looks for them."""
    values: dict[str, list[Value]] = {}
    for _, tactic, _ in study.trials:
        for name, value in tactic.config.items():
            if value not in values.setdefault(name, []):
                values[name].append(value)
    for name in sorted(_FIELDS & values.keys()):
        raise ConfigError(f"{study}: Kernel Tuner's files cannot hold a parameter called {name!r}; use --format t4")
    objective = OBJECTIVES[study.kind]
    header = {
        "device_name": study.device,
        "kernel_name": study.kernel,
        "problem_size": [1],  # its grid would follow from this; the sizes are in "problem"
        "problem": study.label,
        "backend": study.backend,
        "kind": study.kind,
        "objective": objective,
        "tune_params_keys": list(values),
        "tune_params": {name: sorted(known) for name, known in values.items()},
    }
    rows = [f"{_key(tactic)}: {json.dumps(_row(tactic, outcome, objective))}" for _, tactic, outcome in study.trials]
    opened = json.dumps({**header, "cache": {}}, indent=0).removesuffix("}\n}")
    return (opened + "\n" + ",\n".join(rows) + "}\n}\n").encode()


def _key(tactic: Tactic) -> str:
    return json.dumps(",".join(map(str, tactic.config.values())))


def _row(tactic: Tactic, outcome: Outcome, objective: str) -> dict[str, Any]:
    if not isinstance(outcome, Timing):
        error = {objective: ERRORS[outcome.kind], "invalidity": outcome.kind.value, "message": outcome.message}
        return {**tactic.config, **error}
    time = {objective: outcome.time_us / 1e3, "times": [us / 1e3 for us in outcome.samples_us]}
    return {**outcome.facts, **tactic.config, **time, "verified": outcome.verified}
