"""The options that say which recorded problems a command is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def selection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """One option per attribute of `tuner.selection.Selection`."""
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
