"""The hash of a kernel follows the code it runs, and nothing else."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tuner import Kernel
from tuner.errors import ConfigError
from tuner.frontends.python_source import source_hash, source_text
from tuner.kernel.identity import kernel_hash
from tuner.kernel.loader import import_file, load_kernel

HELPERS = '''\
import triton
import triton.language as tl

FACTOR = 2


@triton.jit
def twice(x):
    """Double."""
    return x * FACTOR_CONSTEXPR


FACTOR_CONSTEXPR = tl.constexpr(FACTOR)


def blocks(n, size):
    return -(-n // size) * SPLIT


SPLIT = 1
UNUSED = 3
'''

KERNEL = '''\
import triton
import triton.language as tl

import {helpers} as helpers
from {helpers} import twice
from tuner import Constraint, Kernel, Launch, Tensor, choice

BIAS: tl.constexpr = tl.constexpr(1.5)
x = 17  # the kernel has a local variable of this name
OFFSET = (1, {{"a": [2, 3]}})


@triton.jit
def scale(x_ptr, n, y_ptr, B: tl.constexpr):
    """Scale x.

    At length.
    """
    # a comment
    o = tl.program_id(0) * B + tl.arange(0, B)
    x = tl.load(x_ptr + o, mask=o < n)
    tl.store(y_ptr + o, twice(x) + BIAS, mask=o < n)


kernel = Kernel(
    id="test::scale",
    source=scale,
    inputs={{"x": Tensor("T", "N")}},
    outputs={{"y": Tensor("T", "N")}},
    dtypes={{"T": ("fp32", "fp16")}},
    params=[choice("B", 64, 128)],
    constraints=[Constraint("small", lambda B: B < 1024, "too large")],
    default={{"B": 64}},
    launch=lambda N, B: Launch(
        grid=(helpers.blocks(N, B) + OFFSET[0] - 1,),
        args=(N,),
    ),
    reference=lambda x: 2 * x + 1.5,
)
'''

Edit = Callable[[str], str]


def replacing(old: str, new: str) -> Edit:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return edit


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Kernel]:
    """Write a kernel file and its helper module into a folder of their own, and load them."""

    def make(kernel: Edit = str, helpers: Edit = str) -> Kernel:
        number = len(list(tmp_path.iterdir()))
        folder = tmp_path / f"copy{number}"
        folder.mkdir()
        name = f"helpers_{os.getpid()}_{abs(hash(str(folder)))}"
        (folder / f"{name}.py").write_text(helpers(HELPERS))
        (folder / "scale.py").write_text(kernel(KERNEL.format(helpers=name)))
        return load_kernel("scale.py", folder)

    return make


@pytest.mark.parametrize(
    ("kernel", "helpers"),
    [
        pytest.param(str, str, id="another folder and module name"),
        pytest.param(replacing("# a comment", "# another\n    # comment"), str, id="comment"),
        pytest.param(replacing("At length.", "Briefly."), str, id="docstring"),
        pytest.param(replacing("@triton.jit", "def new():\n    return 1\n\n\n@triton.jit"), str, id="moved"),
        pytest.param(
            replacing("(x_ptr + o, mask=o < n)", "(\n        x_ptr + o,\n        mask=o < n,\n    )"), str, id="layout"
        ),
        pytest.param(replacing("64, 128", "64, 128, 256"), str, id="space"),
        pytest.param(replacing("B < 1024", "B < 2048"), str, id="constraint"),
        pytest.param(replacing('{"B": 64}', '{"B": 128}'), str, id="default"),
        pytest.param(replacing("2 * x + 1.5,", "x + x + 1.5,"), str, id="reference"),
        pytest.param(replacing('("fp32", "fp16")', '("fp32", "fp16", "bf16")'), str, id="another data type"),
        pytest.param(replacing("x = 17", "x = 18"), str, id="global hidden by a local"),
        pytest.param(str, replacing("UNUSED = 3", "UNUSED = 4"), id="unused constant"),
        pytest.param(str, replacing('"""Double."""', '"""Times two."""'), id="docstring of a helper"),
    ],
)
def test_what_leaves_the_code_alone_leaves_the_hash_alone(
    load: Callable[..., Kernel], kernel: Edit, helpers: Edit
) -> None:
    assert kernel_hash(load(kernel, helpers)) == kernel_hash(load())


@pytest.mark.parametrize(
    ("kernel", "helpers"),
    [
        pytest.param(replacing("mask=o < n)\n    tl", "mask=o < n - 1)\n    tl"), str, id="source"),
        pytest.param(
            replacing("BIAS: tl.constexpr = tl.constexpr(1.5)", "BIAS = tl.constexpr(2.5)"), str, id="constexpr"
        ),
        pytest.param(str, replacing("return x * FACTOR", "return x * 2 * FACTOR"), id="jit helper"),
        pytest.param(str, replacing("FACTOR = 2", "FACTOR = 3"), id="constant of a helper"),
        pytest.param(replacing("args=(N,)", "args=(N + 1,)"), str, id="launch"),
        pytest.param(str, replacing("-(-n // size)", "n // size + 1"), id="function the launch calls through a module"),
        pytest.param(str, replacing("SPLIT = 1", "SPLIT = 2"), id="constant of that function"),
        pytest.param(replacing("[2, 3]", "[2, 4]"), str, id="constant inside a container"),
        pytest.param(replacing('"x": Tensor("T", "N")', '"x": Tensor("T", "*N")'), str, id="shape"),
        pytest.param(replacing('outputs={"y": Tensor("T"', 'outputs={"y": Tensor("fp32"'), str, id="dtype"),
        pytest.param(replacing('inputs={"x"', 'inputs={"z"'), str, id="tensor name"),
    ],
)
def test_what_changes_the_code_changes_the_hash(load: Callable[..., Kernel], kernel: Edit, helpers: Edit) -> None:
    def also_in_reference(text: str) -> str:
        text = kernel(text)
        return text.replace("lambda x: 2 * x", "lambda z: 2 * z") if '{"z"' in text else text

    assert kernel_hash(load(also_in_reference, helpers)) != kernel_hash(load())


def test_kernel_hash_is_the_same_in_another_process(load: Callable[..., Kernel], tmp_path: Path) -> None:
    expected = kernel_hash(load())
    code = (
        "import sys; from pathlib import Path\n"
        "from tuner.kernel.identity import kernel_hash; from tuner.kernel.loader import load_kernel\n"
        "print(kernel_hash(load_kernel('scale.py', Path(sys.argv[1]))))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "copy0")], capture_output=True, text=True)
    assert done.stdout.strip() == expected
    assert re.fullmatch(r"2:[0-9a-f]{64}", expected)


def test_text_names_libraries_and_spells_out_the_rest(load: Callable[..., Kernel]) -> None:
    text = source_text(load().source)
    assert "# tl = module triton.language\n" in text
    assert "# BIAS = constexpr(1.5)\n" in text
    assert "def twice(x):\n    return x * FACTOR_CONSTEXPR\n# FACTOR_CONSTEXPR = constexpr(2)" in text
    assert '"""' not in text and "comment" not in text


