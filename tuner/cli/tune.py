"""`tuner tune`: search, confirm, record."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.backends.table import AUTO, BACKENDS, named
from tuner.cli.common import Several, common_options, numbers, print_json

if TYPE_CHECKING:
    from tuner.tuning.config import Job


@click.command()
@click.argument("configs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="CONFIG...")
@click.option("--backend", default=AUTO, show_default=True, help=f"{named((AUTO, *BACKENDS))}.")
@click.option("--trials", type=int, help="Tactics to try. [default: no more than pays, and at most the config's]")
@click.option("--shared-trials", type=int, help="Those of a further shape, which starts from its neighbours' best.")
@click.option("--timeout", "timeout_s", type=float, metavar="S", help="End the search after S seconds.")
@click.option("--seed", type=int, help="Of everything random.")
@click.option("--sampler", help="Who proposes what to try next.")
@click.option("--finalists", type=int, help="How many of the fastest to confirm.")
@click.option("--target", help="GPU to compile and predict for without one: h200, a100, sm_90, …")
@click.option("--devices", default="0", show_default=True, metavar="N,N", help="GPUs to measure on, a problem on each.")
@click.option("--warm", is_flag=True, help="Measure with tensors left in the L2 cache instead of evicted.")
@click.option("--table", type=click.Path(path_type=Path), help="Recorded table for --backend replay.")
@click.option("--storage", metavar="URL", help="Database for the trials: sqlite:///trials.db.  [env: TUNER_STORAGE]")
@click.option("--cache", type=click.Path(path_type=Path), help="Tactic cache file.  [default: the user's own]")
@click.option("--out", type=click.Path(path_type=Path), help="Results folder.  [default: results/JOB]")
@click.option("--workers", type=int, metavar="N", help="Compile processes; 0 for one per core.")
@click.option("--print-config", is_flag=True, help="Print the effective config as TOML and stop.")
@common_options
def tune(
    configs: tuple[Path, ...],
    backend: str,
    devices: str,
    warm: bool,
    table: Path | None,
    storage: str | None,
    cache: Path | None,
    out: Path | None,
    target: str | None,
    print_config: bool,
    as_json: bool,
    **overrides: Any,
) -> None:
    """Search, confirm and record the fastest tactics of each CONFIG.

    A run that was cut short goes on where it stopped when the same command is run again. Of several CONFIGs, one
    that fails does not keep the others from being tuned; it is told again at the end, and the exit code is 1.
    """
    import msgspec

    from tuner.backends.select import BackendChoice
    from tuner.cli.console import TerminalProgress, say
    from tuner.store.cache import default_path
    from tuner.store.database import named_storage
    from tuner.store.results import as_job
    from tuner.tuning.config import dump_config, load_config, with_overrides
    from tuner.tuning.job import Places, UnfinishedJobError, run_job

    several = Several(len(configs))
    jobs: list[Job] = []
    for path in configs:
        with several.each(path):
            jobs.append(with_overrides(load_config(path, target), **overrides))
    if print_config:
        texts = [dump_config(job) for job in jobs]
        if as_json:
            print_json({"configs": [tomllib.loads(text) for text in texts]})
        else:
            click.echo("\n".join(texts), nl=False)
        several.end()
        return
    names = [job.name for job in jobs]
    if len(set(names)) < len(names):
        raise click.UsageError("two configs have the same file name; their results would share a folder")
    choice = BackendChoice.of(backend, numbers(devices), table, warm)
    if choice.why:
        say(f"backend {choice.name}: {choice.why}")
    documents: list[dict[str, Any]] = []
    try:
        with TerminalProgress() as progress:
            for job in jobs:
                folder = Path("results") / job.name if out is None else out / job.name if len(configs) > 1 else out
                places = Places(folder, cache or default_path(), named_storage(storage))
                with several.each(job.name):
                    try:
                        results, failed = run_job(job, choice, places, progress), None
                    except UnfinishedJobError as e:
                        results, failed = e.results, e
                    documents += [msgspec.to_builtins(as_job(result, places.cache, folder)) for result in results]
                    if not as_json:
                        progress.pause()
                        for result in results:
                            _show_result(result)
                        if results:
                            _show_places(places.cache, folder)
                    if failed is not None:
                        raise failed
    finally:  # what was found is told, whatever became of the rest
        if as_json and documents:
            print_json({"jobs": documents})
    several.end()


def _show_result(result: Any) -> None:
    from tuner.cli.console import print_table, result_table, what_the_number_is

    click.echo(f"{result.problem}")
    print_table(result_table(result))
    click.echo(what_the_number_is(result))


def _show_places(cache: Path, folder: Path) -> None:
    from tuner.store.trials import TRIALS

    click.echo(f"cache   {cache}")
    click.echo(f"trials  {folder / TRIALS}")
    click.echo("next    tuner show")
