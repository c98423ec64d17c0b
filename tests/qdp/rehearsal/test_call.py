"""A call is read as it is written, and refused with the part that cannot be read."""

from __future__ import annotations

import pytest

from tuner.errors import ConfigError
from tuner.qdp.rehearsal.builder import PlayedTensor
from tuner.qdp.rehearsal.call import example, parse


def test_tensors_and_attributes_are_read() -> None:
    call = parse(' my::op( fp32[1:64:1024, 8], i32[ 4 ], a = 2, b=-1.5, c=True, d=[1, 2], e="x, y[0]") ')
    assert call.plugin == "my::op"
    assert call.tensors == (
        PlayedTensor("FLOAT", (1, 8), (64, 8), (1024, 8)),
        PlayedTensor("INT32", (4,), (4,), (4,)),
    )
    assert call.attributes == {"a": 2, "b": -1.5, "c": True, "d": [1, 2], "e": "x, y[0]"}
    assert [type(v) for v in call.attributes.values()] == [int, float, bool, list, str]


@pytest.mark.parametrize("text", ["my::op(fp16[2], )", "my::op()", "my::op(fp16[2],\n  n=1)"])
def test_blanks_and_a_last_comma_do_no_harm(text: str) -> None:
    assert parse(text).plugin == "my::op"


def test_a_scalar_has_no_extents() -> None:
    assert parse("my::op(fp32[()])").tensors == (PlayedTensor("FLOAT", (), (), ()),)


WRONG = {
    "": "does not read namespace::name",
    "op(fp32[1])": "does not read namespace::name",
    "my.op(fp32[1])": "does not read namespace::name",
    "my::op": "does not read namespace::name",
    "my::op(fp32)": "'fp32' is neither dtype[extents] nor attribute=value",
    "my::op(n=1, fp32[4])": "positional argument follows keyword argument",
    "my::op(fp32[4])(fp32[4])": "does not read namespace::name",
    "my::op(fp32[4]": "does not read namespace::name",
    "my::op(fp32[4])) + (1)": "unmatched",
    "my::op(fp32[4], **{})": "**{} is not attribute=value",
    "my::op(fp32[])": "invalid syntax",
    "my::op(fp32[4], 5)": "'5' is neither",
    "my::op(fp99[4])": "TensorRT has no tensors of fp99; it has fp32, fp16",
    "my::op(fp32[4:2])": "'4:2' is neither a number nor min:opt:max",
    "my::op(fp32[n])": "'n' is neither a number",
    "my::op(fp32[-1])": "'-1' is neither a number",
    "my::op(fp32[8:4:16])": "'8:4:16' is not min <= opt <= max",
    "my::op(fp32[1:2:9223372036854775808])": "is more than a 64-bit integer holds",
    "my::op(fp32[4], n=int)": "'n=int' does not give a Python literal",
    "my::op(fp32[4], n=1 +)": "invalid syntax",
    "my::op(fp32[4], n=1, n=2)": "'n' is given twice",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items())
def test_what_cannot_be_read_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(text)
    assert message in str(error.value)
    assert repr(text) in str(error.value)


def test_an_example_has_the_plugins_own_tensors_and_attributes() -> None:
    assert example("my::op", 2, {"n": int, "f": float}) == "my::op(fp32[1:64:1024], fp32[1:64:1024], n=int, f=float)"
