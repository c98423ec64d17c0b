"""What a check is made with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tuner.backends.select import BackendChoice
from tuner.backends.table import check_names
from tuner.check.baseline import Baseline, Record, read_baseline
from tuner.check.verdict import Check
from tuner.compile.blobs import Store, default_folder
from tuner.errors import ConfigError
from tuner.store.cache import Cache, default_path
from tuner.tuning.config import Job, load_config

if TYPE_CHECKING:
    from tuner.check.measure import Gpu


@dataclass(frozen=True)
class Setting:
    """What to check against, and how thoroughly.

    Attributes:
        path, baseline: the baseline.
        cache_path, cache: where lookups go.
        store: keeps compiled tactics.
        gpu: where to measure; None: compile facts only.
        required: whether a record of another device is inconclusive, because measuring it was asked for.
        strict: whether a winner that is not served because of an edit is a regression.
        retune: how many fresh trials to compare the winner with; 0: none.
    """

    path: Path
    baseline: Baseline
    cache_path: Path
    cache: Cache
    store: Store
    gpu: Gpu | None = None
    required: bool = False
    strict: bool = False
    retune: int = 0


def open_setting(
    path: Path,
    *,
    backend: str,
    cache: Path | None = None,
    margin: float | None = None,
    strict: bool = False,
    retune: int = 0,
    new: bool = False,
) -> Setting:
    """Read the baseline and the cache, and find the GPU.

    Args:
        path: the baseline.
        backend: "model", "cuda", or "auto" for cuda where there is a GPU.
        cache: the tactic cache; the user's own by default.
        margin: relative; takes the place of the baseline's margins for predicted and measured time.
        strict, retune: see `Setting`.
        new: whether a baseline that does not exist is an empty one.

    Raises:
        ConfigError: for a backend that does not say how long code takes.
        StorageError: when a file cannot be read.
        UnavailableError: when the backend does not work here.
    """
    if backend not in check_names():
        raise ConfigError(f"--backend {backend}: a check measures by cuda, or compares compile facts by model")
    baseline = Baseline() if new and not path.exists() else read_baseline(path)
    if margin is not None:
        margins = msgspec.structs.replace(baseline.margins, predicted_time=margin, time=margin)
        baseline = msgspec.structs.replace(baseline, margins=margins)
    cache_path = cache or default_path()
    return Setting(
        path,
        baseline,
        cache_path,
        Cache.open(cache_path),
        Store(default_folder()),
        gpu=_gpu(backend, baseline),
        required=backend == "cuda",
        strict=strict,
        retune=retune,
    )


def load_jobs(configs: Sequence[Path], setting: Setting) -> list[tuple[Path, Job]]:
    """The configs by their files; without any, those that the baseline names.

    Raises:
        ConfigError: when there are none, or one cannot be used.
    """
    return [(file, load_config(file)) for file in configs or _named(setting)]


def load_held_jobs(setting: Setting) -> tuple[list[tuple[Path, Job]], list[Check]]:
    """The configs that the baseline names, and a regression for each record whose config cannot be used any more.

    So one kernel that is broken or gone does not keep the others from being checked.

    Raises:
        ConfigError: when the baseline names none.
    """
    jobs: list[tuple[Path, Job]] = []
    lost: list[Check] = []
    for file, records in _named(setting).items():
        try:
            jobs.append((file, load_config(file)))
        except ConfigError as e:
            lost += [Check(r.problem, r.label, "recorded", "regression", r.winner.id, None, str(e)) for r in records]
    return jobs, lost


def _named(setting: Setting) -> dict[Path, list[Record]]:
    named: dict[Path, list[Record]] = {}
    for record in setting.baseline.records:
        named.setdefault(setting.path.parent / record.config, []).append(record)
    if not named:
        raise ConfigError(f"{setting.path} names no config; name one on the command line")
    return named


def _gpu(backend: str, baseline: Baseline) -> Gpu | None:
    if BackendChoice.of(backend).name != "cuda":
        return None
    from tuner.check.measure import Gpu

    return Gpu.here(baseline.margins.time)
