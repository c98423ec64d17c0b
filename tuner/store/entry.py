"""An entry of the tactic cache: what is kept of one tuned problem, as it is written to disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import repeat
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from tuner.kernel.identity import reference_hash
from tuner.kernel.kernel import Attribute, Kernel
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import DimData, ProblemData, ShapeData, data_of, problem_from
from tuner.outcome import VERIFIED, Kind, Origin, Timing
from tuner.search.tactic import Tactic, Value

Microseconds: TypeAlias = Annotated[float, Meta(gt=0, description="microseconds per launch")]
TacticId: TypeAlias = Annotated[int, Meta(ge=1, lt=2**31, description="derived from the configuration alone")]
Name: TypeAlias = Annotated[str, Meta(min_length=1)]
CLOCK_SLACK = timedelta(minutes=5)
"""How far the clocks of two machines may be apart."""

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


class Proof(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """How tactics were found correct, and as which code.

    Attributes:
        how: what looked at the results, and where.
        ptx: SHA-256 of the PTX of each tactic that it holds for, by the tactic's id.
    """

    how: str
    ptx: dict[str, str]


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
    evidence: Annotated[Proof | None, Meta(description="how the verdict was found; null in older entries")] = None
    reference: Annotated[str, Meta(description="hash of what results were held against; empty in older entries")] = ""

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
    code: Mapping[Tactic, str] | None = None,
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
        code: SHA-256 of the PTX that tactics were compiled to, where it is known.
    """
    data = data_of(problem)
    served = [confirmed[t] for t in (winner, *portfolio)]
    verdict = next((t for t in served if t.verified != VERIFIED), served[0])
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
        verified=verdict.verified,
        trials=trials,
        environment=dict(origin.environment),
        date=datetime.now(UTC).replace(microsecond=0),
        timed=tuple(
            TimedShape(shape.dims, shape.weight, tactic.id if tactic else None)
            for shape, tactic in zip(data.timed, best or repeat(None, len(data.timed)), strict=True)
        ),
        portfolio=tuple(_timed(t, confirmed[t]) for t in portfolio),
        evidence=_evidence(verdict.checked, confirmed, code or {}),
        reference=reference_hash(problem.kernel),
    )


def of_today(entry: Entry, kernel: Kernel) -> Entry:
    """The entry, unverified where its results were held against another reference or tolerance than today's."""
    if entry.reference in ("", reference_hash(kernel)):
        return entry
    why = "unverified: the reference or a tolerance has changed since; tune again"
    return msgspec.structs.replace(entry, verified=why)


def proofs(entries: Iterable[Entry], kernel: Kernel) -> dict[str, str]:
    """PTX of a kernel that a GPU has found correct by today's reference, by its SHA-256, and which GPU that was."""
    reference = reference_hash(kernel)
    return {
        ptx: f"found correct on {e.device}, {e.date:%Y-%m-%d}"
        for e in entries
        if e.kernel == kernel.id and e.reference == reference
        if e.evidence is not None and e.kind == "measurement" and e.verified == VERIFIED
        for ptx in e.evidence.ptx.values()
    }


def differences(entry: Entry, tools: Mapping[str, str], now: datetime) -> str:
    """Say what of today is not as an entry was recorded: its date, and the compilers. "" where all is.

    Args:
        entry: what was recorded.
        tools: names and versions of the compilers of today.
        now: with a time zone.
    """
    found = [
        f"recorded with {name} {entry.environment[name]}, and {version} is installed"
        for name, version in tools.items()
        if entry.environment.get(name, version) != version
    ]
    if entry.date > now + CLOCK_SLACK:
        found.append(f"its date, {entry.date:%Y-%m-%d %H:%M} UTC, lies ahead of this machine's clock")
    return f"{'; '.join(found)}: tune again" if found else ""


def problem_of(entry: Entry, kernel: Kernel) -> Problem:
    """The problem of an entry of this kernel, without the shapes that it was timed at."""
    return problem_from(entry.problem, kernel)


@lru_cache(maxsize=65536, typed=True)
def _tactic_id(names: tuple[str, ...], *values: Value) -> int:
    return Tactic(dict(zip(names, values, strict=True))).id


def _evidence(how: str, confirmed: Mapping[Tactic, Timing], code: Mapping[Tactic, str]) -> Proof | None:
    found = {str(t.id): ptx for t, ptx in code.items() if t in confirmed and confirmed[t].verified == VERIFIED}
    return Proof(how, found) if found and how else None


def _timed(tactic: Tactic, timing: Timing) -> TimedTactic:
    return TimedTactic(tactic.id, tactic.config, timing.time_us, timing.statistic, _summary(timing.samples_us))


def _summary(samples_us: tuple[float, ...]) -> Samples | None:
    if not samples_us:
        return None
    import statistics

    # With a single sample all three are that sample.
    cuts = statistics.quantiles(samples_us * 2 if len(samples_us) == 1 else samples_us, n=20, method="inclusive")
    return Samples(len(samples_us), statistics.median(samples_us), cuts[0], cuts[-1])
