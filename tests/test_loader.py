"""Kernels are found where the user says, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tuner.errors import ConfigError
from tuner.loader import load_kernel, ref_of

KERNEL = """
import triton
import triton.language as tl
from tuner import Kernel, Launch, Tensor, cdiv, choice

@triton.jit
def copy(x_ptr, n, y_ptr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + i, tl.load(x_ptr + i, mask=i < n), mask=i < n)

def made(id):
    return Kernel(
        id=id, source=copy, inputs={"x": Tensor("fp32", "*N")}, outputs={"y": Tensor("fp32", "*N")},
        params=[choice("BLOCK", 64, 128)], default={"BLOCK": 64}, reference=lambda x: x,
        launch=lambda N, BLOCK: Launch(grid=(cdiv(N, BLOCK),), args=(N,)),
    )

kernel = made("test::copy")
"""


def test_a_kernel_is_found_by_file_and_by_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "copy_by_module.py").write_text(KERNEL)
    monkeypatch.syspath_prepend(tmp_path)
    assert load_kernel("copy_by_module.py", tmp_path).id == "test::copy"
    assert load_kernel("copy_by_module.py:kernel", tmp_path).id == "test::copy"
    assert load_kernel("copy_by_module:kernel", Path()).id == "test::copy"


def test_the_same_file_is_executed_once(tmp_path: Path) -> None:
    (tmp_path / "copy.py").write_text(KERNEL)
    assert load_kernel("copy.py", tmp_path) is load_kernel(str(tmp_path / "copy.py"), Path())


def test_a_file_may_import_its_siblings_and_leaves_the_path_alone(tmp_path: Path) -> None:
    (tmp_path / "sibling_of_copy.py").write_text("BLOCKS = (64, 128)\n")
    (tmp_path / "copy.py").write_text("from sibling_of_copy import BLOCKS\n" + KERNEL)
    before = list(sys.path)
    assert load_kernel("copy.py", tmp_path).id == "test::copy"
    assert sys.path == before


def test_one_of_several_kernels_is_named(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(KERNEL + "\nother = made('test::other')\n")
    assert load_kernel("two.py:other", tmp_path).id == "test::other"
    with pytest.raises(ConfigError, match=r"two.py holds several kernels; name one: two.py:kernel, two.py:other"):
        load_kernel("two.py", tmp_path)
    with pytest.raises(ConfigError, match=r"holds no Kernel called 'othr'; did you mean 'other'\?"):
        load_kernel("two.py:othr", tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", r"bad.py holds no Kernel"),
        ("x = 1\n1 / 0\n", r"bad.py:2 raised ZeroDivisionError on import: division by zero"),
        ("x = (\n", r"bad.py:1 raised SyntaxError"),
        ("import a_module_that_is_not_there\n", r"bad.py:1 raised ModuleNotFoundError"),
        ("raise SystemExit(3)\n", r"bad.py:1 raised SystemExit"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_with_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_kernel("bad.py", tmp_path)


def test_a_file_or_module_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"kernel file {tmp_path / 'gone.py'} does not exist"):
        load_kernel("gone.py", tmp_path)
    with pytest.raises(ConfigError, match="no_such_module_at_all"):
        load_kernel("no_such_module_at_all:kernel", tmp_path)


def test_another_process_finds_a_kernel_of_a_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        KERNEL
        + "import subprocess, sys\n"
        + "from tuner.loader import KernelRef, ref_of\n"
        + "if __name__ == '__main__':\n"
        + "    code = f'from tuner.loader import KernelRef; print({ref_of(kernel)!r}.load().id)'\n"
        + "    subprocess.run([sys.executable, '-c', code], check=True)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.stdout == "test::copy\n", done.stderr


def test_a_reference_leads_back_to_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "copy.py").write_text(KERNEL)
    kernel = load_kernel("copy.py", tmp_path)
    assert ref_of(kernel).load() is kernel
