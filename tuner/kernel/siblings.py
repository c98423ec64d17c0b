"""Import a file together with the modules beside it, apart from those of any other folder.

Each folder has a package of its own, under a name that nobody else uses. A file in it is a module of that package, and
so is every sibling that it imports, at any time, by plain name: two folders may both have a `helpers.py`. What is found
nowhere in the folder is imported as usual. Files are read as they are now, never from bytecode; when one of them has
changed, the folder is loaded anew under another name, and what was loaded before stays as it was.

Where a file asks Triton or torch for the GPU and there is none, the device that it is loaded for answers; for another
device, the folder is loaded anew.

A file that imports relatives (`from ..common import act`), or its own package by name, is loaded as part of its
package.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import importlib.util
import linecache
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tuner.frontends.origins import COMPILERS, INSTALLED
from tuner.gpu.catalog import Device
from tuner.gpu.stand_in_driver import StandInDriver, answering
from tuner.workers.faults import WorkInChild

PREFIX = "tuner_kernel_folder_"
"""How the names of all modules begin that are imported here."""

_NEVER_SIBLINGS = sys.stdlib_module_names | COMPILERS | {"tuner", "numpy", "ml_dtypes", "torch", "tensorrt"}
"""Kernel files are named after what they do or are written in: `copy.py`, `triton.py`."""

_DOT = "%2E"
"""A dot in a file's name, which would mean a package in a module's."""


@dataclass(eq=False)
class _Folder:
    """A folder whose files import each other.

    Attributes:
        name: of the package that stands for it.
        root: where it is; its files may be in packages below.
        read: the SHA-256 of every file, as it was loaded.
        answered: the device that answered when a file asked for the GPU; None: none asked.
        added: folders that the files put on `sys.path`, by the name of the package that stands for each.
    """

    name: str
    root: Path
    read: dict[Path, str] = field(default_factory=dict)
    answered: Device | None = None
    added: dict[str, Path] = field(default_factory=dict)
    builtins: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.builtins = {**vars(builtins), "__import__": self._import_function()}
        _make_package(self.name, self.root)

    def stale(self, device: Device) -> bool:
        """Whether a file is no longer what was loaded, or was told of another device."""
        return self.answered not in (None, device) or any(_digest(file) != digest for file, digest in self.read.items())

    def module_name(self, parts: Sequence[str]) -> str:
        return ".".join((self.name, *(part.replace(".", _DOT) for part in parts)))

    def add(self, path: Sequence[str]) -> None:
        """Take in folders that a file has put on the path."""
        for entry in path:
            name = f"{self.name}.path_{hashlib.sha256(entry.encode()).hexdigest()[:16]}"
            if name not in self.added:
                self.added[name] = Path(entry)
                _make_package(name, Path(entry))

    def _import_function(self) -> Callable[..., ModuleType]:
        def import_(
            name: str,
            variables: Mapping[str, Any] | None = None,
            local: Mapping[str, Any] | None = None,
            fromlist: Sequence[str] | None = (),
            level: int = 0,
        ) -> ModuleType:
            """Import as Python does, siblings first."""
            package = self._package_with(name.partition(".")[0], variables or {}) if level == 0 else None
            if package is None:
                return __import__(name, variables, local, fromlist or (), level)
            try:
                module = __import__(f"{package}.{name}", variables, local, fromlist or (), 0)
            except ModuleNotFoundError as e:
                if e.name and e.name.startswith(f"{package}."):
                    said = e.name.removeprefix(f"{package}.")
                    raise ModuleNotFoundError(f"No module named {said!r}", name=said, path=e.path) from None
                raise
            return module if fromlist else sys.modules[f"{package}.{name.partition('.')[0]}"]

        return import_

    def _package_with(self, top: str, importer: Mapping[str, Any]) -> str | None:
        """The package of this folder that has a module of that name, as the importing file sees it."""
        if top in _NEVER_SIBLINGS:
            return None
        for folder, before in _loading:
            if folder is self:
                self.add(_added_since(before))
        places = {self.name: self.root, **_own_place(importer), **self.added}
        for package, place in places.items():
            if _find(place, top) is not None:
                return package
        installed = top in sys.modules or importlib.util.find_spec(top) is not None
        if not installed and (self.root / top).is_dir():
            return self.name
        return None


_current: dict[Path, _Folder] = {}
"""Each folder by where it is."""
_by_name: dict[str, _Folder] = {}
"""Each folder by its name, those that were loaded anew included."""
_loading: list[tuple[_Folder, list[str]]] = []
"""The folders of the files that are being executed, and the path before each was."""
_lock = threading.Lock()


def import_with_siblings(path: Path, device: Device) -> ModuleType:
    """Execute a Python file, once per process and content of the file and its siblings.

    Args:
        path: the file.
        device: answers where a file asks for the GPU and there is none.

    Raises:
        Exception: what the file raises.
    """
    root, parts = _place(path.absolute())
    with _lock:
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
        folder = _current.get(root)
        if folder is None or folder.stale(device):
            # The same in any process that loads the folder once, as the names of some symbols are made of it.
            name = PREFIX + hashlib.sha256(str(root).encode()).hexdigest()[:16]
            times = sum(n.startswith(name) for n in _by_name)
            folder = _Folder(f"{name}_{times}" if times else name, root)
            _current[root] = _by_name[folder.name] = folder
    here = (folder, list(sys.path))
    _loading.append(here)
    driver = StandInDriver(device)
    try:
        with answering(driver):
            return importlib.import_module(folder.module_name(parts))
    finally:
        if driver.asked:
            folder.answered = device
        _loading.remove(here)
        added = _added_since(here[1])
        folder.add(added)
        sys.path[:] = [entry for entry in sys.path if entry not in added]


def device_of(module: str) -> Device | None:
    """The device that answered when a module of a folder, or one beside it, asked for the GPU; None: none did."""
    folder = _by_name.get(module.partition(".")[0])
    return None if folder is None else folder.answered


def _added_since(before: Sequence[str]) -> list[str]:
    """What a file has put on the path; what libraries put there when they are imported has to stay."""
    return [p for p in sys.path if p not in before and INSTALLED.isdisjoint(Path(p).parts)]


def _place(path: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder that a file is imported from, and its place in it: its own, or that of the package it is part of."""
    parts: tuple[str, ...] = (path.stem,) if path.name != "__init__.py" else ()
    root = path.parent
    while (root / "__init__.py").is_file() and root.parent != root:
        parts, root = (root.name, *parts), root.parent
    if path.name == "__init__.py" or _imports_its_package(path, parts[0]):
        return root, parts
    return path.parent, (path.stem,)


