"""What stands for a tensor where heuristics and hooks look at it."""

from __future__ import annotations

from typing import Any

import pytest

from tuner.frontends.dtypes import DTYPES
from tuner.kernel.stand_in import TensorArgument


class TorchType:
    """Reads like a data type of torch, which is not installed here."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"


@pytest.mark.parametrize(
    ("ours", "torchs"), [("fp16", "float16"), ("bf16", "bfloat16"), ("fp8e4nv", "float8_e4m3fn"), ("i1", "bool")]
)
def test_a_data_type_is_equal_to_its_own_name_and_to_torchs(ours: str, torchs: str) -> None:
    dtype: Any = TensorArgument(ours, (4,)).dtype
    assert dtype == ours and dtype == TorchType(torchs)
    assert dtype in (TorchType("int8"), TorchType(torchs)) and dtype in {ours: 1}
    assert dtype != TorchType("float64") and dtype != "fp64"


def test_types_know_their_size_and_kind() -> None:
    for name, known in DTYPES.items():
        tensor = TensorArgument(name, (2, 3))
        assert tensor.element_size() == tensor.itemsize == known.itemsize
        assert tensor.nbytes == 6 * known.itemsize
        assert tensor.is_floating_point() == (known.kind == "f")


def test_a_tensor_of_no_dimensions_is_one_element() -> None:
    tensor = TensorArgument("fp32", ())
    assert (tensor.numel(), tensor.stride(), tensor.size(), tensor.dim()) == (1, (), (), 0)
