"""What says how long a tactic takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from tuner.compile.artifact import Artifact
from tuner.outcome import Kind, Outcome, Timing
from tuner.search.tactic import Config


class Backend(Protocol):
    """Times the tactics of one problem. Closed once, after the last call.

    Attributes:
        name: "tensorrt", "cuda", either with "-warm" (tensors left in the L2), "model" or "replay".
        kind: what its times are.
        device: the GPU that its times are for.
        capability: that GPU's compute capability, or None when a recorded table does not say.
        batch: how many tactics to ask the search for at a time. A property of the backend, not of the
            machine, so that a search takes the same course on any number of cores.
        ahead: whether to ask for the next batch while one is being timed, so that it compiles meanwhile.
    """

    name: str
    kind: Kind
    device: str
    capability: tuple[int, int] | None
    batch: int
    ahead: bool

    def prepare(self, configs: Sequence[Config]) -> None:
        """Start work that `evaluate` will need (compiling), without waiting for it."""

    def evaluate(self, configs: Sequence[Config]) -> Iterator[tuple[int, Outcome]]:
        """Yield the position and outcome of each configuration, in order of completion."""

    def confirm(self, configs: Sequence[Config]) -> list[Outcome]:
        """Time the finalists against each other, as carefully as the backend can."""

    def tied(self, a: Timing, b: Timing) -> bool:
        """Whether two confirmed times are too close to say which tactic is faster."""

    def compiled(self, config: Config) -> Artifact | None:
        """The code of a tactic that was evaluated; None where there is none."""

    def environment(self) -> Mapping[str, str]:
        """Versions and settings that the times depend on."""

    def close(self) -> None:
        """Stop worker processes and free the device."""
