"""`tuner new`: a kernel, a config and a test to start from."""

from __future__ import annotations

from pathlib import Path

import click

from tuner.cli.common import common_options, print_json


@click.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Project folder.  [default: here]")
@common_options
def new(name: str, out: Path, as_json: bool) -> None:
    """Write a kernel, a config and a test to start from."""
    from tuner.new import write_starter

    files = write_starter(name, out)
    if as_json:
        print_json({"files": [str(f) for f in files]})
        return
    for file in files:
        click.echo(f"wrote {file}")
    click.echo(f"next  tuner tune {files[1]}")
