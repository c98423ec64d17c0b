"""Whether TensorRT's Python package is here and knows plugins compiled ahead of time."""

from __future__ import annotations

from tuner.errors import UnavailableError

OLDEST = (10, 9)
"""The first version whose plugins can be compiled ahead of time (`tensorrt.plugin.aot_impl`)."""


def require() -> None:
    """Refuse to go on without it.

    Raises:
        UnavailableError: when TensorRT cannot be imported or is too old.
    """
    try:
        import tensorrt as trt
    except ImportError as e:
        raise UnavailableError(
            f"TensorRT's Python package cannot be imported ({e}); pip install tensorrt-cu13, or check without it "
            "what a plugin does: tuner rehearse CONFIG"
        ) from e
    version = tuple(int(part) for part in trt.__version__.split(".")[:2])
    if version < OLDEST:
        raise UnavailableError(
            f"TensorRT {trt.__version__} has no plugins compiled ahead of time; "
            f"{OLDEST[0]}.{OLDEST[1]} or newer is needed: pip install --upgrade tensorrt-cu13"
        )
