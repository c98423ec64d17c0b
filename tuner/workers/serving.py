"""What a child process does: answer tasks until the parent is gone."""

from __future__ import annotations

import fcntl
import os
import pickle
import signal
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection

from tuner.errors import ConfigError
from tuner.workers.faults import OUT_OF_MEMORY, WorkInChild, enter_child, out_of_memory
from tuner.workers.limits import keep_within


def serve(tasks: int, lifeline: int) -> None:
    """Answer tasks until the parent is gone: the main function of a child.

    Args:
        tasks: this end of the pipe that brings tasks and takes answers.
        lifeline: this end of a pipe that closes with the parent and carries nothing.
    """
    enter_child()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # sent to all processes of a job, the parent decides
        signal.signal(number, signal.SIG_IGN)
    for fd in (tasks, lifeline):
        os.set_inheritable(fd, False)
    _die_with(lifeline)
    connection = Connection(tasks)
    with suppress(EOFError, OSError):
        sys.argv[:], limits = pickle.loads(connection.recv_bytes())
        keep_within(limits)
        while True:
            task = connection.recv_bytes()
            os.ftruncate(2, 0)  # what earlier tasks printed explains nothing
            os.lseek(2, 0, os.SEEK_SET)
            connection.send_bytes(_answer(task))


def _answer(task: bytes) -> bytes:
    """Whether a task returned, and what it returned or raised, pickled."""
    try:
        function, args, kwargs = pickle.loads(task)
        return pickle.dumps((True, function(*args, **kwargs)))
    except WorkInChild:
        message = 'importing the kernel\'s module starts work; put that part under if __name__ == "__main__":'
        return pickle.dumps((False, ConfigError(message)))
    except Exception as e:
        if out_of_memory(e):
            return OUT_OF_MEMORY
        e.add_note(traceback.format_exc())
        return _pickled(e)


def _pickled(error: Exception) -> bytes:
    """An exception as bytes; some cannot be made again from their arguments, and only their text is sent."""
    try:
        data = pickle.dumps((False, error))
        pickle.loads(data)
    except Exception:
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
    return data


def _die_with(lifeline: int) -> None:
    """Have this process group killed when the other end of a pipe closes.

    The signal that F_SETOWN (fcntl(2), "Managing signals") asks for needs nothing of this process, which
    may hold Python's lock in native code. PR_SET_PDEATHSIG would spare the children.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | fcntl.FASYNC)
