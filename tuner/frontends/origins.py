"""Whose code a module is: a library's, which is known by name and version, or the user's, which has to be read."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

COMPILERS = frozenset({"triton", "numba", "numba_cuda", "llvmlite", "cutlass", "cuda"})
"""Packages whose versions are part of every compile key and of what a time depends on, so not of a source too."""

_SELF = __name__.partition(".")[0]
INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Names of folders that distributions are installed into."""


@cache
def library_of(module: str) -> str | None:
    """What a library's module is identified by besides its name; None for the user's own code.

    It is "" for the standard library, for this package and for the compilers; " of NAME VERSION" for an
    installed distribution; and " of FILE SHA-256" for a compiled module that is in no distribution.
    """
    top = module.partition(".")[0]
    if top == _SELF:
        return ""
    file = _file(module, top)
    if file is None:
        return "" if top in sys.stdlib_module_names else None
    if INSTALLED.isdisjoint(file.parts):
        if file.is_relative_to(sysconfig.get_path("stdlib")) or file.is_relative_to(sysconfig.get_path("platstdlib")):
            return ""
        if file.name.endswith(tuple(EXTENSION_SUFFIXES)):
            return f" of {file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}"
        return "" if top in COMPILERS and _is_editable(top) else None
    if top in COMPILERS:
        return ""
    names = _owners(top, file)
    return f" of {', '.join(f'{n} {importlib.metadata.version(n)}' for n in names)}" if names else None


def in_library(module: Any, name: Any) -> str | None:
    """The full name of something that a library defines, with what identifies the library; None for the user's own.

    Which module of this package it is in may change without a change of what it is.
    """
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    library = library_of(module)
    if library is None:
        return None
    return f"{_SELF if module.partition('.')[0] == _SELF else module}.{name}{library}"


def known_by_name(value: Any) -> str | None:
    """The full name of a value that is what a library's module holds under the name it says it has, else None."""
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    held: Any = sys.modules.get(module)
    for part in name.split("."):
        held = getattr(held, part, None)
    return in_library(module, name) if held is value else None


def found_in_library(value: Any) -> str | None:
    """The full name under which some module of the library that defines its type holds a value, else None."""
    top = type(value).__module__.partition(".")[0]
    for module_name, module in sorted(sys.modules.items()):
        if module_name.partition(".")[0] == top and library_of(module_name) is not None:
            for name, held in list(vars(module).items()):
                if held is value:
                    return in_library(module_name, name)
    return None


def _file(module: str, top: str) -> Path | None:
    """The file of a module or, of a package without one, its first folder; None for what is built in, or nowhere."""
    loaded = sys.modules.get(module) or sys.modules.get(top)
    try:
        found = loaded if loaded is not None else importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    file = getattr(found, "__file__", None) or getattr(found, "origin", None)
    if file in ("built-in", "frozen"):
        return None
    if file is None:
        folders = getattr(found, "__path__", None) or getattr(found, "submodule_search_locations", None)
        file = next(iter(folders or ()), None)
    return Path(file) if file else None


def _owners(top: str, file: Path) -> Sequence[str]:
    """The distributions that installed a package."""
    try:  # reading the list of all distributions takes a second
        record = importlib.metadata.distribution(top).read_text("RECORD") or ""
        if file.name == "__init__.py" and f"\n{top}/__init__.py," in f"\n{record}":
            return [top]
    except importlib.metadata.PackageNotFoundError:
        pass
    return sorted(set(_distributions().get(top, ())))


def _is_editable(top: str) -> bool:
    """Whether a package was installed from a folder where its source stays: a module beside it may have its name."""
    urls = (importlib.metadata.distribution(n).read_text("direct_url.json") for n in _distributions().get(top, ()))
    return any(json.loads(url).get("dir_info", {}).get("editable") for url in urls if url)


@cache
def _distributions() -> Mapping[str, Sequence[str]]:
    return importlib.metadata.packages_distributions()
