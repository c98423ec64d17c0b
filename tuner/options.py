"""Settings of a tuning job: how hard to search, what a compile may take, and how engines are built."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from tuner.dims import Size
from tuner.search.samplers import DEFAULT_SAMPLER

Count: TypeAlias = Annotated[int, Meta(ge=1, le=10**9)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=10**9)]


class SearchOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How a problem is searched.

    Attributes:
        trials: budget per problem.
        shared_trials: budget of each further problem with the same data types and attributes, which starts from
            what was found for the ones before it; None: a quarter of `trials`, and at least 8.
        timeout_s: stop asking for new trials after this many seconds; None: never.
        sampler: who proposes what to try.
        seed: of everything random.
        finalists: how many of the fastest are confirmed.
    """

    trials: Count = 64
    shared_trials: Count | None = None
    timeout_s: Seconds | None = None
    sampler: str = DEFAULT_SAMPLER
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    finalists: Count = 5

    @property
    def further_trials(self) -> int:
        """Budget of a problem that starts from what was found for others."""
        return min(self.trials, self.shared_trials or max(8, -(-self.trials // 4)))


class CompileOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """What a compile may take.

    Attributes:
        timeout_s: seconds for one compile.
        memory_mb: megabytes of private memory for one compile process.
        workers: compile processes; 0: one per core.
    """

    timeout_s: Seconds = 60.0
    memory_mb: Count = 8192
    workers: Annotated[int, Meta(ge=0, le=1024)] = 0


class ShapesData(Struct, frozen=True, forbid_unknown_fields=True):
    """The shapes of a network's input, as in an optimization profile."""

    min: tuple[Size, ...]
    opt: tuple[Size, ...]
    max: tuple[Size, ...]


class TensorrtOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How the tensorrt backend builds engines.

    Attributes:
        network: a network around the plugin, to time as a whole: an ONNX file, or ``file.py:function``;
            None: there is none.
        shapes: the shapes of its dynamic inputs.
        workspace_mb: megabytes of scratch memory for its layers.
        build_timeout_s: seconds for one engine build.
    """

    network: str | None = None
    shapes: dict[str, ShapesData] = {}
    workspace_mb: Count = 1024
    build_timeout_s: Seconds = 300.0
