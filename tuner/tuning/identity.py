"""What makes two runs the same study, and what the cache is told of a result."""

from __future__ import annotations

import json
from dataclasses import replace

from tuner.frontends.python_source import source_hash
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import data_of
from tuner.kernel.tensor import Tolerance
from tuner.outcome import Origin
from tuner.search.space import Space
from tuner.store.entry import Entry, entry_of
from tuner.store.results import Result
from tuner.store.study_data import StudyIdentity
from tuner.version import __version__


def entry_of_result(result: Result, source: str) -> Entry:
    """The cache's entry of a result; `source` is the kernel's hash."""
    return entry_of(
        result.problem,
        source,
        origin=result.origin,
        confirmed=result.confirmed,
        winner=result.winner,
        default=result.default,
        ties=result.ties,
        trials=len(result.trials),
        code={tactic: artifact.digest for tactic, artifact in result.code.items()},
    )


def identity_of(problem: Problem, origin: Origin, source: str) -> StudyIdentity:
    """What makes two runs the same study. The names are read by users: "new study: other source …"."""
    kernel = problem.kernel
    parts = {
        "source": source,
        "traffic": source_hash(kernel.flops, *([kernel.bytes] if kernel.bytes else [])),
        "reference": source_hash(kernel.reference),
        "tolerances": repr({name: _tolerance(problem, problem.dtype(t)) for name, t in kernel.results.items()}),
        "space": _describe(kernel.space),
    }
    recorded = replace(origin, environment={"tuner": __version__, **origin.environment})
    return StudyIdentity(data_of(problem), problem.label, recorded, parts)


def _tolerance(problem: Problem, dtype: str) -> Tolerance | tuple[Tolerance, str]:
    """What it is at the usual sizes and, of a function, its code: tactics are also checked at other sizes."""
    declared, here = problem.kernel.tolerances.get(dtype), problem.tolerance(dtype)
    return (here, source_hash(declared)) if callable(declared) else here


def _describe(space: Space) -> str:
    """The values of each parameter and where it applies, and the code of each constraint."""
    params = {p.name: [*p.values, *([list(p.when)] if p.when else [])] for p in space.params}
    constraints = {c.name: source_hash(c.holds) for c in space.constraints}
    return json.dumps([params, constraints])
