"""Register a kernel in a build script: cached winners are served, nothing is tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tuner.compile.blobs import Store, default_folder
from tuner.compile.compiler import Compiler, Compiles
from tuner.compile.options import CompileOptions
from tuner.errors import ConfigError, UnavailableError
from tuner.gpu.catalog import find_device
from tuner.gpu.present import available, describe
from tuner.gpu.target import Target
from tuner.kernel.kernel import Kernel
from tuner.qdp import plugin
from tuner.qdp.chains import PluginChain, register_chain
from tuner.qdp.offers import Choose, CompilingChain, CompilingOffer, FromCache, given, legal
from tuner.qdp.plugin import Plugin
from tuner.search.tactic import Config, Tactic
from tuner.store.cache import Cache, default_path


def register(
    kernel: Kernel,
    *,
    tactics: Literal["cached", "all"] | Sequence[Config] = "cached",
    cache: Cache | Path | None = None,
    device: str | None = None,
    attributes: Mapping[str, str] | None = None,
    workers: int = 0,
) -> Plugin | PluginChain:
    """Register a kernel as a TensorRT plugin under its id, once per process.

    Afterwards ``add(network, tensors…, attributes…)`` of what is returned adds the operator's layers to a network
    and returns its output tensors. For an operator of one launch, `tensorrt.plugin.op.namespace.name(tensors…,
    attributes…)`, or the returned plugin called in the same way, makes the layer that
    `network.add_plugin(…, aot=True)` takes. ``configure(config)`` sets what the builder has to be told.

    Args:
        kernel: the operator.
        tactics: what the builder chooses from: "cached", the winner that a cache holds for the shapes,
            or else the default, with a warning; "all", every legal tactic; or configurations. An operator of
            several launches gets the first of them that compiles.
        cache: a tactic cache or its file; the user's own by default.
        device: the GPU to build for, such as "h200"; the one at hand by default.
        attributes: the plugin's attributes by name, each with the declared attribute or tuned parameter
            that it sets: ``{"block_size": "BLOCK_SIZE"}`` lets the network pin BLOCK_SIZE. By default the
            declared attributes.
        workers: compile processes; 0 for one per core.

    Raises:
        ConfigError: when the id is taken, or TensorRT cannot describe such a plugin.
        StorageError: when the cache cannot be read.
        UnavailableError: without TensorRT, or without a GPU where none is named.
    """
    name, target = _device(device)
    compiler = Compiler.of(target, CompileOptions(workers=workers), Store(default_folder()))
    return register_operator(kernel, _chooser(tactics, cache, name, target), compiler, attributes)


def register_operator(
    kernel: Kernel, choose: Choose, compiler: Compiles, attributes: Mapping[str, str] | None = None
) -> Plugin | PluginChain:
    """Register an operator of one launch or of several, with chosen tactics that are compiled.

    Raises:
        ConfigError, UnavailableError: as `register` does.
    """
    if any(k.parts for k in kernel.alternatives.values()):
        raise ConfigError(
            f"{kernel.id}: some of its sources are one launch and some several, so that nobody knows the layers before "
            "a tactic is chosen; register the source that you want by itself"
        )
    if kernel.parts:
        return register_chain(kernel, CompilingChain(choose, compiler), attributes)
    return plugin.register(kernel, CompilingOffer(choose, compiler), attributes)


def _chooser(
    tactics: Literal["cached", "all"] | Sequence[Config], cache: Cache | Path | None, device: str, target: Target
) -> Choose:
    if tactics == "cached":
        opened = cache if isinstance(cache, Cache) else Cache.open(cache or default_path())
        return FromCache(opened, device, target.capability)
    if tactics == "all":
        return legal
    if isinstance(tactics, str):
        raise ConfigError(f'tactics={tactics!r}: use "cached", "all" or a list of configurations')
    return given([Tactic(c) for c in tactics])


def _device(name: str | None) -> tuple[str, Target]:
    """The GPU to build for, and what to compile for it."""
    if name is not None:
        device = find_device(name)
        return device.name, device.target
    reason = available()
    if reason is not None:
        raise UnavailableError(f'no GPU to build for: {reason}; name one with device="h200"')
    here = describe((0,))[0]
    # As for tuning on a GPU, so that what was compiled there is found.
    return here.name, replace(here.target, disassemble=False)
