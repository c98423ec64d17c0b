"""The part of the engine builder: the calls it makes to a plugin, in order, and what it refuses.

What is required of the order: the combination is configured before tactics are asked for, a tactic is set
before its launch, and the launch comes before the code. TensorRT's own order may interleave differently
and call more often, so that all functions are called twice here and have to answer the same.

Errors that NVIDIA's Python raises are passed on as broken rules of the stage they come from; rules that
only the engine's C++ enforces are checked here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeAlias

from .bindings import BindingsError, Expression, ExpressionBuilder, NetworkTensor, RuleBroken, load
from .calling import calling

WHICH = ("min", "opt", "max")
_GRID = ("grid_x", "grid_y", "grid_z")
_BLOCK = ("block_x", "block_y", "block_z")
_LAUNCH = (*_GRID, *_BLOCK, "shared_mem")
_MAX_INT32 = 2**31 - 1

DEFAULT = 0
"""The tactic that is asked for where none is offered."""

ChooseTactics: TypeAlias = Callable[[tuple[int, ...]], Sequence[int]]


@dataclass(frozen=True)
class PlayedTensor:
    """A tensor that a network passes to a plugin, with its optimization profile.

    Attributes:
        dtype: a member of `tensorrt.DataType` by name, such as "FLOAT".
        min, opt, max: shapes; a dimension is dynamic where min and max differ.
    """

    dtype: str
    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


@dataclass(frozen=True)
class PlayedLaunch:
    """A launch with numbers: blocks, threads per block, bytes of shared memory, extra integers."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int
    extra: tuple[int, ...]


@dataclass(frozen=True)
class Played:
    """A tactic that was played.

    Attributes:
        tactic: its id.
        entry, code: what would be loaded and launched.
        launches: for the shapes of "min", "opt" and "max".
    """

    tactic: int
    entry: str
    code: str = field(repr=False)
    launches: Mapping[str, PlayedLaunch]


@dataclass(frozen=True)
class Broken:
    """A rule that was broken: by one tactic, or (None) by the plugin as a whole."""

    tactic: int | None
    rule: str
    message: str


@dataclass(frozen=True)
class Rehearsal:
    """What the builder learned of a plugin.

    Attributes:
        inputs: how many.
        outputs: their types and their shapes for "min", "opt" and "max".
        offered: the tactics that autotune offers for the network's types.
        played: those that were played, when they broke no rule.
        broken: the rules that were broken.
        aliases: the outputs that lie in the memory of an input: the number of the output, and that of the input.
        ahead: whether the plugin is compiled ahead of time. One that has an `impl` alone compiles while the engine
            runs, so that nothing is known of its tactics but their ids.
    """

    inputs: int
    outputs: tuple[tuple[str, Mapping[str, tuple[int, ...]]], ...] = ()
    offered: tuple[int, ...] = ()
    played: tuple[Played, ...] = ()
    broken: tuple[Broken, ...] = ()
    aliases: tuple[tuple[int, int], ...] = ()
    ahead: bool = True


def offered_or_default(offered: tuple[int, ...]) -> tuple[int, ...]:
    """Play all that is offered, or else the default."""
    return offered or (DEFAULT,)


def play(
    plugin_id: str,
    tensors: Sequence[PlayedTensor],
    attributes: Mapping[str, Any],
    choose: ChooseTactics = offered_or_default,
) -> Rehearsal:
    """Play the builder over one call of a plugin that is registered with `tensorrt.plugin`.

    Args:
        plugin_id: ``"namespace::name"``.
        tensors: the call's inputs.
        attributes: the call's attributes.
        choose: returns which tactics to play, given those offered.

    Raises:
        BindingsError: when these versions of the bindings and numpy corrupt the attributes.
    """
    check_versions(attributes)
    first = _play(plugin_id, tensors, attributes, choose)
    if first.broken:
        return first
    second = _play(plugin_id, tensors, attributes, choose)
    if second == first:
        return first
    what = next(
        n for n in ("broken", "outputs", "aliases", "offered", "played") if getattr(first, n) != getattr(second, n)
    )
    message = (
        f"the plugin's functions answered differently when they were called again ({what}); TensorRT calls them "
        "repeatedly, so they must depend on their arguments alone"
    )
    return Rehearsal(first.inputs, first.outputs, first.offered, (), (Broken(None, "purity", message),))


