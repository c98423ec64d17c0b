"""What is known of Triton's insides is in few places, and of the versions that are allowed."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PLACES = {
    "compile/assembler.py": "its assembler",
    "frontends/triton_stages.py": "its compiler",
    "frontends/triton_arguments.py": "its parameters",
    "frontends/triton.py": "what its cache asks of the environment",
    "frontends/gluon.py": "what it makes of a Gluon function",
    "gate/internals.py": "its interpreter",
    "gpu/stand_in_driver.py": "its driver",
    "kernel/autotune.py": "its autotuner",
}
"""The modules that import what Triton does not document, by what of it they know."""

PUBLIC = ("triton", "triton.language", "triton.language.extra", "triton.language.extra.cuda")
RANGE = "Triton 3.6 to 3.9"


def private_imports(path: Path) -> set[str]:
    """The modules of Triton that a file imports, less those that are documented."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {name for name in found if name.partition(".")[0] == "triton"} - set(PUBLIC)


def test_few_modules_know_what_triton_does_not_document() -> None:
    package = ROOT / "tuner"
    found = {str(path.relative_to(package)) for path in package.rglob("*.py") if private_imports(path)}
    assert found <= set(PLACES)


def test_the_range_that_modules_state_is_the_one_that_installs() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (allowed,) = (r.specifier for r in map(Requirement, dependencies) if r.name == "triton")
    assert [v for v in ("3.5.1", "3.6.0", "3.9.0", "3.10.0") if v in allowed] == ["3.6.0", "3.9.0"]
    assert Version(importlib.metadata.version("triton")) in allowed
    texts = {path.name: " ".join(path.read_text().split()) for path in (ROOT / "tuner").rglob("*.py")}
    stated = {name: set(re.findall(r"Triton 3\.\d+ to 3\.\d+", text)) for name, text in texts.items()}
    stating = {name for name, ranges in stated.items() if ranges}
    assert stating >= {"stand_in_driver.py", "triton_stages.py", "internals.py", "aggregates.py", "objects.py"}
    assert set().union(*stated.values()) == {RANGE}
