"""Choosing records of tuned problems by kernel, problem, device, backend and kind of number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tuner.kernel.problem_data import ProblemData
    from tuner.outcome import Origin


class Selectable(Protocol):
    """A record of a tuned problem, such as a cache entry or a study."""

    @property
    def problem(self) -> ProblemData: ...
    @property
    def origin(self) -> Origin: ...


@dataclass(frozen=True)
class Selection:
    """The conditions that a record must meet; None where anything will do.

    Attributes:
        kernel: the plugin id, or its name without the namespace.
        problem: dimensions, data types and attributes, each whole (``N=4096``) or its value alone (``fp16``),
            with spaces between.
        device: a part of the device's name, in any case.
        backend: the name of the backend.
        kind: "measurement" or "prediction".
    """

    kernel: str | None = None
    problem: str | None = None
    device: str | None = None
    backend: str | None = None
    kind: str | None = None

    def __contains__(self, recorded: Selectable) -> bool:
        problem, origin = recorded.problem, recorded.origin
        return (
            self.kernel in (None, problem.kernel, problem.kernel.rpartition("::")[2])
            and (self.problem is None or _words(problem).issuperset(self.problem.split()))
            and (self.device or "").casefold() in origin.device.casefold()
            and self.backend in (None, origin.backend)
            and self.kind in (None, origin.kind)
        )

    def __str__(self) -> str:
        """The conditions as options of the command line; "" when there are none."""
        return " ".join(f"--{name} {value!r}" for name, value in vars(self).items() if value is not None)


def _words(problem: ProblemData) -> set[str]:
    """Each dimension, data type and attribute of a problem, whole and its value alone."""
    return {word for name, value in problem.values.items() for word in (f"{name}={value}", value)}
