"""Find a kernel in a Python file or module. Only a file or module the user names is executed."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tuner.errors import ConfigError, UnavailableError
from tuner.frontends import EXTRAS
from tuner.kernel import Kernel
from tuner.names import did_you_mean


@dataclass(frozen=True)
class KernelRef:
    """Where another process finds a kernel.

    Attributes:
        location: a module's name, or an absolute file.
        name: the variable there that holds it.
        id: the plugin id.
    """

    location: str
    name: str
    id: str

    def load(self) -> Kernel:
        """Import the module or file and return the kernel.

        Raises:
            LookupError: when there is none.
        """
        path = Path(self.location)
        module = import_file(path) if path.is_absolute() else importlib.import_module(self.location)
        kernel = _kernels(module).get(self.name)
        if kernel is None or kernel.id != self.id:
            raise LookupError(f"holds no kernel {self.id!r} called {self.name!r}")
        return kernel


def ref_of(kernel: Kernel) -> KernelRef:
    """Where to find a kernel that is already loaded: the module with a variable that holds it.

    Raises:
        ConfigError: when there is none that another process can import.
    """
    likely = kernel.launch.__module__
    for place in (likely, *(n for n in list(sys.modules) if n != "__main__"), "__main__"):
        module = sys.modules.get(place)
        held = _kernels(module) if isinstance(module, ModuleType) else {}
        for name in (n for n, k in held.items() if k is kernel):
            if place != "__main__" and not place.startswith(_PREFIX):
                return KernelRef(place, name, kernel.id)
            if file := getattr(module, "__file__", None):
                return KernelRef(str(Path(file).resolve()), name, kernel.id)
    raise ConfigError(
        f"kernel {kernel.id!r} cannot be imported by worker processes; "
        "assign it to a variable at the top level of a file or module"
    )


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
        where = f"module {location}"
        try:
            module = importlib.import_module(location)
        except ImportError as e:
            raise ConfigError(f"kernel {spec!r}: {e}; name a file as path/to/file.py, or package.module:name") from e
        except (Exception, SystemExit) as e:
            if isinstance(e, ConfigError | MemoryError):
                raise
            raise ConfigError(f"kernel {spec!r} raised {type(e).__name__} on import: {e}") from e
    kernels = _kernels(module)
    if attribute:
        if attribute not in kernels:
            raise ConfigError(f"{where} holds no Kernel called {attribute!r}{did_you_mean(attribute, kernels)}")
        return kernels[attribute]
    if len({id(k) for k in kernels.values()}) != 1:
        found = f"several kernels; name one: {', '.join(f'{spec}:{n}' for n in kernels)}" if kernels else "no Kernel"
        raise ConfigError(f"{where} holds {found}")
    return next(iter(kernels.values()))


_PREFIX = "tuner_kernel_file_"


def import_file(path: Path) -> ModuleType:
    """Execute a Python file as a module of its own, once per process and content."""
    name = _PREFIX + hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:16]
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _importable(path.parent):
            spec.loader.exec_module(module)
    except BaseException as e:
        del sys.modules[name]
        if isinstance(e, ConfigError):
            raise ConfigError(f"{path}: {e}") from e
        if isinstance(e, ModuleNotFoundError) and (extra := EXTRAS.get((e.name or "").split(".")[0])):
            raise UnavailableError(f"{path} needs {e.name}, which is missing; pip install 'qdp-tuner[{extra}]'") from e
        if isinstance(e, MemoryError) or not isinstance(e, (Exception, SystemExit)):
            raise
        raise ConfigError(f"{path}{_line(e, path)} raised {type(e).__name__} on import: {e}") from e
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let a kernel file import its siblings, as a script can."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _line(error: BaseException, path: Path) -> str:
    """The last line of the file that an exception passed through."""
    if isinstance(error, SyntaxError):
        return f":{error.lineno}" if error.filename == str(path) else ""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f":{lines[-1]}" if lines else ""


def _kernels(module: ModuleType) -> dict[str, Kernel]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Kernel)}
