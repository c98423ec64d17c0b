"""`tuner doctor`: what works on this machine."""

from __future__ import annotations

import sys

import click

from tuner.cli.common import common_options, print_json


@click.command()
@common_options
def doctor(as_json: bool) -> None:
    """Say what works on this machine, what is missing, and the command that mends it."""
    from dataclasses import asdict

    from tuner.console import new_table, print_table
    from tuner.doctor import examine, usable_backends

    checks = examine()
    usable = usable_backends(checks)
    if as_json:
        print_json({"checks": [asdict(c) for c in checks], "backends": usable})
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