def check_versions(attributes: Mapping[str, Any]) -> None:
    """Refuse versions with which NVIDIA's layer does not pass attributes on as they are.

    Raises:
        BindingsError: when these bindings and numpy corrupt one of them, or cannot take it.
    """
    import numpy as np

    bindings = tuple(int(part) for part in load().__version__.split(".")[:2])
    numpy = tuple(int(part) for part in np.__version__.split(".")[:2])
    together = f"tensorrt {load().__version__} with numpy {np.__version__}"
    for name, value in attributes.items():
        if bindings <= (11, 1) and numpy >= (2, 4) and isinstance(value, (int, float)):
            raise BindingsError(f"{together} cannot take the number {name!r}; pip install 'numpy<2.4'")
        if bindings <= (10, 15) and numpy >= (2, 0) and not isinstance(value, (int, float)):
            raise BindingsError(f"{together} corrupts the array or text {name!r}; pip install 'numpy<2'")
        if (11, 2) <= bindings <= (11, 4) and isinstance(value, bytes) and len(value) == 1:
            raise BindingsError(f"{together} corrupts {name!r}, a single byte; pass an int instead")


def _play(
    plugin_id: str, tensors: Sequence[PlayedTensor], attributes: Mapping[str, Any], choose: ChooseTactics
) -> Rehearsal:
    stage = _Stage(plugin_id, tensors, attributes)
    try:
        outputs = stage.describe()
        offered = stage.autotune()
    except RuleBroken as e:
        return Rehearsal(len(tensors), broken=(Broken(None, e.rule, e.message),))
    if not stage.ahead:
        return Rehearsal(len(tensors), outputs, offered, aliases=stage.aliases, ahead=False)
    played, broken = [], []
    for tactic in choose(offered):
        try:
            played.append(stage.launch(tactic))
        except RuleBroken as e:
            broken.append(Broken(tactic, e.rule, e.message))
    return Rehearsal(len(tensors), outputs, offered, tuple(played), tuple(broken), stage.aliases)


