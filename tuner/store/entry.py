"""An entry of the tactic cache: what is kept of one tuned problem, as it is written to disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import repeat
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from tuner.kernel.kernel import Attribute, Kernel
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import DimData, ProblemData, ShapeData, data_of, problem_from
from tuner.outcome import Kind, Origin, Timing
from tuner.search.tactic import Tactic, Value

Microseconds: TypeAlias = Annotated[float, Meta(gt=0, description="microseconds per launch")]
TacticId: TypeAlias = Annotated[int, Meta(ge=1, lt=2**31, description="derived from the configuration alone")]
Name: TypeAlias = Annotated[str, Meta(min_length=1)]
EntryCount: TypeAlias = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class Samples(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A summary of the raw samples of a time: how many, their median, and their 5 % and 95 % quantiles."""

    count: EntryCount
    median_us: Microseconds
    low_us: Microseconds
    high_us: Microseconds


class TimedTactic(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A tactic with its time in microseconds; `statistic` says what that is of the samples ("median", "model")."""

    id: TacticId
    config: dict[str, Value]
    time_us: Microseconds
    statistic: Name
    samples: Samples | None = None

    def __post_init__(self) -> None:
        # Typed, so that 1, 1.0 and true are different configurations.
        expected = _tactic_id(tuple(self.config), *self.config.values())
        if self.id != expected:
            raise ValueError(f"id {self.id} is not the id of this configuration, which is {expected}")


class TimedShape(ShapeData, frozen=True, gc=False):
    """A shape that tactics were timed at, with the fastest of a portfolio there."""

    best: Annotated[TacticId | None, Meta(description="the fastest tactic of the portfolio there")] = None


class Entry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The outcome of tuning one problem on one device with one backend."""

    kernel: Annotated[str, Meta(min_length=1, description="plugin id, namespace::name")]
    source: Annotated[str, Meta(min_length=1, description="hash of the kernel's source with everything it calls")]
    backend: Annotated[str, Meta(min_length=1, description="who says how long a tactic takes")]
    device: Annotated[str, Meta(min_length=1, description="the GPU that the times are for")]
    capability: Annotated[tuple[int, int] | None, Meta(description="compute capability of the device, if known")]
    dims: Annotated[dict[str, DimData], Meta(description="a list of extents for a dimension of any rank")]
    dtypes: Annotated[dict[str, str], Meta(description="data type of each dtype variable")]
    attributes: Annotated[dict[str, Attribute], Meta(description="value of each attribute")]
    kind: Kind
    winner: TimedTactic
    default: Annotated[TimedTactic | None, Meta(description="the kernel's default tactic; null when it failed")]
    ties: Annotated[tuple[TimedTactic, ...], Meta(description="tactics that cannot be told from the best")]
    verified: Annotated[str, Meta(description='"verified", or "unverified: " and why')]
    trials: Annotated[EntryCount, Meta(description="tactics tried")]
    environment: Annotated[dict[str, str], Meta(description="versions and settings that the times depend on")]
    date: Annotated[datetime, Meta(tz=True, description="when this was recorded")]
    timed: Annotated[tuple[TimedShape, ...], Meta(description="where times are means over several shapes")] = ()
    portfolio: Annotated[tuple[TimedTactic, ...], Meta(description="tactics to offer together, the winner first")] = ()

    @property
    def problem(self) -> ProblemData:
        """What was tuned."""
        timed = tuple(ShapeData(shape.dims, shape.weight) for shape in self.timed)
        return ProblemData(self.kernel, self.dims, self.dtypes, self.attributes, timed)

    @property
    def origin(self) -> Origin:
        """Where its times come from."""
        return Origin(self.backend, self.kind, self.device, self.capability, self.environment)

    @property
    def label(self) -> str:
        """The dimensions, data types and attributes in one line, for people: ``M=8192 N=4096 T=fp16 eps=1e-06``."""
        return self.problem.label

    def __str__(self) -> str:
        return f"{self.kernel} {self.label} on {self.device} by {self.backend}"


def entry_of(
    problem: Problem,
    source: str,
    *,
    origin: Origin,
    confirmed: Mapping[Tactic, Timing],
    winner: Tactic,
    default: Tactic,
    ties: Iterable[Tactic],
    trials: int,
    portfolio: Iterable[Tactic] = (),
    best: Sequence[Tactic] = (),
) -> Entry:
    """Describe the outcome of tuning a problem, as of now.

    Args:
        problem: what was tuned.
        source: the hash of its kernel's source.
        origin: who says how long a tactic takes, on which GPU.
        confirmed: times taken side by side, the winner's and the ties' among them.
        winner, default, ties: as the search chose them.
        trials: how many tactics were tried.
        portfolio: tactics to offer together, the winner first.
        best: which of them is the fastest at each of the problem's timed shapes, in their order; or nothing.
    """
    data = data_of(problem)
    return Entry(
        kernel=data.kernel,
        source=source,
        backend=origin.backend,
        device=origin.device,
        capability=origin.capability,
        dims=data.dims,
        dtypes=data.dtypes,
        attributes=data.attributes,
        kind=confirmed[winner].kind,
        winner=_timed(winner, confirmed[winner]),
        default=_timed(default, confirmed[default]) if default in confirmed else None,
        ties=tuple(_timed(t, confirmed[t]) for t in ties),
        verified=confirmed[winner].verified,
        trials=trials,
        environment=dict(origin.environment),
        date=datetime.now(UTC).replace(microsecond=0),
        timed=tuple(
            TimedShape(shape.dims, shape.weight, tactic.id if tactic else None)
            for shape, tactic in zip(data.timed, best or repeat(None, len(data.timed)), strict=True)
        ),
        portfolio=tuple(_timed(t, confirmed[t]) for t in portfolio),
    )


def problem_of(entry: Entry, kernel: Kernel) -> Problem:
    """The problem of an entry of this kernel, without the shapes that it was timed at."""
    return problem_from(entry.problem, kernel)


@lru_cache(maxsize=65536, typed=True)
def _tactic_id(names: tuple[str, ...], *values: Value) -> int:
    return Tactic(dict(zip(names, values, strict=True))).id


def _timed(tactic: Tactic, timing: Timing) -> TimedTactic:
    return TimedTactic(tactic.id, tactic.config, timing.time_us, timing.statistic, _summary(timing.samples_us))


def _summary(samples_us: tuple[float, ...]) -> Samples | None:
    if not samples_us:
        return None
    import statistics

    # With a single sample all three are that sample.
    cuts = statistics.quantiles(samples_us * 2 if len(samples_us) == 1 else samples_us, n=20, method="inclusive")
    return Samples(len(samples_us), statistics.median(samples_us), cuts[0], cuts[-1])
