"""How the tensorrt backend builds engines."""

from __future__ import annotations

from msgspec import Struct

from tuner.compile.options import Count, Seconds
from tuner.kernel.problem_data import Size


class ShapesData(Struct, frozen=True, forbid_unknown_fields=True):
    """The shapes of a network's input, as in an optimization profile."""

    min: tuple[Size, ...]
    opt: tuple[Size, ...]
    max: tuple[Size, ...]


class TensorrtOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How the tensorrt backend builds engines.

    Attributes:
        network: a network around the plugin, to time as a whole: an ONNX file, or ``file.py:function``;
            None: there is none.
        shapes: the shapes of its dynamic inputs.
        workspace_mb: megabytes of scratch memory for its layers.
        build_timeout_s: seconds for one engine build.
    """

    network: str | None = None
    shapes: dict[str, ShapesData] = {}
    workspace_mb: Count = 1024
    build_timeout_s: Seconds = 300.0
