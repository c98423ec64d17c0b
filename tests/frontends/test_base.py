"""A front end is told plain data and says what is to be done to its PTX; the pipeline and the key do the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from declare import declare, double

import tuner.frontends
from tuner import Kernel, Launch, Problem, Range, Tensor, choice
from tuner.compile.pipeline import compile_key, compile_tactic
from tuner.compile.ptx import parse
from tuner.frontends import LANGUAGES, Source
from tuner.frontends.base import Emitted, IntegerFacts, Specialization
from tuner.gpu.target import Target
from tuner.kernel.problem import Dims
from tuner.outcome import TacticError

H100 = Target((9, 0))
TEXT = """\
.version 8.0
.target sm_90
.address_size 64
.visible .entry mangled_7(.param .u64 mangled_7_y, .param .u64 mangled_7_x, .param .u64 mangled_7_hidden)
.reqntid 64
{
    .reg .b64 %x, %y; .reg .f32 %v;
    ld.param.u64 %x, [mangled_7_x]; ld.param.u64 %y, [mangled_7_y];
    ld.global.f32 %v, [%x]; add.f32 %v, %v, %v; st.global.f32 [%y], %v;
    ret;
}
"""
EMITTED = Emitted(TEXT, order=(1, None, 0), entry="double")


@dataclass(frozen=True, eq=False)
class Toy(Source):
    """A front end that gives the same PTX whatever it is told."""

    emitted: Emitted = EMITTED
    variables: Mapping[str, str] = field(default_factory=dict)

    language = "Toy"
    options = {"speed": 1}

    def constants(self, declared: Sequence[str]) -> tuple[str, ...]:
        return tuple(declared)

    def text(self) -> str:
        return TEXT

    def tools(self) -> Mapping[str, str]:
        return {"toy": "1"}

    def environment(self) -> Mapping[str, str]:
        return self.variables

    def emit(self, specialization: Specialization) -> Emitted:
        return self.emitted


def test_parameters_are_put_in_order_and_the_entry_gets_its_name() -> None:
    artifact = compile_tactic(double(Toy()), {"THREADS": 64}, H100)
    entry = parse(artifact.ptx).entry
    assert (artifact.entry, artifact.block) == ("double", (64, 1, 1))
    assert [(p.name, p.type) for p in entry.params] == [
        ("double_x", "u64"),
        ("double_unused_1", "u32"),
        ("double_y", "u64"),
    ]
    assert "mangled" not in artifact.ptx


def test_a_parameter_that_no_launch_passes_may_not_be_used() -> None:
    emitted = Emitted(TEXT.replace("[mangled_7_x]", "[mangled_7_hidden]"), order=(1, None, 0))
    with pytest.raises(TacticError, match=r"parameter mangled_7_hidden cannot be removed: the body of mangled_7"):
        compile_tactic(double(Toy(emitted)), {"THREADS": 64}, H100)


def test_without_an_order_parameters_stay_as_they_are() -> None:
    with pytest.raises(TacticError, match=r"entry mangled_7: parameter 1 is \.u64; TensorRT passes a 32-bit integer"):
        compile_tactic(double(Toy(Emitted(TEXT))), {"THREADS": 64}, H100)


def test_a_front_end_is_told_all_that_is_known_as_plain_data() -> None:
    kernel = declare(
        Toy(),
        params=[choice("THREADS", 64), choice("speed", 1, 9)],
        default={"THREADS": 64, "speed": 9},
        attributes={"scale": 2.5},
        inputs={"x": Tensor("T", "*N"), "i": Tensor("i32", "N")},
        outputs={"y": Tensor("T", "*N"), "scratch": Tensor("i8", "64", scratch=True)},
        launch=lambda N, THREADS: Launch((N,), (N, 1, 16 * N), block=(THREADS,)),
        reference=lambda x, i: x,
    )
    problem = Problem.of(kernel, {"N": Range(3, 4, 5)}, {"T": "fp16"})
    assert problem.specialize({"THREADS": 64, "speed": 9}, (9, 0), (8, 7)) == Specialization(
        inputs=("fp16", "i32"),
        outputs=("fp16", "i8"),
        dtypes={"T": "fp16"},
        constants={"THREADS": 64, "speed": 9, "scale": 2.5},
        types=(),
        options={"speed": 9},
        integers=(IntegerFacts(False, False), IntegerFacts(True, False), IntegerFacts(False, True)),
        block=(64, 1, 1),
        scratch=True,
        appended=False,
        capability=(9, 0),
        newest_ptx=(8, 7),
    )


BASE: dict[str, Any] = {"attributes": {"scale": 2.0}, "reference": lambda x, scale: scale * x}


def key(changes: Mapping[str, Any], dims: Dims | None = None, dtype: str = "fp32", target: Target = H100) -> str:
    kernel: Kernel = declare(**{"source": Toy(), **BASE, **changes})
    return compile_key(Problem.of(kernel, dims or {"N": 1000}, {"T": dtype}), kernel.default, target)


def test_the_key_follows_everything_that_a_front_end_is_told() -> None:
    """Whatever the front end makes of it: none of them can forget a part."""

    def launched(*args: int, threads: int = 64, shared: int = 0) -> dict[str, Any]:
        return {"launch": lambda N, THREADS: Launch((1,), args, block=(threads,), shared_bytes=shared)}

    speeds = {"params": [choice("THREADS", 64), choice("speed", 1, 2)]}
    scratch = {"outputs": {"y": Tensor("T", "*N"), "s": Tensor("i8", "64", scratch=True)}}
    plain = {"outputs": {"y": Tensor("T", "*N"), "s": Tensor("i8", "64")}, "reference": lambda x, scale: (x, x)}
    keys = [
        key({}),
        key({}, dtype="fp16"),
        key({}, target=Target((8, 0))),
        key({}, target=Target((9, 0), (8, 0))),
        key({}, target=replace(H100, disassemble=False)),
        key({"attributes": {"scale": 3.0}}),
        key({"params": [choice("THREADS", 128)], "default": {"THREADS": 128}, **launched(1000)}),
        key({**speeds, "default": {"THREADS": 64, "speed": 1}}),
        key({**speeds, "default": {"THREADS": 64, "speed": 2}}),
        key({"outputs": {"y": Tensor("i8", "*N")}}),
        key(scratch),
        key(plain),
        key(launched()),
        key(launched(1)),
        key(launched(16)),
        key(launched(3, 3)),
        key(launched(1000, threads=32)),
        key(launched(1000, shared=64)),
        key({"source": Toy(variables={"TOY_FAST": "1"})}),
    ]
    assert len(set(keys)) == len(keys)


def test_shapes_that_code_cannot_tell_apart_share_it() -> None:
    """The grid is the same here: of its clusters, if it has any, only the code knows how they divide it."""
    same = {"launch": lambda N, THREADS: Launch((1,), (N,), block=(THREADS,))}
    assert key(same, {"N": 1000}) == key(same, {"N": 1001}) == key(same, {"N": Range(1, 2, 3)})
    assert key(same, {"N": 1024}) == key(same, {"N": 4096}) != key(same, {"N": 1000})


@pytest.mark.parametrize("name", LANGUAGES)
def test_the_table_of_languages_agrees_with_their_classes(name: str) -> None:
    assert getattr(tuner.frontends, name).language == LANGUAGES[name].name
    assert name in tuner.frontends.__all__
