"""Make ordinary kernels of the launches of an operator: each is told what it depends on, and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tuner.errors import ConfigError
from tuner.frontends import as_source
from tuner.kernel.alias import Alias
from tuner.kernel.kernel import Kernel, Reference
from tuner.kernel.launch import Launch
from tuner.kernel.parts import Part
from tuner.kernel.tensor import Tensor, Tolerance
from tuner.kernel.values import ValueRule
from tuner.search.call_by_name import names_of
from tuner.search.params import Param
from tuner.search.tactic import Config


@dataclass(frozen=True)
class TakenTensor:
    """A tensor of an operator as one of its launches declares it."""

    name: str
    tensor: Tensor


@dataclass(frozen=True, eq=False)
class Draft:
    """A launch as it is written down, without what it has to be told besides.

    Attributes:
        name: of the step.
        source, launch, constants, absent, reference: as for a kernel.
        inputs, outputs: the tensors that its code takes, by the names that it has for them.
        params: its own, and for each the name that the operator has for it; "" where that does not tune it.
        default: of its own parameters.
    """

    name: str
    source: Any
    launch: Callable[..., Launch]
    inputs: Mapping[str, TakenTensor]
    outputs: Mapping[str, TakenTensor]
    params: Sequence[tuple[Param, str]] = ()
    default: Config = field(default_factory=dict)
    constants: Callable[..., Mapping[str, Any]] | None = None
    absent: Sequence[str] = ()
    reference: Reference | None = None
    tolerances: Mapping[str, Tolerance | Callable[..., Tolerance]] = field(default_factory=dict)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(taken.tensor for taken in (*self.inputs.values(), *self.outputs.values()))

    def used(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of an operator's dimensions, attributes or parameters that the launch depends on."""
        names, code = list(names), as_source(self.source)
        known = {*code.constants(names), *(code.parameters or ()), *code.options, *names_of(self.launch)}
        known.update(names_of(self.constants) if self.constants else ())
        known.update(name for tensor in self.tensors for name in (*tensor.names, *_named_by_values(tensor)))
        return tuple(n for n in names if n in known)


def finish(operator: Kernel, draft: Draft, shared: Mapping[str, Param], pinned: Sequence[str]) -> Part:
    """Make an ordinary kernel of a launch.

    Inputs of the operator whose shapes or data types it has to know, and which its code does not take, become
    inputs without a parameter.

    Args:
        operator: what the launch is part of.
        draft: the launch.
        shared: those of the operator's parameters that are no step's own.
        pinned: those of them that more than one launch depends on.

    Raises:
        ConfigError: when it does not fit together.
    """
    told = _told(operator, draft)
    inputs = {name: taken.tensor for name, taken in draft.inputs.items()}
    inputs |= {name: Tensor(t.dtype, t.shape, unused=True) for name, t in told.items()}
    outputs = {name: taken.tensor for name, taken in draft.outputs.items()}
    dtypes = {t.dtype for t in (*inputs.values(), *draft.tensors)}
    used = draft.used(shared)
    tuned = [name for name in used if name not in pinned]
    held = tuple(name for name in used if name in pinned)
    named = {n for t in inputs.values() for n in t.names}
    attributes = [n for n in operator.attributes if n in named or n in draft.used(operator.attributes)]
    held = (*held, *(n for n in pinned if n in named and n not in held))
    name = f"{operator.id}__{draft.name}"
    try:
        kernel = Kernel(
            id=name,
            source=draft.source,
            inputs=inputs,
            outputs=outputs,
            params=[*(shared[name] for name in tuned), *(param for param, _ in draft.params)],
            default={**{name: operator.default[name] for name in tuned}, **draft.default},
            launch=draft.launch,
            reference=draft.reference or no_reference,
            dtypes={variable: names for variable, names in operator.dtypes.items() if variable in dtypes},
            attributes={
                **{name: operator.attributes[name] for name in attributes},
                **{name: _number(name, operator.default[name]) for name in held},
            },
            tolerances=draft.tolerances,
            constants=draft.constants,
            absent=draft.absent,
        )
    except ConfigError as e:
        raise ConfigError(f"step {draft.name!r}: {str(e).removeprefix(f'kernel {name!r}: ')}") from None
    return Part(
        draft.name,
        kernel,
        inputs=(*(taken.name for taken in draft.inputs.values()), *told),
        outputs=tuple(_named(draft, name) for name in kernel.outputs),
        params={**{name: name for name in tuned}, **{param.name: name for param, name in draft.params if name}},
        pinned=held,
        judged=draft.reference is not None,
    )


