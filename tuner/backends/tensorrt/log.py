"""What TensorRT says. It reports errors to a logger, and answers with None where Python would raise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorrt as trt

MOST_LINES = 8
"""Of one failure: the first ones name the cause, the last ones repeat that there was one."""


@dataclass
class Log:
    """What went wrong since it was last emptied."""

    errors: list[str] = field(default_factory=list)

    def take(self) -> list[str]:
        """The errors, each once, in order; empties the log."""
        errors = list(dict.fromkeys(self.errors))
        self.errors.clear()
        return errors


def make_logger(log: Log) -> trt.ILogger:
    """A logger for TensorRT's objects, which must outlive them. Keeps errors, drops the rest."""
    import tensorrt as trt

    severe = (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # pybind11 refuses objects whose base was not initialised this way

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            if severity in severe:
                log.errors.append(" ".join(msg.split()))

    return Logger()


class EngineError(Exception):
    """TensorRT, or a function of the plugin, refused.

    Attributes:
        what: what was being done.
        causes: everything that was said about why.
    """

    def __init__(self, what: str, causes: tuple[str, ...]) -> None:
        super().__init__(what, causes)
        self.what, self.causes = what, causes

    def __str__(self) -> str:
        return "\n".join([f"{self.what}: {self.causes[0] if self.causes else 'no reason given'}", *self.causes[1:]])


def refusal(what: str, raised: Iterable[Exception], said: Iterable[str]) -> EngineError:
    """What the plugin's functions raised, first, because that is the cause; then what TensorRT said."""
    causes = [*(f"{type(e).__name__}: {e}" for e in raised), *said]
    return EngineError(what, tuple([*dict.fromkeys(causes)][:MOST_LINES]))
