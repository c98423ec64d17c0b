"""What every command of `tuner` shares."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import click


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every command takes; `main` looks at --debug itself."""
    function = click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")(function)
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")(function)


def numbers(text: str) -> tuple[int, ...]:
    """The integers in a list such as ``0,1``."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of numbers such as 0,1") from None


def print_json(document: Mapping[str, Any]) -> None:
    """Write what `--json` promises: one document on stdout."""
    click.echo(json.dumps(document, indent=2))
