"""Data types agree with numpy's and ml_dtypes' own description of them."""

from __future__ import annotations

import ml_dtypes
import pytest

from tuner.errors import ConfigError
from tuner.frontends.dtypes import DTYPES, dtype, itemsize
from tuner.gpu.catalog import DEVICES


@pytest.mark.parametrize("name", DTYPES)
def test_a_type_has_the_size_kind_and_precision_of_its_numpy_type(name: str) -> None:
    described = dtype(name)
    assert described.name == name
    assert described.numpy.itemsize == described.itemsize == itemsize(name)
    if described.kind == "f":
        assert described.epsilon == float(ml_dtypes.finfo(described.numpy).eps)  # type: ignore[no-untyped-call]
    else:
        assert described.epsilon == 0
        assert described.numpy.kind == ("b" if name == "i1" else described.kind)


def test_tensor_cores_multiply_types_at_rates_that_the_catalog_gives() -> None:
    known = {rate for device in DEVICES for rate in device.tensor_tflops}
    assert {d.tensor for d in DTYPES.values() if d.tensor} == known
    assert all(bool(d.mma) is bool(d.tensor) for d in DTYPES.values())


def test_an_unknown_type_is_answered_with_the_ones_there_are() -> None:
    with pytest.raises(ConfigError, match="unknown dtype 'float16'; use one of fp64, fp32, fp16, bf16"):
        itemsize("float16")
