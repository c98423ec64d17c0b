"""A network whose layers are played one after another as they are added.

What adds the layers of an operator, of a kernel or a bundle, is called with it as with TensorRT's own network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from .bindings import NetworkTensor, load
from .builder import WHICH, Broken, ChooseTactics, PlayedTensor, Rehearsal, offered_or_default, play


class PlayedNetworkTensor(NetworkTensor):
    """A tensor of a played network: shape and type as TensorRT shows them, and what they are at each end.

    Attributes:
        number: its place in the order in which tensors came into the network.
    """

    def __init__(self, played: PlayedTensor, number: int) -> None:
        trt = load()
        self.name = ""
        self.played, self.number = played, number
        self.dtype = getattr(trt.DataType, played.dtype)
        self.shape = trt.Dims([a if a == b else -1 for a, b in zip(played.min, played.max, strict=True)])


@dataclass(frozen=True)
class PlayedLayer:
    """A layer that was played.

    Attributes:
        plugin: its id.
        tensors, attributes: what it was called with.
        outputs: what it makes.
        rehearsal: what the builder learned of it.
    """

    plugin: str
    tensors: tuple[PlayedNetworkTensor, ...]
    attributes: Mapping[str, Any]
    outputs: tuple[PlayedNetworkTensor, ...] = field(repr=False)
    rehearsal: Rehearsal

    def get_output(self, index: int) -> PlayedNetworkTensor:
        return self.outputs[index]


class LayerBroken(Exception):  # noqa: N818
    """A layer breaks a rule, so that no layer can follow it."""


class PlayedNetwork:
    """Stands in for `INetworkDefinition`.

    Attributes:
        layers: those that were added, in order; the last one may be broken.
    """

    def __init__(self, choose: ChooseTactics = offered_or_default) -> None:
        self._choose, self._numbers = choose, count()
        self.layers: list[PlayedLayer] = []

    @property
    def broken(self) -> tuple[Broken, ...]:
        """The rules that its layers break."""
        return tuple(b for layer in self.layers for b in layer.rehearsal.broken)

    def add_input(self, tensor: PlayedTensor) -> PlayedNetworkTensor:
        """An input. Unlike TensorRT's, it knows its optimization profile."""
        return PlayedNetworkTensor(tensor, next(self._numbers))

    def add_plugin(self, func: Callable[..., Any], aot: bool = False) -> PlayedLayer:
        """Play a plugin on the tensors that it is called with.

        Raises:
            LayerBroken: when it breaks a rule before it has outputs.
        """
        inputs, _, plugin = func(load().QuickPluginCreationRequest.STRICT_AOT)
        name, attributes = f"{plugin.plugin_namespace}::{plugin.plugin_name}", dict(plugin.attrs)
        rehearsal = play(name, [tensor.played for tensor in inputs], attributes, self._choose)
        made = [PlayedTensor(dtype, *(shapes[which] for which in WHICH)) for dtype, shapes in rehearsal.outputs]
        outputs = tuple(PlayedNetworkTensor(tensor, next(self._numbers)) for tensor in made)
        self.layers.append(PlayedLayer(name, tuple(inputs), attributes, outputs, rehearsal))
        if rehearsal.broken:
            raise LayerBroken(f"{name}: {rehearsal.broken[0].rule}: {rehearsal.broken[0].message}")
        return self.layers[-1]
