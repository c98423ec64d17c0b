"""`tuner report`: what was found, as a page."""

from __future__ import annotations

from pathlib import Path

import click

from tuner.cli.common import common_options, print_json


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SOURCE...")
@click.option("--against", type=click.Path(path_type=Path), help="Results folder or cache to compare with.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="File to write.  [default: report.html, in SOURCE where that is one folder]",
)
@common_options
def report(sources: tuple[Path, ...], against: Path | None, out: Path | None, as_json: bool) -> None:
    """Write one HTML file about each SOURCE, a results folder or a cache file."""
    from tuner.report import write_report

    own = len(sources) == 1 and sources[0].is_dir()
    path = out or (sources[0] / "report.html" if own else Path("report.html"))
    written = write_report(sources, path, against=against)
    if as_json:
        print_json({"report": str(path), "problems": written.problems, "bytes": written.size})
    else:
        click.echo(f"{path}  {written.problems} {'problem' if written.problems == 1 else 'problems'}")
