"""`tuner show`: what the cache holds, and what a lookup finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tuner.cli.common import common_options, print_json


@click.command()
@click.argument("kernel", required=False)
@click.option("--cache", type=click.Path(path_type=Path), help="Tactic cache file.  [default: the user's own]")
@click.option("--config", type=click.Path(path_type=Path), help="Say what a lookup of this config's problems finds.")
@click.option("--device", help="With --config: the GPU to look up.  [default: the config's target]")
@click.option("--backend", default="model", show_default=True, help="With --config: whose times to go by.")
@common_options
def show(
    kernel: str | None, cache: Path | None, config: Path | None, device: str | None, backend: str, as_json: bool
) -> None:
    """Show what the cache holds, of one KERNEL id or all, or what a lookup finds."""
    from tuner.cache import Cache, default_path
    from tuner.console import format_us, new_table, print_table

    path = cache or default_path()
    opened = Cache.open(path)
    if config is not None:
        _show_lookups(opened, config, device, backend, as_json)
        return
    entries = [e for e in opened.entries if kernel in (None, e.kernel)]
    if as_json:
        import msgspec

        print_json({"cache": str(path), "entries": msgspec.to_builtins(entries)})
        return
    if not entries:
        click.echo(f"{path} holds nothing{f' of {kernel}' if kernel else ''} yet; fill it with: tuner tune CONFIG")
        return
    table = new_table("kernel", "problem", "device", "backend", "winner", "time", "default", "ties", "correct")
    for e in entries:
        time = f"{format_us(e.winner.time_us)}{' (predicted)' if e.kind == 'prediction' else ''}"
        default = format_us(e.default.time_us) if e.default else "failed"
        winner = " ".join(f"{k}={v}" for k, v in e.winner.config.items())
        table.add_row(e.kernel, e.label, e.device, e.backend, winner, time, default, str(len(e.ties)), e.verified)
    print_table(table)
    click.echo(f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'} in {path}")


def _show_lookups(cache: Any, config: Path, device: str | None, backend: str, as_json: bool) -> None:
    from tuner.config import load_config
    from tuner.devices import find_device
    from tuner.source import kernel_hash

    job = load_config(config)
    gpu = find_device(device or job.target)
    rows = []
    for problem in job.problems:
        hit = cache.lookup(
            problem, kernel_hash(problem.kernel), backend=backend, device=gpu.name, capability=gpu.capability
        )
        rows.append({"problem": str(problem), "tier": hit.tier, "id": hit.tactic.id, "config": hit.tactic.config})
        if not as_json:
            click.echo(f"{problem} on {gpu.name}: {hit}")
    if as_json:
        print_json({"lookups": rows})
