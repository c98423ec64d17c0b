"""The `tuner` command: a file per subcommand. What is heavy is imported when a command runs."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
from typing import NoReturn

import click

from tuner.cli.adopt import adopt
from tuner.cli.check import check
from tuner.cli.doctor import doctor
from tuner.cli.export import export
from tuner.cli.import_ import import_
from tuner.cli.new import new
from tuner.cli.portfolio import portfolio
from tuner.cli.rehearse import rehearse
from tuner.cli.replay import replay
from tuner.cli.report import report
from tuner.cli.show import show
from tuner.cli.tune import tune
from tuner.errors import RunInterruptedError, TunerError
from tuner.workers.environment import changes_compilers

_CONFIG_ERRORS = 2
_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a stream fails with, without a file name, when there is no room where it leads."""


class _CommandGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="qdp-tuner", prog_name="tuner")
def cli() -> None:
    """Tune GPU kernels as tactics of TensorRT quickly deployable plugins."""


for _command in (tune, portfolio, show, report, export, import_, rehearse, check, replay, doctor, new, adopt):
    cli.add_command(_command)


def main() -> NoReturn:
    """Run the command: errors are one line on stderr and an exit code, never a traceback.

    SIGTERM and SIGHUP end it as Ctrl-C does, unless whoever started it has them ignored.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _interrupt)
    for name in filter(changes_compilers, list(os.environ)):
        del os.environ[name]  # as for every child: nothing that is stored may depend on them
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    sys.exit(_run("--debug" in sys.argv))


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _run(debug: bool) -> int:
    """Run the command; returns its exit code."""
    try:
        try:
            cli.main(prog_name="tuner", standalone_mode=False)
            code = 0
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else 0
        sys.stdout.flush()
    except click.exceptions.Exit as e:
        code = e.exit_code
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.format_message(), err=True)
        code = _CONFIG_ERRORS
    except BrokenPipeError:  # the reader of stdout has seen enough
        _discard_stdout()
        code = 0
    except click.ClickException as e:
        code = _fail(e.format_message(), _CONFIG_ERRORS)
    except TunerError as e:
        if debug:
            raise
        code = _fail(" ".join(str(e).split("\n")), e.exit_code)
    except (KeyboardInterrupt, click.Abort):
        code = _fail("interrupted; run the same command again to go on", RunInterruptedError.exit_code)
    except Exception as e:
        if debug:
            raise
        if isinstance(e, OSError) and e.filename is None and e.errno in _OUTPUT_ERRORS:
            _discard_stdout()
            return _fail(f"stdout cannot be written: {e.strerror}; give room where it leads", _CONFIG_ERRORS)
        code = _fail(f"internal: {type(e).__name__}: {e}; run with --debug and report this", 70)
    return code


def _discard_stdout() -> None:
    """Send what is left to be written nowhere, so that nothing fails once more when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    click.echo(f"error: {message}", err=True)
    return code
