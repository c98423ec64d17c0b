"""What a study's record says beside the parameters of its trials, as Optuna's user attributes hold it.

The attribute `identity` of a study is a `StudyIdentity`; those of a trial are a `TrialRecord`. Older
studies describe their problem by its label: they are read as the same data, and so go on.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from tuner.errors import StorageError
from tuner.kernel.problem_data import DimData, ExtentData, ProblemData, RangeData, ShapeData, sorted_json
from tuner.outcome import VERIFIED, Failure, FailureClass, Origin, Outcome, Timing
from tuner.search.tactic import Tactic

if TYPE_CHECKING:
    import optuna

IDENTITY = "identity"


class StudyIdentity(Struct, frozen=True):
    """What makes two runs the same study.

    Attributes:
        problem: what is tuned.
        label: the problem's dimensions, data types and changed attributes in one line, for people.
        origin: where the times come from; its environment holds tuner's own version too.
        parts: hashes and descriptions, by name, of all else that an outcome depends on, such as the kernel's source.
    """

    problem: ProblemData
    label: str
    origin: Origin
    parts: dict[str, str] = {}

    def compared(self) -> dict[str, str]:
        """What must agree, as text by the name that a user is told. The label is no part of it."""
        problem, origin = self.problem, self.origin
        total = sum(shape.weight for shape in problem.timed)
        # Digits beyond these are rounding: earlier versions recorded shares, which add up to 1, in place of weights.
        timed = [(shape.dims, f"{shape.weight / total:.12g}") for shape in problem.timed]
        return {
            "kernel": problem.kernel,
            "problem": sorted_json([problem.dims, problem.dtypes]),
            "attributes": sorted_json(problem.attributes),
            "timed": sorted_json(timed),
            "device": origin.device,
            "backend": origin.backend,
            **self.parts,
            "versions": sorted_json(origin.environment),
        }


class TrialRecord(Struct, frozen=True, omit_defaults=True):
    """All there is to say about a trial but its parameters.

    Attributes:
        number: its place in the order of asking.
        tactic: the tactic's id.
        timing, failure: what became of it: one of the two.
        heard: of this and of each other trial that was on the way then, by number, how many trials had been stored
            and told to the search when it was asked for; empty where the order of asking tells that.
    """

    number: int
    tactic: int
    timing: Timing | None = None
    failure: Failure | None = None
    heard: dict[int, int] = {}


def identity_attributes(identity: StudyIdentity) -> dict[str, Any]:
    """The user attributes of a study with this identity."""
    return {IDENTITY: msgspec.to_builtins(identity)}


def read_identity(attributes: Mapping[str, Any]) -> StudyIdentity | None:
    """Read the user attributes of a study; None when they are not of a study of tuner's."""
    found = attributes.get(IDENTITY)
    if not isinstance(found, dict):
        return None
    try:
        return _of_label(found) if isinstance(found.get("problem"), str) else msgspec.convert(found, StudyIdentity)
    except (ValueError, KeyError, SyntaxError):
        return None


def trial_attributes(number: int, tactic: Tactic, outcome: Outcome, heard: Mapping[int, int]) -> dict[str, Any]:
    """The user attributes of a trial, see `TrialRecord`."""
    timing, failure = (outcome, None) if isinstance(outcome, Timing) else (None, outcome)
    record = TrialRecord(number, tactic.id, timing=timing, failure=failure, heard=dict(heard))
    return dict(msgspec.to_builtins(record, str_keys=True))


def read_trial(trial: optuna.trial.FrozenTrial, where: object) -> tuple[int, Tactic, Outcome]:
    """Read number, tactic and outcome of a stored trial, as `read_record`."""
    return read_record(trial, where)[:3]


def read_record(trial: optuna.trial.FrozenTrial, where: object) -> tuple[int, Tactic, Outcome, Mapping[int, int]]:
    """Read number, tactic, outcome and `TrialRecord.heard` of a stored trial.

    Raises:
        StorageError: when the trial is not one of tuner's; `where` names the storage.
    """
    tactic = Tactic(trial.params)
    try:
        record = msgspec.convert(trial.user_attrs, TrialRecord, str_keys=True)
        if record.tactic != tactic.id:
            raise ValueError(f"tactic {record.tactic} is not the id of ({tactic})")
        outcome = record.failure or record.timing
        if outcome is None:
            raise ValueError("it has neither a timing nor a failure")
        if "lasting" not in trial.user_attrs["failure" if record.failure else "timing"]:
            outcome = replace(outcome, lasting=_was_verdict(outcome))
        if isinstance(outcome, Timing):
            _require_times(outcome)
    except ValueError as e:
        raise StorageError(
            f"{where}: trial {trial.number} is not one of tuner's: {e}; move it away, or choose another"
        ) from e
    return record.number, tactic, outcome, record.heard


def latest_trials(trials: Iterable[tuple[int, Tactic, Outcome]]) -> list[tuple[int, Tactic, Outcome]]:
    """Keep the last trial of each tactic, of trials in the order in which they ended."""
    return list({tactic: (number, tactic, outcome) for number, tactic, outcome in trials}.values())


def _require_times(timing: Timing) -> None:
    """Refuse what no launch can take; a journal's JSON may spell NaN and infinities."""
    for name, values in (("time_us", (timing.time_us,)), ("samples_us", timing.samples_us)):
        for value in values:
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}, and a time is a positive number")


# -- older studies -----------------------------------------------------------------------------------------

_EXTENT = r"\d+(?::\d+:\d+)?"
_DIM = re.compile(rf"{_EXTENT}(?:x{_EXTENT})*")


def _was_verdict(outcome: Outcome) -> bool:
    """Whether an outcome that was stored before outcomes said so is lasting, as far as can be told."""
    if isinstance(outcome, Timing):
        return outcome.verified == VERIFIED
    return outcome.kind in (FailureClass.CORRECTNESS, FailureClass.CONSTRAINT)


def _of_label(found: Mapping[str, str]) -> StudyIdentity:
    """The identity of a study whose problem is a label, all of whose values are texts."""
    rest = dict(found)
    kernel, label, device, backend = (rest.pop(name) for name in ("kernel", "problem", "device", "backend"))
    attributes = json.loads(rest.pop("attributes", "{}"))
    dims, dtypes = _values_of(label, attributes)
    shares = ast.literal_eval(rest.pop("timed", "[]"))
    timed = tuple(ShapeData(_values_of(shape, attributes)[0], share) for shape, share in shares)
    versions = json.loads(rest.pop("versions", "{}"))
    origin = Origin(backend, "prediction" if backend == "model" else "measurement", device, None, versions)
    return StudyIdentity(ProblemData(kernel, dims, dtypes, attributes, timed), label, origin, rest)


def _values_of(label: str, attributes: Mapping[str, Any]) -> tuple[dict[str, DimData], dict[str, str]]:
    """The dimensions and data types in a label; its attributes, which come last, are left out."""
    dims: dict[str, DimData] = {}
    dtypes: dict[str, str] = {}
    for word in label.split():
        name, _, value = word.partition("=")
        if name in attributes:
            break
        if _DIM.fullmatch(value):
            extents = tuple(map(_extent_of, value.split("x")))
            dims[name] = extents if len(extents) > 1 else extents[0]
        else:
            dtypes[name] = value
    return dims, dtypes


def _extent_of(text: str) -> ExtentData:
    low, *others = map(int, text.split(":"))
    return RangeData(low, *others) if others else low
