"""Tactics compiled to PTX and, where wanted, by the driver too: begun early, each once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from tuner.backends.cuda.ahead import AheadCompiler
from tuner.compile.artifact import Code
from tuner.compile.compiler import Compiles
from tuner.compile.steps import CompiledSteps, submit_steps
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
        self._begun: dict[str, Future[CompiledSteps]] = {}

    def begin(self, config: Config) -> Future[CompiledSteps]:
        """Begin to compile a tactic, or return the future of an earlier call."""
        key = canonical(config)
        if key in self._begun:
            return self._begun[key]
        ready: Future[CompiledSteps] = Future()
        self._begun[key] = ready

        def compiled(future: Future[CompiledSteps]) -> None:
            with _settling(ready):
                code = future.result()
                if isinstance(code, Failure) or self._ahead is None:
                    ready.set_result(code)
                else:
                    load(code, 0)

        def load(code: Code, step: int) -> None:
            assert self._ahead is not None
            self._ahead.submit(code.steps[step].ptx, lambda done: accepted(code, step, done))

        def accepted(code: Code, step: int, future: Future[Failure | None]) -> None:
            with _settling(ready):
                refused = future.result()
                if refused is not None or step + 1 == len(code.steps):
                    ready.set_result(refused or code)
                else:
                    load(code, step + 1)

        submit_steps(self._compiler, self._problem, config).add_done_callback(compiled)
        return ready

    def result(self, config: Config) -> CompiledSteps:
        """What became of a tactic, as soon as it is known."""
        return self.begin(config).result()


@contextmanager
def _settling(future: Future[CompiledSteps]) -> Iterator[None]:
    """Hand an exception on to whoever waits for the future; without that they would wait forever."""
    try:
        yield
    except BaseException as e:
        future.set_exception(e)
