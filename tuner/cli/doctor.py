"""What works on this machine, what is missing, and the command that mends it."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from tuner.backends.table import BACKENDS
from tuner.cli.common import common_options, print_json
from tuner.frontends import LANGUAGES


@dataclass(frozen=True)
class Requirement:
    """One thing a backend or command needs.

    Attributes:
        name: what was looked at.
        ok: whether it works.
        detail: versions and places, or what is wrong.
        needed_for: what does not work without it.
        mend: a command or action; "" when all is well.
    """

    name: str
    ok: bool
    detail: str
    needed_for: str
    mend: str = ""


def examine() -> list[Requirement]:
    """Look at everything the backends need. Never raises."""
    return [
        _platform(),
        _packages(),
        _triton_tools(),
        _folder("tactic cache", _cache_folder, "tune, show", "set TUNER_CACHE to a file in a writable folder"),
        _folder("compile cache", _store_folder, "quick second runs", "set TUNER_COMPILE_CACHE to a writable folder"),
        _cuda(),
        _tensorrt(),
        _rehearsal(),
        *(_language(language.name, language.extra) for language in LANGUAGES.values() if language.extra),
    ]


def usable_backends(checks: list[Requirement]) -> dict[str, bool]:
    """Which backends work, given what `examine` found."""
    ok = {c.name: c.ok for c in checks}
    return {name: all(ok[needed] for needed in info.needs) for name, info in BACKENDS.items()}


def _platform() -> Requirement:
    detail = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    ok = sys.version_info >= (3, 11) and platform.system() == "Linux" and platform.machine() == "x86_64"
    mend = "" if ok else "use Python 3.11 or newer on Linux x86-64"
    return Requirement("platform", ok, detail, "everything", mend)


def _packages() -> Requirement:
    try:
        found, wrong = _installed("")
    except importlib.metadata.PackageNotFoundError:
        mend = "pip install --upgrade qdp-tuner"
        return Requirement("packages", False, "tuner is not installed, only importable", "everything", mend)
    mend = "pip install --upgrade qdp-tuner" if wrong else ""
    return Requirement("packages", not wrong, ", ".join(wrong or found), "everything", mend)


def _language(name: str, extra: str) -> Requirement:
    """What kernels in a language other than Triton and PTX need."""
    needed_for, mend = f"kernels in {name}", f"pip install 'qdp-tuner[{extra}]'"
    try:
        base, _ = _installed("")
        found, wrong = _installed(extra)
    except importlib.metadata.PackageNotFoundError:
        return Requirement(name, False, "tuner is not installed, only importable", needed_for, mend)
    own = [package for package in found if package not in base]
    ok = bool(own) and not wrong
    return Requirement(name, ok, ", ".join(wrong or own) or f"no extra called {extra}", needed_for, "" if ok else mend)


def _installed(extra: str) -> tuple[list[str], list[str]]:
    """What an extra requires, the base included: packages with their versions, and what is wrong with the others."""
    from packaging.requirements import Requirement

    found, wrong = [], []
    for line in importlib.metadata.requires("qdp-tuner") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if version in requirement.specifier:
            found.append(f"{requirement.name} {version}")
        else:
            wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
    return found, wrong


def _triton_tools() -> Requirement:
    mend = "pip install --force-reinstall triton"
    try:
        from triton import knobs

        path = knobs.nvidia.ptxas.path
        line = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[-2]
    except Exception as e:
        return Requirement("triton", False, f"{type(e).__name__}: {e}", "compiling", mend)
    version = importlib.metadata.version("triton")
    return Requirement("triton", True, f"triton {version}, ptxas {line.split(', ')[-1]}", "compiling")


def _folder(name: str, place: Callable[[], Path], needed_for: str, mend: str) -> Requirement:
    folder = place()
    try:
        there = next(p for p in (folder, *folder.parents) if p.exists())
        with tempfile.TemporaryFile(dir=there):
            return Requirement(name, True, str(folder), needed_for)
    except OSError as e:
        return Requirement(name, False, f"{folder} cannot be written: {e.strerror}", needed_for, mend)


def _cache_folder() -> Path:
    from tuner.store.cache import default_path

    return default_path().parent


def _store_folder() -> Path:
    from tuner.compile.blobs import default_folder

    return default_folder()


def _cuda() -> Requirement:
    from tuner.gpu.present import available

    reason = available()
    if reason is None:
        return Requirement("cuda", True, "a GPU answers", "measuring: --backend cuda")
    mend = f"pip install 'qdp-tuner[{BACKENDS['cuda'].extra}]' on a GPU machine"
    return Requirement("cuda", False, reason, "measuring: --backend cuda", mend)


def _tensorrt() -> Requirement:
    from tuner.gpu.driver import driver_version
    from tuner.gpu.present import available
    from tuner.qdp.library import lack, version
    from tuner.qdp.preview import known

    needed_for = "engines: --backend tensorrt"
    found = lack(None if available() else driver_version())
    if found is None:
        return Requirement("tensorrt", True, f"TensorRT {version()}; {known()}", needed_for)
    return Requirement("tensorrt", False, found.what, needed_for, found.mend)


_LOAD = """
from tuner.qdp.preview import known
from tuner.qdp.rehearsal.bindings import BindingsError, load
from tuner.qdp.rehearsal.builder import check_versions
try:
    print(load().__version__)
    print(known())
    check_versions({"amount": 1})
except BindingsError as e:
    sys.exit(str(e))
try:
    check_versions({"name": ""})
except BindingsError:
    print("texts and arrays as attributes need numpy<2")
"""


def _rehearsal() -> Requirement:
    # It needs a process of its own: isolated, so that a random.py in the current folder is not taken for Python's.
    path = [place for place in sys.path if Path(place).is_absolute()]
    code = f"import sys; sys.path[:] = {path!r}\n{_LOAD}"
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    if run.returncode == 0:
        detail = "Python layer of TensorRT " + "; ".join(run.stdout.splitlines())
        return Requirement("rehearsal", True, detail, "rehearse")
    why, _, mend = run.stderr.strip().splitlines()[-1].rpartition("; ")
    return Requirement("rehearsal", False, why or mend, "rehearse", mend)


@click.command()
@common_options
def doctor(as_json: bool) -> None:
    """Say what works on this machine, what is missing, and the command that mends it."""
    from dataclasses import asdict

    from tuner.cli.console import new_table, print_table

    checks = examine()
    usable = usable_backends(checks)
    if as_json:
        print_json({"checks": [asdict(c) for c in checks], "backends": usable})
    else:
        table = new_table("", "", "found", "needed for")
        for c in checks:
            table.add_row("ok" if c.ok else "--", c.name, c.detail, c.needed_for)
        print_table(table)
        for c in checks:
            if not c.ok:
                click.echo(f"{c.name}: {c.mend}")
        click.echo("backends: " + ", ".join(f"{name} {'works' if ok else 'no'}" for name, ok in usable.items()))
    if not usable["model"]:
        sys.exit(3)
