"""Register a kernel as a quickly deployable plugin: what it describes, offers and launches.

TensorRT calls the three functions of a plugin as often as it likes, in fresh objects, so they keep no
state: what they return depends on the tensors, the attributes and the tactic alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from tuner.compile.artifact import Artifact
from tuner.errors import ConfigError, did_you_mean
from tuner.kernel.kernel import RESERVED_NAMES, Attribute, Kernel
from tuner.kernel.problem import Problem
from tuner.kernel.tensor import Tensor
from tuner.qdp.binding import dtypes_of, expressions, leading, problem_of, sizes
from tuner.qdp.dtypes import spelling, to_tensorrt
from tuner.qdp.library import require_plugins
from tuner.qdp.offers import default_tactic
from tuner.qdp.preview import allow_aliases
from tuner.qdp.symbolic import operand, symbolic
from tuner.qdp.tables import call_values, position, served, table, word
from tuner.search.tactic import Config, Tactic, Value, by_id

if TYPE_CHECKING:
    import tensorrt as trt
    import tensorrt.plugin as trtp

    Descs: TypeAlias = Sequence[trtp.TensorDesc]

DEFAULT = 0
"""The tactic that TensorRT asks for when a plugin offers none."""


class Offer(Protocol):
    """What a plugin offers. Asked again and again, it answers the same."""

    def tactics(self, problem: Problem, pinned: Config) -> Sequence[Tactic]:
        """The tactics among which the builder may choose, at least one; all have the pinned values."""

    def artifact(self, problem: Problem, tactic: Tactic) -> Artifact:
        """What a tactic compiles to."""


@dataclass(frozen=True, eq=False)
class Plugin:
    """A registered plugin. Called with tensors and attributes, it makes a layer for `add_plugin`.

    Attributes:
        kernel: what it runs.
        schema: its attributes, each with the declared attribute, dtype variable or tuned parameter that it sets.
        words: of each attribute, what its positions mean; () for one that is a plain number.
        errors: what its functions raised. TensorRT prints an error and goes on to build nothing, so this
            is where a caller finds out why.
    """

    kernel: Kernel
    schema: Mapping[str, str]
    words: Mapping[str, tuple[str, ...]]
    errors: list[Exception] = field(default_factory=list)

    def __call__(self, *inputs: Any, **attributes: Attribute) -> Any:
        """What `tensorrt.plugin.op.namespace.name` returns for these tensors: the argument of `add_plugin`.

        An attribute that is one of several words may be given as the word, or as its position.
        """
        import tensorrt.plugin as trtp

        namespace, name = self.kernel.id.split("::")
        values = {n: position(self.words.get(n, ()), n, v) for n, v in attributes.items()}
        return getattr(getattr(trtp.op, namespace), name)(*inputs, **values)

    def add(
        self,
        network: trt.INetworkDefinition,
        *tensors: trt.ITensor,
        problem: Problem | None = None,
        **attributes: Attribute,
    ) -> Any:
        """Add its layer to a network.

        Args:
            network: where to.
            tensors: the inputs in order.
            problem: of no use here: TensorRT tells a plugin the sizes. An operator of several launches needs it.
            attributes: by name; the others have their defaults.

        Returns:
            The output tensor, or a tuple of several; scratch memory is not among them.

        Raises:
            ConfigError: for an unknown attribute, or when TensorRT does not add the layer.
        """
        return returned(self.kernel, self.outputs(network, tensors, attributes))

    def outputs(
        self, network: trt.INetworkDefinition, tensors: Sequence[trt.ITensor], attributes: Mapping[str, Attribute]
    ) -> dict[str, trt.ITensor]:
        """Add its layer to a network as `add` does; all its outputs by name, scratch memory too."""
        values = complete(self.kernel, self.schema, attributes)
        layer = network.add_plugin(self(*tensors, **values), aot=True)
        if layer is None:
            raise ConfigError(f"{self.kernel.id}: TensorRT does not add the layer; its log says why")
        return {name: layer.get_output(i) for i, name in enumerate(self.kernel.outputs)}

    def place(
        self, network: trt.INetworkDefinition, tensors: Sequence[trt.ITensor], problem: Problem
    ) -> dict[str, trt.ITensor]:
        """Add its layer to a network as `outputs` does, with the attributes and data types of a problem."""
        return self.outputs(network, tensors, call_values(problem))

    def forget(self) -> None:
        """Forget the errors."""
        self.errors.clear()

    def configure(self, config: trt.IBuilderConfig) -> None:
        """Have a builder take what it needs: outputs in the place of inputs are a preview feature."""
        if self.kernel.aliases:
            allow_aliases(config)


def complete(kernel: Kernel, schema: Mapping[str, str], attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """The values of all attributes of a plugin or an operator, in order; defaults for those that are not given.

    Raises:
        ConfigError: for an unknown attribute.
    """
    for name in attributes:
        if name not in schema:
            raise ConfigError(f"{kernel.id}: no attribute {name!r}{did_you_mean(name, schema)}")
    first = {variable: names[0] for variable, names in kernel.dtypes.items()}
    defaults = {**kernel.default, **first, **kernel.attributes}
    return {n: attributes.get(n, defaults[target]) for n, target in schema.items()}


def returned(kernel: Kernel, outputs: Mapping[str, Any]) -> Any:
    """The results of an operator as its reference returns them: one, or a tuple of several."""
    results = tuple(outputs[name] for name in kernel.results)
    return results[0] if len(results) == 1 else results


def register(kernel: Kernel, offer: Offer, attributes: Mapping[str, str] | None = None) -> Plugin:
    """Register a kernel under its id with `tensorrt.plugin`.

    Args:
        kernel: the operator.
        offer: the tactics and their code.
        attributes: the plugin's attributes, each with the declared attribute or tuned parameter that it
            sets; by default the declared attributes under their own names. A parameter that is set is
            not tuned, and a declared attribute that is not set keeps its default.

    Raises:
        ConfigError: when the id is taken, or TensorRT cannot describe such a plugin.
        UnavailableError: without TensorRT.
    """
    require_free(kernel)
    import tensorrt.plugin as trtp

    schema = {n: n for n in served(kernel)} if attributes is None else dict(attributes)
    _check(kernel, schema)
    words = {name: table(kernel, target) for name, target in schema.items()}
    plugin, functions = Plugin(kernel, schema, words), _Functions(kernel, offer, schema)
    types = {n: int if words[n] else type(_example(kernel, target)) for n, target in schema.items()}
    inputs = dict.fromkeys(kernel.inputs, trtp.TensorDesc)
    outputs = tuple[(trtp.TensorDesc,) * len(kernel.outputs)]  # type: ignore[misc,valid-type]
    described = trtp.TensorDesc if len(kernel.outputs) == 1 else outputs
    launched = tuple[str, str, trtp.KernelLaunchParams, trtp.SymIntExprs]
    for decorate, function, parameters, returned in (
        (trtp.register, functions.describe, {**inputs, **types}, described),
        (trtp.autotune, functions.autotune, {**inputs, **types, "outputs": outputs}, list[trtp.AutoTuneCombination]),
        (trtp.aot_impl, functions.launch, {**inputs, **types, "outputs": outputs, "tactic": int}, launched),
    ):
        decorate(kernel.id)(_typed(partial(_noting, plugin.errors, function), parameters, returned))
    return plugin


def require_free(kernel: Kernel) -> None:
    """Refuse to go on where a plugin has the kernel's id.

    Raises:
        ConfigError: when one has.
        UnavailableError: without TensorRT.
    """
    require_plugins()
    import tensorrt as trt
    import tensorrt.plugin as trtp

    namespace, name = kernel.id.split("::")
    taken = hasattr(trtp.op, namespace) and hasattr(getattr(trtp.op, namespace), name)
    if taken or trt.get_plugin_registry().get_creator(name, "1", namespace) is not None:
        raise ConfigError(
            f"the plugin id {kernel.id!r} is already registered in this process; register it once, "
            "or give one of the two kernels another id"
        )


@dataclass(frozen=True, eq=False)
class _Functions:
    """The functions behind a plugin, called with its tensors, then its attributes, in order."""

    kernel: Kernel
    offer: Offer
    schema: Mapping[str, str]

    def describe(self, *arguments: Any) -> Any:
        """The outputs' shapes and types, in terms of the inputs'."""
        import tensorrt.plugin as trtp

        count = len(self.kernel.inputs)
        inputs, given = arguments[:count], arguments[count:]
        if len(given) == 1 and isinstance(given[0], dict):  # nvtripy (0.1.7) passes all attributes as one dictionary
            given = tuple(given[0][name] for name in self.schema)
        _, attributes, _, chosen = self._split((*inputs, *given))
        scope, free = expressions(self.kernel, inputs, attributes), leading(self.kernel, inputs)
        dtypes, aliased = {**dtypes_of(self.kernel, inputs), **chosen}, self.kernel.aliases
        described = tuple(
            dict(zip(self.kernel.inputs, inputs, strict=True))[aliased[name]].aliased()
            if name in aliased
            else trtp.from_shape_expr(_shape(tensor, scope, free), to_tensorrt(dtypes.get(tensor.dtype, tensor.dtype)))
            for name, tensor in self.kernel.outputs.items()
        )
        return described[0] if len(described) == 1 else described

    def autotune(self, *arguments: Any) -> Any:
        """One combination, that of the network's own types, with the offered tactics."""
        import tensorrt.plugin as trtp

        problem, pinned = self._problem(arguments[:-1])
        kernel = self.kernel
        types = [spelling(problem.dtype(t)) for t in (*kernel.inputs.values(), *kernel.outputs.values())]
        ids = list(by_id(self.offer.tactics(problem, pinned)))
        return [trtp.AutoTuneCombination(", ".join(types), "LINEAR", ids)]

    def launch(self, *arguments: Any) -> Any:
        """A tactic's entry, PTX, launch parameters and extra arguments."""
        problem, pinned = self._problem(arguments[:-2])
        tactic = self._tactic(problem, pinned, arguments[-1])
        artifact = self.offer.artifact(problem, tactic)
        inputs, *_ = self._split(arguments[:-2])
        return (artifact.entry, artifact.ptx, *_launch(problem, tactic, artifact, inputs))

    def _tactic(self, problem: Problem, pinned: Config, tactic: int) -> Tactic:
        if tactic == DEFAULT:
            return default_tactic(problem, pinned)
        offered = by_id(self.offer.tactics(problem, pinned))
        if tactic not in offered:
            raise ConfigError(f"{problem}: tactic {tactic} is not among those offered ({', '.join(map(str, offered))})")
        return offered[tactic]

    def _problem(self, arguments: Sequence[Any]) -> tuple[Problem, Config]:
        inputs, attributes, pinned, chosen = self._split(arguments)
        return problem_of(self.kernel, inputs, attributes, chosen), pinned

    def _split(self, arguments: Sequence[Any]) -> tuple[Descs, dict[str, Attribute], Config, dict[str, str]]:
        """Inputs, values of declared attributes, values of pinned parameters, data types that the network chooses."""
        count, kernel = len(self.kernel.inputs), self.kernel
        given = dict(zip(self.schema.values(), arguments[count:], strict=True))
        values = {name: word(kernel, name, value) for name, value in given.items()}
        chosen = {n: str(values[n]) for n in kernel.chosen_dtypes if n in values}
        attributes = {n: v for n, v in values.items() if n in kernel.attributes}
        pinned = {n: v for n, v in values.items() if n not in attributes and n not in chosen}
        return arguments[:count], attributes, pinned, chosen


