"""`tuner export`: what was found, for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tuner.cli.common import common_options, print_json
from tuner.cli.selection import selection_options
from tuner.export import FORMATS


@click.command()
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path, exists=True), metavar="[RESULTS|CONFIG]...")
@click.option("--format", "format_name", required=True, type=click.Choice(tuple(FORMATS)), help="What to write.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="PATH", help="File or folder to write.")
@click.option("--cache", type=click.Path(path_type=Path), help="json, bundle: tactic cache.  [default: the user's own]")
@click.option("--storage", metavar="URL", help="t4, kernel-tuner: Optuna storage that holds the trials.")
@selection_options
@common_options
def export(
    sources: tuple[Path, ...],
    format_name: str,
    out: Path,
    cache: Path | None,
    storage: str | None,
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
    """
    from tuner.cache import default_path
    from tuner.export import Request
    from tuner.export import export as write
    from tuner.selection import Selection

    request = Request(out, sources, Selection(**selected), cache or default_path(), storage)
    written = write(format_name, request)
    if as_json:
        print_json({"format": format_name, "files": [str(path) for path in written]})
        return
    for path in written:
        click.echo(str(path))
