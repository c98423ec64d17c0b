"""From a host function to the files that declare what it launches."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.adopt import writing
from tuner.adopt.branches import Branches
from tuner.adopt.call import parse_call
from tuner.adopt.found import Found
from tuner.adopt.missing import import_with_stand_ins
from tuner.adopt.reading import read
from tuner.adopt.references import reference
from tuner.adopt.watching import Tensors, stage, watch
from tuner.errors import ConfigError, StorageError, did_you_mean
from tuner.gpu.catalog import find_device


@dataclass(frozen=True)
class Adopted:
    """What adopting wrote.

    Attributes:
        files: the declaration, the config and the test.
        todo: what is left to do.
        found: all that was found out.
    """

    files: tuple[Path, ...]
    todo: tuple[str, ...]
    found: Found


def adopt(function: str, call: str, *, kernel_id: str, out: Path, target: str = "h200") -> Adopted:
    """Declare what a host function launches, by watching it.

    The function runs several times on tensors that hold no data, for a GPU that need not be there.

    Args:
        function: as `package.module:name`, of a module on Python's path or below the working folder, or as
            `path/to/file.py:name`.
        call: its arguments, as `tuner.adopt.call.parse_call` reads them.
        kernel_id: the plugin id.
        out: where the declaration goes; the config and the test go beside it, or into `configs` and `tests` beside a
            folder called `kernels`.
        target: the GPU that answers, by name.

    Raises:
        ConfigError: when there is no such function, the call does not read, the function cannot be run, or a file
            exists.
        StorageError: when a file cannot be written.
    """
    config, test, seen_from_there = writing.places(out)
    for place in (out, config, test):
        if place.exists() or place.is_symlink():
            raise ConfigError(f"{place} exists and is left as it is; name another file with --out")
    read_call = parse_call(call)
    device = find_device(target)
    module, path, root = _located(function)
    with_torch = importlib.util.find_spec("torch") is not None
    if out.stem == module.partition(".")[0]:
        raise ConfigError(f"{out} would hide module {module} from itself; name another file with --out")
    tensors = _tensors(with_torch)
    with _on_path(root):
        with stage(device, tensors) as driver:
            host, missing = _function(module, path)
            parameters = _parameters(host)
            branches = Branches(host)
            with branches.followed():
                watched = watch(host, read_call, parameters, tensors, driver)
        if not watched.tapes[0].launches:
            raise ConfigError(f"{function} launched no Triton kernel with {call}")
        found = read(watched, read_call, parameters)
    if missing:
        found.notes.append(f"stood for, since not installed: {', '.join(missing)}")
    for branch in branches.untaken():
        found.ask(f"not taken in any run: {branch}")
    text = writing.declaration(
        found,
        kernel_id,
        f"{module}:{path}",
        call,
        _import_lines(root, out),
        reference(found, read_call, parameters, path, with_torch),
        (module, path.partition(".")[0]),
        missing,
    )
    files = {
        out: text,
        config: writing.config(found, seen_from_there),
        test: writing.test(found, kernel_id, seen_from_there),
    }
    for place, content in files.items():
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("x") as f:
                f.write(content)
        except OSError as e:
            raise StorageError(f"{place} cannot be written: {e.strerror}") from e
    return Adopted(tuple(files), tuple(found.todo), found)


def _located(function: str) -> tuple[str, str, Path | None]:
    """The module, the name in it, and the folder that has to be on the path to import it."""
    location, _, path = function.rpartition(":")
    if not location or not path:
        raise ConfigError(f"{function!r} names no function; write package.module:name, or path/to/file.py:name")
    if location.endswith(".py"):
        file = Path(location).resolve()
        if not file.is_file():
            raise ConfigError(f"{location} does not exist")
        parts = [file.stem]
        root = file.parent
        while (root / "__init__.py").is_file():
            parts.insert(0, root.name)
            root = root.parent
        return ".".join(parts), path, root
    top = location.partition(".")[0]
    here = Path().resolve()
    if (here / top).is_dir() or (here / f"{top}.py").is_file():
        return location, path, here
    return location, path, None


def _function(module: str, path: str) -> tuple[Callable[..., Any], tuple[str, ...]]:
    """The function, and what its module imports that is not installed."""
    value: Any
    try:
        value, missing = import_with_stand_ins(module)
    except Exception as e:
        raise ConfigError(f"module {module} cannot be imported: {type(e).__name__}: {e}") from e
    for part in path.split("."):
        known = dir(value)
        try:
            value = getattr(value, part)
        except AttributeError:
            raise ConfigError(f"module {module} has no {path!r}{did_you_mean(part, known)}") from None
    if not callable(value):
        raise ConfigError(f"{module}:{path} is no function, but {value!r}")
    return value, missing


def _parameters(host: Any) -> tuple[str, ...]:
    """The names of a function's parameters; those of a class's `forward` for `torch.autograd.Function.apply`."""
    owner = getattr(host, "__self__", None)
    own = getattr(host, "__name__", "") == "apply" and hasattr(owner, "forward")
    try:
        names = tuple(inspect.signature(owner.forward if own else host).parameters)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        return ()
    return names[1:] if own else names


def _tensors(with_torch: bool) -> Tensors:
    """Torch's fake tensors, or those of the module that stands in for torch."""
    if not with_torch:
        from tuner.adopt.torch_module import StandInTensors

        return StandInTensors()
    from tuner.adopt.fake_tensors import FakeTensors

    return FakeTensors()


@contextmanager
def _on_path(root: Path | None) -> Iterator[None]:
    if root is None:
        yield
        return
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))


def _import_lines(root: Path | None, out: Path) -> str:
    """What the declaration puts on the path to find the module: nothing where it lies beside it."""
    folder = out.resolve().parent
    if root is None or root == folder:
        return ""
    relative = os.path.relpath(root, folder)
    return f'sys.path.insert(0, str(Path(__file__).resolve().parent / "{relative}"))'
