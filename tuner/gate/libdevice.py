"""Functions of libdevice as the correctness gate calculates them: one for every symbol that Triton exports.

Accuracy: functions of floats are calculated in float64 and rounded once, so for float32 they are more exact than
libdevice itself, and more so than its `fast_…` functions, which the hardware approximates. For float64 they are as
exact as numpy and C's library, but for Bessel functions and `erfcx`, which are right to ten digits. Sums, products,
quotients, roots and fused products that name a rounding are rounded from a float64 for float32, and from what
numpy's `longdouble` holds for float64, so that they can be one unit off where that itself was rounded. Nothing close
to zero is flushed to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from tuner.gate import special
from tuner.gate.inputs import Array

Function: TypeAlias = Callable[..., Array]


def call(symbol: str, arguments: Sequence[Array], dtype: np.dtype[Any]) -> Array:
    """Calculate a function of libdevice, element by element.

    Args:
        symbol: its name in libdevice, such as "__nv_tanhf".
        arguments: of one shape, in the data types that Triton passes.
        dtype: of the result.

    Raises:
        NotImplementedError: when there is no such function.
    """
    function = _FUNCTIONS.get(symbol.removeprefix("__nv_"))
    if function is None:
        raise NotImplementedError(f"no function {symbol!r} of libdevice is known")
    with np.errstate(all="ignore"):
        result = function(*arguments)
        return result if result.dtype == dtype else result.astype(dtype)


# -- rounding ------------------------------------------------------------------------------------


def _wide(array: Array) -> Array:
    """Twice the digits of a float32, and what the machine has beyond a float64."""
    return array.astype(np.longdouble if array.dtype.itemsize == 8 else np.float64)


def _round(exact: Array, dtype: Any, mode: str) -> Array:
    """The nearest float (`rn`), or the next one towards zero (`rz`), below (`rd`) or above (`ru`)."""
    near = exact.astype(dtype)
    below, above = np.nextafter(near, dtype(-np.inf)), np.nextafter(near, dtype(np.inf))
    down = np.where((near > exact) & np.isfinite(exact), below, near)
    up = np.where((near < exact) & np.isfinite(exact), above, near)
    return {"rn": near, "rd": down, "ru": up, "rz": np.where(exact < 0, up, down)}[mode]


_WHOLE: Mapping[str, Callable[[Array], Array]] = {"rn": np.rint, "rz": np.trunc, "rd": np.floor, "ru": np.ceil}


def _to_integer(x: Array, kind: Any, shown: Any, whole: Callable[[Array], Array]) -> Array:
    """A float as an integer, NaN as 0 and what is out of range as the nearest end."""
    limits = np.iinfo(kind)
    value = whole(x.astype(np.longdouble))
    inside = np.clip(np.nan_to_num(value, nan=0.0), limits.min, limits.max)
    return np.asarray(inside).astype(kind).view(shown)


def _directed(dtype: Any, mode: str, exact: Function) -> Function:
    return lambda *xs: _round(exact(*map(_wide, xs)), dtype, mode)


def _rounded() -> dict[str, Function]:
    """Everything that comes in four roundings."""
    found: dict[str, Function] = {}
    arithmetic: Mapping[str, Function] = {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "div": np.divide,
        "rcp": lambda x: 1 / x,
        "sqrt": np.sqrt,
    }
    integers = {
        "int": (np.int32, np.int32),
        "uint": (np.uint32, np.int32),
        "ll": (np.int64, np.int64),
        "ull": (np.uint64, np.int64),
    }
    for mode, whole in _WHOLE.items():
        for letter, dtype in (("f", np.float32), ("d", np.float64)):
            for name, exact in arithmetic.items():
                found[f"{letter}{name}_{mode}"] = _directed(dtype, mode, exact)
        found[f"fmaf_{mode}"] = _directed(np.float32, mode, _fma)
        found[f"fma_{mode}"] = _directed(np.float64, mode, _fma)
        found[f"double2float_{mode}"] = partial(_round, dtype=np.float32, mode=mode)
        for name, (kind, shown) in integers.items():
            for source in ("float", "double"):
                found[f"{source}2{name}_{mode}"] = partial(_to_integer, kind=kind, shown=shown, whole=whole)
            for target, dtype in (("float", np.float32), ("double", np.float64)):
                found[f"{name}2{target}_{mode}"] = partial(_from_integer, kind=kind, dtype=dtype, mode=mode)
    found["frsqrt_rn"] = _directed(np.float32, "rn", lambda x: 1 / np.sqrt(x))
    return found


def _from_integer(x: Array, kind: Any, dtype: Any, mode: str) -> Array:
    return _round(x.view(kind).astype(np.longdouble), dtype, mode)


def _fma(x: Array, y: Array, z: Array) -> Array:
    return x * y + z


# -- floats --------------------------------------------------------------------------------------


def _half_away(x: Array) -> Array:
    whole = np.trunc(x)
    return whole + np.where(np.abs(x - whole) >= 0.5, np.sign(x), 0)


def _fdim(x: Array, y: Array) -> Array:
    return np.where(x <= y, 0.0, x - y)


def _norm(*xs: Array) -> Array:
    infinite = np.logical_or.reduce([np.isinf(x) for x in xs])
    scale = np.maximum.reduce([np.abs(x) for x in xs])
    scale = np.where((scale == 0) | ~np.isfinite(scale), 1.0, scale)
    return np.where(infinite, np.inf, scale * np.sqrt(sum((x / scale) ** 2 for x in xs)))


def _logb(x: Array) -> Array:
    exponent = np.frexp(x)[1] - 1.0
    return np.where(x == 0, -np.inf, np.where(np.isfinite(x), exponent, np.abs(x)))


def _ilogb(x: Array) -> Array:
    lowest, highest = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    return np.where((x == 0) | np.isnan(x), lowest, np.where(np.isinf(x), highest, np.frexp(x)[1] - 1)).astype(np.int32)


def _pow(x: Array, y: Array) -> Array:
    return np.power(x, y.astype(np.float64))


def _scale(x: Array, n: Array) -> Array:
    return np.ldexp(x, np.clip(n.astype(np.int64), -5000, 5000).astype(np.int32))


def _sinpi(x: Array) -> Array:
    return np.where(x == np.trunc(x), 0 * x, np.sin(math.pi * np.fmod(x, 2)))


def _cospi(x: Array) -> Array:
    return np.where(np.abs(np.fmod(x, 1)) == 0.5, 0.0, np.cos(math.pi * np.fmod(x, 2)))


def _members(module: Any, names: str) -> dict[str, Function]:
    return {name: getattr(module, name) for name in names.split()}


_SMOOTH: Mapping[str, Function] = {
    **_members(np, "ceil floor trunc rint sqrt exp exp2 expm1 log log2 log10 log1p"),
    **_members(np, "sin cos tan sinh cosh tanh hypot fmod copysign cbrt fabs"),
    **_members(special, "erf erfc erfinv erfcinv erfcx normcdf normcdfinv tgamma lgamma"),
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "nearbyint": np.rint,
    "round": _half_away,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "rcbrt": lambda x: 1 / np.cbrt(x),
    "exp10": lambda x: np.power(10.0, x),
    "sinpi": _sinpi,
    "cospi": _cospi,
    "pow": _pow,
    "powi": _pow,
    "remainder": special.remainder,
    "fdim": _fdim,
    "fma": _fma,
    "rhypot": lambda x, y: 1 / np.hypot(x, y),
    "norm3d": _norm,
    "norm4d": _norm,
    "rnorm3d": lambda *xs: 1 / _norm(*xs),
    "rnorm4d": lambda *xs: 1 / _norm(*xs),
    "logb": _logb,
    "ilogb": _ilogb,
    "ldexp": _scale,
    "scalbn": _scale,
    "j0": partial(special.bessel_j, 0),
    "j1": partial(special.bessel_j, 1),
    "jn": special.bessel_j,
    "y0": partial(special.bessel_y, 0),
    "y1": partial(special.bessel_y, 1),
    "yn": special.bessel_y,
    "cyl_bessel_i0": partial(special.bessel_i, 0),
    "cyl_bessel_i1": partial(special.bessel_i, 1),
}
"""Calculated in float64; the symbol for float32 ends in "f"."""

_FAST = ("sin", "cos", "tan", "log", "log2", "log10", "exp", "exp10", "pow")
"""Those that have an approximation of float32 besides."""


def _in_float64(function: Function) -> Function:
    return lambda *xs: function(*(x.astype(np.float64) if x.dtype.kind == "f" else x for x in xs))


def _truth(function: Callable[[Array], Array]) -> Function:
    return lambda x: function(x).astype(np.int32)


def _saturate(x: Array) -> Array:
    return np.asarray(np.where(x > 0, np.minimum(x, x.dtype.type(1)), x.dtype.type(0)))


def _upper_half(x: Array) -> Array:
    kept = (1 / x).view(np.uint64) & np.uint64(0xFFFFFFFF00000000)
    return np.asarray(kept).view(np.float64)


# -- integers and bits ---------------------------------------------------------------------------


def _unsigned(x: Array) -> Array:
    return x.view(np.dtype(f"u{x.dtype.itemsize}"))


def _bits(x: Array) -> Array:
    """The bits of every element, the lowest first, along a last axis."""
    width = 8 * x.dtype.itemsize
    bits = _unsigned(x)[..., None] >> np.arange(width).astype(_unsigned(x).dtype) & 1
    return np.asarray(bits).astype(np.int32)


def _leading_zeros(x: Array) -> Array:
    high = _bits(x)[..., ::-1]
    return np.asarray(np.where(high.any(axis=-1), high.argmax(axis=-1), high.shape[-1]))


def _first_set(x: Array) -> Array:
    low = _bits(x)
    return np.where(low.any(axis=-1), low.argmax(axis=-1) + 1, 0).astype(np.int32)


def _reverse(x: Array) -> Array:
    bits = _bits(x)[..., ::-1].astype(_unsigned(x).dtype)
    turned = np.bitwise_or.reduce(bits << np.arange(bits.shape[-1]).astype(bits.dtype), axis=-1)
    return np.asarray(turned).view(x.dtype)


def _exact(function: Callable[..., int], dtype: Any) -> Function:
    """A function of Python's integers, which have any number of digits, modulo the width of the result."""
    width = 8 * np.dtype(dtype).itemsize
    over = np.vectorize(lambda *xs: function(*map(int, xs)) % (1 << width), otypes=[f"u{width // 8}"])
    return lambda *xs: over(*(x.astype(object) for x in xs)).view(dtype)