def _imports_its_package(path: Path, top: str) -> bool:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return False  # importing it will say what is wrong
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").partition(".")[0] == top):
            return True
        if isinstance(node, ast.Import) and any(alias.name.partition(".")[0] == top for alias in node.names):
            return True
    return False


def _own_place(importer: Mapping[str, Any]) -> Mapping[str, Path]:
    """The package and folder of an importing file."""
    package, file = importer.get("__package__"), importer.get("__file__")
    return {package: Path(file).parent} if isinstance(package, str) and isinstance(file, str) else {}


# -- finding and loading modules -----------------------------------------------------------------


class _Finder:
    """Finds the modules of folders, for Python's import system."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        if not name.startswith(PREFIX) or path is None:
            return None
        folder = _by_name[name.partition(".")[0]]
        tail = name.rpartition(".")[2].replace(_DOT, ".")
        for place in map(Path, path):
            file = _find(place, tail)
            if file is not None:
                inside = [str(file.parent)] if file.name == "__init__.py" else None
                loader = (
                    _SiblingLoader(folder, name, file) if file.suffix == ".py" else ExtensionFileLoader(name, str(file))
                )
                return importlib.util.spec_from_file_location(
                    name, file, loader=loader, submodule_search_locations=inside
                )
            if (place / tail).is_dir():
                return _package_spec(name, place / tail)
        return None


_finder = _Finder()


class _SiblingLoader(SourceFileLoader):
    """Executes a file as it is now; its imports look for siblings first."""

    def __init__(self, folder: _Folder, name: str, file: Path) -> None:
        super().__init__(name, str(file))
        self._folder = folder

    def get_code(self, fullname: str) -> CodeType:
        data = self.get_data(self.path)
        self._folder.read[Path(self.path)] = hashlib.sha256(data).hexdigest()
        # Who asks for the source later gets what was executed, whatever the file holds by then.
        lines = importlib.util.decode_source(data).splitlines(keepends=True)
        linecache.cache[self.path] = (len(data), None, lines, self.path)
        code: CodeType = self.source_to_code(data, self.path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self._folder.builtins
        with suppress(WorkInChild):  # a script, executed in a child up to where it starts to tune
            super().exec_module(module)


def _find(folder: Path, name: str) -> Path | None:
    """The file that a folder has for a module's name."""
    names = (f"{name}/__init__.py", f"{name}.py", *(f"{name}{suffix}" for suffix in EXTENSION_SUFFIXES))
    return next((file for n in names if (file := folder / n).is_file()), None)


def _package_spec(name: str, folder: Path) -> ModuleSpec:
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    return spec


def _make_package(name: str, folder: Path) -> None:
    sys.modules[name] = importlib.util.module_from_spec(_package_spec(name, folder))


def _digest(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None
