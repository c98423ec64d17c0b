"""`tuner replay`: the search on recorded tables."""

from __future__ import annotations

from pathlib import Path

import click

from tuner.cli.common import common_options, numbers, print_json


@click.command()
@click.argument("tables", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="TABLE...")
@click.option("--sampler", multiple=True, help="May be repeated.  [default: the default sampler]")
@click.option("--seeds", type=click.IntRange(1), default=20, show_default=True, help="How many searches.")
@click.option("--trials", default="8,16,32,64,128,220", show_default=True, help="Numbers of trials to look at.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Trials asked for at a time.")
@common_options
def replay(
    tables: tuple[Path, ...], sampler: tuple[str, ...], seeds: int, trials: str, batch: int, as_json: bool
) -> None:
    """Search recorded tables: best time so far / optimum at each number of trials."""
    from statistics import median

    from tuner.cli.console import new_table, print_table
    from tuner.search import DEFAULT_SAMPLER
    from tuner.store.tables.table import read_table
    from tuner.tuning.replay import replay as replay_table

    counts = numbers(trials)
    if not counts or list(counts) != sorted(set(counts)) or counts[0] < 1:
        raise click.BadParameter("expected ascending numbers such as 8,16,32", param_hint="--trials")
    found = [
        replay_table(table, name, seeds=range(seeds), trials=counts, batch=batch)
        for table in map(read_table, tables)
        for name in sampler or (DEFAULT_SAMPLER,)
    ]
    if as_json:
        print_json(
            {
                "tables": [
                    {
                        "table": r.table,
                        "sampler": r.sampler,
                        "kind": r.kind,
                        "optimum": r.optimum_us,
                        "trials": list(r.trials),
                        "ratios": {str(n): list(ratios) for n, ratios in r.ratios.items()},
                    }
                    for r in found
                ]
            }
        )
        return
    shown = new_table("table", "sampler", "best / optimum after", *map(str, counts))
    for r in found:
        name = f"{r.table} (predicted)" if r.kind == "prediction" else r.table
        for label, statistic in (("median", median), ("worst", max)):
            ratios = [[x if x is not None else float("inf") for x in r.ratios[n]] for n in counts]
            shown.add_row(name, r.sampler, label, *(f"{statistic(x):.3f}" for x in ratios))
    print_table(shown)
