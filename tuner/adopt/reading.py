"""Work out a declaration from what a function was seen to do at several sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner.adopt.call import GivenTensor, HostCall
from tuner.adopt.fitting import Fitter
from tuner.adopt.found import INPUT, OUTPUT, WORKSPACE, Found, FoundLaunch, FoundTensor
from tuner.adopt.kernels import configs_of, heuristics_of, place_of, resets_of
from tuner.adopt.naming import Names
from tuner.adopt.sizes import FIXED, POWER, columns
from tuner.adopt.tape import ARGUMENT, COMPUTED, DataType, Opaque, SeenFill, SeenLaunch, SeenOperation, Tape, View
from tuner.adopt.watching import Watched
from tuner.compile import ptx
from tuner.compile.pointers import PointerUse, pointer_uses

_BLOCK = re.compile(r"(?i)(?:.*_)?(?:BLOCK|TILE)(?:_.*|[A-Z0-9]*)?|B[A-Z]|(?:.*_)?BLOCK\w*")
_ENOUGH = 3
"""Runs that have to launch the same kernels for their numbers to be compared."""


def read(watched: Watched, call: HostCall, parameters: tuple[str, ...]) -> Found:
    """Work out what to declare.

    Args:
        watched: what the function did.
        call: what it was called with.
        parameters: of the function.
    """
    return _Reading(watched, call, parameters).found()


@dataclass
class _Use:
    """What one launch does with a tensor."""

    launch: int
    param: str
    reads: bool
    writes: bool
    adds: bool
    hidden: bool


@dataclass
class _Reading:
    watched: Watched
    call: HostCall
    parameters: tuple[str, ...]
    result: Found = field(default_factory=Found)

    def found(self) -> Found:
        found, first = self.result, self.watched.tapes[0]
        self.tapes = self._alike()
        self.base = self.tapes[0]
        self.given = self.call.bound(self.parameters)
        found.notes += [
            f"{size} is one dimension, {letter}, wherever the call has it"
            for letter, size in self.call.lettered.items()
        ]
        self.uses = self._uses()
        self.names = Names(first, self.uses_of_memory(), self.given, dict(self.call.sizes))
        self.sizes = {self.names.dims[d]: v for d, v in columns([t.sizes for t in self.tapes]).items()}
        found.sizes = {self.names.dims[d]: size for d, size in self.call.sizes.items()}
        for old, new in self.names.dims.items():
            if old != new:
                found.notes.append(
                    f"dimension {old} is called {new} here, since the kernel has something else called {old}"
                )
        for dim, step in self.watched.steps.items():
            if step != 1:
                found.steps[self.names.dims[dim]] = step
                how = {POWER: "powers of two", FIXED: "the size given"}.get(step, f"multiples of {step}")
                found.ask(
                    f"{self.names.dims[dim]}: seen at {how} alone; at others the function said: "
                    f"{self.watched.refused.get(dim, 'nothing')}"
                )
        self._data_types()
        for number, launch in enumerate(self.base.launches):
            found.launches.append(self._launch(number, launch))
        self._tensors()
        self._operations()
        for problem in dict.fromkeys(p for t in self.tapes for p in t.problems):
            found.ask(problem)
        return found

    # -- runs ------------------------------------------------------------------------------------

    def _alike(self) -> list[Tape]:
        """The runs that did the same as the first."""
        first = self.watched.tapes[0]
        wanted = _outline(first)
        alike = []
        for tape in self.watched.tapes:
            if _outline(tape) == wanted:
                alike.append(tape)
                continue
            self.result.ask(
                f"at {_spelt(tape.sizes)} the function launched {_launches(tape)} instead of {_launches(first)}; "
                "that branch is not declared"
            )
        if len(alike) < _ENOUGH:
            self.result.ask(f"only {len(alike)} runs launched the same kernels, too few to be sure of the arithmetic")
        return alike

    # -- tensors ---------------------------------------------------------------------------------

    def _uses(self) -> dict[int, list[_Use]]:
        """What the launches do with each memory, in order."""
        found: dict[int, list[_Use]] = {}
        for number, launch in enumerate(self.base.launches):
            through = _pointer_uses(launch)
            zeroed, restored = resets_of(place_of(launch.function)[2])
            for param, value in launch.arguments.items():
                if not isinstance(value, View):
                    continue
                use = through.get(param)
                if use is None:
                    self.result.ask(f"{launch.name}: the compiled code has no parameter for {param}")
                    continue
                writes, adds = use.written or use.may_store, use.may_add and not use.may_store
                reads = use.may_read or use.may_add
                fresh = self.base.memory[value.memory].origin != ARGUMENT and not found.get(value.memory)
                if use.hidden and not writes and not adds:
                    reads, writes = not fresh, fresh
                    self.result.ask(
                        f"{launch.name}: what the code does with {param} is not seen in its PTX; taken as "
                        f"{'written' if fresh else 'read'}"
                    )
                if param in zeroed:
                    adds = True
                if param in restored:
                    reads = writes = True
                if reads or writes or adds:
                    found.setdefault(value.memory, []).append(
                        _Use(number, param, reads, writes or adds, adds, use.hidden)
                    )
                else:
                    found.setdefault(value.memory, []).append(_Use(number, param, True, False, False, False))
                    self.result.notes.append(f"{launch.name}: the code neither reads nor writes {param}")
        return found

    def uses_of_memory(self) -> Mapping[int, list[tuple[int, str]]]:
        return {memory: [(u.launch, u.param) for u in uses] for memory, uses in self.uses.items()}

    def _tensors(self) -> None:
        found = self.result
        results = [view.memory for view in self.base.returned]
        fills = self._fills()
        order = sorted(self.uses, key=lambda m: (self.base.memory[m].origin != ARGUMENT, m))
        for memory in order:
            uses, allocation, name = self.uses[memory], self.base.memory[memory], self.names.memory[memory]
            tensor = FoundTensor(name, INPUT, self._type_of(memory), self._shape_of(memory, name))
            written = [u for u in uses if u.writes]
            tensor.result = results.index(memory) if memory in results else None
            if allocation.origin in (ARGUMENT, COMPUTED) and not (
                allocation.origin == COMPUTED and _first_writes(uses)
            ):
                tensor.values = self._values_of(memory)
                if allocation.origin == COMPUTED:
                    found.ask(
                        f"{name} is made by {allocation.name} before it gets to a kernel; declared as an input, "
                        "which the network has to provide in this form"
                    )
                else:
                    found.arguments[name] = allocation.name
                self._check_integers(tensor)
                found.tensors[name] = tensor
                if written:
                    self._alias(tensor, written)
                continue
            if allocation.origin == COMPUTED:
                found.ask(f"{name} is made by {allocation.name}; taken as written by the kernel alone")
            later = any(u.reads for u in uses if u.launch > min((w.launch for w in written), default=-1))
            tensor.role = WORKSPACE if later and memory not in results else OUTPUT
            if not written:
                tensor.role = INPUT
                found.ask(f"{name} is allocated and only read; no kernel writes what is in it")
            tensor.start = fills.get(memory)
            if written and tensor.start is None and (written[0].adds or (uses[0].reads and uses[0] is not written[0])):
                found.ask(f"{name} is added to or read before anything writes it, and nothing fills it")
            if tensor.role == OUTPUT and tensor.result is None:
                found.notes.append(f"{name} is written and not returned by the function")
            found.tensors[name] = tensor
        for name, argument in self.given.items():
            if isinstance(argument, GivenTensor) and name not in self.names.arguments:
                found.notes.append(f"no kernel takes the argument {name}")

    def _alias(self, tensor: FoundTensor, written: Sequence[_Use]) -> None:
        changed = FoundTensor(
            self.names.free(f"{tensor.name}_out"),
            OUTPUT,
            tensor.dtype,
            tensor.shape,
            alias=tensor.name,
            result=tensor.result,
        )
        self.result.tensors[changed.name] = changed
        for use in written:
            launch = self.result.launches[use.launch]
            launch.outputs[use.param] = changed.name

    def _fills(self) -> dict[int, float]:
        """What memory is filled with before the first launch gets it."""
        found: dict[int, float] = {}
        touched: set[int] = set()
        for event in self.base.events:
            if isinstance(event, SeenFill):
                name = self.names.memory.get(event.view.memory, "a tensor")
                if event.view.memory in touched:
                    self.result.ask(f"{name} is filled with {event.value:g} again after a launch")
                elif not event.view.whole:
                    self.result.ask(f"a part of {name}, {event.view.shape}, is filled with {event.value:g}")
                else:
                    found[event.view.memory] = event.value
            elif isinstance(event, SeenLaunch):
                touched |= {v.memory for v in event.arguments.values() if isinstance(v, View)}
        for launch in self.base.launches:
            for param in resets_of(place_of(launch.function)[2])[0]:
                value = launch.arguments.get(param)
                if isinstance(value, View):
                    found.setdefault(value.memory, 0.0)
        return found

    def _shape_of(self, memory: int, name: str) -> str:
        constants = self._all_constants()
        extents = []
        shapes = self._shapes(memory)
        for axis in range(len(shapes[0])):
            seen = tuple(shape[axis] for shape in shapes)
            text = Fitter(self.sizes, constants).fit(seen)
            if text is None:
                self.result.ask(f"extent {axis} of {name} was {_series(seen)} at {self._at()}")
                text = str(seen[0])
            extents.append(text.replace("maximum(", "max(").replace("minimum(", "min("))
        self._share(" ".join(extents))
        self._check_views(memory, name)
        return _as_shape(extents)

    def _shapes(self, memory: int) -> list[tuple[int, ...]]:
        """The shape of a tensor in every run: as it is returned, where it is, or else as it was made."""
        made = [t.memory[memory].shape for t in self.tapes]
        place = next((i for i, v in enumerate(self.base.returned) if v.memory == memory), None)
        if place is None or self.base.memory[memory].origin == ARGUMENT:
            return made
        views = [t.returned[place] for t in self.tapes if place < len(t.returned)]
        as_returned = len(views) == len(made) and all(
            v.memory == memory
            and v.whole
            and _elements(v.shape) == _elements(m)
            and len(v.shape) == len(views[0].shape)
            for v, m in zip(views, made, strict=True)
        )
        return [v.shape for v in views] if as_returned else made

    def _check_views(self, memory: int, name: str) -> None:
        """Say where a kernel gets something else than the whole tensor from its start."""
        total = _elements(self.base.memory[memory].shape)
        for use in self.uses[memory]:
            view = self.base.launches[use.launch].arguments[use.param]
            if view.offset or _elements(view.shape) != total or 0 in view.strides:
                self.result.ask(
                    f"{use.param} gets a part of {name}: shape {view.shape}, strides {view.strides}, from element "
                    f"{view.offset} on; tensors of TensorRT are whole and contiguous"
                )

    def _values_of(self, memory: int) -> str:
        given = self.given.get(self.base.memory[memory].name)
        return given.values if isinstance(given, GivenTensor) else ""

    def _check_integers(self, tensor: FoundTensor) -> None:
        if tensor.dtype in ("i32", "i64", "i16", "u8", "i8") and not tensor.values:
            self.result.ask(
                f'{tensor.name} holds integers: say what they are with values=…, such as ascending(0, "N"), '
                'below("N") or permutation("N"); without, they are small numbers, negative ones among them'
            )

    # -- data types --------------------------------------------------------------------------------

    def _data_types(self) -> None:
        other = self.watched.other_types
        self.variables: dict[str, str] = {}
        if other is None:
            return
        tape, swapped = other
        if _outline(tape) != _outline(self.base):
            self.result.ask(
                f"with {', '.join(swapped.values())} the function launches other kernels: {_launches(tape)}"
            )
            return
        for given, becomes in swapped.items():
            variable = self.names.free_variable()
            self.variables[given] = variable
            self.result.dtypes[variable] = (given, becomes)
            self.result.chosen[variable] = given

    def _type_of(self, memory: int) -> str:
        """The variable of a tensor whose type follows, or its type."""
        seen = self.base.memory[memory].dtype
        other = self.watched.other_types
        follows = seen in self.variables and other is not None and other[0].memory[memory].dtype != seen
        return self.variables[seen] if follows else seen

    # -- launches ------------------------------------------------------------------------------------

    def _launch(self, number: int, launch: SeenLaunch) -> FoundLaunch:
        module, attribute, wrapped = place_of(launch.function)
        if not attribute:
            self.result.ask(f"no module has {launch.name} at its top level; import it here by hand")
            attribute = launch.name
        configs = configs_of(wrapped)
        found = FoundLaunch(self.names.step(number), module, attribute, bool(configs))
        tuned = {name for config in configs for name in config.kwargs}
        follows = set(heuristics_of(wrapped))
        constants = self._constants(number)
        fitter = Fitter(self.sizes, constants)
        for param in launch.arguments:
            seen = [t.launches[number].arguments[param] for t in self.tapes]
            if isinstance(seen[0], View):
                self._tensor_of(found, number, param, seen[0])
            elif param in tuned or param in follows:
                continue
            elif all(v is None for v in seen):
                if param in launch.constants:
                    found.constants[param] = "None"
                else:
                    found.absent = (*found.absent, param)
            elif param in launch.constants:
                self._constant(found, number, param, seen)
            else:
                self._argument(found, number, param, seen, fitter)
        found.grid = self._grid(found, number, fitter, constants)
        self._options(found, number, configs)
        return found

    def _tensor_of(self, found: FoundLaunch, number: int, param: str, view: View) -> None:
        name = self.names.memory.get(view.memory)
        use = next((u for u in self.uses.get(view.memory, ()) if (u.launch, u.param) == (number, param)), None)
        if name is None or use is None:
            return
        if name in (*found.inputs.values(), *found.outputs.values()):
            self.result.ask(
                f"{found.name}: {param} gets {name}, which another parameter gets too; a launch passes it once"
            )
        (found.outputs if use.writes else found.inputs)[param] = name

    def _argument(self, found: FoundLaunch, number: int, param: str, seen: Sequence[Any], fitter: Fitter) -> None:
        """A run-time argument that is no tensor."""
        if all(type(v) is int for v in seen):
            text = fitter.fit([int(v) for v in seen])
            if text is None:
                self.result.ask(f"{found.name}: {param} was {_series(seen)} at {self._at()}")
                text = str(seen[0])
            found.arguments[param] = text
            self._doubt(f"{found.name}: {param}", text, seen)
            self._share(text)
        elif all(isinstance(v, bool | float | int) for v in seen):
            self._attribute(found, number, param, seen)
        else:
            self.result.ask(f"{found.name}: {param} was {_series(seen)}, which a launch of TensorRT cannot pass")

    def _attribute(self, found: FoundLaunch, number: int, param: str, seen: Sequence[Any]) -> None:
        """A number that the operator's user may set."""
        value = seen[0]
        if any(v != value for v in seen):
            text = self._reciprocal(seen)
            if text is not None:
                found.constants[param] = text
                return
            self.result.ask(f"{found.name}: {param} was {_series(seen)} at {self._at()}")
        source = self._scalar_behind(number, param, value)
        name = param
        if self.result.attributes.get(name, value) != value:
            self.result.ask(
                f"{found.name}: {param} is {value!r}, and {self.result.attributes[name]!r} in another launch"
            )
        found.attributes[name] = value
        if source:
            self.result.scalars[source] = name

    def _scalar_behind(self, number: int, param: str, value: Any) -> str:
        """The argument of the call that a number comes from; empty where none is."""
        for name, given in self.given.items():
            if type(given) is type(value) and given == value:
                other = self.watched.other_scalars
                known = isinstance(value, float) and other is not None and len(other.launches) > number
                if not known or other.launches[number].arguments.get(param) != value:  # type: ignore[union-attr]
                    return name
        return ""

    def _reciprocal(self, seen: Sequence[float]) -> str | None:
        """1 / N and 1 / sqrt(N), as scales are."""
        for dim, sizes in self.sizes.items():
            for text, power in ((f"1.0 / {dim}", -1.0), (f"{dim} ** -0.5", -0.5)):
                if all(abs(v - n**power) <= 1e-6 * abs(v) for v, n in zip(seen, sizes, strict=True)):
                    return text
        return None

    def _constant(self, found: FoundLaunch, number: int, param: str, seen: Sequence[Any]) -> None:
        """A constant that no autotuner and no heuristic sets."""
        value = seen[0]
        if isinstance(value, DataType):
            found.constants[param] = self._type_text(number, param, value)
        elif isinstance(value, Opaque) or not all(isinstance(v, bool | int | float | str | type(None)) for v in seen):
            self.result.ask(f"{found.name}: constant {param} was {_series(seen)}")
        elif any(v != value for v in seen):
            integers = [v for v in seen if type(v) is int]
            text = (
                Fitter(self.sizes, self._blocks_before(number)).fit(integers, powers=True)
                if len(integers) == len(seen)
                else self._reciprocal(seen)
            )
            if text is None:
                self.result.ask(f"{found.name}: constant {param} was {_series(seen)} at {self._at()}")
                text = repr(value)
            self._doubt(f"{found.name}: constant {param}", text, seen)
            self._share(text)
            if text != param:  # a constant that is called like a dimension is that dimension
                found.constants[param] = text
        elif (
            not found.tuned
            and type(value) is int
            and value > 1
            and value & (value - 1) == 0
            and _BLOCK.fullmatch(param)
        ):
            low, high = max(min(16, value), value // 4), min(value * 4, 65536)
            found.params[param] = f'powers_of_two("{param}", {low}, {max(high, value)})'
            found.default[param] = value
        elif (
            source := self._scalar_behind(number, param, value)
            if isinstance(value, float) or param in self.given
            else ""
        ):
            found.attributes[param] = value
            self.result.scalars[source] = param
        else:
            dim = next(
                (d for d, s in self.sizes.items() if set(s) == {value} and type(value) is int and value > 1), None
            )
            if dim is None:
                found.constants[param] = repr(value)
            elif dim != param:
                found.constants[param] = dim

    def _type_text(self, number: int, param: str, value: DataType) -> str:
        other = self.watched.other_types
        known = value.name in self.variables and other is not None
        follows = known and other[0].launches[number].arguments[param] != value  # type: ignore[index]
        return f'DType("{self.variables[value.name] if follows else value.name}")'

    def _grid(
        self, found: FoundLaunch, number: int, fitter: Fitter, constants: Mapping[str, tuple[int, ...]]
    ) -> tuple[str, ...]:
        axes = []
        for axis in range(3):
            seen = [t.launches[number].grid[axis] for t in self.tapes]
            text = fitter.fit(seen)
            if text is None:
                self.result.ask(f"{found.name}: the grid's axis {axis} was {_series(seen)} at {self._at()}")
                text = str(seen[0])
            axes.append(text)
            self._doubt(f"{found.name}: the grid's axis {axis}", text, seen)
            for name, values in constants.items():
                twins = [o for o, v in constants.items() if o != name and v == values and len(set(v)) == 1]
                if name in _words(text) and twins:
                    self.result.ask(
                        f"{found.name}: the grid divides by {values[0]}, taken for {name}; {', '.join(twins)} has "
                        "the same value"
                    )
            self._share(text)
        while len(axes) > 1 and axes[-1] == "1":
            axes.pop()
        return tuple(axes)

    def _options(self, found: FoundLaunch, number: int, configs: Sequence[Any]) -> None:
        if configs:
            return
        seen = [t.launches[number].options for t in self.tapes]
        warps, stages = seen[0]["num_warps"], seen[0]["num_stages"]
        found.params["num_warps"] = f'powers_of_two("num_warps", {min(2, warps)}, {max(16, warps)})'
        found.default["num_warps"] = warps
        if stages != 3:
            found.params["num_stages"] = f'choice("num_stages", {", ".join(map(str, sorted({stages, 2, 3, 4})))})'
            found.default["num_stages"] = stages
        if any(o["num_warps"] != warps for o in seen):
            found_warps = _series([o["num_warps"] for o in seen])
            self.result.notes.append(
                f"{found.name}: the function sets num_warps by size ({found_warps} seen); tuned here"
            )
        if seen[0]["num_ctas"] > 1:
            self.result.ask(f"{found.name}: num_ctas was {seen[0]['num_ctas']}; TensorRT launches no clusters")

    def _constants(self, number: int) -> dict[str, tuple[int, ...]]:
        """The tuned integers of a launch, and of those before it, at each run; its own and blocks first."""
        found: dict[str, tuple[int, ...]] = {}
        for place in (number, *range(number)):
            launch = self.base.launches[place]
            configs = configs_of(place_of(launch.function)[2])
            tuned = {name for config in configs for name in config.kwargs}
            for param in launch.constants:
                seen = tuple(t.launches[place].arguments[param] for t in self.tapes)
                block = not configs and len(set(seen)) == 1 and _BLOCK.fullmatch(param)
                if (param in tuned or block) and all(type(v) is int and v > 1 for v in seen):
                    found.setdefault(param, seen)
        return dict(sorted(found.items(), key=lambda item: not _BLOCK.fullmatch(item[0])))

    def _blocks_before(self, number: int) -> dict[str, tuple[int, ...]]:
        """The blocks of the launches before one: what they leave behind may depend on them."""
        before = self._constants(number - 1) if number else {}
        return {name: seen for name, seen in before.items() if _BLOCK.fullmatch(name)}

    def _all_constants(self) -> dict[str, tuple[int, ...]]:
        return self._constants(len(self.base.launches) - 1) if self.base.launches else {}

    def _doubt(self, what: str, text: str, seen: Sequence[Any]) -> None:
        """Say what was seen where the runs leave more than one way to read it."""
        if re.search(r"min\(|max\(|imum\(", text):
            self.result.ask(f"{what} was {_series(seen)} at {self._at()}; taken for {text}")

    def _share(self, text: str) -> None:
        """Note the parameters that an extent, or the launch of another step, depends on."""
        for name in _words(text):
            if name not in self.result.shared:
                self.result.shared.append(name)

    # -- the rest ------------------------------------------------------------------------------------

    def _operations(self) -> None:
        """Say what the function does that no kernel does, where it matters to what kernels take or write."""
        ours = set(self.uses)
        for event in self.base.events:
            if isinstance(event, SeenOperation):
                touched = [self.names.memory.get(m, "an argument") for m in event.reads if m in ours]
                changed = [self.names.memory[m] for m in event.writes if m in ours]
                returned = {v.memory for v in self.base.returned}
                if changed or returned.intersection(event.writes):
                    what = f"{event.name} on {', '.join(touched) or 'other tensors'}"
                    makes = f" gives {', '.join(changed)}" if changed else " gives a result of the function"
                    self.result.ask(f"{what}{makes}; no kernel does it, so the network has to")

    def _at(self) -> str:
        return "; ".join(_spelt({self.names.dims[d]: v for d, v in t.sizes.items()}) for t in self.tapes)


def _outline(tape: Tape) -> list[Any]:
    """What has to be the same in two runs for their numbers to be compared."""
    return [
        (e.function, {p: v.memory if isinstance(v, View) else type(v) is type(None) for p, v in e.arguments.items()})
        if isinstance(e, SeenLaunch)
        else (type(e), getattr(e, "name", ""))
        for e in tape.events
        if not isinstance(e, SeenOperation)
    ]


def _pointer_uses(launch: SeenLaunch) -> dict[str, PointerUse]:
    """What the compiled code does through each parameter that is a pointer."""
    text = launch.binary.get("ptx")
    if text is None:
        return {}
    uses = pointer_uses(ptx.parse(text))
    return dict(zip(launch.binary["parameters"], uses, strict=False))


def _first_writes(uses: Sequence[_Use]) -> bool:
    return uses[0].writes and not uses[0].reads


def _words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z_]\w*", text)


def _as_shape(extents: Sequence[str]) -> str:
    """Extents as a shape, where blanks part them."""
    return " ".join(e if re.fullmatch(r"\w+|\w+\(.*\)", e) else f"({e})" for e in extents) or "1"


def _elements(shape: Sequence[int]) -> int:
    total = 1
    for extent in shape:
        total *= extent
    return total


def _series(values: Sequence[Any]) -> str:
    return ", ".join(str(v) for v in values)


def _spelt(sizes: Mapping[str, int]) -> str:
    return " ".join(f"{d}={s}" for d, s in sizes.items())


def _launches(tape: Tape) -> str:
    return ", ".join(launch.name for launch in tape.launches) or "nothing"
