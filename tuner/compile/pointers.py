"""Which parameters of an entry its code reads and writes through, followed over the PTX.

Every register gets two sets of parameters: those that its value may be made of, and those that it is made of on
every way to it. A claim is made only where it holds whatever the program does: a pointer that is stored, handed to a
function or put into a tensor map is out of sight, and nothing is said of it; so is an address that may come from
two parameters.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tuner.compile import ptx
from tuner.compile.launch_rules import LaunchRuleError

_LEADING = re.compile(r"(?:[{}\s]|[\w$]+:(?!:))*(?:@!?\s*%?[\w$]+\s+)?")
_OPCODE = re.compile(r"[a-z][\w.:]*")
_NAME = re.compile(r"(?<![.\w$%])%?[A-Za-z_$][\w$]*")
_ADDRESS = re.compile(r"\[([^\]]*)\]")
_FIRST = re.compile(r"\s*(\{[^}]*\}|[^,]*),?(.*)", re.DOTALL)
_LOADS = ("ld", "ldu", "ldmatrix")
_OWN_SPACES = frozenset({"shared", "local", "param", "const"})
_TRUTHS = ("setp", "set", "isspacep", "testp")
_NUMBERS = frozenset({"f16", "f16x2", "bf16", "bf16x2", "tf32", "f32", "f64"})
"""Types of arithmetic that addresses do not go through."""

Names = frozenset[str]
_NONE: Names = frozenset()


@dataclass
class PointerUse:
    """What the code does through one parameter.

    Attributes:
        written: stores or adds through it, for certain.
        may_store: may store through it, whatever was there before.
        may_add: may change what is there with `red` or `atom`.
        may_read: may load through it.
        hidden: the pointer goes where it cannot be followed, so it may be used in any way.
    """

    written: bool = False
    may_store: bool = False
    may_add: bool = False
    may_read: bool = False
    hidden: bool = False


def check_directions(
    module: ptx.Module,
    inputs: Sequence[str],
    integers: int,
    outputs: Sequence[str],
    *,
    scratch: bool,
    in_place: Collection[str] = (),
) -> None:
    """Rule "direction": inputs are not written, and outputs are.

    Outputs start with whatever the memory held, so one that is only ever added to is refused too, unless it is changed
    in place.

    Args:
        module: its only entry takes inputs, extra integers and outputs.
        inputs, outputs: the tensors' names.
        integers: how many integers stand between them.
        scratch: whether the last output is scratch memory, which is used as the code likes.
        in_place: the outputs that are inputs, too, and begin with their values.

    Raises:
        LaunchRuleError: for the first tensor that is used the wrong way for certain.
    """
    uses = pointer_uses(module)
    where = f"entry {module.entry.name}"
    order = "TensorRT passes inputs first, then integers, then outputs"
    for position, (name, use) in enumerate(zip(inputs, uses, strict=False)):
        if use.written:
            raise LaunchRuleError(
                "direction",
                f"{where} writes input {name!r}, its parameter {position}; {order}, so check the order of the "
                "parameters, and write to outputs alone",
            )
    start = len(inputs) + integers
    judged = outputs[:-1] if scratch else outputs
    for position, (name, use) in enumerate(zip(judged, uses[start:], strict=False), start):
        if use.hidden or use.may_store:
            continue
        if use.may_add and name in in_place:
            continue
        if use.may_add:
            raise LaunchRuleError(
                "direction",
                f"{where} only adds to output {name!r} (red or atom) and never stores it; outputs start uninitialised "
                "in TensorRT and nothing clears them, so the sum would begin at whatever the memory held: declare what "
                "it starts with, as in Tensor(…, start=0), or that it is an input changed in place, Alias(…)",
            )
        raise LaunchRuleError(
            "direction",
            f"{where} never writes output {name!r}, its parameter {position}; {order}, so check the order of the "
            "parameters",
        )


def pointer_uses(module: ptx.Module) -> tuple[PointerUse, ...]:
    """Return what the only entry does through each of its parameters, in order; integers have no use."""
    params = {p.name: PointerUse() for p in module.entry.params}
    pointers = {p.name for p in module.entry.params if p.size == 8}
    code = _Code(pointers)
    for statement in ptx.body(module).split(";"):
        code.add(_LEADING.sub("", statement, count=1).strip())
    may, must = code.origins()

    def made_of(text: str, known: Mapping[str, Names]) -> Names:
        return _Route(_NONE, tuple(_NAME.findall(text))).origin(known)

    for address, adds in code.writes:
        possible, certain = made_of(address, may), made_of(address, must)
        for name in possible:
            if adds:
                params[name].may_add = True
            else:
                params[name].may_store = True
            params[name].written |= possible == certain == {name}
    for address in code.reads:
        for name in made_of(address, may):
            params[name].may_read = True
    for text in code.hides:
        for name in made_of(text, may):
            params[name].hidden = True
    for name in code.mentioned:
        params[name].hidden = True
    return tuple(params.values())


@dataclass(frozen=True)
class _Route:
    """One way to the value of a register: the parameter that it is loaded from, and the names it is made of."""

    direct: Names
    sources: tuple[str, ...] = ()

    def origin(self, known: Mapping[str, Names]) -> Names:
        return self.direct.union(*(known.get(name, _NONE) for name in self.sources))


@dataclass
class _Code:
    """The statements of an entry, sorted by what they do with pointers.

    Attributes:
        pointers: the parameters that may be pointers.
        definitions: those of each register.
        writes: address operands, and whether what was there before counts.
        reads: address operands of loads.
        hides: operands whose pointers go out of sight.
        mentioned: parameters that are named other than to be loaded.
    """

    pointers: set[str]
    definitions: dict[str, list[_Route]] = field(default_factory=dict)
    writes: list[tuple[str, bool]] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    hides: list[str] = field(default_factory=list)
    mentioned: set[str] = field(default_factory=set)

    def add(self, statement: str) -> None:
        """Take in one statement, without its labels and its predicate."""
        opcode = _OPCODE.match(statement)
        if opcode is None:  # a declaration, or nothing
            return
        kind, *kinds = (word.partition("::")[0] for word in opcode[0].split("."))
        words, operands = frozenset(kinds), statement[opcode.end() :]
        first, rest = _FIRST.match(operands).groups()  # type: ignore[union-attr]
        addresses = _ADDRESS.findall(operands)
        address = addresses[0] if addresses else ""
        if kind in _LOADS:
            param = address.partition("+")[0].strip() if "param" in words else ""
            if param in self.pointers:
                self._define(first, _Route(frozenset({param})))
                return
            self._define(first, _Route(_NONE))
            if not _OWN_SPACES & words:
                self.reads.append(address)
        elif kind in ("st", "red", "atom"):
            if not _OWN_SPACES & words:
                self.writes.append((address, kind != "st" and "exch" not in words))
            self.hides.append(_ADDRESS.sub("", operands, count=1))
            if kind == "atom":
                self._define(first, _Route(_NONE))
        elif kind == "cp":
            # Into shared memory, out of it, or through a tensor map, which itself is only read.
            spaces = [w for w in kinds if w in ("shared", "global")]
            if spaces[:1] == ["global"] and not {"tensor", "prefetch"} & words:
                self.writes.append((address, "reduce" in words))
            if "global" in spaces[1:]:
                self.reads += addresses[1:2]
        elif kind in ("prefetch", "prefetchu", "applypriority"):
            pass
        elif addresses or kind == "call":
            self.hides.append(operands)
        elif kind not in _TRUTHS and not _NUMBERS & words:
            self._define(first, _Route(_NONE, tuple(_NAME.findall(rest or ""))))
        self.mentioned |= self.pointers.intersection(_NAME.findall(operands))

    def origins(self) -> tuple[dict[str, Names], dict[str, Names]]:
        """The parameters that each register may be made of, and those that it is made of on every way to it."""
        everything = frozenset(self.pointers)
        may = dict.fromkeys(self.definitions, _NONE)
        must = dict.fromkeys(self.definitions, everything)
        changed = True
        while changed:
            changed = False
            for register, ways in self.definitions.items():
                possible = _NONE.union(*(way.origin(may) for way in ways))
                certain = everything.intersection(*(way.origin(must) for way in ways))
                if (possible, certain) != (may[register], must[register]):
                    may[register], must[register], changed = possible, certain, True
        return may, must

    def _define(self, registers: str, definition: _Route) -> None:
        for name in _NAME.findall(registers):
            self.definitions.setdefault(name, []).append(definition)
