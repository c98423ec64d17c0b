"""The file that `tuner check` holds today's code against: readable, reviewable, with the winners' PTX beside it.

`baseline.json` has one record for each problem and device; the PTX of its winner, which a GPU runs beside today's code,
is in the folder of the same name. Values have a line of their own and records are sorted, so a change is a
readable diff.
"""

from __future__ import annotations

import hashlib
import re
from codecs import BOM_UTF8
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from tuner.check.facts import Facts
from tuner.check.rules import Margins
from tuner.errors import ConfigError, StorageError
from tuner.kernel.kernel import Attribute
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import DimData, ProblemData, data_of
from tuner.outcome import Kind, Origin
from tuner.search.tactic import Value
from tuner.store.entry import Microseconds
from tuner.store.files import plain_content, recorded_path, write_atomic

FORMAT: Literal["qdp-tuner baseline"] = "qdp-tuner baseline"
VERSION: Literal[1] = 1

Role: TypeAlias = Literal["winner", "default"]


class ServedTime(Struct, frozen=True, forbid_unknown_fields=True):
    """The cache entry that a winner was taken from: under which backend, and its time."""

    backend: str
    kind: Kind
    time_us: Microseconds


class RecordedTactic(Struct, frozen=True, forbid_unknown_fields=True):
    """A tactic as it was compiled when the baseline was written.

    Attributes:
        id, config: the tactic.
        fingerprint: of the code it became (`tuner.check.code`).
        compiler: names and versions of the tools.
        verified: what the correctness gate said.
        facts: what its code takes.
    """

    id: int
    config: dict[str, Value]
    fingerprint: str
    compiler: str
    verified: str
    facts: Facts


class WinnerCode(Struct, frozen=True, forbid_unknown_fields=True):
    """The winner's PTX and how it is launched at the problem's usual size.

    Attributes:
        ptx: the file, relative to the baseline's folder.
        entry, block, shared_bytes: as in `tuner.compile.artifact.Artifact`.
        grid, args: blocks along x, y and z, and the extra integers.
    """

    ptx: str
    entry: str
    block: tuple[int, int, int]
    shared_bytes: int
    grid: tuple[int, int, int]
    args: tuple[int, ...]


class Accepted(Struct, frozen=True, forbid_unknown_fields=True):
    """A slowdown that somebody accepted: the rule it broke, both values, and the reason given."""

    rule: str
    baseline: float | int | str | None
    now: float | int | str | None
    reason: Annotated[str, Meta(min_length=1)]
    date: Annotated[datetime, Meta(tz=True)]


