"""The headers that C++ code includes, read before it is compiled, so that nothing else is read while it is.

NVRTC is never told about a folder of the user's, nor allowed to look into the working one: whatever it includes was
handed over as text, and what was not found here it cannot find either. Only folders of the CUDA toolkit are left to it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tuner.errors import ConfigError
from tuner.frontends.text import normalised, read

_INCLUDE = re.compile(r'^#\s*include(?:_next)?\s*(["<])([^">\n]+)[">]', re.MULTILINE)
_COMPUTED = re.compile(r"^#\s*include(?:_next)?\s*([A-Za-z_]\w*)", re.MULTILINE)
_VALUED = {"-I": "folder", "--include-path": "folder", "-include": "file", "--pre-include": "file"}
_PRECOMPILED = re.compile(r"--?(create-|use-|instantiate-templates-in-)?pch")
_OF_TOOLKIT = "cuda_runtime_api.h"
"""A file by which a folder of the CUDA toolkit's headers is known."""


@dataclass(frozen=True)
class CompilerFlags:
    """Options for the compiler, without those that name files of the user's.

    Attributes:
        folders: with headers of the user's.
        first: headers that are included before all else.
        toolkits: folders with headers of a CUDA toolkit, which the compiler reads itself.
        rest: all other options.
    """

    folders: tuple[Path, ...]
    first: tuple[Path, ...]
    toolkits: tuple[Path, ...]
    rest: tuple[str, ...]

    @property
    def identity(self) -> list[str]:
        """What identifies the options: no name of a folder, but what is in a toolkit."""
        return [*(f"toolkit {digest(folder)}" for folder in self.toolkits), *self.rest]


def sort_flags(flags: Sequence[str]) -> CompilerFlags:
    """Take the folders and files of the user's out of the options for NVRTC.

    Raises:
        ConfigError: for a folder or file that does not exist, and for precompiled headers.
    """
    places: dict[str, list[Path]] = {"folder": [], "file": []}
    rest: list[str] = []
    waiting = list(flags)
    while waiting:
        flag = waiting.pop(0)
        if _PRECOMPILED.match(flag):
            raise ConfigError(f"flags: {flag} takes headers from a file that is not read here; leave it out")
        option, value = _option(flag)
        if option is None:
            rest.append(flag)
            continue
        kind = _VALUED[option]
        path = Path(value or (waiting.pop(0) if waiting else ""))
        if not (path.is_dir() if kind == "folder" else path.is_file()):
            raise ConfigError(f"flags: {option} names {str(path)!r}, and there is no such {kind}")
        places[kind].append(path.resolve())
    toolkits = tuple(p for p in places["folder"] if (p / _OF_TOOLKIT).is_file())
    folders = tuple(p for p in places["folder"] if p not in toolkits)
    return CompilerFlags(folders, tuple(places["file"]), toolkits, tuple(rest))


def _option(flag: str) -> tuple[str | None, str]:
    """Which of the options that name a folder or a file this is, and the name where it is part of it."""
    for option in _VALUED:
        if flag == option or flag.startswith((f"{option}=", f"{option} ")):
            return option, flag[len(option) + 1 :].strip()
    return ("-I", flag[2:]) if flag.startswith("-I") else (None, "")


def read_headers(code: str, own: Path | None, folders: Sequence[Path], first: Sequence[Path]) -> dict[str, str]:
    """The text of every header of the user's that code includes, by the name it is included as.

    Args:
        code: C++ text.
        own: the folder of its file, if it is in one.
        folders: where else to look.
        first: headers that are included before the code.

    Raises:
        ConfigError: for a header that cannot be read, two that are included by one name, and an include whose
            name is a macro.
    """
    texts: dict[str, str] = {}

    def add(name: str, path: Path) -> Iterator[tuple[str, Path]]:
        header = read(path)
        if name not in texts:
            texts[name] = header
            yield header, path.parent
        elif texts[name] != header:
            raise ConfigError(f"{path}: another header is included as {name!r} too; rename one")

    waiting: list[tuple[str, Path | None]] = [(code, own)]
    for path in first:
        waiting += add(path.name, path)
    while waiting:
        text, folder = waiting.pop()
        lines = normalised(text.replace("\\\n", ""))
        if computed := _COMPUTED.search(lines):
            raise ConfigError(f"{computed[0]!r} does not say which header is meant; write its name")
        for quote, name in _INCLUDE.findall(lines):
            beside = [folder] if folder is not None and quote == '"' else []
            places = [Path()] if Path(name).is_absolute() else [*beside, *folders]
            found = next((p for d in places if (p := d / name).is_file()), None)
            if found is not None:  # else it is one of the toolkit's, or the compiler says that it is missing
                waiting += add(name, found)
    return texts


def included(texts: Iterable[str]) -> list[str]:
    """The names of all headers that texts include."""
    return list(dict.fromkeys(name for text in texts for _, name in _INCLUDE.findall(normalised(text))))


@cache
def digest(folder: Path) -> str:
    """The SHA-256 of all files in a folder, with their names in it."""
    whole = hashlib.sha256()
    files: Mapping[str, Path] = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    for name, path in sorted(files.items()):
        whole.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return whole.hexdigest()