def closure(value: object) -> Callable[[], object]:
    return lambda: value


def test_values_of_a_closure_count() -> None:
    assert source_text(closure(1)) == "lambda: value\n# value = 1\n"
    assert source_hash(closure(1)) == source_hash(closure(1))
    assert source_hash(closure(1)) != source_hash(closure(2))
    assert source_hash(closure(1)) != source_hash(closure(True))


def test_lambdas_on_one_line_are_told_apart() -> None:
    first, second = (lambda a: a + 1), (lambda a: a * 2)
    assert source_text(first) == "lambda a: a + 1\n"
    assert source_text(second) == "lambda a: a * 2\n"


def even(n: int) -> bool:
    return n == 0 or odd(n - 1)


def odd(n: int) -> bool:
    return n != 0 and even(n - 1)


def test_functions_that_call_each_other_are_written_once() -> None:
    text = source_text(even)
    assert text.count("def even") == text.count("def odd") == 1


def test_file_edited_after_loading_does_not_change_what_was_loaded(load: Callable[..., Kernel], tmp_path: Path) -> None:
    kernel = load()
    before = kernel_hash(kernel)
    path = tmp_path / "copy0" / "scale.py"
    path.write_text(path.read_text().replace("x_ptr + o", "x_ptr + 2 * o"))
    assert kernel_hash(kernel) == before
    again = load_kernel("scale.py", tmp_path / "copy0")
    assert kernel_hash(again) != before
    assert "x_ptr + 2 * o" in source_text(again.source)


