"""Fixtures that several test modules share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from workspace import Workspace


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compile cache that fills as tests run."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def workspace(tmp_path: Path, compiled: Path) -> Workspace:
    """A folder with a kernel, a job of six trials and a recorded table."""
    made = Workspace(tmp_path, compiled)
    made.write()
    made.table()
    return made


_layer: dict[str, ModuleType] = {}


@pytest.fixture
def layer() -> Iterator[ModuleType]:
    """NVIDIA's Python layer as `tensorrt`, in this process; tests without this fixture do not find it.

    What is registered stays registered, so every test takes plugin ids of its own.
    """
    from tuner.qdp.rehearsal.bindings import load

    sys.modules.update(_layer)
    yield load()
    for name in [n for n in sys.modules if n.split(".")[0] in ("tensorrt", "tensorrt_bindings")]:
        _layer[name] = sys.modules.pop(name)
