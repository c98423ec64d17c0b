"""Tactics compiled to PTX and, where wanted, by the driver too: begun early, each once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from tuner.backends.cuda.ahead import AheadCompiler
from tuner.compile.artifact import Artifact
from tuner.compile.compiler import Compiled, Compiles
from tuner.kernel.problem import Problem
from tuner.outcome import Failure
from tuner.search.tactic import Config, canonical


class Prepared:
    """The code of one problem's tactics. Used from one thread, but for `result`."""

    def __init__(self, problem: Problem, compiler: Compiles, ahead: AheadCompiler | None) -> None:
        """Take over what compiles.

        Args:
            problem: whose tactics.
            compiler: makes the PTX.
            ahead: has the driver compile the PTX; None leaves it to whoever loads it.
        """
        self._problem, self._compiler, self._ahead = problem, compiler, ahead
        self._begun: dict[str, Future[Compiled]] = {}

    def begin(self, config: Config) -> Future[Compiled]:
        """Begin to compile a tactic, or return the future of an earlier call."""
        key = canonical(config)
        if key in self._begun:
            return self._begun[key]
        ready: Future[Compiled] = Future()
        self._begun[key] = ready

        def compiled(future: Future[Compiled]) -> None:
            with _settling(ready):
                artifact = future.result()
                if isinstance(artifact, Failure) or self._ahead is None:
                    ready.set_result(artifact)
                else:
                    self._ahead.submit(artifact.ptx, lambda done: accepted(artifact, done))

        def accepted(artifact: Artifact, future: Future[Failure | None]) -> None:
            with _settling(ready):
                ready.set_result(future.result() or artifact)

        self._compiler.submit(self._problem, config).add_done_callback(compiled)
        return ready

    def result(self, config: Config) -> Compiled:
        """What became of a tactic, as soon as it is known."""
        return self.begin(config).result()


@contextmanager
def _settling(future: Future[Compiled]) -> Iterator[None]:
    """Hand an exception on to whoever waits for the future; without that they would wait forever."""
    try:
        yield
    except BaseException as e:
        future.set_exception(e)
