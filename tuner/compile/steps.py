"""Compile all launches of a tactic."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeAlias

from tuner.compile.artifact import Code
from tuner.compile.assembler import disassembled
from tuner.compile.compiler import Compiled, Compiles
from tuner.kernel.problem import Problem
from tuner.outcome import Failure
from tuner.search.tactic import Config

CompiledSteps: TypeAlias = Code | Failure


def submit_steps(compiler: Compiles, problem: Problem, config: Config) -> Future[CompiledSteps]:
    """Begin to compile every launch of a tactic; the first that fails says why the tactic does.

    Raises:
        ConfigError, UnavailableError: when no tactic of the problem can be compiled.
    """
    steps = problem.steps(config)
    begun = [compiler.submit(step.problem, step.config) for step in steps]
    answer: Future[CompiledSteps] = Future()
    left, lock = set(range(len(begun))), threading.Lock()

    def done(position: int) -> None:
        with lock:
            left.discard(position)
            if left or answer.done():
                return
            try:
                answer.set_result(_together([step.name for step in steps], [future.result() for future in begun]))
            except BaseException as e:  # an answer that never comes would be waited for without end
                answer.set_exception(e)

    for i, future in enumerate(begun):
        future.add_done_callback(lambda _, i=i: done(i))  # type: ignore[misc]
    return answer


def compiled_steps(compiler: Compiles, problem: Problem, config: Config) -> CompiledSteps:
    """Compile every launch of a tactic."""
    return submit_steps(compiler, problem, config).result()


def disassembled_steps(code: Code) -> Code:
    """The code with all that its machine code tells, as `disassembled` reads it."""
    return Code(tuple(map(disassembled, code.steps)))


def _together(names: list[str], compiled: list[Compiled]) -> CompiledSteps:
    artifacts = []
    for name, made in zip(names, compiled, strict=True):
        if isinstance(made, Failure):
            return replace(made, message=f"step {name}: {made.message}") if name else made
        artifacts.append(made)
    return Code(tuple(artifacts))
