"""The networks that engines are built from: the plugin alone, or a network of the user's around it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.backends.tensorrt.log import EngineError
from tuner.backends.tensorrt.order import Host, Profile
from tuner.errors import ConfigError, did_you_mean
from tuner.kernel.loader import import_file
from tuner.kernel.problem import Problem
from tuner.qdp.dtypes import to_tensorrt

if TYPE_CHECKING:
    import tensorrt as trt

    from tuner.qdp.chains import PluginChain
    from tuner.qdp.plugin import Plugin


def add_alone(network: trt.INetworkDefinition, plugin: Plugin | PluginChain, problem: Problem) -> Mapping[str, Profile]:
    """Make the operator all that is in the network; returns the profiles of dynamic inputs.

    Inputs and outputs are named as the kernel's tensors.

    Raises:
        ConfigError: when TensorRT does not add a layer.
    """
    profiles: dict[str, Profile] = {}
    inputs = []
    for name, tensor in problem.kernel.inputs.items():
        profile = problem.shape(tensor, "min"), problem.shape(tensor), problem.shape(tensor, "max")
        shape = tuple(low if low == high else -1 for low, high in zip(profile[0], profile[2], strict=True))
        inputs.append(network.add_input(name, to_tensorrt(problem.dtype(tensor)), shape))
        if -1 in shape:
            profiles[name] = profile
    for name, output in plugin.place(network, inputs, problem).items():
        output.name = name
        network.mark_output(output)
    return profiles


def add_host(
    network: trt.INetworkDefinition, plugin: Plugin | PluginChain, host: Host, logger: trt.ILogger
) -> Mapping[str, Profile]:
    """Fill the network with the user's; returns the profiles of dynamic inputs.

    Raises:
        ConfigError: when the file cannot be used.
        EngineError: when the ONNX parser refuses the model.
    """
    location, _, name = host.location.partition(":")
    if name:
        _call(Path(location), name, network, plugin)
    else:
        _parse(location, network, logger)
    dynamic = [t.name for t in _inputs(network) if -1 in tuple(t.shape)]
    for wanted in dynamic:
        if wanted not in host.profiles:
            raise ConfigError(f"{host.location}: input {wanted!r} is dynamic; give its shapes in [tensorrt.shapes]")
    for given in host.profiles:
        if given not in dynamic:
            raise ConfigError(f"{host.location}: no dynamic input is called {given!r}{did_you_mean(given, dynamic)}")
    return host.profiles


def _inputs(network: trt.INetworkDefinition) -> list[Any]:
    return [network.get_input(i) for i in range(network.num_inputs)]


def _call(path: Path, name: str, network: trt.INetworkDefinition, plugin: Plugin | PluginChain) -> None:
    """Call the function of a Python file that adds inputs, layers and outputs."""
    function = getattr(import_file(path), name, None)
    if not callable(function):
        raise ConfigError(f"{path} holds no function {name!r} that takes a network and the plugin")
    try:
        function(network, plugin)
    except Exception as e:
        raise ConfigError(f"{path}: {name} raised {type(e).__name__}: {e}") from e


def _parse(location: str, network: trt.INetworkDefinition, logger: trt.ILogger) -> None:
    import tensorrt as trt

    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(location):
        errors = tuple(" ".join(parser.get_error(i).desc().split()) for i in range(parser.num_errors))
        raise EngineError(f"{location} cannot be parsed", errors)
