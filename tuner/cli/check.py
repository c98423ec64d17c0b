"""`tuner check`: hold today's code against recorded tactics."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tuner.cli.common import common_options, print_json


@click.command()
@click.argument("configs", nargs=-1, type=click.Path(path_type=Path), metavar="[CONFIG]...")
@click.option("--baseline", "path", required=True, type=click.Path(path_type=Path), help="The baseline file.")
@click.option("--update", is_flag=True, help="Write today's winners and defaults into the baseline.")
@click.option("--accept", metavar="REASON", help="With --update: record code that is worse, and why.")
@click.option("--cache", type=click.Path(path_type=Path), help="Tactic cache file.  [default: the user's own]")
@click.option("--served", is_flag=True, help="An edited source whose winner no lookup finds is a regression too.")
@common_options
def check(
    configs: tuple[Path, ...],
    path: Path,
    update: bool,
    accept: str | None,
    cache: Path | None,
    served: bool,
    as_json: bool,
) -> None:
    """Hold today's code against the tactics recorded for each CONFIG."""
    from tuner.cache import Cache, default_path
    from tuner.check.baseline import Baseline, read_baseline
    from tuner.check.record import update_baseline
    from tuner.check.run import Setting, check_jobs
    from tuner.check.verdict import EXIT_CODES, as_document, overall
    from tuner.compile.store import Store, default_folder
    from tuner.config import load_config
    from tuner.console import say

    baseline = Baseline() if update and not path.exists() else read_baseline(path)
    jobs = [load_config(config) for config in configs]
    cache_path = cache or default_path()
    setting = Setting(path, baseline, cache_path, Cache.open(cache_path), Store(default_folder()), served)
    refused = []
    if update:
        done = update_baseline(list(zip(configs, jobs, strict=True)), setting, None, accept)
        refused = done.refused
        for note in done.notes:
            say(note)
        setting = Setting(path, read_baseline(path), cache_path, Cache.open(cache_path), setting.store, served)
    checks = refused or list(check_jobs(jobs, setting))
    if as_json:
        print_json(as_document(checks))
    else:
        for c in checks:
            click.echo(f"{c.verdict}: {c}")
    sys.exit(EXIT_CODES[overall(checks)])
