"""What was found, in the formats of other tools: a module per format, each with one `export`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TypeAlias, cast

from tuner.selection import Selection

FORMATS: Mapping[str, str] = {
    "t4": "tuner.export.t4",
    "kernel-tuner": "tuner.export.kernel_tuner",
    "json": "tuner.export.cache_slice",
    "bundle": "tuner.export.bundle",
}
"""The modules, imported when a format is asked for."""


@dataclass(frozen=True)
class Request:
    """What to export, and where to.

    Attributes:
        out: the file or folder to write.
        sources: results folders, or what else the format is made from.
        selection: which problems.
        cache: the tactic cache.
        storage: the Optuna storage of the trials, where they are in no results folder.
    """

    out: Path
    sources: tuple[Path, ...]
    selection: Selection
    cache: Path
    storage: str | None = None


Export: TypeAlias = Callable[[Request], list[Path]]


def export(format_name: str, request: Request) -> list[Path]:
    """Write an export and return the files written.

    Args:
        format_name: one of `FORMATS`.
        request: what, and where to.

    Raises:
        ConfigError: when the request does not suit the format, or selects nothing.
        StorageError: when something cannot be read or written.
    """
    return cast(Export, import_module(FORMATS[format_name]).export)(request)
