"""What a kernel declares: one operator with its source, tensors, launch, space, default and reference.

Every function in a declaration asks by parameter name for what it needs. A launch, a constraint and
a traffic count may name dimensions (`N`), tuned parameters (`BLOCK_SIZE`), attributes (`eps`) and
dtype variables (`T`); a reference names input tensors and attributes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, TypeAlias

from tuner.errors import ConfigError, did_you_mean
from tuner.frontends import Source, as_source
from tuner.frontends.dtypes import DTYPES
from tuner.frontends.words import DType, compile_time_value
from tuner.kernel.alias import Alias, code_tensors, resolve_aliases
from tuner.kernel.arguments import declared_names
from tuner.kernel.expressions import Formula
from tuner.kernel.extents import Solution, solve_dims
from tuner.kernel.launch import Launch
from tuner.kernel.parts import Part
from tuner.kernel.scratch import added_scratch
from tuner.kernel.tensor import AddedScratch, Tensor, Tolerance
from tuner.kernel.values import ValueRule
from tuner.kernel.whole_tiles import keep_whole, read_whole_tiles
from tuner.search.call_by_name import names_of, require_known
from tuner.search.constraints import Constraint
from tuner.search.params import Param
from tuner.search.space import Space
from tuner.search.tactic import Config, Tactic

if TYPE_CHECKING:
    import numpy as np

Attribute: TypeAlias = int | float | bool | str
Reference: TypeAlias = "Callable[..., np.ndarray[Any, Any] | tuple[np.ndarray[Any, Any], ...]]"

_ID = re.compile(r"[A-Za-z_]\w*::[A-Za-z_]\w*")
CHOICE = "source"
"""The parameter that says which of several sources a tactic runs."""
_RESERVED_NAMESPACES = ("trt", "tensorrt", "std")
RESERVED_NAMES = ("outputs", "stream", "tactic")
"""What TensorRT itself calls parameters of a plugin's functions."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """One operator that can be tuned and served as a TensorRT plugin.

    Attributes:
        id: the plugin id, ``"namespace::name"``.
        source: a function under `@triton.jit`, also with `@triton.heuristics` above it, or one of
            `tuner.frontends`. Its parameters come in any order: tensors, the launch's extra integers, and
            constants: tuned parameters, attributes or dimensions. `tuner.alternatives` puts several
            kernels by name here.
        inputs, outputs: the tensors, named as the parameters that take them, or those without ``_ptr``.
            Under other names, the first parameters take the inputs and the last ones the outputs.
            Dimensions and dtype variables of outputs are those of the inputs. An output may be an
            `Alias` of an input, or start with a value.
        params: the tuned parameters: constants of the kernel, launch options (Triton's `num_warps`,
            `num_stages`, `num_ctas`, `maxnreg`), or what the launch makes the block of.
        default: the tactic a careful person would pick by hand; TensorRT's tactic 0.
        launch: returns a `Launch` from dimensions and parameters, with `+ - * //`, `cdiv`,
            `maximum` and `minimum` alone, so that it can also be evaluated on symbolic shapes.
        reference: the operator in float64: takes input arrays and attributes by name, returns the
            output array, or a tuple of them. Scratch memory is not among them.
        dtypes: each dtype variable and the data types it may stand for, the usual one first. What one that only
            outputs have stands for is chosen, in a config or by the network.
        attributes: values that are fixed when the plugin is created and never tuned, with their
            defaults. Those named as a parameter are compiled in, and arrive as what Triton's launcher would
            pass where that is no constant: a float as an fp32 scalar. The launch may pass integers. A text
            is a word or, as a `DType` or one of Triton's, a data type; a `Word` or a `DType` of several is one
            of those, which the network chooses. Integers may stand in extents.
        constraints: what a legal tactic meets.
        tolerances: per output dtype; `default_tolerance` otherwise. A function asks by name for dimensions,
            attributes and dtype variables, for errors that grow with them.
        bytes: bytes that must cross device memory; by default every tensor once, scratch memory excepted.
        flops: floating-point operations; 0 marks a kernel that only moves data.
        absent: parameters, such as optional pointers, that are compiled in as None. Those that nothing gives
            and whose default is None, or which the code compares with None, are absent by themselves.
        descriptors: the tensors that the source takes as descriptors which its host code makes, each with its block
            shape of numbers and constants: ``{"a": ("BLOCK_M", "BLOCK_K")}``. They are made in the kernel.
        constants: returns constants of the source that follow from dimensions, data types, attributes and
            parameters, by name: ``lambda N: {"BLOCK_N": next_power_of_2(N)}``.
        tiles: for each dimension, the parameter whose value the kernel steps over it with. The
            correctness gate takes sizes on and beside those steps.
        whole_tiles: for each dimension that has to be a multiple of something: of what, in parameters and
            attributes, such as ``{"S": "TILE", "K": "DEPTH * PARTS"}``. A constraint, and the correctness gate
            takes such sizes only.
    """

    id: str
    source: Any
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    params: Sequence[Param]
    default: Config
    launch: Callable[..., Launch]
    reference: Reference
    dtypes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    constraints: Sequence[Constraint] = ()
    tolerances: Mapping[str, Tolerance | Callable[..., Tolerance]] = field(default_factory=dict)
    bytes: Callable[..., int] | None = None
    flops: Callable[..., int] = lambda: 0
    tiles: Mapping[str, str] = field(default_factory=dict)
    absent: Sequence[str] = ()
    whole_tiles: Mapping[str, str] = field(default_factory=dict)
    constants: Callable[..., Mapping[str, Any]] | None = None
    descriptors: Mapping[str, Sequence[str | int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plain = {name: compile_time_value(value) for name, value in self.attributes.items()}
        object.__setattr__(self, "attributes", plain)
        try:
            declared = {name: t for name, t in self.outputs.items() if not isinstance(t, AddedScratch)}
            object.__setattr__(self, "outputs", resolve_aliases(self.inputs, declared))
            self._check()
        except ConfigError as e:
            raise ConfigError(f"kernel {self.id!r}: {e}") from None

    @classmethod
    def from_autotune(cls, function: Any, **declared: Any) -> Kernel:
        """Declare a kernel under `@triton.autotune` or `@triton.heuristics` or both, as it is.

        The space holds the autotuner's configs, less those that `early_config_prune` drops; without an
        autotuner it is what Triton launches, `num_warps=4` and `num_stages=3`. A `perf_model` is not asked: the
        search finds out. Heuristics are computed for each tactic; one that differs within the range of a
        dimension refuses it. They and the hook see tensors as contiguous and aligned to 256 bytes, with
        `dtype`, `shape`, `size()`, `stride()`, `data_ptr()` and the like. Parameters of which nothing here
        speaks keep their default values. What the autotuner resets to zero starts with it (`Tensor.start`); what
        it restores is an output changed in place (`Alias`).

        Args:
            function: what the decorators made, or anything that wraps it.
            declared: as for `Kernel`, without `source` and `params`; `constraints` are what a legal tactic
                meets besides the hook, and `default` is the first config unless given.

        Raises:
            ConfigError: when the autotuner calls hooks around a launch, or what it says does not fit the
                declaration.
        """
        from tuner.kernel.autotune import read_autotuned

        arguments, hook = read_autotuned(function, **declared)
        kernel = cls(**arguments)
        constraint = hook(kernel)
        return kernel if constraint is None else replace(kernel, constraints=[*kernel.constraints, constraint])

    @property
    def name(self) -> str:
        """The id without its namespace."""
        return self.id.split("::")[1]

    def tensor(self, name: str) -> Tensor:
        """An input or output by name."""
        return self.inputs[name] if name in self.inputs else self.outputs[name]

    @cached_property
    def results(self) -> Mapping[str, Tensor]:
        """The outputs that mean something: all but scratch memory."""
        return {name: t for name, t in self.outputs.items() if not t.scratch}

    @property
    def scratch(self) -> Tensor | None:
        """The output that is scratch memory, if there is one."""
        return next((t for t in self.outputs.values() if t.scratch), None)

    @cached_property
    def alternatives(self) -> Mapping[str, Kernel]:
        """The kernels by the name that the parameter `source` gives them, where one of several is run."""
        return self.source if isinstance(self.source, Mapping) else {}

    @cached_property
    def code(self) -> Source:
        """The source, bound to the names declared here; where there are alternatives, each has its own."""
        return as_source(self.source).bind(declared_names(self))

    @cached_property
    def passed(self) -> tuple[dict[str, str], dict[str, str]]:
        """The inputs and the outputs that the code has a parameter for: by its names for them, their own."""
        return code_tensors(self.inputs, self.outputs, as_source(self.source).parameters)

    @cached_property
    def aliases(self) -> Mapping[str, str]:
        """The outputs that are changed in place, each with its input."""
        return {name: t.input for name, t in self.outputs.items() if isinstance(t, Alias)}

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The launches that it is made of, in order, where there are several."""
        if self.alternatives or all(t.start is None for t in self.outputs.values()):
            return ()
        from tuner.kernel.drafts import started_parts

        return started_parts(self)

    def resolve(self, config: Config) -> tuple[Kernel, Config]:
        """The kernel that a configuration runs, and what of it is that kernel's own; itself without alternatives."""
        if not self.alternatives:
            return self, config
        name = config[CHOICE]
        assert isinstance(name, str)
        return self.alternatives[name].resolve({n: v for n, v in config.items() if n != CHOICE})

    @cached_property
    def space(self) -> Space:
        """The tuned parameters and constraints, not yet bound to a problem."""
        return Space(tuple(self.params), self.rules)

    @cached_property
    def rules(self) -> tuple[Constraint, ...]:
        """All that a legal tactic meets: the constraints, and that tiles are whole."""
        return (*self.constraints, *(keep_whole(dim, unit) for dim, unit in self.units.items()))

    @cached_property
    def units(self) -> Mapping[str, Formula]:
        """What each dimension of `whole_tiles` is a multiple of."""
        return read_whole_tiles(self.whole_tiles)

    @cached_property
    def default_tactic(self) -> Tactic:
        return Tactic(self.default)

    @cached_property
    def dims(self) -> tuple[str, ...]:
        """The names of all dimensions, in order of appearance in the inputs."""
        names = (n for t in self.inputs.values() for n in t.names)
        return tuple(dict.fromkeys(n for n in names if n not in self.attributes))

    @cached_property
    def solutions(self) -> tuple[Solution, ...]:
        """How each dimension follows from the inputs' extents, but for those of any number of dimensions."""
        return solve_dims(self.inputs, self.attributes)

    @cached_property
    def chosen_dtypes(self) -> tuple[str, ...]:
        """Those dtype variables that only outputs have: who uses the operator chooses what they stand for."""
        told = {t.dtype for t in self.inputs.values()}
        used = {t.dtype for t in self.outputs.values()}
        return tuple(v for v in self.dtypes if v in used and v not in told)

    @cached_property
    def variadic_dims(self) -> tuple[str, ...]:
        """Those dimensions that stand for any number of tensor dimensions."""
        return tuple(dict.fromkeys(t.extents[0].names[0] for t in self.inputs.values() if t.variadic))

    @cached_property
    def constant_names(self) -> tuple[str, ...]:
        """The compile-time parameters of the source, or of any of the alternatives."""
        if self.alternatives:
            dims = (c for k in self.alternatives.values() for c in k.constant_names if c in k.dims)
            return (*self.space.names, *self.attributes, *dict.fromkeys(dims))
        return self.code.constants((*self.space.names, *self.attributes))

    def _check(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ConfigError("the id must read 'namespace::name'")
        if self.id.split("::")[0] in _RESERVED_NAMESPACES:
            raise ConfigError(f"TensorRT reserves the namespaces {', '.join(_RESERVED_NAMESPACES)}")
        if not self.inputs or not self.outputs:
            raise ConfigError("at least one input and one output are needed")
        self._check_names()
        self._check_tensors()
        self._check_source()
        self._check_functions()
        self.space.encode(self.default)

    def _check_names(self) -> None:
        kinds = {
            "dimension": self.dims,
            "parameter": self.space.names,
            "attribute": tuple(self.attributes),
            "dtype variable": tuple(self.dtypes),
            "tensor": (*self.inputs, *self.outputs),
        }
        seen: dict[str, str] = {}
        for kind, names in kinds.items():
            for name in names:
                if seen.setdefault(name, kind) != kind or names.count(name) > 1:
                    raise ConfigError(f"{name!r} is declared twice, as {seen[name]} and as {kind}; rename one")
        for name in (*self.inputs, *self.attributes):
            if name in RESERVED_NAMES or not name.isidentifier() or iskeyword(name):
                kind = "input" if name in self.inputs else "attribute"
                raise ConfigError(f"TensorRT does not allow an {kind} called {name!r}")
        for name, value in self.attributes.items():
            if not isinstance(value, int | float | str):
                raise ConfigError(
                    f"attribute {name!r} must be an int, a float, a bool, a word or a data type, not {value!r}"
                )
            choices = value.choices if isinstance(value, DType) else ()
            for choice in choices:
                known = [*(self.dtypes if len(choices) == 1 else ()), *DTYPES]
                if choice not in known:
                    raise ConfigError(f"attribute {name!r}: unknown dtype {choice!r}{did_you_mean(choice, known)}")
        for variable, supported in self.dtypes.items():
            if not supported:
                raise ConfigError(f"dtype variable {variable!r} stands for no data type")
            for name in supported:
                if name not in DTYPES:
                    raise ConfigError(f"dtype variable {variable!r}: {name!r} is unknown{did_you_mean(name, DTYPES)}")

    def _check_tensors(self) -> None:
        for name, tensor in (*self.inputs.items(), *self.outputs.items()):
            if tensor.dtype not in self.dtypes and tensor.dtype not in DTYPES:
                known = [*self.dtypes, *DTYPES]
                raise ConfigError(f"tensor {name!r}: unknown dtype {tensor.dtype!r}{did_you_mean(tensor.dtype, known)}")
            self._check_extents(name, tensor)
            self._check_values(name, tensor)
        if any(tensor.start is not None for tensor in self.inputs.values()):
            raise ConfigError("an input holds what it is given; start=… is for outputs")
        for tensor in (*self.inputs.values(), *list(self.outputs.values())[:-1]):
            if tensor.scratch:
                raise ConfigError("scratch memory must be the last output")
        solve_dims(self.inputs, self.attributes)
        if not self.results:
            raise ConfigError("at least one output that is no scratch memory is needed")
        for name in self.tolerances:
            if name not in DTYPES:
                raise ConfigError(f"tolerances: unknown dtype {name!r}{did_you_mean(name, DTYPES)}")
        used = {t.dtype for t in (*self.inputs.values(), *self.outputs.values())}
        for variable in self.dtypes:
            if variable not in used:
                raise ConfigError(f"dtype variable {variable!r} is used by no tensor")
        for dim, param in self.tiles.items():
            if dim not in self.dims or param not in self.space.names:
                raise ConfigError(f"tiles maps {dim!r} to {param!r}; it maps dimensions to parameters")
        known = [*self.space.names, *(n for n, value in self.attributes.items() if type(value) is int)]
        for dim, unit in self.units.items():
            if dim not in self.dims:
                raise ConfigError(f"whole_tiles: {dim!r} is no dimension{did_you_mean(dim, self.dims)}")
            for name in unit.names:
                if name not in known:
                    raise ConfigError(
                        f"whole_tiles of {dim!r}: {name!r} is neither a parameter nor an attribute of type int"
                        f"{did_you_mean(name, known)}"
                    )

    def _check_extents(self, name: str, tensor: Tensor) -> None:
        if name in self.inputs and tensor.variadic and tensor.extents[0].names[0] in self.attributes:
            raise ConfigError(
                f"input {name!r}: {tensor.dims[0]} is an attribute; it stands for one extent, not any number"
            )
        for word in tensor.names:
            if word in self.attributes and type(self.attributes[word]) is not int:
                raise ConfigError(f"tensor {name!r}: attribute {word!r} stands in its shape, so it must be an int")
            if word in self.space.names:
                raise ConfigError(
                    f"output {name!r}: {word!r} is tuned, and TensorRT asks for shapes before it chooses a tactic; "
                    "an extent is made of dimensions and attributes"
                )
            if word not in self.dims and word not in self.attributes:
                raise ConfigError(
                    f"output {name!r}: {word!r} is neither a dimension of an input nor an attribute; an extent may be "
                    "computed from them, as in 'cdiv(N, 2)'"
                )

    def _check_source(self) -> None:
        if not self.alternatives:
            self._check_signature()
            self._check_attributes()
            object.__setattr__(self, "outputs", {**self.outputs, **added_scratch(self)})

    def _check_values(self, name: str, tensor: Tensor) -> None:
        rule = tensor.drawn
        if rule is None:
            return
        if name not in self.inputs:
            raise ConfigError(f"output {name!r}: values are of inputs; a kernel writes its outputs")
        if not isinstance(rule, ValueRule):
            return
        for word in rule.names:
            if word not in self.dims and type(self.attributes.get(word)) is not int:
                said = f"positions={tensor.positions!r}" if tensor.positions else f"{word!r} in values={rule}"
                raise ConfigError(
                    f"tensor {name!r}: {said} is not a dimension of the inputs{did_you_mean(word, self.dims)}"
                )
        types = self.dtypes.get(tensor.dtype, (tensor.dtype,))
        if any(DTYPES[d].kind == "f" or d == "i1" for d in types) and rule.kind != "constant":
            what = "positions" if tensor.positions else f"values={rule}"
            raise ConfigError(f"tensor {name!r}: {what} are integers, not {tensor.dtype}")

    def _check_signature(self) -> None:
        for name, block in self.descriptors.items():
            if name not in (*self.inputs, *self.outputs) or len(self.tensor(name).extents) != len(block):
                raise ConfigError(f"descriptors give {name!r} the block shape {block!r}; its tensor has another rank")
        for what, names, taken in (
            ("absent", self.absent, self.code.fixed),
            ("descriptors", self.descriptors, self.code.blocks),
        ):
            if names and not taken:
                raise ConfigError(f"{what} is for parameters of Triton functions; {self.code.language} has none such")
        inputs, outputs = self.passed
        self.code.check_parameters(tuple(inputs), tuple(outputs), self.attributes)
        known = [*self.space.names, *self.attributes, *self.dims, *(self.dtypes if self.code.takes_types else ())]
        for name in self.constant_names:
            if name not in known and self.constants is None:
                raise ConfigError(
                    f"constant {name!r} of the source is neither a parameter, an attribute nor a dimension"
                    f"{did_you_mean(name, known)}"
                )
        used = [*self.constant_names, *self.code.options, *names_of(self.launch)]
        for name in self.space.names:
            if name not in used:
                options = "a launch option, nor " if self.code.options else ""
                raise ConfigError(
                    f"parameter {name!r} is neither a constant of the source, nor {options}named by the launch"
                    f"{did_you_mean(name, used)}"
                )

    def _check_attributes(self) -> None:
        """Refuse an attribute that changes no code: whoever sets it would get the results of the default."""
        used = {*self.code.constants((*self.space.names, *self.attributes)), *names_of(self.launch)}
        used |= {name for c in self.rules for name in c.names}
        used |= {name for t in (*self.inputs.values(), *self.outputs.values()) for name in t.names}
        used |= set(names_of(self.constants)) if self.constants else set()
        for name in self.attributes:
            if name not in used and not self.code.heuristics:
                raise ConfigError(
                    f"attribute {name!r} reaches neither the source nor the launch; make it a constant of the source "
                    "with this name, or have the launch pass it as an extra integer"
                )

    def _check_functions(self) -> None:
        sizes = [*self.dims, *self.attributes, *self.dtypes]
        require_known(self.launch, [*sizes, *self.space.names], "launch")
        require_known(self.flops, sizes, "flops")
        if self.constants is not None:
            require_known(self.constants, [*sizes, *self.space.names], "constants")
        if self.bytes is not None:
            require_known(self.bytes, sizes, "bytes")
        for dtype, tolerance in self.tolerances.items():
            if not isinstance(tolerance, Tolerance):
                require_known(tolerance, sizes, f"tolerance of {dtype}")
        require_known(self.reference, [*self.inputs, *self.attributes], "reference")
        for c in self.rules:
            known = [*sizes, *self.space.names]
            for name in c.names:
                if name not in known:
                    raise ConfigError(f"constraint {c.name!r} names {name!r}{did_you_mean(name, known)}")
