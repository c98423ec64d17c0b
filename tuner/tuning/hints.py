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
    kernel = problem.kernel.resolve(config)[0]
    if failure.kind is FailureClass.COMPILE and _WRONG_TYPE.search(failure.headline.split(" (in: ")[0].lower()):
        yield from _order(kernel)
    if failure.kind is FailureClass.CORRECTNESS and " is wrong at " in failure.headline:
        yield (
            "outputs start uninitialised, in TensorRT too: a kernel that adds to an output, or skips part of it, "
            "has to clear it first"
        )


def _order(kernel: Kernel) -> Iterator[str]:
    """Which parameter of the source each argument is passed to."""
    arguments = kernel.code.arguments
    if arguments is None:
        return
    first, last = len(kernel.inputs), len(arguments) - len(kernel.outputs)
    groups = (
        *((f"input {name!r}", a) for name, a in zip(kernel.inputs, arguments, strict=False)),
        *(("an extra integer of the launch", a) for a in arguments[first:last]),
        *((f"output {name!r}", a) for name, a in zip(kernel.outputs, arguments[last:], strict=False)),
    )
    passed = ", ".join(f"{what} to {argument}" for what, argument in groups)
    yield f"TensorRT passes inputs, then the launch's extra integers, then outputs; in this order: {passed}"
