"""What crosses the border of the process that builds and runs engines: orders in, reports out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from tuner.compile.artifact import Code
from tuner.search.tactic import Config

Shape: TypeAlias = tuple[int, ...]
Profile: TypeAlias = tuple[Shape, Shape, Shape]
"""Smallest, usual and largest shape of an input."""


@dataclass(frozen=True)
class Host:
    """A network that the plugin is a part of.

    Attributes:
        location: an ONNX file, or ``file.py:function``; absolute.
        profiles: for each input with dynamic dimensions, its shapes.
    """

    location: str
    profiles: Mapping[str, Profile] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """An engine to build.

    Attributes:
        offered: configurations among which the builder may choose; usually one, and always one of an operator of
            several launches, whose layers are given it.
        codes: the code of the offered tactics and of the default, each with its configuration.
        host: the network around the plugin; None: the plugin is the only layer.
        workspace_bytes: scratch memory that the builder's own layers may use.
        timing_cache: file that the builder's timings are read from and left in.
        fresh: begin without them, to see what they are worth.
    """

    offered: tuple[Config, ...]
    codes: tuple[tuple[Config, Code], ...]
    host: Host | None
    workspace_bytes: int
    timing_cache: Path
    fresh: bool = False


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of an engine, at its usual shape."""

    name: str
    dtype: str
    shape: Shape
    is_input: bool


@dataclass(frozen=True)
class Built:
    """An engine that was built.

    Attributes:
        handle: what to call it by in its process.
        seconds: how long building took.
        engine_bytes: size of the serialized engine.
        timing_cache_bytes: size of the timing cache that the build began with; 0: none.
        chosen: id of the tactic in the engine, one of the offered or the default; None where it does not tell.
        layers: the engine inspector's description.
        tensors: inputs, then outputs.
    """

    handle: int
    seconds: float
    engine_bytes: int
    timing_cache_bytes: int
    chosen: int | None
    layers: str
    tensors: tuple[TensorInfo, ...]
