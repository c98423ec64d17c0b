"""Data types as TensorRT names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.errors import ConfigError

if TYPE_CHECKING:
    import tensorrt as trt

NAMES = {
    "fp32": "FP32",
    "fp16": "FP16",
    "bf16": "BF16",
    "fp8e4nv": "FP8",
    "i64": "INT64",
    "i32": "INT32",
    "i8": "INT8",
    "u8": "UINT8",
    "i1": "BOOL",
}
"""How a combination of types (`AutoTuneCombination`) spells each data type. TensorRT has none of the others."""

_MEMBERS = {"FP32": "FLOAT", "FP16": "HALF"}  # all others are spelt alike in both places


def spelling(name: str) -> str:
    """A data type as a combination spells it; `ConfigError` when TensorRT does not have it."""
    try:
        return NAMES[name]
    except KeyError:
        raise ConfigError(f"TensorRT has no tensors of {name}; it has {', '.join(NAMES)}") from None


def member(name: str) -> str:
    """The name of a data type in `tensorrt.DataType`; `ConfigError` when TensorRT does not have it."""
    spelt = spelling(name)
    return _MEMBERS.get(spelt, spelt)


def to_tensorrt(name: str) -> trt.DataType:
    """The member of `tensorrt.DataType`; `ConfigError` when TensorRT does not have it."""
    import tensorrt as trt

    return getattr(trt.DataType, member(name))


def from_tensorrt(dtype: trt.DataType) -> str:
    """Our name of a member of `tensorrt.DataType`; `ConfigError` when we have none."""
    for name in NAMES:
        if member(name) == dtype.name:
            return name
    raise ConfigError(f"tensors of TensorRT's {dtype.name} are not supported; use one of {', '.join(NAMES)}")
