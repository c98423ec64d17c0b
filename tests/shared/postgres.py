"""A PostgreSQL server for the tests that need one, under a user that is not root."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PASSWORD = "hunter2!"


def programs() -> Path | None:
    """Where initdb and pg_ctl are; Debian keeps them off PATH."""
    debian = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), key=len)
    found = shutil.which("initdb", path=os.pathsep.join([os.environ.get("PATH", ""), *debian]))
    return None if found is None else Path(found).parent


@contextmanager
def server(binaries: Path) -> Iterator[str]:
    """Run a server; yields the URL of its administrator, without a database. Everybody has the same password."""
    with tempfile.TemporaryDirectory() as made:
        folder, user = Path(made), None
        (folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody").pw_name
            for path in (folder, folder / "password"):
                shutil.chown(path, user)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]

        def do(program: str, *arguments: str) -> None:
            # Not a pipe: the server would inherit it and keep it open.
            command = [str(binaries / program), *arguments]
            subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)

        do("initdb", "-D", "data", "-U", "tuner", "-A", "scram-sha-256", "--pwfile=password", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        do("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")
        try:
            yield f"postgresql://tuner:{PASSWORD}@127.0.0.1:{port}"
        finally:
            do("pg_ctl", "-D", "data", "-m", "immediate", "stop")
