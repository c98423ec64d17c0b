"""Who is told what happens during a run."""

from __future__ import annotations

import threading
from typing import Protocol

from tuner.backends.base import Backend
from tuner.kernel.problem import Problem
from tuner.store.results import Trial


class Progress(Protocol):
    """Is told what happens during a run. All methods return at once."""

    def started(self, problem: Problem, backend: Backend, trials: int) -> None:
        """A search of up to `trials` trials begins."""

    def trial(self, trial: Trial, resumed: bool) -> None:
        """A trial ended, now or (resumed) in an earlier run."""

    def note(self, message: str) -> None:
        """Something a user should know."""


class Silent:
    """Progress that nobody watches."""

    def started(self, problem: Problem, backend: Backend, trials: int) -> None: ...

    def trial(self, trial: Trial, resumed: bool) -> None: ...

    def note(self, message: str) -> None: ...


def together(progress: Progress) -> Progress:
    """Progress of searches side by side, told by several threads: notes alone, for a bar is of one search."""
    return _Together(progress)


class _Together(Silent):
    def __init__(self, progress: Progress) -> None:
        self._progress, self._lock = progress, threading.Lock()

    def started(self, problem: Problem, backend: Backend, trials: int) -> None:
        self.note(f"{problem}: up to {trials} tactics on {backend.origin.backend} for {backend.origin.device}")

    def note(self, message: str) -> None:
        with self._lock:
            self._progress.note(message)
