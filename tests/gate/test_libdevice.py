"""Functions of libdevice on the CPU: each that Triton exports is there, and is what it says."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
from triton.language import core
from triton.language.extra.cuda import libdevice as exported

from tuner.gate.libdevice import call

F32, F64, I32, I64 = np.float32, np.float64, np.int32, np.int64
KINDS = {"fp32": F32, "fp64": F64, "int32": I32, "uint32": np.uint32, "int64": I64, "uint64": np.uint64}


class Result:
    """What a recorded call returns."""

    def to(self, *_: Any, **__: Any) -> Result:
        return self


def test_every_function_that_triton_exports_is_calculated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gives a result of the declared type and of its arguments' shape."""
    tables: list[dict[tuple[Any, ...], tuple[str, Any]]] = []

    def record(_: str, __: str, ___: Any, table: Any, **____: Any) -> Result:
        tables.append(table)
        return Result()

    monkeypatch.setattr(core, "extern_elementwise", record)
    functions = [f for f in vars(exported).values() if core.is_builtin(f)]
    for function in functions:
        function(*[None] * (len(inspect.signature(function).parameters) - 1), _semantic=object())
    assert len(tables) == len(functions) > 150
    for table in tables:
        for kinds, (symbol, kind) in table.items():
            dtype = np.dtype(KINDS[kind.name])
            got = call(symbol, [np.array([[1, 2, 3], [4, 5, 6]]).astype(KINDS[k.name]) for k in kinds], dtype)
            assert (got.dtype, got.shape) == (dtype, (2, 3)), symbol


def test_an_unknown_function_is_named() -> None:
    with pytest.raises(NotImplementedError, match="__nv_frobnicate"):
        call("__nv_frobnicate", [np.ones(1)], np.dtype(F64))


@pytest.mark.parametrize(
    ("name", "kind", "arguments", "result", "expected"),
    [
        ("tanhf", F32, (0.5,), F32, math.tanh(0.5)),
        ("erff", F32, (0.5,), F32, math.erf(0.5)),
        ("erfinv", F64, (math.erf(0.3),), F64, 0.3),
        ("erfcinv", F64, (math.erfc(1.3),), F64, 1.3),
        ("erfcx", F64, (1.5,), F64, math.exp(2.25) * math.erfc(1.5)),
        ("normcdf", F64, (1.0,), F64, 0.8413447460685429),
        ("normcdfinv", F64, (0.975,), F64, 1.959963984540054),
        ("tgamma", F64, (5.0,), F64, 24.0),
        ("lgamma", F64, (10.5,), F64, math.lgamma(10.5)),
        ("rsqrtf", F32, (16.0,), F32, 0.25),
        ("rcbrtf", F32, (8.0,), F32, 0.5),
        ("exp10f", F32, (3.0,), F32, 1000.0),
        ("fast_expf", F32, (1.0,), F32, math.e),
        ("sinpi", F64, (0.25,), F64, math.sqrt(0.5)),
        ("cospi", F64, (1.0,), F64, -1.0),
        ("norm3d", F64, (2.0, 3.0, 6.0), F64, 7.0),
        ("rnorm4d", F64, (2.0, 4.0, 5.0, 6.0), F64, 1 / 9),
        ("fdimf", F32, (1.0, 3.0), F32, 0.0),
        ("fmaf", F32, (2.0, 3.0, 4.0), F32, 10.0),
        ("remainderf", F32, (5.0, 3.0), F32, -1.0),
        ("fmodf", F32, (5.0, 3.0), F32, 2.0),
        ("roundf", F32, (2.5,), F32, 3.0),
        ("roundf", F32, (-2.5,), F32, -3.0),
        ("roundf", F32, (0.49999997,), F32, 0.0),
        ("rintf", F32, (2.5,), F32, 2.0),
        ("llroundf", F32, (2.5,), I64, 3),
        ("llrintf", F32, (2.5,), I64, 2),
        ("j0", F64, (1.0,), F64, 0.7651976865579666),
        ("j1", F64, (100.0,), F64, -0.07714535201411216),
        ("y0", F64, (1.0,), F64, 0.08825696421567698),
        ("y1", F64, (0.5,), F64, -1.4714723926702430),
        ("cyl_bessel_i0", F64, (1.0,), F64, 1.2660658777520084),
        ("cyl_bessel_i1", F64, (1.0,), F64, 0.5651591039924850),
        ("ilogbf", F32, (8.5,), I32, 3),
        ("logbf", F32, (0.3,), F32, -2.0),
        ("isnanf", F32, (math.nan,), I32, 1),
        ("signbitf", F32, (-0.0,), I32, 1),
        ("saturatef", F32, (math.nan,), F32, 0.0),
        ("saturatef", F32, (1.5,), F32, 1.0),
        ("float2int_rz", F32, (-2.7,), I32, -2),
        ("float2int_rd", F32, (-2.7,), I32, -3),
        ("float2int_rn", F32, (1e20,), I32, 2**31 - 1),
        ("float2int_rn", F32, (math.nan,), I32, 0),
        ("double2uint_rn", F64, (3e9,), I32, 3_000_000_000 - 2**32),
        ("int2float_rz", I32, (2**24 + 1,), F32, 2**24),
        ("int2float_ru", I32, (2**24 + 1,), F32, 2**24 + 2),
        ("clz", I32, (1,), I32, 31),
        ("clzll", I64, (0,), I32, 64),
        ("ffs", I32, (8,), I32, 4),
        ("popc", I32, (-1,), I32, 32),
        ("brev", I32, (1,), I32, -(2**31)),
        ("mulhi", I32, (-1, 2), I32, -1),
        ("umulhi", np.uint32, (2**32 - 1, 2), np.uint32, 1),
        ("mul24", I32, (0x800001, 2), I32, -(2**24) + 2),
        ("hadd", I32, (2**31 - 1, 2**31 - 1), I32, 2**31 - 1),
        ("rhadd", I32, (1, 2), I32, 2),
        ("byte_perm", I32, (0x03020100, 0x07060504, 0x7531), I32, 0x07050301),
        ("float_as_int", F32, (1.0,), I32, 0x3F800000),
        ("hiloint2double", I32, (0x3FF00000, 0), F64, 1.0),
    ],
)
def test_values(name: str, kind: Any, arguments: Any, result: Any, expected: float) -> None:
    got = call(f"__nv_{name}", [np.array([a]).astype(kind) for a in arguments], np.dtype(result))[0]
    if np.dtype(result).kind == "f":
        assert got == pytest.approx(expected, rel=1e-10 if result is F64 else 1e-7, abs=1e-15)
    else:
        assert got == expected


@pytest.mark.parametrize(("name", "dtype"), [("fadd", F32), ("dmul", F64), ("fdiv", F32)])
def test_directed_roundings_enclose_the_nearest(name: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    pair = [rng.normal(size=1000).astype(dtype) for _ in range(2)]
    near, down, up, zero = (call(f"__nv_{name}_{mode}", pair, np.dtype(dtype)) for mode in ("rn", "rd", "ru", "rz"))
    assert ((down <= near) & (near <= up)).all()
    assert (np.nextafter(down, dtype(np.inf)) >= up).all()
    assert (down < up).any()
    assert (zero == np.where(near < 0, up, down)).all()
