"""A driver for Triton that launches nothing and writes down what would be launched."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tuner.adopt.tape import DataType, Opaque, SeenLaunch, Tape, View
from tuner.frontends.dtypes import DTYPES
from tuner.gpu.catalog import Device
from tuner.gpu.stand_in_driver import StandInDriver

_OPTIONS = ("num_warps", "num_stages", "num_ctas", "maxnreg")


class SeesTensors(Protocol):
    """Whoever made the tensors, and can tell what one is."""

    def view_of(self, value: Any) -> View | None:
        """The tensor as the tape has it; None for what is no tensor."""


class RecordingDriver(StandInDriver):
    """Answers for a device, and records launches on a tape.

    An autotuner is told that the config at `choice` among those it tries is the fastest, so that several runs tell
    configs apart.

    Attributes:
        tape: what is written to.
        choice: which of an autotuner's configs wins.
    """

    def __init__(self, device: Device, sees: SeesTensors) -> None:
        super().__init__(device)
        self.tape = Tape({})
        self.choice = 0
        self._sees = sees
        self._timed: Iterator[int] = itertools.count()
        self._latest: dict[str, Any] = {}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Have Triton tell where it puts what it compiles."""
        from triton import knobs

        hooks = knobs.runtime.kernel_load_start_hook
        before = knobs.runtime.kernel_load_start_hook
        if not hasattr(hooks, "add"):
            knobs.runtime.kernel_load_start_hook = self._loading
        else:
            hooks.add(self._loading)
        try:
            yield
        finally:
            if hasattr(hooks, "remove"):
                hooks.remove(self._loading)
            else:
                knobs.runtime.kernel_load_start_hook = before

    def start(self, tape: Tape, choice: int) -> None:
        """Write to another tape from now on."""
        self.tape, self.choice = tape, choice

    def launcher_cls(self, source: Any, metadata: Any) -> Any:
        compiled: dict[str, Any] = {"parameters": [n for n, kind in source.signature.items() if kind != "constexpr"]}
        self._latest = compiled
        parameters = source.fn.params
        options = {n: int(getattr(metadata, n, 0) or 0) for n in _OPTIONS}

        def launch(x: int, y: int, z: int, *rest: Any) -> None:
            arguments = rest[len(rest) - len(parameters) :]
            named = {p.name: self._value(a) for p, a in zip(parameters, arguments, strict=True)}
            constants = frozenset(p.name for p in parameters if p.is_constexpr)
            self.tape.events.append(SeenLaunch(source.fn, named, constants, (x, y, z), options, compiled))

        return launch

    def load_binary(self, name: str, binary: bytes, shared_bytes: int, device: int) -> tuple[Any, Any, int, int, int]:
        return 0, 0, 0, 0, 1024

    def get_benchmarker(self) -> Callable[..., Any]:
        def bench(kernel_call: Callable[[], Any], quantiles: Any = None, **_: Any) -> Any:
            time = 1.0 if next(self._timed) == self.choice else 2.0
            return [time] * len(quantiles or (0,))

        return bench

    def next_choice(self, choice: int) -> None:
        """Count an autotuner's configs from the start."""
        self._timed, self.choice = itertools.count(), choice

    def _loading(self, _module: Any, _function: Any, _name: str, files: Any, _hash: Any) -> None:
        for name, path in dict(files).items():
            if name.endswith(".ptx"):
                self._latest["ptx"] = Path(path).read_text()

    def _value(self, value: Any) -> Any:
        view = self._sees.view_of(value)
        if view is not None:
            return view
        value = getattr(value, "value", value) if type(value).__name__ == "constexpr" else value
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, tuple | list):
            return tuple(self._value(item) for item in value)
        name = data_type_name(value)
        return DataType(name) if name else Opaque(f"{type(value).__name__} {value!r:.60}")


_SPELLINGS = {
    "float64": "fp64",
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8e4nv",
    "float8_e5m2": "fp8e5",
    "int64": "i64",
    "int32": "i32",
    "int16": "i16",
    "int8": "i8",
    "uint8": "u8",
    "bool": "i1",
    "int1": "i1",
}

TORCH_NAMES = frozenset(_SPELLINGS.values())
"""The data types that torch has."""


def data_type_name(value: Any) -> str | None:
    """The name of a data type of Triton, numpy or torch; None for anything else."""
    if type(value).__name__ not in ("dtype", "StandInDType"):
        return None
    name = str(value).rpartition(".")[2]
    name = _SPELLINGS.get(name, name)
    return name if name in DTYPES else None


def torch_name(dtype: str) -> str:
    """What torch calls a data type."""
    return next(spelt for spelt, name in _SPELLINGS.items() if name == dtype)