def _low24(x: int, signed: bool) -> int:
    low = x & 0xFFFFFF
    return low - (1 << 24) if signed and low >> 23 else low


def _byte_perm(x: int, y: int, selector: int) -> int:
    joined = (x & 0xFFFFFFFF) | (y & 0xFFFFFFFF) << 32
    return sum((joined >> 8 * (selector >> 4 * i & 7) & 0xFF) << 8 * i for i in range(4))


def _join(high: Array, low: Array) -> Array:
    joined = _unsigned(high).astype(np.uint64) << np.uint64(32) | _unsigned(low)
    return np.asarray(joined).view(np.float64)


_BITS: Mapping[str, Function] = {
    "clz": _leading_zeros,
    "clzll": _leading_zeros,
    "ffs": _first_set,
    "ffsll": _first_set,
    "popc": lambda x: _bits(x).sum(axis=-1),
    "popcll": lambda x: _bits(x).sum(axis=-1),
    "brev": _reverse,
    "brevll": _reverse,
    "byte_perm": _exact(_byte_perm, np.int32),
    "abs": np.abs,
    "llabs": np.abs,
    "sad": _exact(lambda x, y, z: abs(x - y) + z, np.int32),
    "usad": _exact(lambda x, y, z: abs(x - y) + z, np.uint32),
    "mulhi": _exact(lambda x, y: x * y >> 32, np.int32),
    "umulhi": _exact(lambda x, y: x * y >> 32, np.uint32),
    "mul64hi": _exact(lambda x, y: x * y >> 64, np.int64),
    "umul64hi": _exact(lambda x, y: x * y >> 64, np.uint64),
    "mul24": _exact(lambda x, y: _low24(x, True) * _low24(y, True), np.int32),
    "umul24": _exact(lambda x, y: _low24(x, False) * _low24(y, False), np.uint32),
    "hadd": _exact(lambda x, y: x + y >> 1, np.int32),
    "uhadd": _exact(lambda x, y: x + y >> 1, np.uint32),
    "rhadd": _exact(lambda x, y: x + y + 1 >> 1, np.int32),
    "urhadd": _exact(lambda x, y: x + y + 1 >> 1, np.uint32),
    "hiloint2double": _join,
    "double2loint": lambda x: (x.view(np.uint64) & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.int32),
    "double2hiint": lambda x: (x.view(np.uint64) >> np.uint64(32)).astype(np.uint32).view(np.int32),
    "int_as_float": lambda x: x.view(np.float32),
    "uint_as_float": lambda x: x.view(np.float32),
    "float_as_int": lambda x: x.view(np.int32),
    "float_as_uint": lambda x: x.view(np.int32),
    "longlong_as_double": lambda x: x.view(np.float64),
    "double_as_longlong": lambda x: x.view(np.int64),
    "nextafter": np.nextafter,
    "nextafterf": np.nextafter,
    "isnanf": _truth(np.isnan),
    "isnand": _truth(np.isnan),
    "isinff": _truth(np.isinf),
    "isinfd": _truth(np.isinf),
    "finitef": _truth(np.isfinite),
    "isfinited": _truth(np.isfinite),
    "signbitf": _truth(np.signbit),
    "signbitd": _truth(np.signbit),
    "saturatef": _saturate,
    "rcp64h": _upper_half,
    "fast_fdividef": np.divide,
}

_FUNCTIONS: Mapping[str, Function] = {
    **_rounded(),
    **{name: _in_float64(f) for name, f in _SMOOTH.items()},
    **{name + "f": _in_float64(f) for name, f in _SMOOTH.items()},
    **{f"fast_{name}f": _in_float64(_SMOOTH[name]) for name in _FAST},
    **{
        f"ll{name}{f}": partial(_to_integer, kind=np.int64, shown=np.int64, whole=_SMOOTH[name])
        for name in ("rint", "round")
        for f in ("", "f")
    },
    **_BITS,
}
"""Every function by its symbol without `__nv_`."""
