"""A network around the softmax plugin: scores are masked before it and weighted after it."""

from __future__ import annotations

from typing import Any

SHAPE = (8192, 4096)


def masked(network: Any, plugin: Any) -> None:
    """Add inputs, layers and the output.

    Args:
        network: an empty `tensorrt.INetworkDefinition`.
        plugin: makes a layer of the tuned kernel, for `network.add_plugin`.
    """
    import tensorrt as trt

    scores, mask, weight = (network.add_input(name, trt.float16, SHAPE) for name in ("scores", "mask", "weight"))
    summed = network.add_elementwise(scores, mask, trt.ElementWiseOperation.SUM).get_output(0)
    softmax = network.add_plugin(plugin(summed), aot=True).get_output(0)
    weighted = network.add_elementwise(softmax, weight, trt.ElementWiseOperation.PROD).get_output(0)
    weighted.name = "weighted"
    network.mark_output(weighted)
