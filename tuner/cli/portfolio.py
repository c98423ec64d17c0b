"""`tuner portfolio`: the fewest tactics that serve all shapes of a job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.backends.table import AUTO, auto_names
from tuner.cli.common import common_options, numbers, print_json

if TYPE_CHECKING:
    from tuner.store.portfolios import Portfolio


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--within", type=click.FloatRange(min=0), default=2.0, show_default=True, help="Percent a shape may lose."
)
@click.option(
    "--backend",
    type=click.Choice((AUTO, *auto_names())),
    default=AUTO,
    show_default=True,
    help="As for tune.",
)
@click.option("--target", help="GPU to compile and predict for without one: h200, a100, sm_90, …")
@click.option("--devices", default="0", show_default=True, metavar="N,N", help="GPUs to measure on.")
@click.option("--warm", is_flag=True, help="Measure with tensors left in the L2 cache instead of evicted.")
@click.option("--cache", type=click.Path(path_type=Path), help="Tactic cache file.  [default: the user's own]")
@click.option("--out", type=click.Path(path_type=Path), help="Results folder.  [default: results/JOB]")
@common_options
def portfolio(
    config: Path,
    within: float,
    backend: str,
    target: str | None,
    devices: str,
    warm: bool,
    cache: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Find the fewest tactics that serve all shapes of CONFIG, which `tuner tune` has tuned.

    One of them is near the fastest at every shape. They are recorded in the cache for the range that spans the
    shapes: plugins and bundles offer all of them to TensorRT at shapes between.
    """
    from tuner.backends.select import BackendChoice
    from tuner.cli.console import say
    from tuner.store.cache import default_path
    from tuner.store.portfolios import FILE
    from tuner.tuning.config import load_config
    from tuner.tuning.portfolio import find_portfolios

    job = load_config(config, target)
    choice = BackendChoice.of(backend, numbers(devices), None, warm)
    if choice.why:
        say(f"backend {choice.name}: {choice.why}")
    folder, path = out or Path("results") / job.name, cache or default_path()
    found = find_portfolios(job, choice, folder, path, within / 100, say)
    if as_json:
        import msgspec

        print_json({"portfolios": msgspec.to_builtins(found), "cache": str(path), "out": str(folder)})
        return
    for one in found:
        _show(one)
    click.echo(f"cache   {path}")
    click.echo(f"losses  {folder / FILE}")
    click.echo("next    tuner export CONFIG --format bundle --out FOLDER")


def _show(found: Portfolio) -> None:
    from tuner.cli.console import format_us, new_table, print_table
    from tuner.search.tactic import Tactic

    taken = [c for c in found.candidates if c.taken]
    number = "predicted" if found.kind == "prediction" else "measured"
    table = new_table("shape", f"{number} best", *(str(Tactic(c.config)) for c in taken))
    for position, (label, losses) in enumerate(zip(found.shapes, found.losses(), strict=True)):
        best_us = min(c.times_us[position] for c in found.candidates)
        table.add_row(label, format_us(best_us), *(f"{excess:+.1%}" for excess in losses[: len(taken)]))
    click.echo(f"{found.kernel} {found.problem}")
    print_table(table)
    click.echo(
        f"{len(taken)} of {len(found.candidates)} tactics serve every shape within {found.within:.1%} "
        f"of the fastest of them ({found.method})."
    )
    for reason in found.left_out:
        click.echo(f"left out: {reason}")
