"""Configs: TOML files that say which kernel to tune, at which shapes, and how hard to try."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from tuner.backends.setting import BackendSetting
from tuner.backends.tensorrt.options import TensorrtOptions
from tuner.compile.options import CompileOptions
from tuner.errors import ConfigError, did_you_mean
from tuner.gpu.catalog import DEFAULT, find_device
from tuner.kernel.kernel import Attribute, Kernel
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem import Problem, Range, Timed
from tuner.kernel.problem_data import RangeData, Size, data_of, dim_from_data, dim_to_data
from tuner.search.samplers import find
from tuner.tuning import toml
from tuner.tuning.grid import expand
from tuner.tuning.options import SearchOptions

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """A tuning job.

    Attributes:
        name: the file's name without its ending.
        kernel: where the kernel is: an absolute file, or ``package.module:name``.
        target: the GPU to compile and predict for where it is not present.
        problems: at least one.
    """

    name: str
    kernel: str
    target: str
    problems: tuple[Problem, ...]
    search: SearchOptions
    compile: CompileOptions
    tensorrt: TensorrtOptions = field(default_factory=TensorrtOptions)

    @property
    def setting(self) -> BackendSetting:
        """What backends are opened with."""
        return BackendSetting(self.target, self.search.seed, self.compile, self.tensorrt)


class _TimedTable(Struct, frozen=True, forbid_unknown_fields=True):
    dims: dict[str, Size | tuple[Size, ...]]
    weight: Annotated[float, Meta(gt=0, le=10**9)] = 1.0


class _ProblemTable(Struct, frozen=True, forbid_unknown_fields=True):
    dims: dict[str, Any]
    dtypes: dict[str, str] = {}
    attributes: dict[str, Any] = {}
    timed: tuple[dict[str, Any], ...] = ()


class _Document(Struct, frozen=True, forbid_unknown_fields=True):
    version: Literal[1]
    kernel: Annotated[str, Meta(min_length=1)]
    target: str = DEFAULT
    problem: dict[str, Any] | None = None
    problems: list[dict[str, Any]] = []
    search: dict[str, Any] = {}
    compile: dict[str, Any] = {}
    tensorrt: dict[str, Any] = {}


def load_config(path: Path, target: str | None = None) -> Job:
    """Read and check a config, and load the kernel it names.

    Args:
        path: the file.
        target: replaces the config's.

    Raises:
        ConfigError: with file and key, for anything that is not usable.
    """
    where = str(path)
    document = _convert(_read(path), _Document, where, "")
    kernel_spec = _absolute(document.kernel, path.parent)
    device = _target(document.target, where) if target is None else _target(target, "command line")
    try:
        kernel = load_kernel(kernel_spec, path.parent, device)
    except ConfigError as e:
        raise ConfigError(f"{where}: kernel: {_one_line(e)}") from e
    if document.problem is not None and document.problems:
        raise ConfigError(f"{where}: both [problem] and [[problems]]; write [[problems]] for each")
    tables = {f"problems[{i}]": table for i, table in enumerate(document.problems)}
    if document.problem is not None:
        tables = {"problem": document.problem}
    if not tables:
        raise ConfigError(f"{where}: problems: there is none; add a [problem] table with the kernel's dims")
    problems = [(key, p) for key, table in tables.items() for p in _problems(kernel, table, where, key)]
    keys: dict[tuple[str, ...], str] = {}
    for key, problem in problems:
        earlier = keys.setdefault(data_of(problem).key, key)
        if earlier != key:
            raise ConfigError(f"{where}: {key} repeats {earlier} ({problem.label}); leave one out")
    return Job(
        name=path.stem,
        kernel=kernel_spec,
        target=device,
        problems=tuple(problem for _, problem in problems),
        search=_search_options(document.search, where),
        compile=_convert(document.compile, CompileOptions, where, "compile"),
        tensorrt=_tensorrt_options(document.tensorrt, path),
    )


def with_overrides(
    config: Job,
    *,
    trials: int | None = None,
    shared_trials: int | None = None,
    timeout_s: float | None = None,
    sampler: str | None = None,
    seed: int | None = None,
    finalists: int | None = None,
    workers: int | None = None,
) -> Job:
    """A config with some values replaced by those given on the command line; None keeps a value.

    Who names a number of trials gets that many: then no search ends before, unless its space is exhausted.

    Raises:
        ConfigError: as `load_config`, with "command line" in the place of a file.
    """
    where = "command line"
    search = {
        "trials": trials,
        "stop": None if trials is None else False,
        "shared_trials": shared_trials,
        "timeout_s": timeout_s,
        "sampler": sampler,
        "seed": seed,
        "finalists": finalists,
    }
    return replace(
        config,
        search=_search_options({**msgspec.structs.asdict(config.search), **_given(search)}, where),
        compile=_convert(
            {**msgspec.structs.asdict(config.compile), **_given({"workers": workers})}, CompileOptions, where, "compile"
        ),
    )


def dump_config(config: Job) -> str:
    """The effective values as a config that loads back to the same, from any folder."""
    lines = ["version = 1", f"kernel = {toml.spelt(config.kernel)}", f"target = {toml.spelt(config.target)}"]
    for problem in config.problems:
        dims = {name: dim_to_data(ranges) for name, ranges in problem.dims.items()}
        lines += [
            "",
            "[[problems]]",
            *toml.pairs(
                {
                    "dims": dims,
                    "dtypes": problem.dtypes,
                    "attributes": problem.attributes,
                    "timed": tuple({"dims": t.dims, "weight": t.weight} for t in problem.timed) or None,
                }
            ),
        ]
    lines += ["", "[search]", *toml.pairs(msgspec.structs.asdict(config.search))]
    lines += ["", "[compile]", *toml.pairs(msgspec.structs.asdict(config.compile))]
    lines += ["", "[tensorrt]", *toml.pairs(msgspec.structs.asdict(config.tensorrt))]
    return "\n".join(lines) + "\n"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; name a TOML file, or start one with: tuner new NAME") from None
    except OSError as e:
        raise ConfigError(f"{path} cannot be read: {e.strerror}; name a TOML file") from e
    except (UnicodeDecodeError, RecursionError) as e:
        raise ConfigError(f"{path} is not a TOML file: {_one_line(e)}") from e
    except ValueError as e:  # tomllib's own, or of an integer with thousands of digits
        raise ConfigError(f"{path} is not valid TOML: {_one_line(e)}") from e


def _convert(data: Any, kind: type[T], where: str, key: str) -> T:
    """`data` as a type; `ConfigError` with file, dotted key and the nearest valid name."""
    if isinstance(data, dict) and isinstance(kind, type) and issubclass(kind, Struct):
        fields = msgspec.structs.fields(kind)
        names = [f.name for f in fields]
        for name in data:
            if name not in names:
                raise ConfigError(f"{where}: unknown key {_join(key, name)}{did_you_mean(name, names)}")
        for f in fields:
            if f.required and f.name not in data:
                raise ConfigError(f"{where}: {_join(key, f.name)} is missing")
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as e:
        message, _, place = str(e).replace("`", "").replace("object", "table").partition(" - at $")
        raise ConfigError(f"{where}: {_join(key, place.lstrip('.'))}: {message[0].lower()}{message[1:]}") from e


def _problems(kernel: Kernel, data: dict[str, Any], where: str, key: str) -> list[Problem]:
    """The problem of a table, or the problems where its dims are a grid."""
    table = _convert(data, _ProblemTable, where, key)
    try:
        grid = list(expand(table.dims))
    except ConfigError as e:
        raise ConfigError(f"{where}: {key}.{e}") from e
    return [_problem(kernel, msgspec.structs.replace(table, dims=dims), where, key) for dims in grid]


def _problem(kernel: Kernel, table: _ProblemTable, where: str, key: str) -> Problem:
    dims = {name: _dim(value, where, f"{key}.dims.{name}") for name, value in table.dims.items()}
    for name, value in table.attributes.items():
        number: Any = _convert(value, Attribute, where, f"{key}.attributes.{name}")  # type: ignore[arg-type]
        if not isinstance(number, str) and not math.isfinite(number):
            raise ConfigError(f"{where}: {key}.attributes.{name}: {number} is not a finite number")
    shapes = [_convert(data, _TimedTable, where, f"{key}.timed[{i}]") for i, data in enumerate(table.timed)]
    try:
        timed = [Timed(shape.dims, shape.weight) for shape in shapes]
        problem = Problem.of(kernel, dims, table.dtypes, table.attributes, timed)
        refused = _why_refused(problem)
    except ConfigError as e:
        raise ConfigError(f"{where}: {key}: {_one_line(e)}") from e
    if refused:
        raise ConfigError(f"{where}: {key}: {refused}")
    return problem


def _dim(data: Any, where: str, key: str) -> tuple[Range, ...]:
    extents = {f"{key}[{i}]": d for i, d in enumerate(data)} if isinstance(data, list) else {key: data}
    if not extents:
        raise ConfigError(f"{where}: {key}: expected at least one size")
    ranges: list[Range] = []
    for place, extent in extents.items():
        kind: Any = RangeData if isinstance(extent, dict) else Size
        ranges += dim_from_data(_convert(extent, kind, where, place))
    return tuple(ranges)


def _why_refused(problem: Problem) -> str:
    """Why nothing, or not even the default tactic, is legal for a problem; "" when it is."""
    space, default = problem.space, problem.kernel.default_tactic
    violated = space.violated(default.config)
    if violated is None:  # how many others are legal is counted when somebody asks
        return ""
    if space.counted and not space.size:
        return f"no tactic is legal for {problem.label}; {space.most_refused()}"
    return f"the kernel's default ({default}) is not legal for {problem.label}: {violated}; choose another default"


def _search_options(data: Mapping[str, Any], where: str) -> SearchOptions:
    options = _convert(dict(data), SearchOptions, where, "search")
    try:
        find(options.sampler)
    except ConfigError as e:
        raise ConfigError(f"{where}: search.sampler: {e}") from e
    return options


def _tensorrt_options(data: dict[str, Any], path: Path) -> TensorrtOptions:
    options = _convert(data, TensorrtOptions, str(path), "tensorrt")
    for name, shapes in options.shapes.items():
        ranks = {len(shapes.min), len(shapes.opt), len(shapes.max)}
        ordered = all(a <= b <= c for a, b, c in zip(shapes.min, shapes.opt, shapes.max, strict=False))
        if len(ranks) > 1 or not ordered:
            raise ConfigError(f"{path}: tensorrt.shapes.{name}: expected min <= opt <= max, all of one length")
    if options.network is None:
        if options.shapes:
            raise ConfigError(f"{path}: tensorrt.shapes: these are shapes of a network's inputs; name the network")
        return options
    location, _, function = options.network.partition(":")
    if not (location.endswith(".onnx") and not function) and not (location.endswith(".py") and function.isidentifier()):
        raise ConfigError(f"{path}: tensorrt.network: {options.network!r} is neither FILE.onnx nor FILE.py:FUNCTION")
    if not (path.parent / location).is_file():
        raise ConfigError(f"{path}: tensorrt.network: {path.parent / location} does not exist; name a file")
    network = f"{(path.parent / location).resolve()}{':' if function else ''}{function}"
    return msgspec.structs.replace(options, network=network)


def _target(name: str, where: str) -> str:
    try:
        find_device(name)
    except ConfigError as e:
        raise ConfigError(f"{where}: target: {e}") from e
    return name


def _absolute(spec: str, base: Path) -> str:
    """A kernel's file spelt so that it is found from any folder; a module's name as it is."""
    location, colon, attribute = spec.partition(":")
    return f"{(base / location).resolve()}{colon}{attribute}" if location.endswith(".py") else spec


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key and name and not name.startswith("[") else key + name


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
