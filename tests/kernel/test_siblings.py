"""Files of a folder import each other, see nothing of other folders, and are what they are now."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import ConfigError
from tuner.kernel.loader import import_file, load_kernel
from tuner.kernel.references import KernelRef, ref_of

KERNEL = """
import triton
import triton.language as tl
from tuner import Kernel, Launch, Tensor, cdiv, choice
{imports}

@triton.jit
def scale(x_ptr, n, y_ptr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + i, {name}(tl.load(x_ptr + i, mask=i < n)), mask=i < n)

kernel = Kernel(
    id="test::scale", source=scale, inputs={{"x": Tensor("fp32", "*N")}}, outputs={{"y": Tensor("fp32", "*N")}},
    params=[choice("BLOCK", 64, 128)], default={{"BLOCK": 64}}, reference=lambda x: x,
    launch=lambda N, BLOCK: Launch(grid=(cdiv(N, BLOCK),), args=(N,)),
)
"""
ACT = "import triton\n\n@triton.jit\ndef act(x):\n    return x * {factor}\n"


def write(folder: Path, **files: str) -> Path:
    """Write Python files; their names may have folders before them."""
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


WAYS = {
    "from a module": ("from shared import act", "act"),
    "module": ("import shared", "shared.act"),
    "module under another name": ("import shared as other", "other.act"),
    "from a package": ("from parts.shared import act", "act"),
    "module of a package": ("import parts.shared", "parts.shared.act"),
    "module of a package under another name": ("import parts.shared as other", "other.act"),
    "module from a package": ("from parts import shared", "shared.act"),
    "from a module beside": ("from .shared import act", "act"),
    "star": ("from shared import *", "act"),
    "module of a sibling": ("from between import act", "act"),
    "folder on the path": (
        "import sys, os; sys.path.insert(0, os.path.dirname(__file__) + '/parts'); from elsewhere import act",
        "act",
    ),
}


@pytest.mark.parametrize(("imports", "name"), WAYS.values(), ids=WAYS)
def test_helpers_of_the_same_name_are_told_apart(tmp_path: Path, imports: str, name: str) -> None:
    sources = []
    before = list(sys.path)
    for factor in (2, 3):
        act = ACT.format(factor=factor)
        folder = write(
            tmp_path / str(factor),
            kernel=KERNEL.format(imports=imports, name=name),
            shared=act,
            between="from shared import act\n",
            **{"parts/shared": act, "parts/elsewhere": act},
        )
        sources.append(load_kernel("kernel.py", folder).code.text())
    assert ["x * 2" in text for text in sources] == [True, False]
    assert ["x * 3" in text for text in sources] == [False, True]
    assert sys.path == before
    assert not {"shared", "parts", "elsewhere", "between"} & sys.modules.keys()


def text_of(ref: KernelRef) -> str:
    """Run in another process."""
    return ref.load().code.text()


def test_a_worker_process_tells_helpers_apart_too(tmp_path: Path) -> None:
    kernels = []
    for factor in (2, 3):
        text = KERNEL.format(imports="from shared import act", name="act")
        folder = write(tmp_path / str(factor), kernel=text, shared=ACT.format(factor=factor))
        kernels.append(load_kernel("kernel.py", folder))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(text_of, map(ref_of, kernels))) == [kernel.code.text() for kernel in kernels]


def test_a_function_that_imports_when_it_is_called_gets_its_own(tmp_path: Path) -> None:
    reads = "def value():\n    import shared\n    return shared.K\n"
    functions = [
        import_file(write(tmp_path / str(k), shared=f"K = {k}\n", reads=reads) / "reads.py").value for k in (1, 2)
    ]
    assert [f() for f in functions] == [1, 2]
    write(tmp_path / "1", shared="K = 3\n")
    assert import_file(tmp_path / "1" / "reads.py").value() == 3
    assert functions[0]() == 1


def test_what_is_beside_no_file_is_imported_as_usual(tmp_path: Path) -> None:
    module = import_file(write(tmp_path, reads="import json, os.path\nimport numpy.linalg as l\n") / "reads.py")
    import numpy as np

    assert module.json is sys.modules["json"] and module.os is os and module.l is np.linalg


@pytest.mark.parametrize("name", ["copy", "triton", "numpy", "tuner"])
def test_a_file_may_be_called_like_a_library(tmp_path: Path, name: str) -> None:
    write(tmp_path, **{name: f"import {name}\nlibrary = {name}\n", "other": f"import {name}\nlibrary = {name}\n"})
    for file in (f"{name}.py", "other.py"):
        assert import_file(tmp_path / file).library is importlib.import_module(name)


def test_files_of_one_folder_share_their_siblings(tmp_path: Path) -> None:
    write(
        tmp_path, shared="class C:\n    pass\n", one="from shared import C\n", two="from shared import C\nimport one\n"
    )
    first, second = import_file(tmp_path / "one.py"), import_file(tmp_path / "two.py")
    assert first.C is second.C and second.one is first


@pytest.mark.parametrize("edited", ["kernel", "shared"])
def test_an_edit_within_a_second_is_noticed(tmp_path: Path, edited: str) -> None:
    text = {"kernel": KERNEL.format(imports="from shared import act", name="2 * act"), "shared": ACT.format(factor=2)}
    write(tmp_path, **text)
    code = (
        "import sys; from pathlib import Path; from tuner.kernel.loader import load_kernel\n"
        "print(load_kernel('kernel.py', Path(sys.argv[1])).code.text())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def loaded() -> str:
        for file in text:
            os.utime(tmp_path / f"{file}.py", (1_700_000_000, 1_700_000_000))
        command = [sys.executable, "-c", code, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    before, here = loaded(), load_kernel("kernel.py", tmp_path).code.text()
    write(tmp_path, **{edited: text[edited].replace("2 *", "3 *").replace("* 2", "* 3")})
    after = loaded()
    assert before.replace("2", "3") == after.replace("2", "3") and before != after
    assert here == before.removesuffix("\n")
    assert load_kernel("kernel.py", tmp_path).code.text() == after.removesuffix("\n")


def test_the_code_that_triton_compiles_is_what_was_loaded(tmp_path: Path) -> None:
    """Triton asks `inspect` for the source, which goes by the time stamp of the file."""
    for factor in (2, 3):
        write(tmp_path, shared=ACT.format(factor=factor), reads="from shared import act\n")
        os.utime(tmp_path / "shared.py", (1_700_000_000, 1_700_000_000))
        assert f"x * {factor}" in import_file(tmp_path / "reads.py").act.src


PACKAGE = {
    "ops/__init__": "NAME = 'ops'\n",
    "ops/common/__init__": "",
    "ops/common/act": ACT.format(factor=2),
    "ops/norms/__init__": "",
    "ops/norms/near": ACT.format(factor=5),
}


@pytest.mark.parametrize(
    ("imports", "factor"),
    [
        ("from ..common.act import act", 2),
        ("from .near import act", 5),
        ("from ops.common.act import act", 2),
        ("from .. import NAME\nfrom ..common import act as module\nact = module.act", 2),
        ("from near import act", 5),
        ("from near import act\nfrom ..common import act as module", 5),
    ],
)
@pytest.mark.parametrize("spec", ["ops/norms/scale.py", "ops.norms.scale:kernel"])
def test_a_file_of_a_package_imports_its_relatives(tmp_path: Path, spec: str, imports: str, factor: int) -> None:
    write(tmp_path, **PACKAGE, **{"ops/norms/scale": KERNEL.format(imports=imports, name="act")})
    kernel = load_kernel(spec, tmp_path)
    assert f"x * {factor}" in kernel.code.text()
    assert ref_of(kernel).load() is kernel
    assert ref_of(kernel).location == str(tmp_path / "ops/norms/scale.py")


def test_a_package_that_is_not_needed_is_not_executed(tmp_path: Path) -> None:
    write(tmp_path, **{"ops/__init__": "raise RuntimeError\n", "ops/scale": KERNEL.format(imports="", name="")})
    assert load_kernel("ops/scale.py", tmp_path).id == "test::scale"


def test_a_module_of_the_working_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = KERNEL.format(imports="from .common.act import act", name="act")
    write(tmp_path / "cwd", **PACKAGE, **{"ops/scale": text})
    monkeypatch.chdir(tmp_path / "cwd")
    assert load_kernel("ops.scale:kernel", tmp_path).id == "test::scale"
    with pytest.raises(ConfigError, match="No module named 'opz'; name a file as"):
        load_kernel("opz.scale:kernel", tmp_path)


@pytest.mark.parametrize("imports", ["from lib.act import act", "from loose import act"])
def test_a_file_imports_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imports: str) -> None:
    act = ACT.format(factor=7)
    write(tmp_path, **{"kernels/scale": KERNEL.format(imports=imports, name="act"), "lib/act": act, "loose": act})
    monkeypatch.chdir(tmp_path)
    kernel = load_kernel("kernels/scale.py", tmp_path)
    assert "x * 7" in kernel.code.text()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(text_of, ref_of(kernel)).result() == kernel.code.text()


def test_a_module_of_the_working_folder_comes_before_an_installed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, **{"numpy/scale": KERNEL.format(imports="", name="")})
    monkeypatch.chdir(tmp_path)
    assert load_kernel("numpy.scale:kernel", tmp_path).id == "test::scale"


def test_relatives_are_found_in_packages_without_an_init(tmp_path: Path) -> None:
    text = KERNEL.format(imports="from ..b.act import act", name="act")
    write(tmp_path, **{"ns/a/scale": text, "ns/b/act": ACT.format(factor=7)})
    assert "x * 7" in load_kernel("ns/a/scale.py", tmp_path).code.text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "import parts.nothing\n",
            r"reads\.py:1 raised ModuleNotFoundError on import: No module named 'parts\.nothing'",
        ),
        ("from shared import nothing\n", r"reads\.py:1 raised ImportError on import: cannot import name 'nothing'"),
        ("import broken\n", r"reads\.py:1 raised ZeroDivisionError on import"),
        ("from ... import far\n", r"reads\.py:1 raised ImportError on import: attempted relative import beyond"),
    ],
)
def test_an_import_that_fails_is_an_error_with_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path, reads=text, shared="", broken="1 / 0\n", **{"parts/__init__": ""})
    with pytest.raises(ConfigError, match=said):
        import_file(tmp_path / "reads.py")


def test_a_name_with_dots_is_a_name(tmp_path: Path) -> None:
    (tmp_path / "scale.v2.py").write_text("from shared import K\n")
    write(tmp_path, shared="K = 1\n")
    assert import_file(tmp_path / "scale.v2.py").K == 1


def test_a_sibling_may_import_the_file_that_imports_it(tmp_path: Path) -> None:
    write(tmp_path, one="import two\nK = two.K\n", two="import one\nK = 1\n")
    assert import_file(tmp_path / "one.py").K == 1


def test_what_a_library_puts_on_the_path_stays(tmp_path: Path) -> None:
    added = str(tmp_path / "site-packages" / "more")
    write(tmp_path, reads=f"import sys\nsys.path.append({added!r})\n")
    try:
        import_file(tmp_path / "reads.py")
        assert added in sys.path
    finally:
        sys.path.remove(added)


def test_folders_are_loaded_at_the_same_time(tmp_path: Path) -> None:
    barrier = threading.Barrier(2, timeout=60)

    def load(number: int) -> Any:
        folder = write(tmp_path / str(number), shared=f"K = {number}\n", reads="import json, shared\nK = shared.K\n")
        barrier.wait()
        return import_file(folder / "reads.py").K

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(load, (1, 2))) == [1, 2]
