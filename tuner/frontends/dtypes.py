"""Data types by the names the field uses, and how each language spells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Element:
    """One element type. A name is empty where there is none.

    Attributes:
        name: as kernels, configs and Triton signatures spell it.
        itemsize: bytes per element.
        kind: "f" floating point, "i" signed integer, "u" unsigned integer or bool.
        fraction: bits of a float behind the point; 0 for integers.
        cuda: its type in CUDA C++.
        header: where the toolkit has that type: ``cuda_NAME.h``.
        numba: its name in `numba.types`, of those that Numba has pointers to.
        cute: its name in `cutlass`, the CuTe DSL.
        mma: its name as an operand of PTX's matrix instructions.
        tensor: the rate at which tensor cores multiply it, a key of `tuner.gpu.catalog.Device.tensor_tflops`.
        extended: its name in `ml_dtypes`, where numpy has no type of the same bits.
    """

    name: str
    itemsize: int
    kind: str
    fraction: int
    cuda: str
    header: str
    numba: str
    cute: str
    mma: str
    tensor: str
    extended: str = ""

    @property
    def epsilon(self) -> float:
        """Distance from 1.0 to the next value; 0 for integers."""
        return 2.0**-self.fraction if self.kind == "f" else 0.0

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy type of the same bits (bfloat16 and float8 come from ml_dtypes)."""
        import ml_dtypes
        import numpy as np

        if self.extended:
            extended: type = getattr(ml_dtypes, self.extended)
            return np.dtype(extended)
        return np.dtype(np.bool_ if self.name == "i1" else f"{self.kind}{self.itemsize}")


# fmt: off
_TABLE = (
    #     name       size  fraction cuda          header  numba      cute            mma     tensor  ml_dtypes
    Element("fp64",    8, "f", 52, "double",        "",     "float64", "Float64",      "",     ""),
    Element("fp32",    4, "f", 23, "float",         "",     "float32", "Float32",      "tf32", "tf32"),
    Element("fp16",    2, "f", 10, "__half",        "fp16", "float16", "Float16",      "f16",  "fp16"),
    Element("bf16",    2, "f", 7,  "__nv_bfloat16", "bf16", "",        "BFloat16",     "bf16", "bf16", "bfloat16"),
    Element("fp8e4nv", 1, "f", 3,  "__nv_fp8_e4m3", "fp8",  "",        "Float8E4M3FN", "e4m3", "fp8",  "float8_e4m3fn"),
    Element("fp8e5",   1, "f", 2,  "__nv_fp8_e5m2", "fp8",  "",        "Float8E5M2",   "e5m2", "fp8",  "float8_e5m2"),
    Element("i64",     8, "i", 0,  "long long",     "",     "int64",   "Int64",        "",     ""),
    Element("i32",     4, "i", 0,  "int",           "",     "int32",   "Int32",        "",     ""),
    Element("i16",     2, "i", 0,  "short",         "",     "int16",   "Int16",        "",     ""),
    Element("i8",      1, "i", 0,  "signed char",   "",     "int8",    "Int8",         "s8",   "int8"),
    Element("u8",      1, "u", 0,  "unsigned char", "",     "uint8",   "Uint8",        "u8",   "int8"),
    Element("i1",      1, "u", 0,  "bool",          "",     "boolean", "Boolean",      "",     ""),
)
# fmt: on

DTYPES: dict[str, Element] = {d.name: d for d in _TABLE}


def dtype(name: str) -> Element:
    """Look a data type up by name; `ConfigError` lists the names there are."""
    try:
        return DTYPES[name]
    except KeyError:
        raise ConfigError(f"unknown dtype {name!r}; use one of {', '.join(DTYPES)}") from None


def itemsize(name: str) -> int:
    """Bytes per element of the named data type."""
    return dtype(name).itemsize
