"""Which recorded problems are meant: by kernel, problem, device, backend and kind of number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Selectable(Protocol):
    """What a cache entry and a study say about the problem they are of."""

    @property
    def kernel(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def backend(self) -> str: ...
    @property
    def kind(self) -> str: ...


@dataclass(frozen=True)
class Selection:
    """What a recorded problem must be to be meant; None for anything.

    Attributes:
        kernel: the plugin id, or its name without the namespace.
        problem: words of the problem's label, each whole (``N=4096``) or its value alone (``fp16``).
        device: a part of the device's name, in any case.
        backend: who says how long a tactic takes.
        kind: "measurement" or "prediction".
    """

    kernel: str | None = None
    problem: str | None = None
    device: str | None = None
    backend: str | None = None
    kind: str | None = None

    def __contains__(self, recorded: Selectable) -> bool:
        words = {part for word in recorded.label.split() for part in (word, word.partition("=")[2])}
        return (
            self.kernel in (None, recorded.kernel, recorded.kernel.rpartition("::")[2])
            and words.issuperset((self.problem or "").split())
            and (self.device or "").casefold() in recorded.device.casefold()
            and self.backend in (None, recorded.backend)
            and self.kind in (None, recorded.kind)
        )

    def __str__(self) -> str:
        """The conditions as options of the command line; "" when there is none."""
        return " ".join(f"--{name} {value!r}" for name, value in vars(self).items() if value is not None)
