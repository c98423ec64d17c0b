"""What every command of `tuner` shares."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from typing import Any

import click


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every command takes; `main` looks at --debug itself."""
    function = click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")(function)
    return click.option(
        "--json", "as_json", is_flag=True, callback=_keep_where_set, help="Print one JSON document to stdout."
    )(function)


_KEPT = "tuner.stdout"


def keep_stdout() -> None:
    """Keep stdout for `print_document`: what else is printed, as by a kernel's file, goes to stderr."""
    context = click.get_current_context()
    if _KEPT not in context.meta:
        context.meta[_KEPT] = sys.stdout
        context.with_resource(redirect_stdout(sys.stderr))


def print_document(text: str) -> None:
    """Write a document for programs to stdout."""
    click.echo(text, nl=False, file=click.get_current_context().meta.get(_KEPT))


def _keep_where_set(_: click.Context, __: click.Parameter, as_json: bool) -> bool:
    if as_json:
        keep_stdout()
    return as_json


def numbers(text: str) -> tuple[int, ...]:
    """The integers in a list such as ``0,1``."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of numbers such as 0,1") from None


def print_json(document: Mapping[str, Any]) -> None:
    """Write what `--json` promises: one document on stdout."""
    print_document(json.dumps(document, indent=2) + "\n")


def selection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """One option per attribute of `tuner.store.selection.Selection`."""
    options = (
        click.option("--kernel", metavar="ID", help="Only this kernel: its id, or its name alone."),
        click.option("--problem", metavar="WORDS", help="Only problems with these sizes or types: 'N=4096 fp16'."),
        click.option("--device", metavar="NAME", help="Only devices with this in their name: h200."),
        click.option("--backend", metavar="NAME", help="Only this backend: cuda, model, replay, …"),
        click.option("--kind", type=click.Choice(("measurement", "prediction")), help="Only this kind of number."),
    )
    for option in reversed(options):
        function = option(function)
    return function
