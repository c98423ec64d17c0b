"""Rehearse a Python file that registers plugins of its own."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tuner.errors import ConfigError, did_you_mean
from tuner.gpu.catalog import Device
from tuner.gpu.stand_in_driver import StandInDriver, answering
from tuner.kernel.loader import import_file
from tuner.qdp.rehearsal.builder import DEFAULT, Broken, Rehearsal, play
from tuner.qdp.rehearsal.call import Call, example, parse
from tuner.qdp.rehearsal.calling import in_layer
from tuner.qdp.rehearsal.network import LayerBroken, PlayedNetwork
from tuner.qdp.rehearsal.rules import examine

CALLS = "REHEARSAL"
"""The variable in which a module may keep the calls to play, as a list of texts."""

OPERATORS = "OPERATORS"
"""The variable in which a module may keep functions that add operators of several layers to a network, by id."""


@dataclass(frozen=True)
class LoadedModule:
    """What importing a module registered.

    Attributes:
        plugins: ids, each with a call to copy and complete.
        calls: those that the module itself names.
        operators: what adds the layers of operators that are several plugins, by the operators' ids.
        broken: what NVIDIA's layer said when it refused a registration.
    """

    plugins: Mapping[str, str]
    calls: tuple[str, ...]
    broken: Broken | None = None
    operators: Mapping[str, Callable[..., Any]] = field(default_factory=dict)


@contextmanager
def at_home(module: Path, driver: StandInDriver, always: bool) -> Iterator[None]:
    """Load a module and play its plugins as where it was written: with the files beside it, and with a GPU.

    Args:
        module: its file; what its functions import when they are called may lie beside it.
        driver: answers where they ask for the GPU, as `triton.compile` without a target does.
        always: also where there is one.
    """
    folder = str(module.resolve().parent)
    sys.path.append(folder)
    try:
        with answering(driver, always=always):
            yield
    finally:
        sys.path.remove(folder)


def load_module(path: Path, device: Device) -> LoadedModule:
    """Execute a file, and see which plugins it registers.

    Args:
        path: the file.
        device: answers where the file asks for the GPU and nobody answers yet.

    Raises:
        ConfigError: when there is no such file, or it fails for a reason other than its registrations.
    """
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; name a Python file that registers plugins")
    registry = importlib.import_module("tensorrt.plugin._lib").QDP_REGISTRY
    before = set(registry)
    try:
        variables = vars(import_file(path.resolve(), device))
    except ConfigError as e:
        cause = e.__cause__
        frames = traceback.extract_tb(cause.__traceback__) if cause is not None else []
        if frames and in_layer(frames[-1]):
            return LoadedModule({}, (), Broken(None, "signature", str(e)))
        raise
    plugins = {
        name: example(name, len(definition.input_tensor_names), definition.input_attrs)
        for name, definition in registry.items()
        if name not in before
    }
    calls = variables.get(CALLS, ())
    if not isinstance(calls, list | tuple) or not all(isinstance(call, str) for call in calls):
        raise ConfigError(f"{path}: {CALLS} is {calls!r}; give a list of texts, such as {list(plugins.values())}")
    operators = variables.get(OPERATORS, {})
    if not isinstance(operators, dict) or not all(map(callable, operators.values())):
        raise ConfigError(f"{path}: {OPERATORS} is {operators!r}; give a table of functions by the operators' ids")
    return LoadedModule(plugins, tuple(calls), operators={n: f for n, f in operators.items() if n not in plugins})


def rehearse_operator(
    text: str, add: Callable[..., Any], tactics: int | None, device: Device | None
) -> list[tuple[str, Rehearsal, tuple[Broken, ...]]]:
    """Play a call of an operator of several layers as a network of them.

    Args:
        text: as `tuner.qdp.rehearsal.call.parse` reads it.
        add: adds the layers to a network, given it, the tensors and the attributes.
        tactics, device: as for `rehearse_call`.

    Returns:
        For each layer that was added, its plugin, what was played of it, and all broken rules.

    Raises:
        ConfigError: when the call cannot be read, or no layer is added.
    """
    call = parse(text)
    network = PlayedNetwork(lambda offered: (offered or (DEFAULT,))[:tactics])
    inputs = [network.add_input(tensor) for tensor in call.tensors]
    try:
        add(network, *inputs, **call.attributes)
    except LayerBroken:
        pass  # which rule it is, is among what was learned of the layer
    except Exception as e:
        raise ConfigError(f"call {text!r}: {type(e).__name__}: {e}") from e
    target = None if device is None else device.target
    return [(layer.plugin, layer.rehearsal, examine(layer.rehearsal, target)) for layer in network.layers]


def rehearse_call(text: str, tactics: int | None, device: Device | None) -> tuple[Rehearsal, tuple[Broken, ...]]:
    """Play one call.

    Args:
        text: as `tuner.qdp.rehearsal.call.parse` reads it.
        tactics: how many of the offered tactics to play, in the order of their ids; None for all.
        device: what to run on; None leaves its architecture out of it.

    Raises:
        ConfigError: when the call cannot be read, or names no plugin.
    """
    call = _typed(parse(text))
    rehearsal = play(call.plugin, call.tensors, call.attributes, lambda offered: (offered or (DEFAULT,))[:tactics])
    return rehearsal, examine(rehearsal, None if device is None else device.target)


def _typed(call: Call) -> Call:
    """The call with lists as the arrays that the plugin declares."""
    import numpy as np

    registry = importlib.import_module("tensorrt.plugin._lib").QDP_REGISTRY
    if call.plugin not in registry:
        raise ConfigError(f"call {call.text!r}: no such plugin is registered{did_you_mean(call.plugin, registry)}")
    utils = importlib.import_module("tensorrt.plugin._utils")
    declared = registry[call.plugin].input_attrs

    def converted(name: str, value: Any) -> Any:
        if not isinstance(value, list) or not utils._is_numpy_array(declared.get(name)):
            return value
        try:
            return np.array(value, dtype=utils._infer_numpy_type(declared[name]))
        except (ValueError, TypeError, OverflowError) as e:
            raise ConfigError(f"call {call.text!r}: {name}={value!r}: {e}") from None

    return replace(call, attributes={n: converted(n, v) for n, v in call.attributes.items()})
