"""Data types by the names the field uses, and how each is written in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class DType:
    """One element type.

    Attributes:
        name: as kernels, configs and Triton signatures spell it.
        itemsize: bytes per element.
        kind: "f" floating point, "i" signed integer, "u" unsigned integer or bool.
        epsilon: distance from 1.0 to the next value; 0 for integers.
    """

    name: str
    itemsize: int
    kind: str
    epsilon: float

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy type of the same bits (bfloat16 and float8 come from ml_dtypes)."""
        import ml_dtypes
        import numpy as np

        extended: dict[str, type] = {
            "bf16": ml_dtypes.bfloat16,
            "fp8e4nv": ml_dtypes.float8_e4m3fn,
            "fp8e5": ml_dtypes.float8_e5m2,
        }
        if self.name in extended:
            return np.dtype(extended[self.name])
        return np.dtype(np.bool_ if self.name == "i1" else f"{self.kind}{self.itemsize}")


DTYPES: dict[str, DType] = {
    d.name: d
    for d in (
        DType("fp64", 8, "f", 2.0**-52),
        DType("fp32", 4, "f", 2.0**-23),
        DType("fp16", 2, "f", 2.0**-10),
        DType("bf16", 2, "f", 2.0**-7),
        DType("fp8e4nv", 1, "f", 2.0**-3),
        DType("fp8e5", 1, "f", 2.0**-2),
        DType("i64", 8, "i", 0.0),
        DType("i32", 4, "i", 0.0),
        DType("i16", 2, "i", 0.0),
        DType("i8", 1, "i", 0.0),
        DType("u8", 1, "u", 0.0),
        DType("i1", 1, "u", 0.0),
    )
}


def dtype(name: str) -> DType:
    """Look a data type up by name; `ConfigError` lists the names there are."""
    try:
        return DTYPES[name]
    except KeyError:
        raise ConfigError(f"unknown dtype {name!r}; use one of {', '.join(DTYPES)}") from None


def itemsize(name: str) -> int:
    """Bytes per element of the named data type."""
    return dtype(name).itemsize
