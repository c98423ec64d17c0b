"""Errors a user can mend, each with the exit code the command line gives for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TunerError(Exception):
    """Something the user can put right: a one-line message that says what, where and what to do.

    Attributes:
        exit_code: what the command line exits with: 1 for a regression or no valid tactic,
            2 for usage or configuration, 3 for something inconclusive or missing here.
    """

    exit_code = 2


class ConfigError(TunerError):
    """A config, kernel declaration or command line that does not say something usable."""


class StorageError(TunerError):
    """A cache, journal, table or output folder that cannot be read or written."""


class NoValidTacticError(TunerError):
    """Every tactic tried failed, so there is no winner to record."""

    exit_code = 1


class RunInterruptedError(TunerError):
    """The user, or who looks after this machine, stopped the run. Every finished trial is kept."""

    exit_code = 130


class SeveralError(TunerError):
    """Some of several things asked for went wrong; the others were done."""

    exit_code = 1


class UnavailableError(TunerError):
    """What was asked for does not work in this environment."""

    exit_code = 3


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names the closest known spelling, or else lists what there is."""
    known = sorted(map(str, known))
    close = difflib.get_close_matches(str(name), known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(known)}" if known else ""
