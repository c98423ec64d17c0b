"""Outputs in the place of inputs: the map is shown, and what TensorRT's Python lets pass is refused."""

from __future__ import annotations

import pytest
from planted import CALL, Edits, plant
from workspace import Workspace

ALIASED = ("    return x.like()", "    return x.aliased()")
LOADED = "    .reg .b64 %rd<4>;\n    ld.param.u64 %rd1, [add_x];\n    ld.param.u64 %rd2, [add_y];\n"


def body(code: str) -> tuple[str, str]:
    """The entry with code in it."""
    return "    ret;", f"{LOADED}    .reg .b32 %r<4>;\n    {code}\n    ret;"


@pytest.mark.parametrize(
    ("code", "depends"),
    [
        ("ld.global.u32 %r1, [%rd1]; st.global.u32 [%rd2], %r1;", False),
        ("ld.global.u32 %r1, [%rd2]; st.global.u32 [%rd2], %r1;", True),
        ("red.global.add.u32 [%rd2], 1;", True),
        ("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd2], 16, [%r2];", True),
        ("cp.async.ca.shared.global [%r1], [%rd1], 16; st.global.u32 [%rd2], %r1;", False),
        ("ld.shared.u32 %r1, [%r2]; st.global.u32 [%rd2], %r1;", False),
        ("st.local.u64 [%r2], %rd2;", None),
    ],
)
def test_the_map_is_shown_and_whether_the_code_depends_on_it(
    workspace: Workspace, code: str, depends: bool | None
) -> None:
    path = plant(workspace.folder, [ALIASED, body(code)])
    run = workspace.run("rehearse", "--module", str(path), "--call", CALL, "--json")
    assert run.code == 0, run.out + run.err
    (line,) = run.document["rehearsals"]
    assert line["aliases"] == [{"output": 0, "input": 0, "depends": depends}]


def test_people_are_told_of_the_preview_feature(workspace: Workspace) -> None:
    path = plant(workspace.folder, [ALIASED, body("red.global.add.u32 [%rd2], 1;")])
    run = workspace.run("rehearse", "--module", str(path), "--call", CALL)
    assert "output 0 in the place of input 0: its code reads the output or adds to it" in run.out
    assert "need the preview feature ALIASED_PLUGIN_IO_10_03 in the builder's config" in run.out


def test_without_an_alias_nothing_is_said_of_it(workspace: Workspace) -> None:
    run = workspace.run("rehearse", "--module", str(plant(workspace.folder)), "--call", CALL)
    assert run.code == 0 and "place of" not in run.out


ONE, BOTH = "trtp.TensorDesc", "x: D, y: D, size: int"
TWO = [
    (f"(x: {ONE}, size: int, scale: float) -> {ONE}:", f"({BOTH}, scale: float) -> P:"),
    (f"(x: {ONE}, size: int, outputs: tuple[{ONE}])", f"({BOTH}, outputs: P)"),
    (f"x: {ONE}, size: int, scale: float, outputs: tuple[{ONE}]", f"{BOTH}, scale: float, outputs: P"),
    ('PTX = """', f'D = {ONE}\nP = tuple[{ONE}, {ONE}]\nPTX = """'),
    ("FP32|FP16, FP32|FP16", "FP32, FP32, FP32, FP32"),
    (".param .u32 add_n, .param .u64 add_y", ".param .u64 b, .param .u32 add_n, .param .u64 add_y, .param .u64 d"),
]
"""Two inputs and two outputs."""
PAIR = "planted::add(fp32[1:64:1024, 8], fp32[1:64:1024, 8], size=256, scale=2.0)"

PLAIN = "    return x.like()"

REFUSED: dict[str, tuple[Edits, str, str]] = {
    "two outputs in one place": (
        [*TWO, (PLAIN, "    return x.aliased(), x.aliased()")],
        PAIR,
        "outputs 0 and 1 are both in the place of input 'x'",
    ),
    "another type": (
        [
            (PLAIN, "    y = x.aliased().like()\n    y.dtype = trt.float16\n    return y"),
            ("import tensorrt.plugin", "import tensorrt as trt\nimport tensorrt.plugin"),
        ],
        CALL,
        "output 0 is HALF (1, 8) at min and lies in the place of input 'x', FLOAT (1, 8)",
    ),
    "another shape": (
        [(PLAIN, "    y = x.aliased().like()\n    y.shape_expr[0] = x.shape_expr[0] + 1\n    return y")],
        CALL,
        "output 0 is FLOAT (2, 8) at min and lies in the place of input 'x', FLOAT (1, 8)",
    ),
    "a copy": ([(PLAIN, "    return x.like().aliased()")], CALL, "aliased to a copy of an input"),
    "an alias of an alias": (
        [(PLAIN, "    return x.aliased().aliased()")],
        CALL,
        "return x.aliased() of the argument x itself",
    ),
}


@pytest.mark.parametrize(("edits", "call", "said"), REFUSED.values(), ids=REFUSED)
def test_what_the_engine_does_not_take_is_refused(workspace: Workspace, edits: Edits, call: str, said: str) -> None:
    run = workspace.run("rehearse", "--module", str(plant(workspace.folder, edits)), "--call", call, "--json")
    assert run.code == 1, run.out + run.err
    ((rule, message),) = {(b["rule"], b["message"]) for b in run.document["rehearsals"][0]["broken"]}
    assert rule == "aliases" and said in message


def test_two_outputs_in_two_places_pass(workspace: Workspace) -> None:
    path = plant(workspace.folder, [*TWO, (PLAIN, "    return y.aliased(), x.aliased()")])
    run = workspace.run("rehearse", "--module", str(path), "--call", PAIR, "--json")
    assert run.code == 0, run.out + run.err
    found = [(a["output"], a["input"]) for a in run.document["rehearsals"][0]["aliases"]]
    assert found == [(0, 1), (1, 0)]