class _Stage:
    """One plugin object, and what the builder hands to it."""

    def __init__(self, plugin_id: str, tensors: Sequence[PlayedTensor], attributes: Mapping[str, Any]) -> None:
        self._trt = load()
        self._id, self._tensors, self._attributes = plugin_id, tensors, attributes
        self._builder = ExpressionBuilder()
        self._types = [getattr(self._trt.DataType, t.dtype) for t in tensors]
        self._profiles = {which: [getattr(t, which) for t in tensors] for which in WHICH}
        self._dims = [
            [
                Expression("constant", low) if low == high else Expression("dimension", i, axis)
                for axis, (low, high) in enumerate(zip(t.min, t.max, strict=True))
            ]
            for i, t in enumerate(tensors)
        ]

    def describe(self) -> tuple[tuple[str, Mapping[str, tuple[int, ...]]], ...]:
        """Make the layer and learn its outputs."""
        self._plugin = self._make()
        ranks = [len(t.opt) for t in self._tensors]
        with calling("register"):
            types = list(self._plugin.get_output_data_types(list(self._types), ranks))
        expected = self._plugin.get_num_outputs()
        if len(types) != expected:
            raise RuleBroken("outputs", f"register describes {len(types)} outputs, and its annotation says {expected}")
        with calling("register"):
            shapes = self._plugin.get_output_shapes(self._dims, [], self._builder)
        self._types += types
        self._dims += [list(exprs) for exprs in shapes]
        self.aliases = tuple((o, i) for o in range(expected) if (i := self._plugin.get_aliased_input(o)) >= 0)
        for i, exprs in enumerate(self._dims):
            if None in exprs:
                raise RuleBroken("outputs", f"output {i - len(ranks)} has an extent with no expression behind it")
        outputs = range(len(ranks), len(self._dims))
        for which in WHICH:
            for i in outputs:
                if min(self._shape(i, which), default=1) < 0:
                    raise RuleBroken("outputs", f"output {i - len(ranks)} has shape {self._shape(i, which)} at {which}")
        self._check_aliases()
        return tuple((self._types[i].name, {w: self._shape(i, w) for w in WHICH}) for i in outputs)

    def _check_aliases(self) -> None:
        """An input is in the place of one output at most, of its type and shape; NVIDIA's Python lets all pass."""
        names, count, taken = self._definition().input_tensor_names, len(self._tensors), dict[int, int]()
        for output, source in self.aliases:
            if taken.setdefault(source, output) != output:
                raise RuleBroken(
                    "aliases",
                    f"outputs {taken[source]} and {output} are both in the place of input {names[source]!r}; TensorRT "
                    "takes one output for each input: give the other one memory of its own",
                )
            for which in WHICH:
                at = (self._types[count + output].name, self._shape(count + output, which))
                if at != (expected := (self._types[source].name, self._shape(source, which))):
                    raise RuleBroken(
                        "aliases",
                        f"output {output} is {at[0]} {at[1]} at {which} and lies in the place of input "
                        f"{names[source]!r}, {expected[0]} {expected[1]}; return {names[source]}.aliased() as it is",
                    )

    def _make(self) -> Any:
        definition = self._definition()
        self.ahead = definition.aot_impl_func is not None
        if not self.ahead and definition.impl_func is None:
            raise RuleBroken("aot_impl", f"{self._id} has neither an aot_impl nor an impl, so nothing computes it")
        missing = ", ".join(n for n in definition.input_attrs if n not in (definition.aot_impl_attr_names or ()))
        if self.ahead and missing:
            raise RuleBroken(
                "attributes",
                f"aot_impl leaves out {missing}; unlike impl and autotune it is passed every attribute of register",
            )
        with calling("the call", rule="schema"):
            make = definition(*[NetworkTensor() for _ in self._tensors], **self._attributes)
        with calling("creating the plugin", rule="schema"):
            request = self._trt.QuickPluginCreationRequest
            return make(request.STRICT_AOT if self.ahead else request.STRICT_JIT)[2].clone()

    def _definition(self) -> Any:
        namespace, name = self._id.split("::")
        ops = importlib.import_module("tensorrt.plugin").op
        try:
            return getattr(getattr(ops, namespace), name)
        except AttributeError:
            raise RuleBroken("register", f"no plugin {self._id} is registered") from None

    def autotune(self) -> tuple[int, ...]:
        """Configure the combination of the network's types; returns the offered tactics."""
        linear = self._trt.TensorFormat.LINEAR
        descs = [self._desc(i, t, linear) for i, t in enumerate(self._types)]
        with calling("autotune"):
            flat = self._plugin.get_supported_format_combinations(descs, len(self._tensors))
        if len(flat) % len(descs):
            raise RuleBroken("combinations", f"autotune gives {len(flat)} types for {len(descs)} inputs and outputs")
        groups = list(zip(*[iter(flat)] * len(descs), strict=True))
        matching = [g for g in groups if [d.type for d in g] == self._types]
        if not matching:
            offered = "; ".join(", ".join(d.type.name for d in g) for g in groups)
            raise RuleBroken(
                "combinations",
                f"autotune offers {offered}, none of which are the network's types "
                f"({', '.join(t.name for t in self._types)}); a strongly typed network takes no other",
            )
        linear_group = next((g for g in matching if all(d.format == linear for d in g)), matching[0])
        self._formats = [d.format for d in linear_group]
        for output, source in self.aliases:
            ours, other = self._formats[len(self._tensors) + output], self._formats[source]
            if ours != other:
                name = self._definition().input_tensor_names[source]
                raise RuleBroken(
                    "aliases",
                    f"output {output} is {ours.name} and lies in the place of input {name!r}, which is {other.name}; "
                    "one piece of memory has one format",
                )
        self._descs = [self._desc(i, d.type, d.format) for i, d in enumerate(linear_group)]
        count = len(self._tensors)
        self._plugin.configure_plugin(self._descs[:count], self._descs[count:])
        for combination in self._plugin.autotune_combs if self._definition().autotune_func else ():
            _check_ids(getattr(combination, "_tactics", None))
        with calling("autotune"):
            return tuple(sorted(self._plugin.get_valid_tactics()))

    def launch(self, tactic: int) -> Played:
        """Learn a tactic's launch and code."""
        count = len(self._tensors)
        self._plugin.set_tactic(tactic)
        params, extra = SimpleNamespace(), _Extra()
        with calling("aot_impl"):
            self._plugin.get_launch_params(self._dims[:count], self._descs, count, params, extra, self._builder)
            entry, code = self._plugin.get_kernel(
                [d.desc for d in self._descs[:count]], [d.desc for d in self._descs[count:]]
            )
        values = {name: getattr(params, name).expr for name in _LAUNCH}
        values |= {f"extra argument {i}": extra[i].expr for i in range(extra.nbSymExprs)}
        for name, expr in values.items():
            if not isinstance(expr, Expression):
                raise RuleBroken(
                    "expressions",
                    f"{name} has no expression behind it, as when it is made from a float or a numpy value; "
                    "pass int(), and compile a float in as a constant",
                )
        launches = {which: _numbers(values, self._profiles[which]) for which in WHICH}
        for which, launch in launches.items():
            _check_limits(launch, which)
        try:
            text = code.decode() if isinstance(code, bytes) else code
            return Played(tactic, entry.decode() if isinstance(entry, bytes) else entry, text, launches)
        except UnicodeDecodeError:
            raise RuleBroken("code", "the code is not PTX text; PTX is the only code that is documented") from None

    def _shape(self, tensor: int, which: str) -> tuple[int, ...]:
        return tuple(expr.at(self._profiles[which]) for expr in self._dims[tensor])

    def _desc(self, tensor: int, dtype: Any, layout: Any) -> Any:
        desc = self._trt.DynamicPluginTensorDesc()
        constant = [e.get_constant_value() if e.is_constant() else -1 for e in self._dims[tensor]]
        desc.desc.dims = self._trt.Dims(constant)
        desc.desc.type, desc.desc.format = dtype, layout
        for which in WHICH:
            setattr(desc, which, self._trt.Dims(self._shape(tensor, which)))
        return desc


