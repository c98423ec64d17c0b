"""Constants that are words, data types, or follow from sizes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from declare import HEAD

from tuner import DType, Problem, Range, Word
from tuner.compile.pipeline import compile_tactic
from tuner.errors import ConfigError
from tuner.gate.verifier import Verifier
from tuner.gpu.target import Target
from tuner.kernel.identity import kernel_hash
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem_data import data_of, problem_from
from tuner.outcome import TacticError

TOTAL = (
    HEAD
    + """
from tuner import DType, Word

@triton.jit
def row_total(x_ptr, N, bias, y_ptr, SUM: tl.constexpr, OUT: tl.constexpr, END: tl.constexpr, WIDE: tl.constexpr):
    at = tl.arange(0, WIDE)
    x = tl.load(x_ptr + tl.program_id(0) * N + at, mask=at < N, other=0.0)
    if bias is not None:
        x += tl.load(bias + at, mask=at < N, other=0.0)
    value = tl.sum(x.to(SUM), axis=0)
    if END == "relu":
        value = tl.maximum(value, 0.0)
    tl.static_assert(OUT == y_ptr.dtype.element_ty)
    tl.store(y_ptr + tl.program_id(0), value.to(OUT))

kernel = Kernel(
    id="test::row_total",
    source=row_total,
    inputs={"x": Tensor("T", "M N")},
    outputs={"y": Tensor("U", "M")},
    dtypes={"T": ("fp16", "fp32"), "U": ("fp32", "fp16")},
    attributes={"SUM": tl.float32, "OUT": DType("U"), "END": Word("none", "relu")},
    absent=("bias",),
    constants=lambda N: {"WIDE": triton.next_power_of_2(N)},
    params=[],
    default={},
    launch=lambda M, N: Launch((M,), args={"N": N}),
    reference=lambda x, END: np.maximum(x.sum(axis=-1), 0) if END == "relu" else x.sum(axis=-1),
    tolerances={"fp32": Tolerance(2**-10, 2**-6), "fp16": Tolerance(2**-8, 2**-6)},
)
"""
)


def load(folder: Path, old: str = "", new: str = "") -> Problem:
    assert old in TOTAL
    (folder / "total.py").write_text(TOTAL.replace(old, new) if old else TOTAL)
    return Problem.of(load_kernel("total.py", folder), {"M": 4, "N": 100})


def test_constants_are_what_the_declaration_says(tmp_path: Path) -> None:
    usual = load(tmp_path)
    assert usual.attributes == {"SUM": "fp32", "OUT": "fp32", "END": "none"}
    assert usual.constants({}) == {"SUM": "fp32", "OUT": "fp32", "END": "none", "WIDE": 128, "bias": None}
    chosen = Problem.of(usual.kernel, {"M": 4, "N": 500}, {"U": "fp16"}, {"END": "relu", "SUM": "fp64"})
    assert chosen.constants({}) == {"SUM": "fp64", "OUT": "fp16", "END": "relu", "WIDE": 512, "bias": None}
    assert isinstance(chosen.constants({})["OUT"], DType) and not isinstance(chosen.constants({})["END"], DType)
    assert problem_from(data_of(chosen), chosen.kernel).attributes == chosen.attributes


def test_the_code_is_made_of_them_and_right(tmp_path: Path) -> None:
    usual = load(tmp_path)
    plain = compile_tactic(usual, {}, Target((9, 0)))
    relu = Problem.of(usual.kernel, {"M": 4, "N": 100}, {"U": "fp16"}, {"END": "relu"})
    assert compile_tactic(relu, {}, Target((9, 0))).ptx != plain.ptx
    for problem in (usual, relu):
        with closing(Verifier(problem, seed=0, store=None, workers=1, timeout_s=300, memory_bytes=2**32)) as gate:
            assert gate.submit({}).result().kind == "verified"


def test_a_constant_that_differs_within_the_range_refuses_the_tactic(tmp_path: Path) -> None:
    kernel = load(tmp_path).kernel
    assert Problem.of(kernel, {"M": 4, "N": Range(65, 100, 128)}).constants({})["WIDE"] == 128
    with pytest.raises(TacticError, match="the constant WIDE is 128 at some sizes of the range and 256 at others"):
        Problem.of(kernel, {"M": 4, "N": Range(65, 100, 129)}).constants({})


def test_the_hash_follows_what_constants_are_made_of(tmp_path: Path) -> None:
    usual, edited = (kernel_hash(load(tmp_path, *edit).kernel) for edit in ((), ("next_power_of_2(N)", "cdiv(N, 1)")))
    assert usual != edited


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"END": "tanh"}, "attributes.END: 'tanh' is not supported; there is none, relu"),
        ({"SUM": "fp31"}, "attributes.SUM: 'fp31' is not supported"),
        ({"SUM": 1}, "attributes.SUM: 1 is not of type str"),
    ],
)
def test_other_words_and_types_are_refused(tmp_path: Path, attributes: dict[str, str | int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Problem.of(load(tmp_path).kernel, {"M": 4, "N": 100}, attributes=attributes)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ('{"WIDTH": N}', "constants returns 'WIDTH', which is no constant of the source"),
        ('{"WIDE": N, "END": "relu"}', "constants returns 'END'.* or one that the declaration gives already"),
        ("{}", "constants returns no 'WIDE', which the source takes"),
        ("[N]", "constants must return a mapping by name"),
        ('{"WIDE": 1 // (N - N)}', "constants raised ZeroDivisionError"),
    ],
)
def test_what_constants_cannot_return_is_named(tmp_path: Path, returned: str, said: str) -> None:
    problem = load(tmp_path, '{"WIDE": triton.next_power_of_2(N)}', returned)
    with pytest.raises(ConfigError, match=said):
        problem.constants({})


@pytest.mark.parametrize("choices", [(), ("a", "a"), (1,)])
def test_a_choice_of_words_is_checked(choices: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="takes one text or several, each once"):
        Word(*choices)
