"""Operators of several launches: what a chain declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from tuner.errors import ConfigError, did_you_mean
from tuner.kernel.alias import Alias
from tuner.kernel.drafts import Draft, TakenTensor, begun, blank, filling, finish
from tuner.kernel.kernel import Kernel, Reference
from tuner.kernel.launch import Launch
from tuner.kernel.parts import Part
from tuner.kernel.tensor import Tensor, Tolerance
from tuner.search.params import Param
from tuner.search.space import Space


@dataclass(frozen=True, eq=False)
class Step:
    """One launch of a `Chain`.

    Attributes:
        name: of the step; TensorRT knows it as ``namespace::chain__step``.
        source, constants, absent: as for `Kernel`.
        inputs: the tensors that it reads: inputs, workspace or outputs of the chain, named as the parameters of the
            code that take them.
        outputs: the tensors that it writes, likewise; an `Alias` of one that it changes in place.
        launch: as for `Kernel`. It may name dimensions and attributes of the chain, the step's own parameters and
            those that the chain declares.
        params: tuned parameters of this step alone. A configuration of the chain has `num_warps` of the step "whole"
            as ``whole_num_warps``.
        reference, tolerances: of this step alone, by the names of its inputs, besides the chain's, which judge the
            whole.
    """

    name: str
    source: Any
    inputs: Sequence[str]
    outputs: Sequence[str | Alias]
    launch: Callable[..., Launch]
    params: Sequence[Param] = ()
    constants: Callable[..., Mapping[str, Any]] | None = None
    absent: Sequence[str] = ()
    reference: Reference | None = None
    tolerances: Mapping[str, Tolerance | Callable[..., Tolerance]] = field(default_factory=dict)

    @property
    def written(self) -> tuple[str, ...]:
        """The names of the tensors that it writes."""
        return tuple(t.input if isinstance(t, Alias) else t for t in self.outputs)

    @property
    def tuned(self) -> tuple[tuple[Param, str], ...]:
        """Its own parameters, and what configurations of the chain call each."""
        return tuple((p, f"{self.name}_{p.name}") for p in self.params)


def _no_launch() -> Launch:
    raise AssertionError("a chain is launched step by step")


@dataclass(frozen=True, eq=False, kw_only=True)
class Chain(Kernel):
    """An operator of several launches, one after another, with tensors between them.

    It is declared, tuned, checked and served as any `Kernel`: one space, one reference, one time. Each step becomes
    a layer of the network. A parameter that several steps or the shape of a tensor depend on is set, from what is
    recorded, when the layers are added.

    Attributes:
        steps: the launches, in order.
        workspace: tensors that one step writes and a later one reads. Their extents may name dimensions, attributes
            and `params`: ``Tensor("fp32", "M cdiv(N, TILE)")``. `start` gives them a value before the first step
            that writes them.
        params: parameters that are no single step's own: those of the same name in several steps, and those that
            extents name.
        default: of all parameters, those of steps as ``step_param``.
    """

    source: Any = field(init=False, default=())
    launch: Callable[..., Launch] = field(init=False, default_factory=lambda: _no_launch)
    params: Sequence[Param] = ()
    steps: Sequence[Step]
    workspace: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def space(self) -> Space:
        own = (_renamed(param, name, step) for step in self.steps for param, name in step.tuned)
        return Space((*self.params, *own), self.rules)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The launches as ordinary kernels, those that give tensors the values they start with among them."""
        drafts = {step.name: self._draft(step) for step in self.steps}
        shared = {p.name: p for p in self.params}
        users = {name: [d for d in drafts.values() if d.used((name,))] for name in shared}
        shapes = {name for tensor in self.workspace.values() for name in tensor.names}
        pinned = [name for name, of in users.items() if len(of) > 1 or name in shapes]
        for name, of in users.items():
            if not of:
                raise ConfigError(f"parameter {name!r} is used by no step")
        parts: list[Part] = []
        filled: set[str] = set()
        for step in self.steps:
            for name in step.written:
                tensor = self.tensors[name]
                if tensor.start is not None and name not in filled:
                    filled.add(name)
                    parts.append(filling(self, name, tensor, shared, pinned))
            parts.append(finish(self, drafts[step.name], shared, pinned))
        return tuple(parts)

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The inputs, the workspace and the outputs by name."""
        return {**self.inputs, **self.workspace, **self.outputs}

    @cached_property
    def constant_names(self) -> tuple[str, ...]:
        """The parameters, the attributes, and the dimensions that the code of a step takes as constants."""
        dims = (c for part in self.parts for c in part.kernel.constant_names if c in self.dims)
        return (*self.space.names, *self.attributes, *dict.fromkeys(dims))

    def _draft(self, step: Step) -> Draft:
        """A step with the tensors that its code takes."""
        inputs = {name: TakenTensor(name, _as_input(self.tensors[name])) for name in step.inputs}
        outputs: dict[str, TakenTensor] = {}
        for given, name in zip(step.outputs, step.written, strict=True):
            tensor = self.tensors[name]
            if isinstance(given, Alias):
                inputs.setdefault(name, TakenTensor(name, _as_input(tensor)))
                outputs[f"{name}_changed"] = TakenTensor(name, Alias(name))
            elif isinstance(tensor, Alias):
                inputs.setdefault(tensor.input, TakenTensor(tensor.input, self.inputs[tensor.input]))
                outputs[name] = TakenTensor(name, Alias(tensor.input))
            elif tensor.start is not None:
                inputs[blank(name)] = TakenTensor(name, begun(tensor))
                outputs[name] = TakenTensor(name, Alias(blank(name)))
            else:
                outputs[name] = TakenTensor(name, tensor)
        default = {param.name: self.default[name] for param, name in step.tuned if name in self.default}
        return Draft(
            step.name,
            step.source,
            step.launch,
            inputs,
            outputs,
            step.tuned,
            default,
            step.constants,
            step.absent,
            step.reference,
            step.tolerances,
        )

    def _check_source(self) -> None:
        if not self.steps:
            raise ConfigError("a chain has one step at least")
        names = [step.name for step in self.steps]
        for name in names:
            if not name.isidentifier():
                raise ConfigError(f"step {name!r}: the name has to be an identifier, such as 'parts'")
        if len(set(names)) < len(names):
            raise ConfigError(f"two steps have one name: {', '.join(names)}; rename one")
        self.space.encode(self.default)
        shared = {p.name for p in self.params}
        for name, tensor in self.workspace.items():
            if name in self.inputs or name in self.outputs:
                raise ConfigError(f"{name!r} is declared twice, in the workspace and as an input or output")
            for word in tensor.names:
                known = [*self.dims, *self.attributes, *shared]
                if word not in known:
                    raise ConfigError(
                        f"workspace {name!r}: {word!r} is no dimension, attribute or parameter of the chain"
                        f"{did_you_mean(word, known)}"
                    )
        ready = [*self.inputs, *(n for n, t in self.tensors.items() if t.start is not None)]
        gone: dict[str, str] = {}
        for step in self.steps:
            for name in (*step.inputs, *step.written):
                if name not in self.tensors:
                    raise ConfigError(
                        f"step {step.name!r}: {name!r} is no input, workspace or output of the chain"
                        f"{did_you_mean(name, self.tensors)}"
                    )
            changed = [t.input for t in step.outputs if isinstance(t, Alias)]
            for name in (*step.inputs, *changed):
                if name not in ready:
                    raise ConfigError(f"step {step.name!r} reads {name!r}, which no step before it writes")
            for name in step.inputs:
                if name in gone:
                    raise ConfigError(
                        f"step {step.name!r} reads {name!r}, which an earlier step changes in place; "
                        f"read {gone[name]!r}"
                    )
            gone |= {t.input: n for n in step.written if isinstance(t := self.tensors[n], Alias)}
            for name in step.written:
                if name in self.inputs and name in changed:
                    raise ConfigError(
                        f"step {step.name!r} changes input {name!r} in place; declare an output of the chain as "
                        f"Alias({name!r}) and name that"
                    )
            ready += step.written
        for name in (*self.workspace, *self.outputs):
            if all(name not in step.written for step in self.steps):
                raise ConfigError(f"no step writes {name!r}")
        parts = [part.name for part in self.parts]
        if len(set(parts)) < len(parts):
            raise ConfigError(f"two launches have one name: {', '.join(parts)}; rename a step")


def _as_input(tensor: Tensor) -> Tensor:
    """A tensor of the chain as one that a step reads."""
    return Tensor(tensor.dtype, tensor.shape) if isinstance(tensor, Alias) else replace(tensor, start=None)


def _renamed(param: Param, name: str, step: Step) -> Param:
    """A step's own parameter as configurations of the chain call it."""
    own = {p.name: spelt for p, spelt in step.tuned}
    when = param.when and (own.get(param.when[0], param.when[0]), param.when[1])
    return Param(name, param.values, when)