def _launch(problem: Problem, tactic: Tactic, artifact: Artifact, inputs: Descs) -> tuple[Any, Any]:
    """The kernel's launch as TensorRT takes it."""
    import tensorrt.plugin as trtp

    launch = problem.evaluate(tactic.config, sizes(problem, inputs))
    grid = [symbolic(g) for g in launch.grid]
    params = trtp.KernelLaunchParams(*grid, *artifact.block, artifact.shared_bytes)
    extra = trtp.SymIntExprs(len(launch.args))
    for i, value in enumerate(launch.args):
        extra[i] = trtp.SymInt32(symbolic(value))
    return params, extra


def _shape(tensor: Tensor, scope: Mapping[str, Any], free: Mapping[str, tuple[trtp.ShapeExpr, ...]]) -> tuple[Any, ...]:
    extents = [operand(extent) for extent in tensor.evaluate(scope)]
    return (*free[tensor.extents[0].names[0]], *extents[1:]) if tensor.variadic else tuple(extents)


def _check(kernel: Kernel, schema: Mapping[str, str]) -> None:
    """Refuse what TensorRT could not describe."""
    for tensor in (*kernel.inputs.values(), *kernel.outputs.values()):
        for name in kernel.dtypes.get(tensor.dtype, (tensor.dtype,)):
            spelling(name)
    for name in schema:
        if name in (*RESERVED_NAMES, *kernel.inputs) or not name.isidentifier() or iskeyword(name):
            raise ConfigError(f"{kernel.id}: TensorRT does not allow an attribute called {name!r}")
    known = [*kernel.attributes, *kernel.chosen_dtypes, *kernel.space.names]
    for name, target in schema.items():
        if target not in known:
            raise ConfigError(
                f"{kernel.id}: attribute {name!r} would set {target!r}, which is neither a declared attribute nor a "
                f"parameter{did_you_mean(target, known)}"
            )
        if not table(kernel, target) and isinstance(_example(kernel, target), str):
            raise ConfigError(
                f"{kernel.id}: {target!r} is a text; a plugin's attribute is an int, a float or a bool: declare it as "
                "one of several, Word(…) or DType(…), and the network passes its position"
            )
    if len(set(schema.values())) < len(schema):
        raise ConfigError(f"{kernel.id}: two attributes set the same value: {dict(schema)}")


def _example(kernel: Kernel, target: str) -> Value:
    """A value of a declared attribute or a tuned parameter: what tells its type."""
    if target in kernel.attributes:
        return kernel.attributes[target]
    return next(p for p in kernel.space.params if p.name == target).values[0]


def _noting(errors: list[Exception], function: Callable[..., Any], *arguments: Any, **attributes: Any) -> Any:
    """Call a function; keep what it raises."""
    try:
        return function(*arguments, *attributes.values())
    except Exception as e:
        errors.append(e)
        raise


def _typed(function: Callable[..., Any], parameters: Mapping[str, Any], returned: Any) -> Callable[..., Any]:
    """A function of any arguments with the signature that `tensorrt.plugin` reads."""

    def typed(*arguments: Any, **attributes: Any) -> Any:
        return function(*arguments, **attributes)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = [inspect.Parameter(n, kind, annotation=a) for n, a in parameters.items()]
    typed.__signature__ = inspect.Signature(signature, return_annotation=returned)  # type: ignore[attr-defined]
    return typed
