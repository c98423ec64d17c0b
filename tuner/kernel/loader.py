"""Find a kernel in a Python file or module. Only a file or module the user names is executed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from tuner.errors import ConfigError, TunerError, UnavailableError, did_you_mean
from tuner.frontends import EXTRAS
from tuner.kernel.kernel import Kernel
from tuner.kernel.siblings import import_with_siblings


def load_kernel(spec: str, base: Path) -> Kernel:
    """Load the kernel that a config or command line names.

    Args:
        spec: ``path/to/file.py``, ``path/to/file.py:name`` or ``package.module:name``.
        base: the folder that relative paths start from.

    Raises:
        ConfigError: when there is no such file or module, importing it raises, or it holds no such
            kernel, or several and none is named.
        UnavailableError: when a package is missing that one of our extras installs.
    """
    location, _, attribute = spec.partition(":")
    if location.endswith(".py"):
        path = (base / location).resolve()
        if not path.is_file():
            raise ConfigError(f"kernel file {path} does not exist")
        where, module = str(path), import_file(path)
    else:
        where, module = f"module {location}", _import_module(spec, location, base)
    kernels = kernels_in(module)
    if attribute:
        if attribute not in kernels:
            raise ConfigError(f"{where} holds no Kernel called {attribute!r}{did_you_mean(attribute, kernels)}")
        return kernels[attribute]
    if len({id(k) for k in kernels.values()}) != 1:
        found = f"several kernels; name one: {', '.join(f'{spec}:{n}' for n in kernels)}" if kernels else "no Kernel"
        raise ConfigError(f"{where} holds {found}")
    return next(iter(kernels.values()))


def _import_module(spec: str, location: str, base: Path) -> ModuleType:
    """A module on Python's path, or in a package of the folder that relative paths start from or the working one."""
    top = location.partition(".")[0]
    try:
        if top and top not in sys.modules and importlib.util.find_spec(top) is None:
            for folder in (base, Path()):
                place = folder.resolve().joinpath(*location.split("."))
                for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
                    if file.is_file():
                        return import_file(file)
        return importlib.import_module(location)
    except ImportError as e:
        raise ConfigError(f"kernel {spec!r}: {e}; name a file as path/to/file.py, or package.module:name") from e
    except (Exception, SystemExit) as e:
        if isinstance(e, TunerError | MemoryError):
            raise
        raise ConfigError(f"kernel {spec!r} raised {type(e).__name__} on import: {e}") from e


def import_file(path: Path) -> ModuleType:
    """Execute a Python file as a module of its own, once per process and content of it and its siblings.

    In a child process, a script is executed up to where it starts to tune: what it tunes is declared before.

    Raises:
        ConfigError: with file and line, when it raises.
        UnavailableError: when a package is missing that one of our extras installs.
        OSError: when there is no such file.
    """
    path.stat()  # raises FileNotFoundError, in the words of the system
    try:
        return import_with_siblings(path)
    except BaseException as e:
        if isinstance(e, ConfigError):
            raise ConfigError(f"{path}: {e}") from e
        if isinstance(e, ModuleNotFoundError) and (extra := EXTRAS.get((e.name or "").split(".")[0])):
            raise UnavailableError(f"{path} needs {e.name}, which is missing; pip install 'qdp-tuner[{extra}]'") from e
        if isinstance(e, MemoryError) or not isinstance(e, (Exception, SystemExit)):
            raise
        raise ConfigError(f"{path}{_line(e, path)} raised {type(e).__name__} on import: {e}") from e


def _line(error: BaseException, path: Path) -> str:
    """The last line of the file that an exception passed through."""
    if isinstance(error, SyntaxError):
        return f":{error.lineno}" if error.filename == str(path) else ""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f":{lines[-1]}" if lines else ""


def kernels_in(module: ModuleType) -> dict[str, Kernel]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Kernel)}
