"""The call of a host function, as text."""

import pytest

from tuner.adopt.call import GivenTensor, evaluate, parse_call
from tuner.adopt.tape import DataType
from tuner.errors import ConfigError


def test_letters_tie_dimensions_and_the_rest_is_python() -> None:
    call = parse_call("f(fp16[M=8192, N=4096], fp16[N], None, [1, 2], eps=1e-6, out_dtype=fp32)")

    assert call.arguments == (GivenTensor("fp16", ("M", "N")), GivenTensor("fp16", ("N",)), None, [1, 2])
    assert call.named == {"eps": 1e-6, "out_dtype": DataType("fp32")}
    assert call.sizes == {"M": 8192, "N": 4096}
    assert not call.lettered


def test_equal_plain_numbers_are_one_dimension_with_a_letter_that_is_free() -> None:
    call = parse_call("f(fp32[512, 64], fp32[64, N=7])")

    assert call.arguments == (GivenTensor("fp32", ("M", "K")), GivenTensor("fp32", ("K", "N")))
    assert call.lettered == {"M": 512, "K": 64}


def test_extents_are_arithmetic_and_integers_say_what_they_hold() -> None:
    call = parse_call("f(i32[B + 1].ascending(0, T), fp16[T=100, cdiv(T, 8)], i64[B=4])")

    ascending, rows, _ = call.arguments
    assert ascending == GivenTensor("i32", ("B + 1",), 'ascending(0, "T")')
    assert [evaluate(e, {"B": 4, "T": 101}) for e in (*ascending.extents, *rows.extents)] == [5, 101, 13]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("f(fp17[4])", "did you mean 'fp16'"),
        ("f(fp16[M])", "dimension M has no size"),
        ("f(fp16[M=4], fp16[M=5])", "two sizes, 4 and 5"),
        ("f(fp16[M=4], M)", "M is a dimension, not a value"),
        ("f(fp16[4].sorted())", ".ascending("),
        ("fp16[4]", "does not read f("),
        ("f(fp16[4]", "call 'f(fp16[4]'"),
    ],
)
def test_what_does_not_read_is_said_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as e:
        parse_call(text)
    assert said in str(e.value)
    assert "\n" not in str(e.value)
