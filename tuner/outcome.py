"""What became of one tactic: a measurement, a prediction, or a failure with its class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["measurement", "prediction"]

VERIFIED = "verified"
"""What `Timing.verified` says of a tactic that passed the correctness gate."""


def caution(verified: str) -> str | None:
    """Say that nobody knows whether a tactic is right, in the words that every command and page uses.

    Args:
        verified: what `Timing.verified` says; "" where nothing was recorded.

    Returns:
        A sentence; None for a tactic that is verified.
    """
    if verified == VERIFIED:
        return None
    why = verified.removeprefix("unverified").removeprefix(": ") or "no verdict was recorded"
    return f"UNVERIFIED: nothing has held its results against the reference ({why})"


class FailureClass(StrEnum):
    """Why a tactic has no time."""

    COMPILE = "compile"
    TIMEOUT = "timeout"
    RUNTIME = "runtime"
    CORRECTNESS = "correctness"
    CONSTRAINT = "constraint"


@dataclass(frozen=True)
class Failure:
    """A tactic that cannot be used, and why: one or more lines, the first of which suffices.

    Attributes:
        kind: the class of failure.
        message: why.
        lasting: whether it is a verdict on this code, which another attempt would give again. A limit of time or
            memory, a process that was killed or a full disk is none: that is tried again.
    """

    kind: FailureClass
    message: str
    lasting: bool = True

    @property
    def headline(self) -> str:
        """The first line of the message."""
        return self.message.splitlines()[0]


@dataclass(frozen=True)
class Timing:
    """How long a tactic takes, and what kind of number that is.

    Attributes:
        time_us: the statistic, in microseconds per launch.
        kind: a prediction is never stored or shown as a measurement.
        statistic: what `time_us` is of the samples ("median", "mean"), or "model".
        samples_us: the raw samples in microseconds, in the order taken; empty for a prediction.
        verified: whether the tactic passed the correctness gate, or "unverified: " and why not.
        facts: numbers about the compiled code or the run, by name with the unit in the name.
        checked: how the verdict was found; "" where that was not recorded.
        lasting: whether `verified` is a verdict on this code, which another attempt would give again.
    """

    time_us: float
    kind: Kind
    statistic: str
    samples_us: tuple[float, ...] = ()
    verified: str = VERIFIED
    facts: Mapping[str, float] = field(default_factory=dict)
    checked: str = ""
    lasting: bool = True


Outcome: TypeAlias = Timing | Failure


@dataclass(frozen=True)
class Origin:
    """Where numbers come from. Times are compared, and cached, only among numbers of one origin.

    Attributes:
        backend: who says how long a tactic takes, for example "cuda".
        kind: what its times are.
        device: the GPU that they are for, as its driver names it.
        capability: that GPU's compute capability; None where a recorded table does not say.
        environment: versions and settings that the times depend on.
    """

    backend: str
    kind: Kind
    device: str
    capability: tuple[int, int] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


class TacticError(Exception):
    """A tactic that cannot be compiled, made ready or launched.

    Attributes:
        failure: of its trial.
    """

    def __init__(self, kind: FailureClass, message: str, lasting: bool = True) -> None:
        super().__init__(kind, message, lasting)
        self.failure = Failure(kind, message, lasting)

    @property
    def kind(self) -> FailureClass:
        """The class of the failure."""
        return self.failure.kind

    def __str__(self) -> str:
        return self.failure.message
