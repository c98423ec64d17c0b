"""Fixtures that several test modules share."""

from __future__ import annotations

from pathlib import Path

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