class Record(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is held for one problem on one device.

    Attributes:
        kernel, dims, dtypes, attributes: the problem.
        config: the config it is from, relative to the baseline's folder.
        device, capability: the GPU it was compiled for.
        source: the hash of the kernel's source, under which the cache has the winner.
        winner, default: tactics; the same one when nothing is faster than the default, which is None when it
            could not be compiled or was wrong.
        served: the cache entry of the winner; None when it has none any more.
        code: the winner's; of several launches, that of the first.
        further: that of its other launches, in order.
        accepted: slowdowns accepted so far, oldest first.
        date: when this was recorded.
    """

    kernel: str
    dims: dict[str, DimData]
    dtypes: dict[str, str]
    attributes: dict[str, Attribute]
    config: str
    device: str
    capability: tuple[int, int]
    source: str
    winner: RecordedTactic
    default: RecordedTactic | None
    served: ServedTime | None
    code: WinnerCode
    accepted: tuple[Accepted, ...]
    date: Annotated[datetime, Meta(tz=True)]
    further: tuple[WinnerCode, ...] = ()

    @property
    def codes(self) -> tuple[WinnerCode, ...]:
        """The code of each of the winner's launches, in order."""
        return (self.code, *self.further)

    @property
    def problem(self) -> ProblemData:
        """What is held."""
        return ProblemData(self.kernel, self.dims, self.dtypes, self.attributes)

    @property
    def label(self) -> str:
        """The dimensions, data types and attributes in one line, for people."""
        return self.problem.label

    @property
    def origin(self) -> Origin | None:
        """Where the time of the winner's cache entry comes from; None when it has no entry any more."""
        served = self.served
        return None if served is None else Origin(served.backend, served.kind, self.device, self.capability)

    def of(self, problem: Problem) -> bool:
        """Whether it is for this problem, on whatever device."""
        return self.problem.key == data_of(problem).key

    @property
    def key(self) -> tuple[str, ...]:
        """What it is for: no two records of a baseline have the same."""
        return *self.problem.key, self.device

    def tactics(self) -> tuple[tuple[Role, RecordedTactic], ...]:
        """Each recorded tactic once, with what it is."""
        if self.default is None or self.default.id == self.winner.id:
            return (("winner", self.winner),)
        return ("winner", self.winner), ("default", self.default)


class Baseline(Struct, frozen=True, forbid_unknown_fields=True):
    """A baseline file."""

    format: Literal["qdp-tuner baseline"] = FORMAT
    version: Literal[1] = VERSION
    margins: Margins = Margins()
    records: tuple[Record, ...] = ()


def key_of(problem: Problem, device: str) -> tuple[str, ...]:
    """The `Record.key` of a problem on a device."""
    return *data_of(problem).key, device


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        StorageError: when it is missing, damaged, something else, or of another version.
    """
    try:
        data = path.read_bytes().removeprefix(BOM_UTF8)  # which some editors write
    except FileNotFoundError:
        raise StorageError(
            f"{path} does not exist; write it with: tuner check CONFIG --baseline {path} --update"
        ) from None
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror}; name a baseline file with --baseline") from e
    try:
        baseline = msgspec.json.decode(data, type=Baseline)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise StorageError(_refusal(path, data, e)) from e
    key, count = Counter(r.key for r in baseline.records).most_common(1)[0] if baseline.records else ((), 0)
    if count > 1:
        raise StorageError(f"{path}: {count} records are for {' '.join(key)}; delete all but one")
    for i, record in enumerate(baseline.records):
        for code in record.codes:
            _ptx_path(path, code.ptx, f"{path}: records[{i}].code.ptx")
        if Path(record.config).is_absolute():  # a relative one may lead out of the folder: a config is only read
            raise StorageError(f"{path}: records[{i}].config: {record.config!r} is not a relative path; restore {path}")
    return baseline


def write_baseline(path: Path, baseline: Baseline, codes: dict[str, str], before: Baseline) -> None:
    """Write a baseline and PTX files by their names; PTX that only the baseline before named is removed.

    Only PTX in the baseline's own folder is removed, and only while its content is what its name says.

    Raises:
        ConfigError: for a file that would have the name of the folder.
        StorageError: when that fails, or a symbolic link is where the PTX goes.
    """
    folder = folder_of(path)
    if folder == path:
        raise ConfigError(f"--baseline {path}: the PTX goes into a folder of that name; call the file {path}.json")
    for name, ptx in codes.items():
        file = _ptx_path(path, name, str(path))
        if file.is_symlink() or folder.is_symlink():
            raise StorageError(f"{file} would be written through a symbolic link; remove the link")
        write_atomic(file, ptx.encode())
    sorted_ = msgspec.structs.replace(baseline, records=tuple(sorted(baseline.records, key=lambda r: r.key)))
    write_atomic(path, msgspec.json.format(msgspec.json.encode(sorted_, order="deterministic"), indent=2) + b"\n")
    # Never by a pattern: the folder may be one in which a project keeps PTX of its own.
    named, kept = ({code.ptx for r in b.records for code in r.codes} for b in (before, baseline))
    for name in named - kept:
        content = plain_content(path.parent, name)
        if name.startswith(f"{folder.name}/") and content is not None and _is_recorded(name, content):
            (path.parent / name).unlink()


def ptx_name(path: Path, kernel: str, ptx: str) -> str:
    """Where the PTX of a kernel's winner goes, relative to the baseline's folder."""
    return f"{folder_of(path).name}/{kernel}-{_digest(ptx.encode())}.ptx"


def read_ptx(path: Path, record: Record) -> tuple[str, ...]:
    """The PTX of each of the winner's launches, from beside a baseline.

    Raises:
        StorageError: when it is not there, or not what was recorded.
    """
    return tuple(_read_ptx(path, code.ptx) for code in record.codes)


def _read_ptx(path: Path, name: str) -> str:
    file = _ptx_path(path, name, str(path))
    try:
        data = file.read_bytes()
    except OSError as e:
        raise StorageError(f"{file} cannot be read: {e.strerror}; restore it, or write it anew with --update") from e
    if not _is_recorded(name, data):
        raise StorageError(f"{file} is not what was recorded; restore it, or write it anew with --update")
    return data.decode()


def folder_of(path: Path) -> Path:
    """Where the PTX of a baseline is."""
    return path.with_suffix("")


def _ptx_path(path: Path, name: str, where: str) -> Path:
    """The PTX file that a baseline names, in a folder beside it."""
    file = recorded_path(path.parent, name, where)
    if not re.fullmatch(r"[^/]+/[^/]+-[0-9a-f]{8}\.ptx", name):
        raise StorageError(f"{where}: {name!r} is not the name of a baseline's PTX; restore {path}")
    return file


def _is_recorded(name: str, ptx: bytes) -> bool:
    """Whether PTX is what its file name says."""
    return name.endswith(f"-{_digest(ptx)}.ptx")


def _digest(ptx: bytes) -> str:
    return hashlib.sha256(ptx).hexdigest()[:8]


def _refusal(path: Path, data: bytes, error: Exception) -> str:
    """What is wrong with a file that does not decode, where, and what to do."""
    try:
        header = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        return f"{path} is damaged or no baseline: {e}; restore it, or write it anew with --update to another file"
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        return f'{path} is no baseline: it lacks "format": "{FORMAT}"; name another file with --baseline'
    version = header.get("version")
    if type(version) is int and version != VERSION:
        return f"{path} has version {version}, this tuner reads {VERSION}; upgrade qdp-tuner, or write it anew"
    return f"{path}: {error}; restore it"
