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
from tuner.gpu.catalog import DEFAULT, Device, find_device
from tuner.gpu.stand_in_driver import StandInDriver, answering
from tuner.kernel.kernel import Kernel
from tuner.kernel.siblings import device_of, import_with_siblings

_answered: dict[str, Device] = {}
"""The device that answered when a module on Python's path asked for the GPU, by the name of its package."""


def load_kernel(spec: str, base: Path, target: str = DEFAULT) -> Kernel:
    """Load the kernel that a config or command line names.

    Args:
        spec: ``path/to/file.py``, ``path/to/file.py:name`` or ``package.module:name``.
        base: the folder that relative paths start from.
        target: the GPU that answers, by name, where the file asks for one while it is imported and there is none.

    Raises:
        ConfigError: when there is no such file or module, importing it raises, or it holds no such
            kernel, or several and none is named, or there is no such target.
        UnavailableError: when a package is missing that one of our extras installs.
    """
    location, _, attribute = spec.partition(":")
    device = find_device(target)
    if location.endswith(".py"):
        path = (base / location).resolve()
        if not path.is_file():
            raise ConfigError(f"kernel file {path} does not exist")
        where, module = str(path), import_file(path, device)
    else:
        where, module = f"module {location}", _import_module(spec, location, base, device)
    kernels = kernels_in(module)
    if attribute:
        if attribute not in kernels:
            raise ConfigError(f"{where} holds no Kernel called {attribute!r}{did_you_mean(attribute, kernels)}")
        return kernels[attribute]
    if len({id(k) for k in kernels.values()}) != 1:
        found = f"several kernels; name one: {', '.join(f'{spec}:{n}' for n in kernels)}" if kernels else "no Kernel"
        raise ConfigError(f"{where} holds {found}")
    return next(iter(kernels.values()))


def _import_module(spec: str, location: str, base: Path, device: Device) -> ModuleType:
    """A module on Python's path, or in a package of the folder that relative paths start from or the working one."""
    top = location.partition(".")[0]
    try:
        if top and top not in sys.modules and importlib.util.find_spec(top) is None:
            for folder in (base, Path()):
                place = folder.resolve().joinpath(*location.split("."))
                for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
                    if file.is_file():
                        return import_file(file, device)
        return import_module(location, device)
    except ImportError as e:
        raise ConfigError(f"kernel {spec!r}: {e}; name a file as path/to/file.py, or package.module:name") from e
    except (Exception, SystemExit) as e:
        if isinstance(e, TunerError | MemoryError):
            raise
        raise ConfigError(f"kernel {spec!r} raised {type(e).__name__} on import: {e}") from e


def import_module(name: str, device: Device) -> ModuleType:
    """Import a module on Python's path; a device answers where it asks for the GPU and there is none.

    Raises:
        ConfigError: when another device answered it before, as Python imports a module once.
    """
    top = name.partition(".")[0]
    known = _answered.get(top, device)
    if known != device:
        raise ConfigError(
            f"{name} asked for the GPU when it was imported, and was told of {known}; for {device} it needs a process "
            "of its own"
        )
    driver = StandInDriver(device)
    with answering(driver):
        module = importlib.import_module(name)
    if driver.asked:
        _answered[top] = device
    return module


def device_told(module: str) -> Device | None:
    """The device that answered when a loaded module asked for the GPU; None: it did not ask."""
    return device_of(module) or _answered.get(module.partition(".")[0])


def import_file(path: Path, device: Device | None = None) -> ModuleType:
    """Execute a Python file as a module of its own, once per process and content of it and its siblings.

    Where it asks Triton or torch for the GPU and there is none, `device` answers, or else the default one.

    In a child process, a script is executed up to where it starts to tune: what it tunes is declared before.

    Raises:
        ConfigError: with file and line, when it raises.
        UnavailableError: when a package is missing that one of our extras installs.
        OSError: when there is no such file.
    """
    path.stat()  # raises FileNotFoundError, in the words of the system
    try:
        return import_with_siblings(path, device or find_device(DEFAULT))
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
