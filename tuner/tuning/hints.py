"""What most often lies behind a first failure, said where no tactic of a problem is valid."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tuner.kernel.kernel import Kernel
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, FailureClass
from tuner.search.tactic import Config

_WRONG_TYPE = re.compile(r"\b(pointer|ptr|parameter|argument|getitem|setitem|subscript)")
"""What compilers say of an integer in the place of a pointer, and the reverse."""


def hints(problem: Problem, config: Config, failure: Failure) -> Iterator[str]:
    """Yield what a user may not know and the message of a failed tactic does not say, a clause each."""
    steps = problem.steps(config)
    step = next((s for s in steps if failure.message.startswith(f"step {s.name}: ")), steps[-1])
    kernel = step.problem.kernel.resolve(step.config)[0]
    if failure.kind is FailureClass.COMPILE and _WRONG_TYPE.search(failure.headline.split(" (in: ")[0].lower()):
        yield from _order(kernel)
    if failure.kind is FailureClass.CORRECTNESS and " is wrong at " in failure.headline:
        yield (
            "outputs start uninitialised, in TensorRT too: where a kernel adds to one, or skips part of it, declare "
            "what it starts with, Tensor(…, start=0), or that it is an input changed in place, Alias(…)"
        )


def _order(kernel: Kernel) -> Iterator[str]:
    """Which parameter of the source each argument is passed to."""
    arguments = kernel.code.arguments
    if arguments is None:
        return
    inputs, outputs = kernel.passed
    first, last = len(inputs), len(arguments) - len(outputs)
    groups = (
        *((f"input {name!r}", a) for name, a in zip(inputs.values(), arguments, strict=False)),
        *(("an extra integer of the launch", a) for a in arguments[first:last]),
        *((f"output {name!r}", a) for name, a in zip(outputs.values(), arguments[last:], strict=False)),
    )
    passed = ", ".join(f"{what} to {argument}" for what, argument in groups)
    yield f"TensorRT passes inputs, then the launch's extra integers, then outputs; in this order: {passed}"
