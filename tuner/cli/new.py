"""Write a kernel, a config and a test to start from."""

from __future__ import annotations

import importlib.util
import keyword
import sys
from importlib import resources
from pathlib import Path
from string import Template

import click

from tuner.cli.common import common_options, print_json
from tuner.errors import ConfigError, StorageError

FILES = {
    "kernel.py.txt": "kernels/{name}.py",
    "config.toml.txt": "configs/{name}.toml",
    "test.py.txt": "tests/test_{name}.py",
}


def write_starter(name: str, folder: Path) -> list[Path]:
    """Write the starting files of a new kernel.

    Args:
        name: an ASCII Python identifier that no importable module has, since a file of that name would hide
            the module from its siblings; the plugin becomes ``example::name``.
        folder: the project to write into; its `kernels`, `configs` and `tests` are made as needed.

    Returns:
        The files, kernel first.

    Raises:
        ConfigError: for another name, or a file that exists.
        StorageError: for a folder that cannot be written.
    """
    if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name):
        raise ConfigError(f"{name!r} cannot name a Python function; use letters, digits and underscores")
    if name in sys.modules or importlib.util.find_spec(name) is not None:
        raise ConfigError(f"{name!r} is a module Python already knows; choose a name of its own, such as my_{name}")
    targets = {template: folder / pattern.format(name=name) for template, pattern in FILES.items()}
    for path in targets.values():
        if path.exists():
            raise ConfigError(f"{path} exists; choose another name, or another folder with --out")
    for template, path in targets.items():
        text = (resources.files("tuner.cli") / "templates" / template).read_text()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x") as f:  # a link to nowhere does not "exist" above
                f.write(Template(text).substitute(name=name))
        except OSError as e:
            raise StorageError(f"{path} cannot be written: {e.strerror}; choose another folder with --out") from e
    return list(targets.values())


@click.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Project folder.  [default: here]")
@common_options
def new(name: str, out: Path, as_json: bool) -> None:
    """Write a kernel, a config and a test to start from."""
    files = write_starter(name, out)
    if as_json:
        print_json({"files": [str(f) for f in files]})
        return
    for file in files:
        click.echo(f"wrote {file}")
    click.echo(f"next  tuner tune {files[1]}")
