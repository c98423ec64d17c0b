"""Fixtures that several test modules share."""

from __future__ import annotations

import secrets
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import postgres
import pytest
from workspace import Workspace

# Whoever runs the tests in the background, or under nohup, hands down signals that are ignored, and commands that
# tests start would keep ignoring them.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


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


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A PostgreSQL server of our own: the URL of its administrator, without a database."""
    pytest.importorskip("psycopg", reason="needs the extra [postgresql]")
    binaries = postgres.programs()
    if binaries is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not installed")
    with postgres.server(binaries) as url:
        yield url


@pytest.fixture
def postgresql(postgresql_server: str) -> str:
    """The URL of a new database."""
    import sqlalchemy as sa

    name = f"trials_{secrets.token_hex(4)}"
    address = f"{postgresql_server}/postgres".replace("postgresql:", "postgresql+psycopg:")
    with sa.create_engine(address, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    return f"{postgresql_server}/{name}"


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
