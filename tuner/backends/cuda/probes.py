"""Small kernels that look at device memory where it is, because copying outputs to the host is slow.

They are PTX text rather than code of some compiler, so that any driver since CUDA 11 runs them and
checking a tactic needs nothing that could be wrong in the same way as the tactic.
"""

from __future__ import annotations

import struct
from functools import cache

from tuner.gpu import driver
from tuner.gpu.driver import Address, Arguments, LaunchShape

_LAUNCH = LaunchShape(grid=(1024, 1, 1), block=(256, 1, 1))

_HEADER = """\
.version 7.0
.target sm_75
.address_size 64
.visible .entry {name}(
  .param .u64 source, .param .u64 table, .param .u64 count, .param .u64 result)
{{
  .reg .pred %p, %q;
  .reg .b32 %r<8>;
  .reg .b64 %i, %n, %step, %source, %table, %result, %a, %b, %sum, %value, %other;
  ld.param.u64 %source, [source];
  ld.param.u64 %table, [table];
  ld.param.u64 %n, [count];
  ld.param.u64 %result, [result];
  cvta.to.global.u64 %source, %source;
  cvta.to.global.u64 %table, %table;
  cvta.to.global.u64 %result, %result;
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %ntid.x;
  mov.u32 %r3, %tid.x;
  mov.u32 %r4, %nctaid.x;
  mad.lo.u32 %r5, %r1, %r2, %r3;
  cvt.u64.u32 %i, %r5;
  mul.wide.u32 %step, %r4, %r2;
  mov.u64 %sum, 0;
  {before}
loop:
  setp.ge.u64 %p, %i, %n;
  @%p bra done;
  {body}
  add.u64 %i, %i, %step;
  bra loop;
done:
  {after}
  ret;
}}
"""

_LOAD = "mad.lo.u64 {address}, {index}, {size}, {base};\n  ld.global.u{bits} {value}, [{address}];"
_ADD_SUM = "red.global.add.u64 [%result], %sum;"


def _load(size: int, base: str, index: str, value: str, address: str) -> str:
    """Code that loads one element of `size` bytes into a 64-bit register."""
    return _LOAD.format(size=size, bits=8 * size, base=base, index=index, value=value, address=address)


@cache
def count_ptx(size: int) -> str:
    """Counts the elements of `source` that have the bits of the one element in `table`."""
    body = (
        f"{_load(size, '%source', '%i', '%value', '%a')}\n"
        "  setp.eq.u64 %q, %value, %other;\n"
        "  @%q add.u64 %sum, %sum, 1;"
    )
    before = f"ld.global.u{8 * size} %other, [%table];"
    return _HEADER.format(name="probe", before=before, body=body, after=_ADD_SUM)


@cache
def checksum_ptx() -> str:
    """Adds up every 8-byte word times an odd number that depends on its position, modulo 2**64."""
    body = (
        f"{_load(8, '%source', '%i', '%value', '%a')}\n"
        "  shl.b64 %b, %i, 1;\n"
        "  add.u64 %b, %b, 1;\n"
        "  mad.lo.u64 %sum, %value, %b, %sum;"
    )
    return _HEADER.format(name="probe", before="", body=body, after=_ADD_SUM)


@cache
def gather_ptx(size: int) -> str:
    """Copies the elements of `source` at the 64-bit positions in `table` to `result`, one after another."""
    body = (
        f"{_load(8, '%table', '%i', '%other', '%a')}\n"
        f"  {_load(size, '%source', '%other', '%value', '%b')}\n"
        f"  mad.lo.u64 %a, %i, {size}, %result;\n"
        f"  st.global.u{8 * size} [%a], %value;"
    )
    return _HEADER.format(name="probe", before="", body=body, after="")


EMPTY_PTX = ".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry empty()\n{\n  ret;\n}\n"
"""A kernel that does nothing: what a launch costs."""


class Probes:
    """The kernels, loaded into the current context when first used."""

    def __init__(self) -> None:
        self._functions: dict[str, driver.Handle] = {}
        self._scratch = driver.alloc(16)

    def count(self, source: Address, elements: int, pattern: bytes) -> int:
        """How many elements have exactly these bits; the pattern's length is the element's (1, 2, 4 or 8)."""
        word = int.from_bytes(pattern, "little")
        self._set(word, 0)
        self._run(count_ptx(len(pattern)), source, self._scratch, elements, self._scratch + 8)
        return self._result()

    def checksum(self, source: Address, size: int) -> int:
        """A number that changes when any of the bytes does, whose count must be a multiple of 8."""
        self._set(0, 0)
        self._run(checksum_ptx(), source, 0, size // 8, self._scratch + 8)
        return self._result()

    def gather(self, source: Address, positions: Address, count: int, size: int, target: Address) -> None:
        """Copy `count` elements of `size` bytes from the given 64-bit positions to `target`."""
        self._run(gather_ptx(size), source, positions, count, target)

    def _run(self, ptx: str, source: Address, table: Address, count: int, result: Address) -> None:
        if ptx not in self._functions:
            self._functions[ptx] = driver.function(driver.load(ptx.encode()), "probe")
        arguments = Arguments([source, table, count, result], [], [])
        driver.launch(self._functions[ptx], _LAUNCH, arguments)

    def _set(self, word: int, result: int) -> None:
        import numpy as np

        driver.upload(self._scratch, np.array([word, result], np.uint64))

    def _result(self) -> int:
        return int(struct.unpack("<Q", driver.download(self._scratch + 8, 8))[0])
