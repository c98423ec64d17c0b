"""Put the files of a bundle into its folder, in the place of an earlier bundle's, and touch nothing else that is there.

What an earlier export wrote is known by its manifest, which lists each file with its hash and is sealed by a hash of
its own. Only a file that is still as it was listed is replaced or removed.

Killed at any moment, an export leaves a folder that serves the old bundle or the new one. The order of writing sees to
it: a manifest of the old bundle that holds the new one's under ``next``; the new PTX, whose names follow from its
content; plugin.py, which serves the half that lists its own hash; then, once nothing needs them, the old PTX is removed
and the new manifest stands alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from tuner.errors import StorageError
from tuner.qdp.bundle.manifest import FORMAT, MANIFEST, VERSION, Manifest
from tuner.store.files import leftovers, plain_content, recorded_path, write_atomic

PLUGIN = "plugin.py"

_NAMES = re.compile(r"plugin\.py|ptx/[^/]+\.ptx")
"""What the files of a bundle are called, whatever a manifest says."""


def put_bundle(out: Path, files: Mapping[str, bytes], manifest: Manifest) -> list[Path]:
    """Write a bundle into a folder that is absent, empty, or holds an earlier one.

    Args:
        out: the folder.
        files: content by name: ``plugin.py`` and ``ptx/NAME.ptx``.
        manifest: lists them.

    Returns:
        The files of the bundle, the manifest among them.

    Raises:
        StorageError: when the folder holds something else, a file of the bundle was changed since it was exported,
            another export is at work, or the folder cannot be written. The old bundle is still served then.
    """
    new = msgspec.to_builtins(manifest)
    try:
        with _alone(out):
            current, known = _earlier(out)
            _require_free(out, files, known)
            for name in (*files, *known, MANIFEST):
                for leftover in leftovers(out / name) if (out / name).parent.is_dir() else ():
                    leftover.unlink()
            _remove(out, known, keep={*files, *current["files"]})  # of exports that were killed
            write_atomic(out / MANIFEST, _sealed({**current, "next": new}))
            for name, content in sorted(files.items(), key=lambda item: item[0] == PLUGIN):
                if plain_content(out, name) != content:
                    write_atomic(out / name, content)
            _remove(out, known, keep={*files})
            write_atomic(out / MANIFEST, _sealed(new))
    except OSError as e:
        raise StorageError(f"{out} cannot be written: {e.strerror}; choose another --out") from e
    return [out / name for name in sorted({*files, MANIFEST})]


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep another export off the folder, without a file in it or beside it."""
    if os.path.lexists(out) and not out.is_dir():
        raise StorageError(f"{out} exists and is no bundle; choose another --out, or move it away")
    out.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"another export is writing to {out}; wait for it, or choose another --out") from None
        except OSError:
            pass  # a network file system that locks no folders
        yield
    finally:
        os.close(descriptor)


def _earlier(out: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What the folder serves, and the hash of each file that an earlier export wrote or was about to write."""
    none = {"format": FORMAT, "version": VERSION, "kernels": {}, "files": {}}
    if {*out.iterdir()} <= {*leftovers(out / MANIFEST)}:
        return none, {}
    data = plain_content(out, MANIFEST)
    manifest = _unsealed(out, data)
    following = manifest.pop("next", manifest)
    halves = [_checked(out, half) for half in (manifest, following)]
    plugin = plain_content(out, PLUGIN)
    served = [h for h in halves if plugin is not None and h["files"].get(PLUGIN) == _hash(plugin)]
    known: dict[str, str] = {}
    for half in (*halves, *served):  # a name that both list differs in content for plugin.py alone
        known |= half["files"]
    return (served or halves)[0], known


def _unsealed(out: Path, data: bytes | None) -> dict[str, Any]:
    """The manifest that an earlier export wrote, without its seal."""
    try:
        manifest = json.loads(data or b"")
        if manifest["format"] != FORMAT:
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise StorageError(f"{out} exists and is no bundle; choose another --out, or move it away") from None
    if manifest.get("version") != VERSION:
        raise StorageError(
            f"{out / MANIFEST} has version {manifest.get('version')}, this tuner writes {VERSION}; choose another --out"
        )
    if "seal" not in manifest and "next" not in manifest:
        as_written = (json.dumps(manifest, indent=1) + "\n").encode()  # by a version that sealed nothing yet
    else:
        manifest.pop("seal", None)
        as_written = _sealed(manifest)
    if as_written != data:
        raise StorageError(f"{out / MANIFEST} is not as it was exported; choose another --out, or move {out} away")
    return dict(manifest)


def _checked(out: Path, half: Any) -> dict[str, Any]:
    """Half of a manifest whose files have names of a bundle's."""
    where = f"{out / MANIFEST}: files"
    files = half.get("files") if isinstance(half, dict) else None
    if not isinstance(files, dict):
        raise StorageError(f"{where}: it is no table; choose another --out")
    for name in files:
        recorded_path(out, name, where)
        if not _NAMES.fullmatch(name):
            raise StorageError(f"{where}: {name!r} is not the name of a bundle's file; choose another --out")
    return dict(half)


def _require_free(out: Path, files: Mapping[str, bytes], known: Mapping[str, str]) -> None:
    """Refuse to write where there is something that no earlier export wrote, or that was changed since."""
    for name, content in files.items():
        path = out / name
        inner = path.parent
        if inner != out and os.path.lexists(inner) and (inner.is_symlink() or not inner.is_dir()):
            raise StorageError(f"{inner} is no folder of a bundle; move it away, or choose another --out")
        found = plain_content(out, name)
        if os.path.lexists(path) and (found is None or (found != content and _hash(found) != known.get(name))):
            raise StorageError(f"{path} is not as it was exported; move it away, or choose another --out")


def _remove(out: Path, known: Mapping[str, str], keep: set[str]) -> None:
    """Remove what earlier exports wrote and nobody changed."""
    for name in known.keys() - keep:
        found = plain_content(out, name)
        if found is not None and _hash(found) == known[name]:
            (out / name).unlink()


def _sealed(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as it is written: a change by hand shows."""
    seal = _hash(json.dumps(manifest).encode())
    return (json.dumps({**manifest, "seal": seal}, indent=1) + "\n").encode()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
