"""What `tuner new` writes works as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tuner.cli.new import write_starter
from tuner.errors import ConfigError, StorageError
from tuner.kernel.loader import load_kernel
from tuner.tuning.config import load_config


def test_the_starting_files_pass_their_own_test(tmp_path: Path, compiled: Path) -> None:
    files = write_starter("saxpy", tmp_path)
    assert [str(f.relative_to(tmp_path)) for f in files] == [
        "kernels/saxpy.py",
        "configs/saxpy.toml",
        "tests/test_saxpy.py",
    ]
    assert load_config(files[1]).problems[0].kernel.id == "example::saxpy"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    environment = {**os.environ, "TUNER_COMPILE_CACHE": str(compiled)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_file_that_exists_is_kept(tmp_path: Path) -> None:
    mine = tmp_path / "configs" / "saxpy.toml"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(ConfigError, match=f"{mine} exists"):
        write_starter("saxpy", tmp_path)
    assert mine.read_text() == "mine"
    assert not (tmp_path / "kernels").exists()


@pytest.mark.parametrize("name", ["2fast", "my-kernel", "", "class", "größe"])
def test_a_name_that_is_no_identifier_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a Python function"):
        write_starter(name, tmp_path)


@pytest.mark.parametrize("name", ["random", "triton", "sys", "__main__"])
def test_a_name_whose_file_would_hide_a_module_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' is a module Python already knows; .* such as my_{name}"):
        write_starter(name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["kernel", "Kernel", "cdiv", "tl"])
def test_a_name_that_the_file_itself_uses_works(tmp_path: Path, name: str) -> None:
    write_starter(name, tmp_path)
    assert load_kernel(f"kernels/{name}.py", tmp_path).id == f"example::{name}"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_starter("saxpy", tmp_path / "file")


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "saxpy.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(StorageError, match=r"saxpy\.py cannot be written: File exists"):
        write_starter("saxpy", tmp_path)
    assert not (tmp_path / "elsewhere.py").exists()
