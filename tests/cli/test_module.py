"""`python -m tuner` is the command."""

from __future__ import annotations

import subprocess
import sys


def test_the_package_runs_as_the_command() -> None:
    run = subprocess.run([sys.executable, "-m", "tuner", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("tuner, version ")
