"""`tuner show`: what the cache holds, how it differs from another, and what a lookup finds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.cli.common import common_options, print_json, selection_options

if TYPE_CHECKING:
    from tuner.store.cache import Cache
    from tuner.store.entry import Entry
    from tuner.store.selection import Selection


@click.command()
@click.argument("name", required=False, metavar="[KERNEL]")
@click.option("--cache", type=click.Path(path_type=Path), help="Tactic cache file.  [default: the user's own]")
@click.option("--diff", type=click.Path(path_type=Path, exists=True), help="Say what changed since this older cache.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Say what a lookup of this config's problems finds, on --device NAME (the config's target) "
    "by the times of --backend NAME (model).",
)
@selection_options
@common_options
def show(
    name: str | None, cache: Path | None, diff: Path | None, config: Path | None, as_json: bool, **selected: Any
) -> None:
    """Show what the cache holds, of one KERNEL or all."""
    from tuner.store.cache import Cache, default_path
    from tuner.store.selection import Selection

    if name is not None and selected["kernel"] not in (None, name):
        raise click.UsageError(f"both the kernel {name} and --kernel {selected['kernel']}; name one")
    if diff is not None and config is not None:
        raise click.UsageError("both --diff and --config; ask one thing at a time")
    selection = Selection(**{**selected, "kernel": name or selected["kernel"]})
    path = cache or default_path()
    opened = Cache.open(path)
    if config is not None:
        _show_lookups(opened, config, selection, as_json)
        return
    entries = [e for e in opened.entries if e in selection]
    if diff is not None:
        _show_changes(diff, [e for e in Cache.open(diff).entries if e in selection], path, entries, as_json)
    else:
        _show_entries(path, entries, selection, as_json)


def _show_entries(path: Path, entries: list[Entry], selection: Selection, as_json: bool) -> None:
    if as_json:
        import msgspec

        print_json({"cache": str(path), "entries": msgspec.to_builtins(entries)})
        return
    if not entries:
        asked = " ".join(value for value in vars(selection).values() if value)
        click.echo(f"{path} holds nothing{f' of {asked}' if asked else ''} yet; fill it with: tuner tune CONFIG")
        return
    from tuner.cli.console import format_us, new_table, print_table
    from tuner.outcome import caution

    table = new_table("kernel", "problem", "device", "backend", "winner", "time", "default", "ties", "correct")
    for e in entries:
        default = format_us(e.default.time_us) if e.default else "failed"
        table.add_row(
            e.kernel, e.label, e.device, e.backend, _tactic(e), _time(e), default, str(len(e.ties)), e.verified
        )
    print_table(table)
    for e in entries:
        if doubtful := caution(e.verified):
            click.echo(f"{e}: the winner is {doubtful}")
    click.echo(f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'} in {path}")


def _show_changes(before: Path, old: list[Entry], after: Path, new: list[Entry], as_json: bool) -> None:
    from tuner.cli.console import new_table, print_table
    from tuner.store.diff import changes

    found = changes(old, new)
    unchanged = len(new) - sum(c.after is not None for c in found)
    if as_json:
        import msgspec

        described = [
            {"what": c.what, "new_source": c.new_source, "ratio": c.ratio, "before": c.before, "after": c.after}
            for c in found
        ]
        document = {"before": str(before), "after": str(after), "changes": described, "unchanged": unchanged}
        print_json(msgspec.to_builtins(document))
        return
    table = new_table("change", "problem", "before", "", "after", "", "time")
    for c in found:
        what = f"{c.what}, new source" if c.new_source else c.what
        sides = [text for e in (c.before, c.after) for text in ((_tactic(e), _time(e)) if e else ("", ""))]
        table.add_row(what, str(c.entry), *sides, f"{c.ratio - 1:+.1%}" if c.ratio is not None else "")
    if found:
        print_table(table)
    click.echo(f"{len(found)} changed, {unchanged} unchanged from {before} to {after}")


def _tactic(entry: Entry) -> str:
    return " ".join(f"{k}={v}" for k, v in entry.winner.config.items())


def _time(entry: Entry) -> str:
    from tuner.cli.console import format_us

    return f"{format_us(entry.winner.time_us)}{' (predicted)' if entry.kind == 'prediction' else ''}"


def _show_lookups(cache: Cache, config: Path, selection: Selection, as_json: bool) -> None:
    from datetime import UTC, datetime

    from tuner.compile.pipeline import tools_of
    from tuner.gpu.catalog import find_device
    from tuner.kernel.identity import kernel_hash
    from tuner.outcome import caution
    from tuner.store.entry import differences
    from tuner.tuning.config import load_config

    job = load_config(config)
    gpu = find_device(selection.device or job.target)
    backend = selection.backend or "model"
    rows = []
    for problem in job.problems:
        hit = cache.lookup(
            problem, kernel_hash(problem.kernel), backend=backend, device=gpu.name, capability=gpu.capability
        )
        row = {"problem": str(problem), "tier": hit.tier, "id": hit.tactic.id, "config": hit.tactic.config}
        remarks: list[str] = []
        if hit.entry is not None:
            today = tools_of(problem, hit.tactic.config, gpu.target)
            differing = differences(hit.entry, today, datetime.now(UTC))
            row |= {"verified": hit.entry.verified, "differs": differing}
            remarks = [said for said in (differing, caution(hit.entry.verified)) if said]
        rows.append(row)
        if not as_json:
            click.echo("; ".join([f"{problem} on {gpu.name}: {hit}", *remarks]))
    if as_json:
        print_json({"lookups": rows})
