"""A tuned kernel in nvtripy, called as its guide to custom operations calls its own.

    pip install 'qdp-tuner[cuda]' nvtripy                 # from where nvtripy's README says
    python kernels/examples/nvtripy_example.py

Written after the source of nvtripy 0.1.7, which takes TensorRT 10.15; not yet run with it. The tests make the
calls to `tensorrt.plugin` that its `plugin` function makes.
"""

from pathlib import Path

import nvtripy as tp

from tuner import load_kernel
from tuner.qdp import register

kernel = load_kernel("../increment.py", Path(__file__).parent)


def main() -> None:
    # The caller pins BLOCK_SIZE; what remains is tuned. Left out, attributes are those that the kernel declares.
    register(kernel, tactics="all", attributes={"block_size": "BLOCK_SIZE"})
    inp = tp.iota((2, 2))
    out = tp.plugin("example::increment", [inp], block_size=256)
    assert tp.equal(out, inp + 1)
    print(out)


if __name__ == "__main__":
    main()
