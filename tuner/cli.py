"""The `tuner` command. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import json
import logging
import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from tuner.errors import TunerError

_CONFIG_ERRORS = 2


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def _common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every command takes; `main` looks at --debug itself."""
    function = click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")(function)
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")(function)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="qdp-tuner", prog_name="tuner")
def cli() -> None:
    """Tune GPU kernels as tactics of TensorRT quickly deployable plugins."""


@cli.command()
@click.argument("configs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="CONFIG...")
@click.option("--backend", default="auto", show_default=True, help="auto, cuda, model or replay.")
@click.option("--trials", type=int, help="Tactics to try per problem.")
@click.option("--timeout", "timeout_s", type=float, metavar="S", help="End the search after S seconds.")
@click.option("--seed", type=int, help="Of everything random.")
@click.option("--sampler", help="Who proposes what to try next.")
@click.option("--finalists", type=int, help="How many of the fastest to confirm.")
@click.option("--target", help="GPU to compile and predict for without one: h200, a100, sm_90, …")
@click.option("--devices", default="0", show_default=True, metavar="N,N", help="GPUs to measure on.")
@click.option("--warm", is_flag=True, help="Measure with tensors left in the L2 cache instead of evicted.")
@click.option("--table", type=click.Path(path_type=Path), help="Recorded table for --backend replay.")
@click.option("--storage", metavar="URL", help="Optuna storage for the trials, such as sqlite:///trials.db.")
@click.option("--cache", type=click.Path(path_type=Path), help="Tactic cache file.  [default: the user's own]")
@click.option("--out", type=click.Path(path_type=Path), help="Results folder.  [default: results/JOB]")
@click.option("--workers", type=int, metavar="N", help="Compile processes; 0 for one per core.")
@click.option("--print-config", is_flag=True, help="Print the effective config as TOML and stop.")
@_common_options
def tune(
    configs: tuple[Path, ...],
    backend: str,
    devices: str,
    warm: bool,
    table: Path | None,
    storage: str | None,
    cache: Path | None,
    out: Path | None,
    print_config: bool,
    as_json: bool,
    **overrides: Any,
) -> None:
    """Search, confirm and record the fastest tactics of each CONFIG.

    A run that was cut short goes on where it stopped when the same command is run again.
    """
    from tuner.backends.select import Choice
    from tuner.cache import default_path
    from tuner.config import dump_config, load_config, with_overrides
    from tuner.console import TerminalProgress, say
    from tuner.job import Places, run_job
    from tuner.record import as_job

    jobs = [with_overrides(load_config(path), **overrides) for path in configs]
    if print_config:
        texts = [dump_config(job) for job in jobs]
        if as_json:
            _print_json({"configs": [tomllib.loads(text) for text in texts]})
        else:
            click.echo("\n".join(texts), nl=False)
        return
    names = [job.name for job in jobs]
    if len(set(names)) < len(names):
        raise click.UsageError("two configs have the same file name; their results would share a folder")
    choice = Choice.of(backend, _numbers(devices), table, warm)
    if choice.why:
        say(f"backend {choice.name}: {choice.why}")
    documents: list[dict[str, Any]] = []
    with TerminalProgress() as progress:
        for job in jobs:
            folder = Path("results") / job.name if out is None else out / job.name if len(jobs) > 1 else out
            places = Places(folder, cache or default_path(), storage)
            results = run_job(job, choice, places, progress)
            documents += [as_job(result, places.cache, folder) for result in results]
            if not as_json:
                progress.pause()
                for result in results:
                    _show_result(result)
                _show_places(places.cache, folder)
    if as_json:
        _print_json({"jobs": documents})


def _show_result(result: Any) -> None:
    from tuner.console import print_table, result_table, what_the_number_is

    click.echo(f"{result.problem}")
    print_table(result_table(result))
    click.echo(what_the_number_is(result))


def _show_places(cache: Path, folder: Path) -> None:
    click.echo(f"cache   {cache}")
    click.echo(f"trials  {folder / 'trials.csv'}")
    click.echo("next    tuner show")


@cli.command()
@click.argument("kernel", required=False)
@click.option("--cache", type=click.Path(path_type=Path), help="Tactic cache file.  [default: the user's own]")
@click.option("--config", type=click.Path(path_type=Path), help="Say what a lookup of this config's problems finds.")
@click.option("--device", help="With --config: the GPU to look up.  [default: the config's target]")
@click.option("--backend", default="model", show_default=True, help="With --config: whose times to go by.")
@_common_options
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

        _print_json({"cache": str(path), "entries": msgspec.to_builtins(entries)})
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
        _print_json({"lookups": rows})


@cli.command()
@click.argument("tables", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="TABLE...")
@click.option("--sampler", multiple=True, help="May be repeated.  [default: the default sampler]")
@click.option("--seeds", type=click.IntRange(1), default=20, show_default=True, help="How many searches.")
@click.option("--trials", default="8,16,32,64,128,220", show_default=True, help="Numbers of trials to look at.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Trials asked for at a time.")
@_common_options
def replay(
    tables: tuple[Path, ...], sampler: tuple[str, ...], seeds: int, trials: str, batch: int, as_json: bool
) -> None:
    """Search recorded tables: best time so far / optimum at each number of trials."""
    from statistics import median

    from tuner.console import new_table, print_table
    from tuner.replay import replay as replay_table
    from tuner.search import DEFAULT_SAMPLER
    from tuner.tables import read_table

    counts = _numbers(trials)
    if not counts or list(counts) != sorted(set(counts)) or counts[0] < 1:
        raise click.BadParameter("expected ascending numbers such as 8,16,32", param_hint="--trials")
    found = [
        replay_table(table, name, seeds=range(seeds), trials=counts, batch=batch)
        for table in map(read_table, tables)
        for name in sampler or (DEFAULT_SAMPLER,)
    ]
    if as_json:
        _print_json(
            {
                "tables": [
                    {
                        "table": r.table,
                        "sampler": r.sampler,
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
        for label, statistic in (("median", median), ("worst", max)):
            numbers = [[x if x is not None else float("inf") for x in r.ratios[n]] for n in counts]
            shown.add_row(r.table, r.sampler, label, *(f"{statistic(x):.3f}" for x in numbers))
    print_table(shown)


@cli.command()
@_common_options
def doctor(as_json: bool) -> None:
    """Say what works on this machine, what is missing, and the command that mends it."""
    from dataclasses import asdict

    from tuner.console import new_table, print_table
    from tuner.doctor import examine, usable_backends

    checks = examine()
    usable = usable_backends(checks)
    if as_json:
        _print_json({"checks": [asdict(c) for c in checks], "backends": usable})
    else:
        table = new_table("", "", "found", "needed for")
        for c in checks:
            table.add_row("ok" if c.ok else "--", c.name, c.detail, c.needed_for)
        print_table(table)
        for c in checks:
            if not c.ok:
                click.echo(f"{c.name}: {c.mend}")
        click.echo("backends: " + ", ".join(f"{name} {'works' if ok else 'no'}" for name, ok in usable.items()))
    if not usable["model"]:
        sys.exit(3)


@cli.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Project folder.  [default: here]")
@_common_options
def new(name: str, out: Path, as_json: bool) -> None:
    """Write a kernel, a config and a test to start from."""
    from tuner.new import write_starter

    files = write_starter(name, out)
    if as_json:
        _print_json({"files": [str(f) for f in files]})
        return
    for file in files:
        click.echo(f"wrote {file}")
    click.echo(f"next  tuner tune {files[1]}")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of numbers such as 0,1") from None


def _print_json(document: Mapping[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2))


def main() -> NoReturn:
    """Run the command: errors are one line on stderr and an exit code, never a traceback."""
    debug = "--debug" in sys.argv
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        cli.main(prog_name="tuner", standalone_mode=False)
        code = 0
    except click.exceptions.Exit as e:
        code = e.exit_code
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.format_message(), err=True)
        code = _CONFIG_ERRORS
    except BrokenPipeError:  # the reader of stdout has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except click.ClickException as e:
        code = _fail(e.format_message(), _CONFIG_ERRORS)
    except TunerError as e:
        if debug:
            raise
        code = _fail(" ".join(str(e).split("\n")), e.exit_code)
    except (KeyboardInterrupt, click.Abort):
        code = _fail("interrupted; run the same command again to go on", 130)
    except Exception as e:
        if debug:
            raise
        code = _fail(f"internal: {type(e).__name__}: {e}; run with --debug and report this", 70)
    sys.exit(code)


def _fail(message: str, code: int) -> int:
    click.echo(f"error: {message}", err=True)
    return code