def test_source_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    scope: dict[str, Callable[[], int]] = {}
    exec("def f():\n    return 1", scope)
    with pytest.raises(ConfigError, match="cannot be read; put it into a file"):
        source_text(scope["f"])


EDITS = ["\n\n\ndef g():\n    return 1\n", "def f():\n    return 2\n", "def f(:\n"]


@pytest.mark.parametrize("edited", EDITS)
def test_file_edited_before_it_is_first_read_counts_as_it_was_loaded(tmp_path: Path, edited: str) -> None:
    path = tmp_path / "late.py"
    path.write_text("def f():\n    return 1\n")
    function = import_file(path).f
    path.write_text(edited)
    assert source_text(function) == "def f():\n    return 1\n"


@pytest.mark.parametrize("edited", EDITS)
def test_module_edited_before_it_is_first_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: str
) -> None:
    path = tmp_path / f"late_{EDITS.index(edited)}.py"
    path.write_text("def f():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    function = importlib.import_module(path.stem).f
    path.write_text(edited)
    with pytest.raises(ConfigError, match=r"late_\d\.py:1\): the file has changed since it was loaded; start again"):
        source_text(function)


def test_what_a_library_defines_is_known_by_name() -> None:
    assert source_text(len) == "builtins.len\n"
    assert source_text(np.flip) == f"numpy.flip of numpy {np.__version__}\n"


def test_where_this_package_keeps_what_a_kernel_uses_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "uses.py"
    path.write_text(
        "from tuner import Launch, Range, cdiv\n\nROWS = Range(1, 2, 3)\n\n\n"
        "def launch(N):\n    return Launch(grid=(cdiv(N, ROWS.opt),))\n"
    )
    meanings = [line for line in source_text(import_file(path).launch).splitlines() if line.startswith("#")]
    assert meanings == [
        *("# Launch = tuner.Launch", "# ROWS = object 1", "# cdiv = tuner.cdiv"),
        "# state = dict('min': 1, 'opt': 2, 'max': 3)",
    ]


AUTOTUNED = """\
import os

import triton
import triton.language as tl

WIDE = ({wide},)
LIMIT: tl.constexpr = tl.constexpr({limit})


def asked():
    return int(os.environ.get("ASKED_FOR", 64))


def configs():
    return [triton.Config({{"B": b}}) for b in (asked(), *WIDE)]


@triton.autotune(configs(), key=["n"])
@triton.heuristics({{"EVEN": lambda args: args["n"] % asked() == 0}})
@triton.jit({options})
def f(x_ptr, n, B: tl.constexpr, EVEN: tl.constexpr):
    o = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(x_ptr + o, {stored}, mask=o < n)
"""


def autotuned(folder: Path, **changes: str) -> object:
    """The compiled function under decorators that read the environment, as a file with some changes defines it."""
    (folder / f"f{len(list(folder.iterdir()))}.py").write_text(
        AUTOTUNED.format(**{"wide": "128", "limit": "7", "options": "", "stored": "LIMIT", **changes})
    )
    return import_file(max(folder.glob("f*.py"))).f.fn.fn


def test_what_decorators_of_a_compiled_function_read_is_not_its_code(tmp_path: Path) -> None:
    before = source_text(autotuned(tmp_path))
    assert source_text(autotuned(tmp_path, wide="256")) == before
    assert source_text(autotuned(tmp_path, limit="8")) != before
    assert source_text(autotuned(tmp_path, options="noinline=True")) != before


def test_what_the_code_itself_reads_is_refused_under_such_decorators_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"f \(.*\) reads os\.environ\.get, which gives it more"):
        source_text(autotuned(tmp_path, stored="os.environ.get('A', 1)"))
    with pytest.raises(ConfigError, match=r"asked \(.*\) reads os\.environ\.get, which gives it more"):
        source_text(autotuned(tmp_path, stored="asked()"))


def test_a_function_that_is_not_compiled_is_read_with_its_decorators(tmp_path: Path) -> None:
    (tmp_path / "g.py").write_text(
        "import os\n\n\ndef kept(key):\n    return lambda g: g\n\n\n"
        "@kept(os.environ.get('A'))\ndef g():\n    return 1\n"
    )
    with pytest.raises(ConfigError, match=r"g \(.*\) reads os\.environ\.get, which gives it more"):
        source_text(import_file(tmp_path / "g.py").g)
