"""Kernels as TensorRT's quickly deployable plugins (QDP)."""

from tuner.qdp.serve import register

__all__ = ["register"]
