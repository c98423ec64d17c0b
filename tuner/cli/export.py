"""`tuner export`: what was found, in the formats of other tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tuner.cli.common import Several, common_options, print_json, selection_options
from tuner.errors import ConfigError
from tuner.store.selection import Selection


@dataclass(frozen=True)
class Request:
    """What to export, and where to.

    Attributes:
        out: the file or folder to write.
        sources: results folders, or configs.
        selection: which problems.
        cache: the tactic cache.
        storage: the Optuna storage of the trials, where they are in no results folder.
        several: reads the sources, one after the other.
        unverified: whether a bundle may hold tactics that nothing has found correct.
    """

    out: Path
    sources: tuple[Path, ...]
    selection: Selection
    cache: Path
    storage: str | None
    several: Several
    unverified: bool = False


def _t4(request: Request) -> list[Path]:
    from tuner.store.tables import t4
    from tuner.store.tables.write import write_studies

    return write_studies(_studies(request), request.out, t4.encode)


def _kernel_tuner(request: Request) -> list[Path]:
    from tuner.store.tables import kernel_tuner
    from tuner.store.tables.write import write_studies

    return write_studies(_studies(request), request.out, kernel_tuner.encode)


def _studies(request: Request) -> list[Any]:
    from tuner.store.studies import select_studies

    if len(request.sources) < 2:
        return select_studies(request.sources, request.storage, request.selection)
    studies: list[Any] = []
    for source in request.sources:
        with request.several.each(source):
            studies += select_studies((source,), request.storage, request.selection)
    return studies


def _json(request: Request) -> list[Path]:
    """The selected entries of the cache in one file, which `tuner import` merges into another."""
    from tuner.cli.console import say
    from tuner.outcome import caution
    from tuner.store.cache import Cache, encode
    from tuner.store.files import write_atomic

    if request.sources or request.storage:
        raise ConfigError(f"json exports the tactic cache, {request.cache}; name another with --cache, and no RESULTS")
    held = Cache.open(request.cache).entries
    entries = [e for e in held if e in request.selection]
    if not entries:
        raise ConfigError(
            f"{request.cache} has {len(held)} entries, none of them with {request.selection}"
            if held
            else f"{request.cache} holds nothing; fill it with: tuner tune CONFIG"
        )
    write_atomic(request.out, encode(Cache(entries)))
    for e in entries:
        if doubtful := caution(e.verified):
            say(f"{e}: the winner is {doubtful}")
    return [request.out]


def _bundle(request: Request) -> list[Path]:
    from tuner.cli.console import say
    from tuner.qdp.bundle.export import export_bundle, require_winners
    from tuner.tuning.config import load_config

    if not request.sources:
        raise ConfigError("--format bundle is made from configs; name them: tuner export CONFIG... --format bundle")
    problems: list[Any] = []
    for path in request.sources:
        with request.several.each(path):
            loaded = load_config(path).problems
            require_winners(loaded, request.cache, request.selection)
            problems += loaded
    if not problems:
        return []
    return export_bundle(
        problems, request.out, request.cache, request.selection, unverified=request.unverified, note=say
    )


FORMATS: Mapping[str, Callable[[Request], list[Path]]] = {
    "t4": _t4,
    "kernel-tuner": _kernel_tuner,
    "json": _json,
    "bundle": _bundle,
}
"""Writes an export and returns the files written. Raises `ConfigError` when the request does not suit the format or
selects nothing, `StorageError` when something cannot be read or written."""


@click.command()
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path, exists=True), metavar="[RESULTS|CONFIG]...")
@click.option("--format", "format_name", required=True, type=click.Choice(tuple(FORMATS)), help="What to write.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="PATH", help="File or folder to write.")
@click.option("--cache", type=click.Path(path_type=Path), help="json, bundle: tactic cache.  [default: the user's own]")
@click.option("--storage", metavar="URL", help="t4, kernel-tuner: database of the trials.  [env: TUNER_STORAGE]")
@click.option("--allow-unverified", is_flag=True, help="bundle: ship tactics too that nothing has found correct.")
@selection_options
@common_options
def export(
    sources: tuple[Path, ...],
    format_name: str,
    out: Path,
    cache: Path | None,
    storage: str | None,
    allow_unverified: bool,
    as_json: bool,
    **selected: Any,
) -> None:
    """Write what was found in the format of another tool.

    \b
    t4            all trials of RESULTS folders as T4 result files
    kernel-tuner  the same as cache files of Kernel Tuner
    json          entries of the tactic cache, for: tuner import
    bundle        a folder that serves the winners of CONFIG files to TensorRT by itself

    For t4 and kernel-tuner, --out ending in .json is one problem's file; else a folder with a file for each.
    A source that fails does not keep the others from being written; the exit code is 1.
    """
    from tuner.store.cache import default_path

    several = Several(len(sources) or 1)
    chosen = Selection(**selected)
    request = Request(out, sources, chosen, cache or default_path(), storage, several, allow_unverified)
    written = FORMATS[format_name](request)
    if as_json and written:
        print_json({"format": format_name, "files": [str(path) for path in written]})
    for path in written if not as_json else ():
        click.echo(str(path))
    several.end()
