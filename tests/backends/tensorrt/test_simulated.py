"""The simulated TensorRT refuses what the real one would not understand, and offers nothing that is not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from enum import EnumMeta
from pathlib import Path
from typing import Any

import pytest
from simulated import cuda, write_shims

RAISED = {
    "a method that is not there": "AttributeError: ",
    "an attribute that cannot be set": "AttributeError: INetworkDefinition.num_inputs cannot be set",
    "an unknown attribute": "AttributeError: INetworkDefinition.nmae cannot be set",
    "a wrong type": "TypeError: add_input(): incompatible function arguments",
    "a float for a dimension": "TypeError: add_input(): incompatible function arguments",
    "too many arguments": "TypeError: create_network(): incompatible function arguments",
    "too few arguments": "TypeError: add_input(): incompatible function arguments",
    "an unknown keyword": "TypeError: add_input(): incompatible function arguments",
    "a number for a flag": "TypeError: IBuilderConfig.profiling_verbosity takes ",
    "no logger": "TypeError: __init__(): incompatible function arguments",
    "a class without constructor": "TypeError: ICudaEngine: No constructor defined!",
    "a weakly typed network": "Misuse: the network is not strongly typed",
    "one name for two inputs": "Misuse: two inputs are called 'x'",
    "a plugin without aot": "Misuse: the plugin is compiled ahead of time",
    "no optimization profile": "EngineError: the engine is not built: no reason given ['IBuilder",
    "an output in place without the preview feature": "EngineError: the engine is not built: no reason given [",
    "an output in place at another address": "Misuse: 'turned' lies in the place of 'x' and has another address",
    "a config of another builder": "Misuse: the network or its config comes from another builder",
    "no addresses": "Misuse: 'y' has no address",
    "no shape": "Misuse: the shape of 'x' is not set",
    "a shape outside of the profile": "EngineError: the engine refuses shape (129,) for input 'x'",
    "an address that is not aligned": "Misuse: the address of 'x' is not aligned",
    "an unknown tensor": "StopIteration: ",
    "freed memory": "AssertionError: 'x' is read beyond its memory",
    "a destroyed stream": "AssertionError: ",
    "memory freed twice": "DriverError: CUDA_ERROR_INVALID_VALUE from cuMemFree",
    "a graph closed twice": "DriverError: CUDA_ERROR_INVALID_HANDLE from cuGraphExecDestroy",
    "waiting while a stream is captured": "DriverError: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED from cuCtxSynchronize",
    "copying beyond the end": "DriverError: CUDA_ERROR_INVALID_VALUE from cuMemcpyHtoD",
    "a tactic that is not offered": "ConfigError: TensorRT asks for (BLOCK_SIZE=256 num_warps=1), which is not offered",
}


@pytest.fixture(scope="module")
def raised(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each mistake raises, tried in a process of its own."""
    folder = tmp_path_factory.mktemp("shims")
    kernel = Path(__file__).parents[3] / "kernels" / "increment.py"
    (folder / "scenario.json").write_text(json.dumps({"kernel": str(kernel)}))
    environment = {
        **os.environ,
        "PYTHONPATH": write_shims(folder),
        "SIMULATED_TENSORRT": str(folder / "scenario.json"),
    }
    command = [sys.executable, str(Path(__file__).parents[2] / "shared" / "misuse.py")]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_every_mistake_is_expected(raised: dict[str, str]) -> None:
    assert raised.keys() == RAISED.keys()


@pytest.mark.parametrize("mistake", RAISED)
def test_a_mistake_is_refused(raised: dict[str, str], mistake: str) -> None:
    assert raised[mistake].startswith(RAISED[mistake])


def test_the_simulated_driver_has_no_function_or_value_that_the_real_one_lacks() -> None:
    driver = pytest.importorskip("cuda.bindings.driver")
    for name, member in vars(cuda).items():
        if name.startswith("cu"):
            assert hasattr(driver, name), name
        if isinstance(member, EnumMeta) and name.startswith("CU"):
            real = getattr(driver, name).__members__
            for value in cuda_values(member):
                assert real[value.name].value == value.value, f"{name}.{value.name}"


def cuda_values(enum: EnumMeta) -> list[Any]:
    return list(enum.__members__.values())