class _Extra(dict[int, Any]):
    """Stands in for `ISymExprs`."""

    nbSymExprs = 0  # noqa: N815


def _numbers(values: Mapping[str, Expression], shapes: Sequence[Sequence[int]]) -> PlayedLaunch:
    at = {name: expr.at(shapes) for name, expr in values.items()}
    grid, block = (tuple(at[n] for n in names) for names in (_GRID, _BLOCK))
    return PlayedLaunch(grid, block, at["shared_mem"], tuple(v for n, v in at.items() if n not in _LAUNCH))  # type: ignore[arg-type]


def _check_limits(launch: PlayedLaunch, which: str) -> None:
    limits = {"grid": (_MAX_INT32, 65535, 65535), "block": (1024, 1024, 64)}
    for name, most in limits.items():
        for axis, value, limit in zip("xyz", getattr(launch, name), most, strict=True):
            if not 0 < value <= limit:
                raise RuleBroken("launch", f"{name}_{axis} is {value} at {which}; CUDA takes 1 to {limit}")
    x, y, z = launch.block
    if x * y * z > 1024:
        raise RuleBroken("launch", f"a block of {x}x{y}x{z} threads at {which}; CUDA takes 1024 at most")
    if launch.shared_bytes < 0:
        raise RuleBroken("launch", f"shared_mem is {launch.shared_bytes} at {which}")
    for i, value in enumerate(launch.extra):
        if not -_MAX_INT32 - 1 <= value <= _MAX_INT32:
            raise RuleBroken("extra arguments", f"extra argument {i} is {value} at {which}, more than an int32 holds")


def _check_ids(tactics: Any) -> None:
    """What TensorRT asks of the tactics that a combination advertises."""
    if tactics is None:
        return
    if not isinstance(tactics, (list, tuple, set, frozenset, range)):
        raise RuleBroken(
            "tactic ids",
            f"the tactics are a {type(tactics).__name__}, used up by the first combination; give a list",
        )
    seen: set[Any] = set()
    for tactic in tactics:
        if type(tactic) is not int or not 0 < tactic <= _MAX_INT32:
            zero = "; 0 is the default, for when none is offered" if tactic == 0 else ""
            raise RuleBroken("tactic ids", f"tactic {tactic!r} is offered; ids are positive 32-bit integers{zero}")
        if tactic in seen:
            raise RuleBroken("tactic ids", f"tactic {tactic} is offered twice by one combination; ids are unique")
        seen.add(tactic)
