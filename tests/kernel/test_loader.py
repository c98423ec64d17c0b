"""Kernels are found where the user says, and nowhere else."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from tuner.errors import ConfigError
from tuner.kernel.loader import load_kernel
from tuner.kernel.references import KernelRef, ref_of

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
INLINE = "launch=lambda N, BLOCK: Launch(grid=(cdiv(N, BLOCK),), args=(N,))"
LAUNCH = """
def launch(N, BLOCK):
    return Launch(grid=(cdiv(N, BLOCK),), args=(N,))
"""


def id_of(ref: KernelRef) -> str:
    """Run in another process."""
    return ref.load().id


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


def test_a_file_that_failed_is_executed_again(tmp_path: Path) -> None:
    (tmp_path / "copy.py").write_text("import helper_that_comes_later\n" + KERNEL)
    with pytest.raises(ConfigError, match="ModuleNotFoundError"):
        load_kernel("copy.py", tmp_path)
    (tmp_path / "helper_that_comes_later.py").write_text("")
    importlib.invalidate_caches()
    assert load_kernel("copy.py", tmp_path).id == "test::copy"


def test_a_lack_of_memory_is_not_the_files_mistake(tmp_path: Path) -> None:
    (tmp_path / "copy.py").write_text("raise MemoryError\n")
    with pytest.raises(MemoryError):
        load_kernel("copy.py", tmp_path)


def test_a_file_or_module_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"kernel file {tmp_path / 'gone.py'} does not exist"):
        load_kernel("gone.py", tmp_path)
    with pytest.raises(ConfigError, match="no_such_module_at_all"):
        load_kernel("no_such_module_at_all:kernel", tmp_path)


def test_a_module_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in (("raises_on_import", "1 / 0\n"), ("exits_on_import", "raise SystemExit(3)\n")):
        (tmp_path / f"{name}.py").write_text(text)
        with pytest.raises(ConfigError, match=rf"kernel '{name}:kernel' raised \w+ on import"):
            load_kernel(f"{name}:kernel", tmp_path)


def test_a_kernel_of_a_package_may_import_its_relatives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package_of_kernels"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "grids.py").write_text("from tuner import Launch, cdiv\n" + LAUNCH)
    (package / "copy.py").write_text("from .grids import launch\n" + KERNEL.replace(INLINE, "launch=launch"))
    monkeypatch.syspath_prepend(tmp_path)
    kernel = load_kernel("package_of_kernels.copy:kernel", Path())
    assert ref_of(kernel) == KernelRef("package_of_kernels.copy", "kernel", "test::copy")


@pytest.mark.parametrize("first", ["", "from __future__ import annotations\n"])
def test_constants_are_found_whether_annotations_are_objects_or_text(tmp_path: Path, first: str) -> None:
    (tmp_path / "copy.py").write_text(first + KERNEL)
    assert load_kernel("copy.py", tmp_path).constant_names == ("BLOCK",)


def test_a_reference_leads_back_to_the_kernel_in_a_spawned_process(tmp_path: Path) -> None:
    (tmp_path / "copy.py").write_text(KERNEL + "other = made('test::other')\n")
    for name in ("kernel", "other"):
        kernel = load_kernel(f"copy.py:{name}", tmp_path)
        ref = ref_of(kernel)
        assert ref.load() is kernel
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            assert pool.submit(id_of, ref).result() == kernel.id


def test_a_reference_leads_to_the_file_with_the_kernel_when_its_launch_is_a_siblings(tmp_path: Path) -> None:
    (tmp_path / "grids_of_copy.py").write_text("from tuner import Launch, cdiv\n" + LAUNCH)
    (tmp_path / "copy.py").write_text("from grids_of_copy import launch\n" + KERNEL.replace(INLINE, "launch=launch"))
    kernel = load_kernel("copy.py", tmp_path)
    assert ref_of(kernel) == KernelRef(str(tmp_path / "copy.py"), "kernel", "test::copy")
    assert ref_of(kernel).load() is kernel


def test_two_kernels_with_one_id_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "copy.py").write_text(KERNEL + "twin = made('test::copy')\n")
    twin = load_kernel("copy.py:twin", tmp_path)
    assert ref_of(twin).load() is twin


def test_a_kernel_that_no_variable_holds_cannot_be_sent(tmp_path: Path) -> None:
    (tmp_path / "copy.py").write_text(KERNEL)
    kernel = load_kernel("copy.py", tmp_path)
    with pytest.raises(ConfigError, match="kernel 'test::copy' cannot be imported by worker processes; assign it"):
        ref_of(dataclasses.replace(kernel, attributes={}))


SCRIPT = """
import subprocess, sys
from tuner.kernel.references import ref_of
if __name__ == "__main__":
    code = f"from tuner.kernel.references import KernelRef; print({ref_of(kernel)!r}.load().id)"
    subprocess.run([sys.executable, "-c", code], check=True)
"""


def test_another_process_finds_a_kernel_of_a_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(KERNEL + SCRIPT)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.stdout == "test::copy\n", done.stderr


def test_a_script_may_import_its_kernel(tmp_path: Path) -> None:
    (tmp_path / "copy_of_script.py").write_text(KERNEL)
    script = tmp_path / "script.py"
    script.write_text(
        "from copy_of_script import kernel\n"
        "from tuner.kernel.references import ref_of\n"
        "print(ref_of(kernel).location)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.stdout == "copy_of_script\n", done.stderr


def test_a_kernel_declared_at_a_prompt_cannot_be_sent(tmp_path: Path) -> None:
    (tmp_path / "copy_at_prompt.py").write_text(KERNEL)
    code = (
        "import dataclasses, copy_at_prompt\n"
        "kernel = dataclasses.replace(copy_at_prompt.kernel, id='test::prompt')\n"
        "from tuner.kernel.references import ref_of\nref_of(kernel)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "ConfigError: kernel 'test::prompt' cannot be imported by worker processes" in done.stderr
