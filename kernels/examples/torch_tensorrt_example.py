"""A tuned kernel inside the engine that Torch-TensorRT makes of a PyTorch model.

    pip install 'qdp-tuner[cuda]' torch torch-tensorrt
    python kernels/examples/torch_tensorrt_example.py

Written after the source of Torch-TensorRT 2.14; not yet run with it. The tests make the calls to
`tensorrt.plugin` that its converter makes.
"""

from pathlib import Path

import torch
import torch_tensorrt
from torch_tensorrt.dynamo.conversion.plugins import generate_plugin_converter

from tuner import load_kernel
from tuner.qdp import register

kernel = load_kernel("../increment.py", Path(__file__).parent)


# What PyTorch runs outside of an engine. Inputs and attributes have the kernel's names, order and types. The
# converter sees attributes by position alone, and needs a default for all of them or for none.
@torch.library.custom_op(kernel.id, mutates_args=())
def increment(x: torch.Tensor, amount: int = 1) -> torch.Tensor:
    return x + amount


@increment.register_fake
def _(x: torch.Tensor, amount: int = 1) -> torch.Tensor:
    return torch.empty_like(x)


class Model(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(increment(torch.relu(x), 2))


def main() -> None:
    register(kernel)
    generate_plugin_converter(kernel.id, supports_dynamic_shapes=True)  # takes the plugin compiled ahead of time
    x = torch.randn(4096, 1024, device="cuda")
    model = Model().eval()
    compiled = torch_tensorrt.compile(model, ir="dynamo", inputs=[x], min_block_size=1)
    torch.testing.assert_close(compiled(x), model(x))


if __name__ == "__main__":
    main()
