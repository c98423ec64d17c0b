"""Errors a user can mend, each with the exit code the command line gives for it."""


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


class UnavailableError(TunerError):
    """What was asked for does not work in this environment."""

    exit_code = 3
