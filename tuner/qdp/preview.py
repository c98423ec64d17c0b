"""The preview feature of TensorRT's builder that outputs in the place of inputs need."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorrt as trt

ALIASES = "ALIASED_PLUGIN_IO_10_03"
"""Its name in `tensorrt.PreviewFeature`. Without it no engine is built with an output in the place of an input."""


def known() -> str:
    """What to say of it on this machine, where `tensorrt` or its Python layer is imported."""
    import tensorrt as trt

    if hasattr(getattr(trt, "PreviewFeature", None), ALIASES):
        return f"outputs in place by the preview feature {ALIASES}"
    return f"no preview feature {ALIASES}, so no outputs in place"


def allow_aliases(config: trt.IBuilderConfig) -> None:
    """Have a builder take plugins whose outputs lie in the place of their inputs."""
    import tensorrt as trt

    config.set_preview_feature(getattr(trt.PreviewFeature, ALIASES), True)
