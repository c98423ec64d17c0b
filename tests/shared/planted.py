"""A correct hand-written plugin, and the places where a mistake can be planted in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

PTX = """\
.version 8.0
.target sm_80
.address_size 64
.visible .entry add(.param .u64 add_x, .param .u32 add_n, .param .u64 add_y)
.reqntid 256
{
    ret;
}
"""

MODULE = f'''\
import tensorrt.plugin as trtp

PTX = """{PTX}"""


@trtp.register("planted::add")
def describe(x: trtp.TensorDesc, size: int, scale: float) -> trtp.TensorDesc:
    return x.like()


@trtp.autotune("planted::add")
def autotune(x: trtp.TensorDesc, size: int, outputs: tuple[trtp.TensorDesc]) -> list[trtp.AutoTuneCombination]:
    tactics = [3, 7]
    return [trtp.AutoTuneCombination("FP32|FP16, FP32|FP16", "LINEAR", tactics)]


@trtp.aot_impl("planted::add")
def launch(
    x: trtp.TensorDesc, size: int, scale: float, outputs: tuple[trtp.TensorDesc], tactic: int
) -> tuple[str, str, trtp.KernelLaunchParams, trtp.SymIntExprs]:
    n = x.shape_expr.numel()
    params = trtp.KernelLaunchParams()
    params.grid_x = trtp.cdiv(n, size)
    params.block_x = 256
    extra = trtp.SymIntExprs(1)
    extra[0] = trtp.SymInt32(n)
    return "add", PTX, params, extra
'''

CALL = "planted::add(fp32[1:64:1024, 8], size=256, scale=2.0)"

Edits = Sequence[tuple[str, str]]


def plant(folder: Path, edits: Edits = ()) -> Path:
    """Write the module with each of the texts replaced; a text that is not there is an error of the test."""
    text = MODULE
    for old, new in edits:
        assert old in text, f"{old!r} is not in the module"
        text = text.replace(old, new)
    path = folder / "plugins.py"
    path.write_text(text)
    return path
