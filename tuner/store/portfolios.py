"""What a portfolio was chosen from, as ``portfolio.json`` in the results folder holds it."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from tuner.errors import StorageError
from tuner.kernel.problem_data import DimData, ProblemData
from tuner.outcome import Kind, Origin
from tuner.search.tactic import Value
from tuner.store.entry import Microseconds
from tuner.store.files import write_atomic

FILE = "portfolio.json"
IN_RANGE = "(code of the range)"


class Candidate(Struct, frozen=True, forbid_unknown_fields=True):
    """A tactic that was timed at every shape.

    Attributes:
        id, config: the tactic.
        times_us: microseconds in the order of the shapes.
        range_us: the mean of microseconds over the shapes, in the code compiled for all of the range.
        taken: whether it is one of the portfolio.
    """

    id: int
    config: dict[str, Value]
    times_us: tuple[Microseconds, ...]
    range_us: Microseconds
    taken: bool


class Portfolio(Struct, frozen=True, forbid_unknown_fields=True):
    """The portfolio of one range of shapes, with all that it was chosen from.

    Attributes:
        kernel, problem: the plugin id, and the range's label, for people.
        backend, device, kind, capability, environment: as in `Origin`.
        within: what part a shape may lose to the fastest candidate.
        method: "exact", or that no proof was found that the set is the smallest.
        shapes: the shapes, for people; once more, marked as such, for the code that serves all of the range.
        candidates: the tactics, those taken first.
        left_out: why a shape's winner is no candidate, one sentence each.
        data: the problem of the range; None in an older file.
        shapes_data: the dimensions of each of `shapes`; none in an older file.
    """

    kernel: str
    problem: str
    backend: str
    device: str
    kind: Kind
    within: float
    method: str
    shapes: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    left_out: tuple[str, ...]
    capability: tuple[int, int] | None = None
    environment: dict[str, str] = {}
    data: ProblemData | None = None
    shapes_data: tuple[dict[str, DimData], ...] = ()

    @property
    def origin(self) -> Origin:
        """Where its times come from."""
        return Origin(self.backend, self.kind, self.device, self.capability, self.environment)

    def losses(self) -> list[list[float]]:
        """By what part each candidate is slower than the best of them, a row for each shape."""
        columns = zip(*(c.times_us for c in self.candidates), strict=True)
        return [[time_us / min(times) - 1 for time_us in times] for times in columns]


def write_portfolios(folder: Path, portfolios: Sequence[Portfolio]) -> None:
    """Write the portfolios of a job into its results folder, in the place of earlier ones."""
    write_atomic(folder / FILE, msgspec.json.format(msgspec.json.encode(portfolios), indent=1) + b"\n")


def read_portfolios(folder: Path) -> tuple[Portfolio, ...]:
    """The portfolios in a results folder; none where none were looked for, as in a cache file.

    Raises:
        StorageError: when the file cannot be read or is damaged.
    """
    path = folder / FILE
    try:
        return msgspec.json.decode(path.read_bytes().removeprefix(BOM_UTF8), type=tuple[Portfolio, ...])
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror}; give read access") from e
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise StorageError(f"{path} is damaged: {e}; run tuner portfolio again to write it anew") from e
