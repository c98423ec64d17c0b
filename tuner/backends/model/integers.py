"""Integer arithmetic of PTX on many threads at once, for working out addresses and trip counts.

A value is an `int` where all threads agree, an int64 array with one element per thread where they do not, and
None where it depends on something unknown: loaded data or floating-point arithmetic. Registers hold 32-bit
values with their sign; an operation on unsigned ones reads them as such. Semantics: "PTX ISA" (NVIDIA).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from tuner.backends.model.program import Instruction

if TYPE_CHECKING:
    import numpy as np

    Value: TypeAlias = "int | np.ndarray[Any, Any] | None"


def operand(text: str, registers: Mapping[str, Value]) -> Value:
    """The value of a register, a parameter, a number as written, or a variable, each of which starts at address 0."""
    if text[0] == "%" or text in registers:
        return registers.get(text)
    if text[0].isalpha() or text[0] == "_":
        return 0
    try:
        return int(text, 0)
    except ValueError:
        return None


def compute(instruction: Instruction, registers: dict[str, Value], threads: int, guard: Value) -> None:
    """Write the results of one instruction; unknown unless all its operands are known integers."""
    writes = instruction.writes
    result = _result(instruction, registers, threads)
    if result is not None and not isinstance(guard, int):
        result = _merge(guard, result, registers.get(writes[0]))
    for name in writes[:-1]:
        registers[name] = None
    registers[writes[-1]] = result


def _result(instruction: Instruction, registers: Mapping[str, Value], threads: int) -> Value:
    import numpy as np

    parts = instruction.parts
    if parts[0] == "ld":  # a parameter: what else is loaded is unknown before it gets here
        return registers.get(instruction.address[0][0])
    if parts[0] == "mbarrier":  # every wait ends
        return 1
    if parts[0] == "elect":
        elected: Value = (np.arange(threads) % 32 == 0).astype(np.int64)
        return elected
    evaluate = _OPERATIONS.get(parts[0])
    if evaluate is None or len(instruction.writes) > 1 or not _FLOATS.isdisjoint(parts[-2:]):
        return None
    sources: list[Any] = []
    for text in instruction.operands[1:]:
        source = operand(text, registers)
        if source is None:
            return None
        sources.append(source)
    if "u32" in parts:
        # Read as unsigned, all but the addend of mad.wide, which is twice as wide.
        read = 2 if parts[1] == "wide" else len(sources)
        sources = [s & 0xFFFFFFFF for s in sources[:read]] + sources[read:]
    result: Value = _wrap(evaluate(parts, sources), parts)
    return result


def _merge(guard: Value, result: Value, before: Value) -> Value:
    """What a register holds after threads with a true guard have written it."""
    import numpy as np

    return None if guard is None or before is None else np.where(guard, result, before)  # type: ignore[arg-type]


def _wrap(value: Any, parts: tuple[str, ...]) -> Any:
    """Registers hold signed values of their width."""
    if value is None:
        return None
    kind = parts[1] if parts[0] == "cvt" else parts[-1]
    if kind == "pred":
        return value & 1
    if "wide" in parts or kind in ("b64", "s64", "u64") or parts[0] == "setp":
        return (value + (1 << 63)) % (1 << 64) - (1 << 63) if isinstance(value, int) else value
    bits = 16 if kind.endswith("16") else 32
    return ((value + (1 << (bits - 1))) & ((1 << bits) - 1)) - (1 << (bits - 1))


def _divide(a: Any, b: Any) -> Any:
    import numpy as np

    if isinstance(a, int) and isinstance(b, int):
        return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return np.where(b == 0, 0, np.sign(a) * np.sign(b) * (abs(a) // np.maximum(abs(b), 1)))


def _choose(condition: Any, a: Any, b: Any) -> Any:
    import numpy as np

    return (a if condition else b) if isinstance(condition, int) else np.where(condition, a, b)


_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lo": lambda a, b: a < b,
    "ls": lambda a, b: a <= b,
    "hi": lambda a, b: a > b,
    "hs": lambda a, b: a >= b,
}


def _compare(parts: tuple[str, ...], sources: list[Any]) -> Any:
    outcome = _COMPARE[parts[1]](sources[0], sources[1])
    outcome = int(outcome) if isinstance(outcome, bool) else outcome.astype("int64")
    if len(sources) == 3:  # setp.lt.and.s32 p, a, b, q
        return _OPERATIONS[parts[2]](("", "pred"), [outcome, sources[2]])
    return outcome


def _extract(parts: tuple[str, ...], sources: list[Any]) -> Any:
    value, position, length = sources
    field = (value >> position) & ((1 << length) - 1)
    if parts[-1].startswith("s"):
        field = ((field + (1 << (length - 1))) & ((1 << length) - 1)) - (1 << (length - 1))
    return field


def _bits(parts: tuple[str, ...], value: Any) -> Any:
    """A value before a logical right shift: its bits as an unsigned number."""
    return value & 0xFFFFFFFF if parts[-1].endswith("32") else value


def _multiply(parts: tuple[str, ...], a: Any, b: Any) -> Any:
    product = a * b
    return product >> int(parts[-1][1:]) if "hi" in parts else product


def _shuffle(parts: tuple[str, ...], sources: list[Any]) -> Any:
    import numpy as np

    value, lane = sources[:2]
    if isinstance(value, int):
        return value
    return None if parts[2] != "idx" or not isinstance(lane, int) else np.repeat(value.reshape(-1, 32)[:, lane], 32)


_Operation: TypeAlias = Callable[[tuple[str, ...], list[Any]], Any]
_OPERATIONS: Mapping[str, _Operation] = {
    "mov": lambda p, s: s[0],
    "cvt": lambda p, s: s[0],
    "cvta": lambda p, s: s[0],
    "add": lambda p, s: s[0] + s[1],
    "sub": lambda p, s: s[0] - s[1],
    "mul": lambda p, s: _multiply(p, s[0], s[1]),
    "mad": lambda p, s: _multiply(p, s[0], s[1]) + s[2],
    "neg": lambda p, s: -s[0],
    "abs": lambda p, s: abs(s[0]),
    "div": lambda p, s: _divide(s[0], s[1]),
    "rem": lambda p, s: s[0] - s[1] * _divide(s[0], s[1]),
    "min": lambda p, s: _choose(s[0] < s[1], s[0], s[1]),
    "max": lambda p, s: _choose(s[0] > s[1], s[0], s[1]),
    "and": lambda p, s: s[0] & s[1],
    "or": lambda p, s: s[0] | s[1],
    "xor": lambda p, s: s[0] ^ s[1],
    "not": lambda p, s: 1 - s[0] if p[-1] == "pred" else ~s[0],
    "shl": lambda p, s: s[0] << (s[1] & 63),
    "shr": lambda p, s: (s[0] if p[-1][0] == "s" else _bits(p, s[0])) >> (s[1] & 63),
    "shfl": _shuffle,
    "bfe": _extract,
    "selp": lambda p, s: _choose(s[2], s[0], s[1]),
    "setp": _compare,
}
_FLOATS = frozenset(("f16", "f16x2", "bf16", "bf16x2", "f32", "f64", "tf32", "e4m3x2", "e5m2x2"))
