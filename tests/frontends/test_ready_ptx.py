"""Ready PTX: placeholders are filled in, a file is chosen for each tactic, and both are identified by content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from declare import declare, double

from tuner import Launch, choice
from tuner.compile.pipeline import compile_key, compile_tactic
from tuner.errors import ConfigError
from tuner.frontends import Ptx
from tuner.gpu.target import Target
from tuner.kernel.identity import kernel_hash
from tuner.outcome import FailureClass, TacticError

H100 = Target((9, 0))
TEXT = """\
.version 7.0
.target sm_80
.address_size 64
.visible .entry twice(.param .u64 x, .param .u32 n, .param .u64 y)
.reqntid <<THREADS>>
{
    .reg .pred %p; .reg .b32 %i, %n, %t; .reg .b64 %x, %y, %o; .reg .f32 %v;
    ld.param.u64 %x, [x]; ld.param.u32 %n, [n]; ld.param.u64 %y, [y];
    mov.u32 %i, %ctaid.x; mov.u32 %t, %tid.x;
    mad.lo.s32 %i, %i, <<THREADS>>, %t;
    setp.ge.s32 %p, %i, %n;
    @%p bra $done;
    mul.wide.s32 %o, %i, 4; add.s64 %x, %x, %o; add.s64 %y, %y, %o;
    ld.global.f32 %v, [%x]; mul.f32 %v, %v, <<factor>>; st.global.f32 [%y], %v;
$done:
    ret;
}
"""
CHANGES: dict[str, Any] = {"attributes": {"factor": 2.0}, "launch": lambda N: Launch((N,), (N,))}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "twice.ptx").write_text(TEXT)
    return tmp_path / "twice.ptx"


def test_placeholders_are_filled_in(file: Path) -> None:
    problem = double(Ptx(file), **CHANGES)
    assert problem.kernel.constant_names == ("THREADS", "factor")
    artifact = compile_tactic(problem, {"THREADS": 128}, H100)
    assert artifact.block == (128, 1, 1)
    assert "mul.f32 %v, %v, 0f40000000;" in artifact.ptx
    assert (artifact.target, artifact.ptx_version) == ("sm_80", (7, 0))
    assert artifact.compiler.startswith("ptxas ")


def test_each_tactic_may_have_a_file(file: Path) -> None:
    for threads in (64, 32):
        text = TEXT.replace("<<THREADS>>", str(threads))
        file.with_name(f"twice_{threads}.ptx").write_text(text)
    problem = double(Ptx(file.with_name("twice_{THREADS}.ptx")), **CHANGES)
    assert compile_tactic(problem, {"THREADS": 64}, H100).block == (64, 1, 1)
    with pytest.raises(TacticError, match=r"twice_128\.ptx does not exist") as error:
        compile_tactic(problem, {"THREADS": 128}, H100)
    assert error.value.kind == FailureClass.CONSTRAINT


def test_ptx_for_another_device_is_refused(file: Path) -> None:
    file.write_text(TEXT.replace("sm_80", "sm_90"))
    with pytest.raises(TacticError, match=r"runs on 9\.0 and later; the device has 8\.0"):
        compile_tactic(double(Ptx(file), **CHANGES), {"THREADS": 64}, Target((8, 0)))


@pytest.mark.parametrize(
    ("old", "new", "same"), [("ret;", "ret; // done", True), (", 4;", ", 8;", False), ("    ret", "ret", True)]
)
def test_the_hash_follows_the_code(file: Path, old: str, new: str, same: bool) -> None:
    before = declare(Ptx(file), **CHANGES)
    file.write_text(TEXT.replace(old, new))
    after = declare(Ptx(file), **CHANGES)
    assert (kernel_hash(before) == kernel_hash(after)) is same
    keys = {compile_key(double(k.source, **CHANGES), {"THREADS": 64}, H100) for k in (before, after)}
    assert (len(keys) == 1) is same


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("missing.ptx", [choice("THREADS", 64)], "missing.ptx: there is no such file"),
        ("twice.ptx", [choice("THREADS", 64), choice("UNROLL", 1)], "'UNROLL' is neither a constant"),
        ("twice.ptx", [choice("THREAD", 64)], "constant 'THREADS' of the source.*did you mean 'THREAD'"),
        ("twice{.ptx", [choice("THREADS", 64)], "braces name a parameter"),
    ],
)
def test_a_mistake_in_a_declaration_is_named(file: Path, name: str, params: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        declare(Ptx(file.with_name(name)), **{**CHANGES, "params": params, "default": {p.name: 64 for p in params}})
