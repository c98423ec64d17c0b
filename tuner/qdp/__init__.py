"""Kernels as TensorRT's quickly deployable plugins (QDP)."""

from tuner.qdp.registration import register

__all__ = ["register"]
