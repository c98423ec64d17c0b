"""`tuner check`: hold today's code against recorded tactics."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.cli.common import common_options, keep_stdout, print_document
from tuner.errors import ConfigError, StorageError, did_you_mean

if TYPE_CHECKING:
    from tuner.check.setting import Setting
    from tuner.check.verdict import Check


@click.command()
@click.argument("configs", nargs=-1, type=click.Path(path_type=Path), metavar="[CONFIG]...")
@click.option("--baseline", "path", required=True, type=click.Path(path_type=Path), help="The baseline file.")
@click.option("--update", is_flag=True, help="Write winners and defaults into the baseline, then check.")
@click.option("--accept", metavar="REASON", help="With --update: also record what has become worse, and why.")
@click.option("--backend", default="auto", show_default=True, help="cuda: measure too; model: compile facts only.")
@click.option("--margin", type=click.FloatRange(0, 100), metavar="PERCENT", help="How much slower may pass.")
@click.option("--retune", type=click.IntRange(1), metavar="N", help="Compare the winner with the best of N new trials.")
@click.option("--cache", type=click.Path(path_type=Path), help="Tactic cache file.  [default: the user's own]")
@click.option("--served", is_flag=True, help="A winner that no lookup finds since an edit is a regression too.")
@click.option("--format", "shape", default="table", show_default=True, help="table, json, junit or github.")
@click.option("--out", type=click.Path(path_type=Path), help="Write that to a file, and the table to stdout.")
@common_options
def check(
    configs: tuple[Path, ...],
    path: Path,
    update: bool,
    accept: str | None,
    backend: str,
    margin: float | None,
    retune: int | None,
    cache: Path | None,
    served: bool,
    shape: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Hold today's code against the tactics recorded for each CONFIG.

    Without CONFIG, every config that the baseline names is checked.

    Every winner and default is compiled with today's source and compiler for the GPU it was recorded for; none has
    to be present. The same machine code passes. Where it differs, what it takes is compared by rules, whose margins
    stand in the baseline; --margin takes the place of those of measured and predicted time. With a GPU of the recorded
    model, old and new code are also timed in turns.

    An edit of a kernel's source makes its cache entries unreachable, so that a lookup gives the default again. A check
    tells, and --served makes it a regression. Where the code has not changed, --update moves the entries to the new
    source; else run tuner tune, then --update.

    Exit codes: 0 pass; 1 regression; 2 usage; 3 inconclusive.
    """
    from tuner.check.run import check_jobs
    from tuner.check.setting import load_held_jobs, load_jobs, open_setting
    from tuner.check.update import update_baseline
    from tuner.check.verdict import EXIT_CODES, overall
    from tuner.cli.console import say

    if accept is not None and (not update or not accept.strip()):
        raise click.UsageError("--accept REASON goes with --update, and the reason may not be empty")
    if update and margin is not None:
        raise click.UsageError("--margin is for one check; the margins of a baseline stand in its file, under margins")
    shape = check_shape("json" if as_json else shape)
    if shape != "table" and out is None:
        keep_stdout()

    def opened(new: bool) -> Setting:
        relative = None if margin is None else margin / 100
        return open_setting(
            path, backend=backend, cache=cache, margin=relative, strict=served, retune=retune or 0, new=new
        )

    setting = opened(new=update)
    jobs, lost = (load_jobs(configs, setting), []) if configs or update else load_held_jobs(setting)
    checks: list[Check] = []
    if update:
        checks, notes = update_baseline(jobs, setting, accept and " ".join(accept.split()))
        for note in notes:
            say(note)
        setting = opened(new=False) if not checks else setting
    checks = checks or [*lost, *check_jobs(jobs, setting)]
    deliver(checks, shape, out)
    sys.exit(EXIT_CODES[overall(checks)])


SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
"""Names the file whose Markdown GitHub shows for a step of a workflow."""


def check_shape(name: str) -> str:
    """The name of an output; `ConfigError` for an unknown one."""
    from tuner.check.formats import FORMATS

    if name not in ("table", *FORMATS):
        raise ConfigError(f"unknown format {name!r}{did_you_mean(name, ('table', *FORMATS))}")
    return name


def deliver(checks: Sequence[Check], shape: str, out: Path | None) -> None:
    """Write checks to stdout, or to a file and a table to stdout.

    Args:
        checks: all of them.
        shape: table, json, junit or github; the last also appends to the step summary that GitHub names.
        out: the file.

    Raises:
        ConfigError: for a table in a file.
        StorageError: when a file cannot be written.
    """
    from tuner.check.formats import FORMATS, markdown
    from tuner.store.files import write_atomic

    if out is not None and shape == "table":
        raise ConfigError("--out goes with --format json, junit or github; redirect a table with >")
    if shape == "github" and SUMMARY_VARIABLE in os.environ:
        _append(Path(os.environ[SUMMARY_VARIABLE]), markdown(checks))
    if out is not None:
        write_atomic(out, FORMATS[shape](checks).encode())
    if out is not None or shape == "table":
        print_checks(checks)
    else:
        print_document(FORMATS[shape](checks))


def print_checks(checks: Sequence[Check]) -> None:
    """Print a table of what differs, the messages of what matters, and the verdict."""
    from tuner.check.formats import conclusion, differs, matters, rule_of, value_of
    from tuner.cli.console import new_table, print_table

    table = new_table("kernel", "problem", "rule", "baseline", "now", "verdict")
    for c in filter(differs, checks):
        table.add_row(c.kernel, c.problem, rule_of(c), value_of(c.baseline), value_of(c.now), c.verdict)
    if table.row_count:
        print_table(table)
    for c in filter(matters, checks):
        print(f"{c.verdict}: {c}")
    print(conclusion(checks))


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as f:
            f.write(text)
    except OSError as e:
        raise StorageError(f"{path} cannot be written: {e.strerror}; unset {SUMMARY_VARIABLE}") from e
