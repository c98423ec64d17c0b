"""Kernels in ready PTX, which compile in no time."""

from __future__ import annotations

from pathlib import Path

from tuner.kernel.kernel import Kernel
from tuner.kernel.loader import load_kernel

HEAD = """
from pathlib import Path

from tuner import Kernel, Launch, Tensor, cdiv, choice, maximum, powers_of_two
from tuner.frontends import Ptx

"""

SCALE = """
kernel = Kernel(
    id="test::NAME",
    source=Ptx(Path(__file__).with_name("NAME.ptx")),
    inputs={"x": Tensor("T", "*N")},
    outputs={"y": Tensor("T", "*N")},
    dtypes={"T": ("fp32", "fp16")},
    attributes={"amount": 1},
    params=[powers_of_two("BLOCK", 128, 1024), choice("num_warps", 2, 4)],
    default={"BLOCK": 256, "num_warps": 4},
    launch=lambda N, BLOCK, num_warps: Launch(grid=(cdiv(N, BLOCK),), args=(N,), block=(32 * num_warps,)),
    reference=lambda x, amount: x,
)
"""
"""One input and output of any rank; 8 tactics."""

NORM = """
kernel = Kernel(
    id="test::NAME",
    source=Ptx(Path(__file__).with_name("NAME.ptx")),
    inputs={"x": Tensor("T", "*M N"), "weight": Tensor("fp32", "N")},
    outputs={"y": Tensor("T", "*M N"), "total": Tensor("fp32", "*M"), "rows": Tensor("i32", "M 2")},
    dtypes={"T": ("fp32", "fp16", "bf16")},
    attributes={"count": 3, "eps": 1e-5, "flip": False},
    params=[choice("BLOCK", 32, 64), choice("ROWS", 1, 4)],
    default={"BLOCK": 64, "ROWS": 1},
    launch=lambda M, N, BLOCK, ROWS: Launch(
        grid=(cdiv(M, ROWS), maximum(N // BLOCK, 1)), args=(M, M * N - N), block=(BLOCK, 2), shared_bytes=4 * BLOCK
    ),
    reference=lambda x, weight, count, eps, flip: (x, x, x),
)
"""
"""Several inputs and outputs, extra integers and attributes; 4 tactics."""

EXTENTS = """
kernel = Kernel(
    id="test::NAME",
    source=Ptx(Path(__file__).with_name("NAME.ptx")),
    inputs={"x": Tensor("fp32", "*M N"), "offsets": Tensor("i32", "B + 1"), "packed": Tensor("i8", "2*P - pad")},
    outputs={
        "groups": Tensor("fp32", "*M cdiv(N, 128)"),
        "padded": Tensor("fp32", "N + 2*pad"),
        "rest": Tensor("fp32", "100 - P B + (7 - pad)"),
        "all": Tensor("fp32", "cdiv(1000, N) max(4, P) min(N, 9)*B M*N//2 64//P"),
    },
    attributes={"pad": 3},
    params=[choice("BLOCK", 32, 64)],
    default={"BLOCK": 64},
    launch=lambda M, N, B, P, BLOCK: Launch(grid=(cdiv(M * N, BLOCK), B), args=(100 - P, M * N), block=(BLOCK,)),
    reference=lambda x, offsets, packed, pad: (x, x, x, x),
)
"""
"""Extents in every form; 2 tactics."""

PTX = """\
.version 8.0
.target sm_80
.address_size 64
.visible .entry k(PARAMETERS)
{
    .reg .b32 %r<2>;
    .reg .b64 %o<2>;
    mov.u32 %r1, <<BLOCK>>;
STORES
    ret;
}
"""

_PARAMETERS = {
    "amount": (1, 1, 1, ("amount",)),
    "weight": (2, 2, 3, ("count", "eps", "flip")),
    "offsets": (3, 2, 4, ("pad",)),
}
"""By a name that a declaration holds: how many inputs, integers and outputs, and which attributes."""


def write(folder: Path, name: str, text: str, files: str = "") -> Kernel:
    """Write a kernel with its PTX into a folder, and load it.

    Args:
        folder: where to.
        name: the id is ``test::name``.
        text: `SCALE`, `NORM` or `EXTENTS`, or one of them with changes.
        files: for a file of PTX for each block size, which ones, as "128 256"; "" for one file.
    """
    inputs, integers, results, attributes = next(found for word, found in _PARAMETERS.items() if word in text)
    kinds = ["u64"] * inputs + ["u32"] * integers + ["u64"] * results
    code = PTX.replace("PARAMETERS", ", ".join(f".param .{kind} p{i}" for i, kind in enumerate(kinds)))
    outputs = range(inputs + integers, len(kinds))
    stores = (f"    ld.param.u64 %o1, [p{i}];\n    st.global.u32 [%o1], %r1;" for i in outputs)
    code = code.replace("STORES", "\n".join(stores))
    code += "".join(f"// {name} is <<{name}>>\n" for name in attributes)
    for block in files.split():
        (folder / f"{name}_{block}.ptx").write_text(code.replace("<<BLOCK>>", block))
    if files:
        text = text.replace("NAME.ptx", f"{name}_{{BLOCK}}.ptx")
    else:
        (folder / f"{name}.ptx").write_text(code)
    path = folder / f"{name}.py"
    path.write_text(HEAD + text.replace("NAME", name))
    return load_kernel(str(path), folder)
