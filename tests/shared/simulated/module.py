"""Puts the simulated classes into NVIDIA's module."""

from __future__ import annotations


def install() -> None:
    """Make `tensorrt` NVIDIA's Python layer with a simulated builder and runtime."""
    from tuner.qdp.rehearsal.bindings import load

    trt = load()
    from simulated import builder, parser, runtime, scenario
    from simulated.strict import SIMULATED

    for module in (builder, parser, runtime):
        assert module.__doc__
    for name, simulated in SIMULATED.items():
        if name != "ITensor":  # `tensorrt.plugin` knows tensors by the class that stands in for it already
            setattr(trt, name, simulated)
    if "version" in scenario.told():
        setattr(trt, "__version__", scenario.told()["version"])  # noqa: B010
