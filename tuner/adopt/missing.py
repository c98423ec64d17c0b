"""Stand-ins for modules that another module imports and that are not installed here.

A host function's file imports much that its kernels have no need of. What stands for it has every name, can be called,
subscripted, derived from and put above a function, and does nothing.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any

_MOST = 30
"""Modules that may be missing; then something else is wrong."""


@contextmanager
def stand_ins(*names: str) -> Iterator[None]:
    """Import what is not installed as a stand-in, within the block.

    Args:
        names: of top-level packages; those that are installed are imported as they are. "torch" is stood for by a
            module that has what allocates and describes tensors.
    """
    finder = _Missing([n for n in names if n not in sys.modules and importlib.util.find_spec(n) is None])
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def import_with_stand_ins(module: str) -> tuple[ModuleType, tuple[str, ...]]:
    """Import a module; what it imports and turns out to be missing is stood for.

    Returns:
        The module, and the packages that are missing.

    Raises:
        Exception: what importing raises otherwise.
    """
    missing: list[str] = []
    while True:
        known = set(sys.modules)
        try:
            with stand_ins(*missing):
                return importlib.import_module(module), tuple(missing)
        except ModuleNotFoundError as e:
            top = (e.name or "").partition(".")[0]
            if (
                not top
                or top in missing
                or len(missing) >= _MOST
                or top in (module.partition(".")[0], "tuner", "triton")
            ):
                raise
            missing.append(top)
            for name in set(sys.modules) - known:  # imported in part: once more from the start
                if _is_own(name):
                    del sys.modules[name]


def _is_own(name: str) -> bool:
    """Whether a module may be executed again: those of libraries with code in C may not."""
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return "site-packages" not in file and name.partition(".")[0] not in ("torch", "triton", "numpy", "tuner")


class _Missing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds stand-ins for some packages, and all that is in them."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] not in self._names:
            return None
        return ModuleSpec(name, _Missing(()), is_package=True)  # a loader of its own: others put theirs around it

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        if spec.name == "torch" or spec.name.startswith("torch."):
            from tuner.adopt.torch_module import make_module

            parent = sys.modules.get(spec.name.rpartition(".")[0])
            made = vars(parent).get(spec.name.rpartition(".")[2]) if parent is not None else None
            return made if isinstance(made, ModuleType) else make_module(spec.name)
        return StandInModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to execute."""


class StandInModule(ModuleType):
    """Has every name."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return stand_in(f"{self.__name__}.{name}")


class _Kind(type):
    """The type of stand-ins: classes that have every attribute."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return stand_in(f"{cls.__qualname__}.{name}")

    def __call__(cls, *args: Any, **named: Any) -> Any:
        if "_standing_for" not in cls.__dict__:
            return super().__call__(*args, **named)  # a class of the user's that derives from one
        if len(args) == 1 and not named and isinstance(args[0], FunctionType | type):
            return args[0]  # above a function or a class
        if (called := cls.__dict__.get("_called")) is not None:
            return called()
        return stand_in(f"{cls.__qualname__}()")

    def __enter__(cls) -> Any:
        return cls

    def __exit__(cls, *_: Any) -> None:
        """There is nothing to leave."""

    def __getitem__(cls, _: Any) -> Any:
        return cls

    def __or__(cls, other: Any) -> Any:
        return cls

    def __ror__(cls, other: Any) -> Any:
        return cls

    def __iter__(cls) -> Iterator[Any]:
        return iter(())

    def __bool__(cls) -> bool:
        return "_standing_for" not in cls.__dict__


def stand_in(name: str, called: Callable[[], Any] | None = None) -> Any:
    """Make something that stands for what a name means.

    Args:
        name: in full.
        called: what calling it gives; nothing in particular by default.
    """

    def init(self: Any, *_: Any, **__: Any) -> None:
        """Nothing is kept."""

    return _Kind(
        name,
        (),
        {"_standing_for": name, "__init__": init, "__module__": __name__, "__qualname__": name, "_called": called},
    )
