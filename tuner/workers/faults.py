"""What goes wrong with a child process, and what in a child must not go on."""

from __future__ import annotations

import pickle


class WorkInChild(BaseException):
    """Raised in a child by what starts work, so that a script is executed up to there and no further."""


_inside = False
"""Whether this process is a child."""


def stop_in_child() -> None:
    """Raise `WorkInChild` in a child process. Whatever tunes or starts processes calls this first."""
    if _inside:
        raise WorkInChild


def enter_child() -> None:
    """Note that this process is a child."""
    global _inside
    _inside = True


class WorkerError(Exception):
    """A child that did not answer. It is of no more use."""


class WorkerTimeout(WorkerError):  # noqa: N818
    """A child that did not answer in time, and was killed."""


class WorkerDied(WorkerError):  # noqa: N818
    """A child that ended before it answered.

    Attributes:
        how: a signal or an exit code.
        printed: the last it wrote to stderr.
    """

    def __init__(self, how: str, printed: str) -> None:
        super().__init__(how, printed)
        self.how, self.printed = how, printed

    def __str__(self) -> str:
        return f"the process ended with {self.how}\n{self.printed}".strip()


class WorkerOutOfMemory(WorkerError):  # noqa: N818
    """A child whose task ran out of memory."""

    def __str__(self) -> str:
        return "the process ran out of memory"


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or one that it was raised from, says that memory ran out."""
    while error is not None and not isinstance(error, MemoryError):
        error = error.__cause__
    return error is not None


def machine_at_fault(error: BaseException | None) -> bool:
    """Tell whether an exception, or one that led to it, comes of the machine: files, memory, a missing module.

    Such an exception says nothing about the task, which may succeed another time.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, (OSError, MemoryError, ImportError)):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


OUT_OF_MEMORY = pickle.dumps((False, MemoryError()))
"""What a child answers whose task ran out of memory, pickled before it is needed."""
