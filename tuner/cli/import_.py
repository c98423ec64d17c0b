"""`tuner import`: take over what others found."""

from __future__ import annotations

from pathlib import Path

import click

from tuner.cli.common import common_options, print_json


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True), metavar="FILE...")
@click.option("--cache", type=click.Path(path_type=Path), help="Tactic cache to merge into.  [default: the user's own]")
@common_options
def import_(files: tuple[Path, ...], cache: Path | None, as_json: bool) -> None:
    """Merge tactic caches, or what `tuner export --format json` wrote, into the tactic cache.

    Of two entries for the same problem, device and backend the newer one stays.
    """
    from tuner.store.cache import Cache, default_path, update
    from tuner.store.diff import changes

    path = cache or default_path()
    before = Cache.open(path)
    entries = [entry for file in files for entry in Cache.open(file).entries]
    changed = changes(before.entries, update(path, entries, by_date=True).entries)
    added = sum(change.before is None for change in changed)
    replaced = len(changed) - added
    if as_json:
        print_json({"cache": str(path), "read": len(entries), "added": added, "replaced": replaced})
        return
    click.echo(f"{path}: {added} added, {replaced} replaced, {len(entries) - added - replaced} as they were or older")
