"""What every command of `tuner` shares."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, TextIO

import click

from tuner.errors import RunInterruptedError, SeveralError, TunerError


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every command takes; `main` looks at --debug itself."""
    function = click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")(function)
    said = "Print one JSON document to stdout."
    return click.option("--json", "as_json", is_flag=True, is_eager=True, callback=_keep_stdout, help=said)(function)


def numbers(text: str) -> tuple[int, ...]:
    """The integers in a list such as ``0,1``."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of numbers such as 0,1") from None


# -- the document on stdout ------------------------------------------------------------------------

_STDOUT = "tuner.stdout"


def keep_stdout() -> None:
    """Keep stdout for `write_document` until the command ends: whatever else is printed goes to stderr.

    A kernel's file is the user's: it may print when it is imported, and its functions whenever they are called.
    """
    context = click.get_current_context()
    if _STDOUT not in context.meta:
        context.meta[_STDOUT] = context.with_resource(_set_aside())


def write_document(text: str) -> None:
    """Write what a command was asked for to the stdout that it was started with."""
    stream: TextIO = click.get_current_context().meta.get(_STDOUT) or sys.stdout
    stream.write(text)
    stream.flush()


def print_json(document: Mapping[str, Any]) -> None:
    """Write what `--json` promises: one document on stdout."""
    write_document(json.dumps(document, indent=2) + "\n")


def _keep_stdout(_context: click.Context, _option: click.Parameter, value: bool) -> bool:
    if value:
        keep_stdout()
    return value


@contextmanager
def _set_aside() -> Iterator[TextIO]:
    """Send to stderr what Python, native code and programs print; yields what was stdout."""
    stdout = sys.stdout
    stdout.flush()
    try:
        descriptor = stdout.fileno()
    except OSError:  # a stream in memory, as under a test
        with redirect_stdout(sys.stderr):
            yield stdout
        return
    with os.fdopen(os.dup(descriptor), "w", encoding="utf-8") as kept:
        os.dup2(sys.stderr.fileno(), descriptor)
        try:
            yield kept
        finally:
            with suppress(OSError):
                stdout.flush()
            os.dup2(kept.fileno(), descriptor)


# -- several inputs ----------------------------------------------------------------------------------


class Several:
    """Does the same for each of several inputs: one that fails does not keep the others from being done.

    Where there is only one, its error is the command's.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._failed: list[str] = []

    @contextmanager
    def each(self, name: object) -> Iterator[None]:
        """Tell at once what goes wrong with an input, and remember it."""
        try:
            yield
        except RunInterruptedError:
            raise
        except TunerError as e:
            if self._count == 1:
                raise
            self._failed.append(f"{name}: {' '.join(str(e).splitlines())}")
            click.echo(f"error: {self._failed[-1]}; going on with the others", err=True)

    def end(self) -> None:
        """Raise a `SeveralError` that says once more what went wrong, if anything did."""
        if self._failed:
            raise SeveralError(f"{len(self._failed)} of {self._count} failed: {'; '.join(self._failed)}")


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
