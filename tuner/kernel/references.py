"""A problem as plain data, for worker processes: a kernel holds functions, which cannot be sent."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from tuner.errors import ConfigError
from tuner.gpu.catalog import DEFAULT, find_device
from tuner.kernel.kernel import Attribute, Kernel
from tuner.kernel.loader import device_told, import_file, import_module, kernels_in
from tuner.kernel.parts import Part
from tuner.kernel.problem import Problem, Range, Timed
from tuner.kernel.siblings import PREFIX
from tuner.workers.faults import out_of_memory


class LoadError(Exception):
    """Why a kernel that was imported where tuning started cannot be imported in a worker."""


@dataclass(frozen=True)
class ProblemSpec:
    """What a problem is made of; `load` makes it again, in any process."""

    kernel: KernelRef
    dims: tuple[tuple[str, tuple[Range, ...]], ...]
    dtypes: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, Attribute], ...]
    timed: tuple[tuple[tuple[tuple[str, int | tuple[int, ...]], ...], float], ...] = ()

    @classmethod
    def of(cls, problem: Problem) -> ProblemSpec:
        return cls(
            ref_of(problem.kernel),
            tuple(problem.dims.items()),
            tuple(problem.dtypes.items()),
            tuple(problem.attributes.items()),
            tuple((tuple(shape.dims.items()), shape.weight) for shape in problem.timed),
        )

    def load(self) -> Problem:
        """Import the kernel and make the problem; once per process.

        Raises:
            LoadError: when the file is gone, raises on import, or no longer holds that kernel.
            ConfigError: when what the file declares is refused, or it starts to tune when imported: no
                tactic could do better.
        """
        try:
            return _load(self)
        except Exception as e:
            if out_of_memory(e) or (isinstance(e, ConfigError) and isinstance(e.__cause__, ConfigError | None)):
                raise
            why = e if isinstance(e, ConfigError) else f"{self.kernel.location}: {type(e).__name__}: {e}"
            raise LoadError(f"in a worker process, {why}") from e


@lru_cache(maxsize=64)
def _load(spec: ProblemSpec) -> Problem:
    timed = [Timed(dict(dims), weight) for dims, weight in spec.timed]
    return Problem.of(spec.kernel.load(), dict(spec.dims), dict(spec.dtypes), dict(spec.attributes), timed)


@dataclass(frozen=True)
class KernelRef:
    """Where another process finds a kernel.

    Attributes:
        location: a module's name, or an absolute file.
        name: the variable there that holds it.
        id: the plugin id of what it holds.
        device: the GPU that answered, by its short name, if the file asked for one while it was imported.
        part: of one launch of it, the name of the step.
    """

    location: str
    name: str
    id: str
    device: str = DEFAULT
    part: str = ""

    def load(self) -> Kernel:
        """Import the module or file and return the kernel.

        Raises:
            LookupError: when there is none.
        """
        path = Path(self.location)
        device = find_device(self.device)
        module = import_file(path, device) if path.is_absolute() else import_module(self.location, device)
        kernel = kernels_in(module).get(self.name)
        if kernel is None or kernel.id != self.id:
            raise LookupError(f"holds no kernel {self.id!r} called {self.name!r}")
        if not self.part:
            return kernel
        for part in launches_within(kernel):
            if part.name == self.part:
                return part.kernel
        raise LookupError(f"kernel {self.id!r} has no step {self.part!r}")


_MAIN = ("__main__", "__mp_main__")
"""What a script is called, and its other name once `multiprocessing` is imported."""


def ref_of(kernel: Kernel) -> KernelRef:
    """Where to find a kernel that is already loaded: the module with a variable that holds it, or what it is part of.

    Raises:
        ConfigError: when there is none that another process can import.
    """
    likely = kernel.launch.__module__
    for place in (likely, *(n for n in list(sys.modules) if n not in _MAIN), "__main__"):
        module = sys.modules.get(place)
        held = kernels_in(module) if isinstance(module, ModuleType) else {}
        told = device_told(place)
        device = DEFAULT if told is None else told.short
        for name, whole in held.items():
            part = _part_of(whole, kernel)
            if part is None:
                continue
            if place not in _MAIN and not place.startswith(PREFIX):
                return KernelRef(place, name, whole.id, device, part)
            if file := getattr(module, "__file__", None):
                return KernelRef(str(Path(file).resolve()), name, whole.id, device, part)
    raise ConfigError(
        f"kernel {kernel.id!r} cannot be imported by worker processes; "
        "assign it to a variable at the top level of a file or module"
    )


def _part_of(whole: Kernel, kernel: Kernel) -> str | None:
    """The name of the launch of `whole` that a kernel is; "" where they are the same, None where it is none."""
    if whole is kernel:
        return ""
    return next((part.name for part in launches_within(whole) if part.kernel is kernel), None)


def launches_within(kernel: Kernel) -> Iterator[Part]:
    """The launches of a kernel and of its alternatives."""
    yield from kernel.parts
    for alternative in kernel.alternatives.values():
        yield from launches_within(alternative)
