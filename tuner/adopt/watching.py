"""Run a host function at several sizes on tensors that hold no data, and write down what it does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from tuner.adopt.call import GivenTensor, HostCall, evaluate
from tuner.adopt.recording import RecordingDriver
from tuner.adopt.sizes import FIXED, POWER, STEPS, choose
from tuner.adopt.tape import DataType, Tape, View
from tuner.errors import ConfigError
from tuner.gpu.catalog import Device
from tuner.gpu.stand_in_driver import answering
from tuner.temporary import temporary_folder


class Tensors(Protocol):
    """Makes tensors that hold no data, and writes to a tape what is done with them."""

    def dtype(self, name: str) -> Any: ...

    def argument(self, name: str, dtype: str, shape: tuple[int, ...]) -> Any: ...

    def view_of(self, value: Any) -> View | None: ...

    def running(self, tape: Tape) -> Any: ...

    def calling(self) -> Any: ...


@dataclass
class Watched:
    """What a function did.

    Attributes:
        tapes: one for each run; the first is at the sizes that were given.
        steps: of each dimension, the step of its sizes; `POWER` and `FIXED` for those that could not be odd.
        refused: what the function said at sizes that it does not take, by dimension.
        other_types: a run at the given sizes with other data types, and what they were; None where that failed.
    """

    tapes: list[Tape]
    steps: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    other_types: tuple[Tape, Mapping[str, str]] | None = None
    other_scalars: Tape | None = None


@contextmanager
def stage(device: Device, tensors: Tensors) -> Iterator[RecordingDriver]:
    """Everything that a module and its functions ask for a GPU answers for a device, and launches are recorded."""
    from triton import knobs

    driver = RecordingDriver(device, tensors)
    with ExitStack() as stack:
        stack.enter_context(_variable("TRITON_CACHE_DIR", str(temporary_folder() / "adopt")))
        stack.enter_context(_variable("TRITON_INTERPRET", None))
        stack.enter_context(knobs.compilation.scope())
        knobs.compilation.disable_line_info = True
        stack.enter_context(answering(driver, always=True))
        stack.enter_context(driver.listening())
        yield driver


def watch(
    function: Callable[..., Any], call: HostCall, parameters: tuple[str, ...], tensors: Tensors, driver: RecordingDriver
) -> Watched:
    """Run a function several times.

    Args:
        function: the host function.
        call: with which arguments.
        parameters: names for those that are passed by position.
        tensors: makes those that hold no data.
        driver: of the `stage` that this happens on.

    Raises:
        ConfigError: when it cannot be run even at the sizes that were given.
    """
    run = _Runs(function, call, parameters, tensors, driver)
    try:
        first = run.at(call.sizes)
    except Exception as e:
        before = "".join(f"; before that, {problem}" for problem in driver.tape.problems)
        raise ConfigError(f"the function cannot be run as called: {_said(e)}{before}") from e
    watched = Watched([first])
    steps = dict.fromkeys(call.sizes, 1)
    tapes = run.all(call.sizes, steps)
    if isinstance(tapes, Exception):
        for dim in call.sizes:
            steps[dim], said = run.step_of(dim, call.sizes)
            if said:
                watched.refused[dim] = said
        tapes = run.all(call.sizes, steps)
        if isinstance(tapes, Exception):
            raise ConfigError(f"the function runs at the sizes given and not beside them: {_said(tapes)}")
    watched.tapes += tapes
    watched.steps = steps
    watched.other_types = run.with_other_types()
    watched.other_scalars = run.with_other_scalars()
    return watched


@dataclass
class _Runs:
    function: Callable[..., Any]
    call: HostCall
    parameters: tuple[str, ...]
    tensors: Tensors
    driver: RecordingDriver

    def at(self, sizes: Mapping[str, int], choice: int = 0, call: HostCall | None = None) -> Tape:
        """One run."""
        call = call or self.call
        tape = Tape(dict(sizes))
        self.driver.start(tape, choice)
        self.driver.next_choice(choice)
        with self.tensors.running(tape):
            every = {n: self._make(a, n, sizes) for n, a in call.bound(self.parameters).items()}
            named = {n: every.pop(n) for n in call.named}
            made = every.values()
            with self.tensors.calling():
                returned = self.function(*made, **named)
            tape.returned = tuple(self._views(returned))
        return tape

    def all(self, given: Mapping[str, int], steps: Mapping[str, int]) -> list[Tape] | Exception:
        """The runs at other sizes; the first exception, where one fails with any config."""
        tapes = []
        for number, sizes in enumerate(choose(given, steps)[1:], 1):
            try:
                tapes.append(self._try(sizes, number))
            except Exception as e:
                return e
        return tapes

    def _try(self, sizes: Mapping[str, int], choice: int) -> Tape:
        try:
            return self.at(sizes, choice)
        except Exception:
            if choice == 0:
                raise
            return self.at(sizes, 0)  # that config may not fit

    def step_of(self, dim: str, given: Mapping[str, int]) -> tuple[int, str]:
        """The smallest step that a dimension may have, the others as given, and what was said at smaller ones."""
        said = ""
        fixed = dict.fromkeys(given, FIXED)
        for step in (*STEPS, POWER):
            if step > given[dim]:
                continue
            try:
                for sizes in choose(given, {**fixed, dim: step})[1:3]:
                    self._try(sizes, 0)
                return step, said
            except Exception as e:
                said = said or _said(e)
        return FIXED, said

    def with_other_types(self) -> tuple[Tape, Mapping[str, str]] | None:
        """The given sizes with another type for each floating point type, where the function takes it."""
        others = {"fp16": "bf16", "bf16": "fp16", "fp32": "fp16"}
        used = dict.fromkeys(t.dtype for t in self._tensors() if t.dtype in others)
        if not used:
            return None
        swapped = {name: others[name] for name in used}
        try:
            return self.at(
                self.call.sizes, call=_with(self.call, lambda t: replace(t, dtype=swapped.get(t.dtype, t.dtype)))
            ), swapped
        except Exception:
            return None

    def with_other_scalars(self) -> Tape | None:
        """The given sizes with every floating point number of the call a little larger."""

        def larger(value: Any) -> Any:
            return value + 0.0625 if isinstance(value, float) else value

        call = replace(
            self.call,
            arguments=tuple(larger(a) for a in self.call.arguments),
            named={n: larger(a) for n, a in self.call.named.items()},
        )
        if call == self.call:
            return None
        try:
            return self.at(self.call.sizes, call=call)
        except Exception:
            return None

    def _tensors(self) -> Iterator[GivenTensor]:
        from tuner.adopt.call import tensors_in

        for argument in (*self.call.arguments, *self.call.named.values()):
            yield from tensors_in(argument)

    def _make(self, argument: Any, name: str, sizes: Mapping[str, int]) -> Any:
        if isinstance(argument, GivenTensor):
            return self.tensors.argument(name, argument.dtype, tuple(evaluate(e, sizes) for e in argument.extents))
        if isinstance(argument, DataType):
            return self.tensors.dtype(argument.name)
        if isinstance(argument, list | tuple):
            return type(argument)(self._make(a, f"{name}_{i}", sizes) for i, a in enumerate(argument))
        return argument

    def _views(self, returned: Any) -> Iterator[View]:
        if isinstance(returned, list | tuple):
            for item in returned:
                yield from self._views(item)
        elif isinstance(returned, dict):
            for item in returned.values():
                yield from self._views(item)
        elif (view := self.tensors.view_of(returned)) is not None:
            yield view


def _with(call: HostCall, change: Callable[[GivenTensor], GivenTensor]) -> HostCall:
    def changed(value: Any) -> Any:
        if isinstance(value, GivenTensor):
            return change(value)
        if isinstance(value, list | tuple):
            return type(value)(changed(v) for v in value)
        return value

    return replace(
        call, arguments=tuple(map(changed, call.arguments)), named={n: changed(a) for n, a in call.named.items()}
    )


def _said(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    first = next(iter(str(getattr(error, "error_message", None) or error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


@contextmanager
def _variable(name: str, value: str | None) -> Iterator[None]:
    before = os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before