def filling(operator: Kernel, name: str, tensor: Tensor, shared: Mapping[str, Param], pinned: Sequence[str]) -> Part:
    """The launch that gives a tensor of an operator the value that it starts with; arguments as for `finish`."""
    from tuner.kernel.fill import fill, fill_launch, fill_tactic

    draft = Draft(
        name=f"start_{name}",
        source=fill,
        launch=fill_launch(tensor),
        inputs={},
        outputs={name: TakenTensor(name, Tensor(tensor.dtype, tensor.shape))},
        params=[(Param(n, (value,)), "") for n, value in fill_tactic(tensor).items()],
        default=fill_tactic(tensor),
    )
    return finish(operator, draft, shared, pinned)


def started_parts(kernel: Kernel) -> tuple[Part, ...]:
    """A kernel with outputs that start with a value: what fills each, then the kernel, which changes them in place."""
    started = {name: tensor for name, tensor in kernel.outputs.items() if tensor.start is not None}
    fills = [filling(kernel, name, tensor, {}, ()) for name, tensor in started.items()]
    main = replace(
        kernel,
        id=f"{kernel.id}__main",
        inputs={**kernel.inputs, **{blank(name): begun(tensor) for name, tensor in started.items()}},
        outputs={name: Alias(blank(name)) if name in started else t for name, t in kernel.outputs.items()},
    )
    own = {name: name for name in kernel.space.names}
    return (*fills, Part("main", main, (*kernel.inputs, *started), tuple(kernel.outputs), own))


def blank(name: str) -> str:
    """What a launch calls a tensor that a fill has left and that it changes in place."""
    return f"{name}_start"


def begun(tensor: Tensor) -> Tensor:
    """A tensor that starts with a value as the input of the launch that changes it in place."""
    return Tensor(tensor.dtype, tensor.shape, unused=True)


def no_reference() -> Any:
    """Stand for the reference of a launch whose results are judged as part of a whole."""
    raise AssertionError("this launch is judged as part of a whole")


def _named(draft: Draft, output: str) -> str:
    """The operator's tensor that an output of a launch is; scratch memory that is added to it is its own."""
    taken = draft.outputs.get(output)
    return f"{draft.name}_{output}" if taken is None else taken.name


def _told(operator: Kernel, draft: Draft) -> dict[str, Tensor]:
    """Those inputs of the operator that tell a launch the dimensions and data types that it has to know besides."""
    own = [taken.tensor for taken in draft.inputs.values()]
    others = {
        name: tensor
        for name, tensor in operator.inputs.items()
        if name not in draft.inputs and all(name != taken.name for taken in draft.inputs.values())
    }
    dims = [d for d in draft.used(operator.dims) if not any(_tells(t, d, operator.dims) for t in own)]
    variables = {t.dtype for t in draft.tensors if t.dtype in operator.dtypes} - {t.dtype for t in own}
    found: dict[str, Tensor] = {}

    def worth(name: str) -> int:
        told = sum(_tells(others[name], d, operator.dims) for d in dims)
        return told + (others[name].dtype in variables)

    while dims or variables:
        best = max(others, key=lambda n: worth(n), default=None)
        if best is None or not worth(best):
            raise ConfigError(
                f"step {draft.name!r}: {[*dims, *variables][0]!r} does not follow from an input of the chain"
            )
        found[best] = others.pop(best)
        dims = [d for d in dims if not _tells(found[best], d, operator.dims)]
        variables -= {found[best].dtype}
    if not own and not found:  # a plugin without inputs cannot be compiled ahead of time
        found = dict(list(others.items())[:1])
    return {name: operator.inputs[name] for name in operator.inputs if name in found}


def _named_by_values(tensor: Tensor) -> tuple[str, ...]:
    """The dimensions and attributes that what an input holds depends on."""
    rule = tensor.drawn
    return () if rule is None else rule.names if isinstance(rule, ValueRule) else names_of(rule)


def _tells(tensor: Tensor, dim: str, dims: Sequence[str]) -> bool:
    """Whether the shape of a tensor says the size of a dimension."""
    return any([n for n in e.names if n in dims] == [dim] and e.solve(dim) is not None for e in tensor.extents)


def _number(name: str, value: Any) -> Any:
    if not isinstance(value, int | float):
        raise ConfigError(
            f"parameter {name!r} is {value!r}; several steps or a shape depend on it, so it has to be a number"
        )
    return value
