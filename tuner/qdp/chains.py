"""Operators of several launches in TensorRT: each launch is a plugin, and a layer of the network.

TensorRT asks for the shapes of a layer's outputs before it knows a tactic, and lets each layer choose by itself. So
what the layers of an operator have to agree on is chosen when they are added, and reaches them as attributes; each
offers one tactic then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tuner.compile.artifact import Artifact
from tuner.errors import ConfigError
from tuner.kernel.kernel import Attribute, Kernel
from tuner.kernel.parts import Part
from tuner.kernel.problem import Problem
from tuner.qdp.binding import problem_in_network
from tuner.qdp.plugin import Plugin, complete, register, require_free, returned
from tuner.qdp.preview import allow_aliases
from tuner.qdp.tables import served, word
from tuner.search.tactic import Config, Tactic, Value

if TYPE_CHECKING:
    import tensorrt as trt


class ChainOffer(Protocol):
    """What an operator of several launches runs. Asked again and again, it answers the same."""

    def tactic(self, problem: Problem, pinned: Config) -> Tactic:
        """The tactic of the whole, with the pinned values."""

    def artifact(self, problem: Problem, tactic: Tactic) -> Artifact:
        """What one launch compiles to: a problem and a tactic of its own kernel."""


@dataclass(frozen=True, eq=False)
class PluginChain:
    """A registered operator of several launches. There is no single layer to make: call `add`.

    Attributes:
        kernel: the operator.
        schema: its attributes, each with the declared attribute or tuned parameter that it sets.
        steps: its launches in order, each with its plugin.
        offer: says which tactic.
    """

    kernel: Kernel
    schema: Mapping[str, str]
    steps: Sequence[tuple[Part, Plugin]]
    offer: ChainOffer

    @property
    def errors(self) -> list[Exception]:
        """What the plugins' functions raised; see `Plugin`."""
        return [error for _, plugin in self.steps for error in plugin.errors]

    def __call__(self, *inputs: Any, **attributes: Attribute) -> Any:
        """Refuse to make one layer of several.

        Raises:
            ConfigError: always.
        """
        names = ", ".join(plugin.kernel.id for _, plugin in self.steps)
        raise ConfigError(f"{self.kernel.id} is no single layer but {names}; use add(network, tensors…)")

    def add(
        self,
        network: trt.INetworkDefinition,
        *tensors: trt.ITensor,
        problem: Problem | None = None,
        **attributes: Attribute,
    ) -> Any:
        """Add its layers to a network, with the parameters that are recorded for the sizes.

        Args:
            network: where to.
            tensors: the inputs in order.
            problem: the sizes, where the network does not know them yet. A range of sizes gets one tactic.
            attributes: by name; the others are those of the problem, or else have their defaults.

        Returns:
            The output tensor, or a tuple of several.

        Raises:
            ConfigError: for an unknown attribute or size, or when TensorRT does not add a layer.
        """
        return returned(self.kernel, self.outputs(network, tensors, attributes, problem))

    def outputs(
        self,
        network: trt.INetworkDefinition,
        tensors: Sequence[trt.ITensor],
        attributes: Mapping[str, Attribute],
        problem: Problem | None = None,
    ) -> dict[str, trt.ITensor]:
        """Add its layers to a network as `add` does; all its outputs by name, scratch memory too."""
        complete(self.kernel, self.schema, attributes)
        targets = {self.schema[n]: value for n, value in attributes.items()}
        given = {n: value if isinstance(value, str) else word(self.kernel, n, value) for n, value in targets.items()}
        declared = {n: value for n, value in given.items() if n in self.kernel.attributes}
        chosen = {n: str(value) for n, value in given.items() if n in self.kernel.chosen_dtypes}
        posed = problem_in_network(self.kernel, tensors, declared, chosen, problem)
        pinned = {n: value for n, value in given.items() if n not in declared and n not in chosen}
        tactic = self.offer.tactic(posed, pinned)
        found = dict(zip(self.kernel.inputs, tensors, strict=True))
        for part, plugin in self.steps:
            values = step_attributes(part, posed, tactic.config)
            made = plugin.outputs(network, [found[name] for name in part.inputs], values)
            found |= zip(part.outputs, made.values(), strict=True)
        return {name: found[name] for name in self.kernel.outputs}

    def place(
        self, network: trt.INetworkDefinition, tensors: Sequence[trt.ITensor], problem: Problem
    ) -> dict[str, trt.ITensor]:
        """Add its layers to a network as `outputs` does, for a problem."""
        return self.outputs(network, tensors, {}, problem)

    def forget(self) -> None:
        """Forget the errors."""
        for _, plugin in self.steps:
            plugin.forget()

    def configure(self, config: trt.IBuilderConfig) -> None:
        """Have a builder take what it needs; see `Plugin.configure`."""
        if any(part.kernel.aliases for part, _ in self.steps):
            allow_aliases(config)


def register_chain(kernel: Kernel, offer: ChainOffer, attributes: Mapping[str, str] | None = None) -> PluginChain:
    """Register the launches of an operator, each as a plugin ``namespace::name__step``.

    Args:
        kernel: an operator of several launches.
        offer: its tactic and the code of each launch.
        attributes: what `add` takes by name; as for `tuner.qdp.plugin.register`.

    Raises:
        ConfigError, UnavailableError: as that does.
    """
    schema = {n: n for n in served(kernel)} if attributes is None else dict(attributes)
    for name, target in schema.items():
        if target not in (*served(kernel), *kernel.space.names):
            raise ConfigError(f"{kernel.id}: attribute {name!r} would set {target!r}, which is nothing to be set")
    for part in kernel.parts:  # all of them or none
        require_free(part.kernel)
    plugins = [register(part.kernel, _OneTactic(offer), step_schema(part)) for part in kernel.parts]
    return PluginChain(kernel, schema, tuple(zip(kernel.parts, plugins, strict=True)), offer)


def step_schema(part: Part) -> dict[str, str]:
    """The attributes of a step's plugin: those of its kernel, and its parameters, which the operator has chosen."""
    return {name: name for name in (*served(part.kernel), *part.params)}


def step_attributes(part: Part, problem: Problem, config: Config) -> dict[str, Any]:
    """Their values, for a problem and a configuration of the operator; words as words."""
    pinned = {name: config[name] for name in part.pinned}
    values = {**usual(part), **problem.dtypes, **problem.attributes, **pinned, **part.config(config)}
    return {name: values[name] for name in step_schema(part)}


def usual(part: Part) -> dict[str, Value]:
    """A value of each of a step's parameters, for configurations in which it does not apply."""
    params = [p for p in part.kernel.space.params if p.name in part.params]
    return {p.name: part.kernel.default.get(p.name, p.values[0]) for p in params}


@dataclass(frozen=True, eq=False)
class _OneTactic:
    """Offers a step's only tactic: all that is tuned is set by attributes."""

    offer: ChainOffer

    def tactics(self, problem: Problem, pinned: Config) -> list[Tactic]:
        config: dict[str, Value] = {}
        for param in problem.kernel.space.params:
            if param.when is None or config.get(param.when[0]) in param.when[1]:
                config[param.name] = pinned.get(param.name, problem.kernel.default.get(param.name, param.values[0]))
        return [Tactic(config)]

    def artifact(self, problem: Problem, tactic: Tactic) -> Artifact:
        return self.offer.artifact(problem, tactic)
