"""PTX is read and edited as far as a launch needs it."""

from __future__ import annotations

import pytest

from tuner.compile.ptx import PtxError, arrange_params, drop_trailing_params, lower_version, parse

KERNEL = """\
// .version 1.0 in a comment; .entry ghost( .param .u64 ghost_param_0 )
.version 8.7
.target sm_90a, debug
.address_size 64
/* .entry other(
   .param .u32 other_param_0 ) { } */
.file 1 "a // path { with .entry inside(.param"
.visible .func helper(.param .b32 x) { ret; }
.visible .entry scale(
    .param .u64 .ptr .global .align 16 scale_param_0, // the input
    .param .u32 scale_param_1,
    .param .u64 .ptr .global .align 1 scale_param_2,
    .param .u64 .ptr .global .align 1 scale_param_3 /* scratch */ ,
    .param .u64 scale_param_30
)
.reqntid 128, 2
.maxnreg 64
.minnctapersm 2
{
    .reg .b64 %rd<4>;
    { ld.param.b64 %rd1, [scale_param_0]; } // scale_param_3
    ld.param.b64 %rd2, [scale_param_2];
    ret;
}
"""


def test_module_directives_are_read() -> None:
    module = parse(KERNEL)
    assert module.version == (8, 7)
    assert (module.target, module.target_options) == ("sm_90a", ("debug",))
    assert module.address_size == 64
    assert [e.name for e in module.entries] == ["scale"]


def test_entry_directives_are_read() -> None:
    entry = parse(KERNEL).entry
    assert entry.reqntid == (128, 2, 1)
    assert entry.maxnreg == 64
    assert entry.minnctapersm == 2
    assert entry.maxntid is None
    assert (entry.cluster, entry.launched_cluster) == (None, False)
    body = KERNEL[slice(*entry.body)]
    assert body.strip().startswith(".reg") and body.strip().endswith("ret;")


def test_parameters_are_read_with_type_size_and_place() -> None:
    params = parse(KERNEL).entry.params
    assert [p.type for p in params] == ["u64", "u32", "u64", "u64", "u64"]
    assert [p.size for p in params] == [8, 4, 8, 8, 8]
    assert KERNEL[slice(*params[1].span)] == ".param .u32 scale_param_1"


def test_array_parameter_has_count_and_alignment() -> None:
    param = parse(KERNEL.replace(".u32 scale_param_1", ".align 8 .b8 scale_param_1[24]")).entry.params[1]
    assert (param.type, param.count, param.align, param.size) == ("b8", 24, 8, 24)


def test_trailing_parameters_are_removed_and_nothing_else() -> None:
    module = drop_trailing_params(parse(KERNEL), 2)
    assert [p.name for p in module.entry.params] == ["scale_param_0", "scale_param_1", "scale_param_2"]
    start, end = KERNEL.index("scale_param_2") + len("scale_param_2"), KERNEL.index("scale_param_30") + 14
    assert module.text == KERNEL[:start] + KERNEL[end:]


def test_all_parameters_can_be_removed() -> None:
    text = ".version 8.0\n.target sm_80\n.address_size 64\n.entry f(.param .u64 f_param_0) { ret; }"
    assert drop_trailing_params(parse(text), 1).entry.params == ()


def test_parameter_in_use_is_not_removed() -> None:
    module = parse(KERNEL.replace("ret;\n}", "ld.param.b64 %rd3, [scale_param_3+0];\n ret;\n}"))
    with pytest.raises(PtxError, match=r"scale_param_3 cannot be removed: the body of scale refers to it"):
        drop_trailing_params(module, 2)


def test_more_parameters_than_there_are_cannot_be_removed() -> None:
    with pytest.raises(PtxError, match="has 5 parameters; 6 cannot"):
        drop_trailing_params(parse(KERNEL), 6)


@pytest.mark.parametrize(("newest", "version"), [((9, 0), (8, 7)), ((8, 7), (8, 7)), ((8, 5), (8, 5))])
def test_a_version_that_is_too_new_is_lowered_and_nothing_else(
    newest: tuple[int, int], version: tuple[int, int]
) -> None:
    lowered = lower_version(parse(KERNEL), newest)
    assert lowered.version == version
    assert lowered.text == KERNEL.replace("\n.version 8.7", f"\n.version {version[0]}.{version[1]}")


def test_parameters_are_put_into_another_order_and_the_body_stays() -> None:
    module = arrange_params(parse(KERNEL), [2, None, 0, 1])
    names = [(p.name, p.type) for p in module.entry.params]
    assert names == [
        ("scale_param_2", "u64"),
        ("scale_unused_1", "u32"),
        ("scale_param_0", "u64"),
        ("scale_param_1", "u32"),
        ("scale_param_3", "u64"),
        ("scale_param_30", "u64"),
    ]
    body = slice(*module.entry.body)
    assert module.text[body] == KERNEL[slice(*parse(KERNEL).entry.body)]
    assert arrange_params(parse(KERNEL), [0, 1, 2]).text == KERNEL


def test_shared_memory_whose_size_the_launch_gives_is_found() -> None:
    assert not parse(KERNEL).dynamic_shared
    assert parse(KERNEL.replace(".file", ".extern .shared .align 16 .b8 tile[];\n.file")).dynamic_shared


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no .version"),
        (".version 8.0\n", "no .target"),
        (KERNEL.replace("*/", ""), "comment is not closed"),
        (KERNEL[: KERNEL.index("inside")], "string is not closed"),
        (KERNEL[: KERNEL.index(".param .u32 scale")], "cut off in the parameters of entry scale"),
        (KERNEL[: KERNEL.index("ret;\n}")], "cut off in the body of entry scale"),
        (KERNEL[: KERNEL.index(".reqntid")], "entry scale has no body"),
        (KERNEL.replace(".reqntid", "; .entry g () .reqntid"), "entry scale has no body"),
        (KERNEL.replace(".param .u32 scale_param_1", ".param u32 scale_param_1"), "cannot read the parameter"),
    ],
)
def test_text_that_cannot_be_read_is_refused(text: str, message: str) -> None:
    with pytest.raises(PtxError, match=message):
        parse(text)


def test_two_entries_are_not_one() -> None:
    second = KERNEL[KERNEL.index(".visible .entry") :].replace("scale", "again")
    with pytest.raises(PtxError, match=r"exactly one \.entry, found: scale, again"):
        _ = parse(KERNEL + second).entry
