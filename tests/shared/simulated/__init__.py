"""A TensorRT and a CUDA driver for machines that have neither, strict about how they are used.

`write_shims` puts them where `import tensorrt` and `import cuda.bindings.driver` find them. All of
`tensorrt.plugin`, every enum and the logger are NVIDIA's own, from the bindings wheel; the builder and
the runtime are simulated behind signatures read from that wheel (`strict`). Device memory is host
memory, a plugin computes what its kernel's reference does, and a tactic takes the time that a scenario
gives it.
"""

from __future__ import annotations

import os
from pathlib import Path

SHIMS = {
    "tensorrt/__init__.py": "import sys\ndel sys.modules[__name__]\nfrom simulated.module import install\ninstall()\n",
    "cuda/bindings/__init__.py": "",
    "cuda/bindings/driver.py": "from simulated.cuda import *\n",
}


def write_shims(folder: Path) -> str:
    """Write the two packages; returns a PYTHONPATH that prefers them."""
    for name, text in SHIMS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
