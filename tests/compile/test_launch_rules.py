"""PTX is refused where TensorRT could not launch it, by the rule that it breaks."""

from __future__ import annotations

import pytest

from tuner.compile.launch_rules import LaunchRuleError, check_block, check_parameters, check_target
from tuner.compile.ptx import parse

KERNEL = """\
.version 8.7
.target sm_90a
.address_size 64
.visible .entry scale(
    .param .u64 .ptr .global .align 16 x,
    .param .u32 n,
    .param .u64 y
)
.reqntid 128, 2
.maxnreg 64
{
    ret;
}
"""


def test_parameters_in_tensorrt_order_pass() -> None:
    check_parameters(parse(KERNEL).entry, inputs=1, integers=1, outputs=1)


@pytest.mark.parametrize(
    ("inputs", "integers", "outputs", "message"),
    [
        (1, 1, 2, "takes 3 parameters; TensorRT passes 4"),
        (2, 0, 1, "parameter 1 is .u32; TensorRT passes a 64-bit pointer"),
        (0, 2, 1, "parameter 0 is .u64; TensorRT passes a 32-bit integer"),
    ],
)
def test_other_parameters_are_refused(inputs: int, integers: int, outputs: int, message: str) -> None:
    entry = parse(KERNEL).entry
    with pytest.raises(LaunchRuleError, match=message) as error:
        check_parameters(entry, inputs, integers, outputs)
    assert error.value.rule == "parameters"


def test_struct_as_large_as_a_pointer_is_refused() -> None:
    text = KERNEL.replace(".u64 .ptr .global .align 16 x", ".align 8 .b8 x[8]")
    with pytest.raises(LaunchRuleError, match=r"parameter 0 is \.b8\[8\]"):
        check_parameters(parse(text).entry, 1, 1, 1)


def test_block_must_be_the_required_one() -> None:
    entry = parse(KERNEL).entry
    check_block(entry, (128, 2, 1))
    with pytest.raises(LaunchRuleError, match=r"requires a block of \(128, 2, 1\)") as error:
        check_block(entry, (256, 1, 1))
    assert error.value.rule == "block"


@pytest.mark.parametrize(
    ("maxntid", "threads", "fits"), [("256", 256, True), ("128, 1, 1", 256, False), ("", 2048, False)]
)
def test_block_is_within_the_maximum(maxntid: str, threads: int, fits: bool) -> None:
    text = KERNEL.replace(".reqntid 128, 2", f".maxntid {maxntid}" if maxntid else "")
    if fits:
        check_block(parse(text).entry, (threads, 1, 1))
    else:
        with pytest.raises(LaunchRuleError, match=f"{threads} threads per block"):
            check_block(parse(text).entry, (threads, 1, 1))


@pytest.mark.parametrize(
    ("target", "capability", "fits"),
    [
        ("sm_90a", (9, 0), True),
        ("sm_90a", (10, 0), False),
        ("sm_90a", (8, 9), False),
        ("sm_90", (9, 0), True),
        ("sm_90", (12, 0), True),
        ("sm_90", (8, 9), False),
        ("sm_86", (8, 9), True),
        ("sm_100f", (10, 3), True),
        ("sm_100f", (12, 0), False),
        ("compute_x", (9, 0), False),
    ],
)
def test_target_fits_the_device(target: str, capability: tuple[int, int], fits: bool) -> None:
    module = parse(KERNEL.replace("sm_90a", target))
    if fits:
        check_target(module, capability)
    else:
        with pytest.raises(LaunchRuleError, match=target) as error:
            check_target(module, capability)
        assert error.value.rule == "target"


def test_short_addresses_are_refused() -> None:
    with pytest.raises(LaunchRuleError, match="32 bits"):
        check_target(parse(KERNEL.replace(".address_size 64", ".address_size 32")), (9, 0))
