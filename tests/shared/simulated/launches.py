"""Kernels that are launched by the driver, without TensorRT: their outputs become what the reference computes."""

from __future__ import annotations

import ctypes
import re
from math import prod
from typing import Any

import numpy as np

from simulated import cuda, scenario
from tuner.frontends.dtypes import DTYPES
from tuner.gate.judge import expected
from tuner.kernel.problem import Problem
from tuner.kernel.tensor import Tensor


def compute(ptx: str, parameters: int) -> None:
    """Do what the scenario's kernel does at the sizes of this launch.

    The scenario's "integers" are the dimensions that the launch passes first, "dims" the sizes of others, and "dtypes"
    the data types.

    Args:
        ptx: what is launched. Its parameters tell pointers from integers.
        parameters: address of an array of pointers to the values of inputs, integers and outputs.
    """
    kernel, told = scenario.kernel(), scenario.told()
    assert "integers" in told, "only probes are launched without TensorRT, unless the scenario says otherwise"
    kinds = re.findall(r"\.param \.[a-z](\d+)", ptx[ptx.index(".entry") :].partition(")")[0])
    at = (ctypes.c_uint64 * len(kinds)).from_address(parameters)
    addresses = [ctypes.c_uint64.from_address(p).value for p, bits in zip(at, kinds, strict=True) if bits == "64"]
    integers = [ctypes.c_int32.from_address(p).value for p, bits in zip(at, kinds, strict=True) if bits == "32"]
    sources, targets = addresses[: len(kernel.inputs)], addresses[len(kernel.inputs) :]
    sizes = {**told.get("dims", {}), **dict(zip(told["integers"], integers, strict=False))}
    problem = Problem.of(kernel, sizes, told.get("dtypes", {}))
    inputs = {
        name: _tensor(problem, tensor, source)
        for (name, tensor), source in zip(kernel.inputs.items(), sources, strict=True)
    }
    results = expected(problem, inputs)
    for (name, tensor), target in zip(kernel.outputs.items(), targets, strict=True):
        if not tensor.scratch:
            out = _tensor(problem, tensor, target)
            out[...] = results[name].astype(out.dtype)


def _tensor(problem: Problem, tensor: Tensor, address: int) -> np.ndarray[Any, Any]:
    """A tensor in the device's memory."""
    shape, kind = problem.shape(tensor), DTYPES[problem.dtype(tensor)].numpy
    data = cuda.array(address, prod(shape) * np.dtype(kind).itemsize)
    assert data is not None, f"{prod(shape)} elements at {address} are not allocated"
    return data.view(kind).reshape(shape)
