"""Read PTX as far as launching it needs: module directives, and each entry's parameters and directives.

Comments and strings are blanked out with text of the same length before anything is matched, so that
every position found is a position in the original text and edits leave the rest of it as it was.

Syntax: "PTX ISA", chapters "Source Format", "Kernel and Function Directives" and "Performance-Tuning
Directives" (NVIDIA).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from tuner.errors import TunerError
from tuner.gpu.target import Dim3

Span = tuple[int, int]


class PtxError(TunerError):
    """PTX that cannot be read, or not edited as asked."""


@dataclass(frozen=True)
class EntryParam:
    """One parameter of an entry.

    Attributes:
        name: as the body refers to it.
        type: the fundamental type, for example "u64".
        count: elements of an array parameter; None for a scalar.
        align: alignment of the parameter itself in bytes; None: that of its type.
        span: where its declaration lies in the module's text.
    """

    name: str
    type: str
    count: int | None
    align: int | None
    span: Span

    @property
    def size(self) -> int:
        """Bytes in the parameter buffer."""
        return int(self.type[1:]) // 8 * (1 if self.count is None else self.count)


@dataclass(frozen=True)
class PtxEntry:
    """One kernel of a module. Directives that are absent are None.

    Attributes:
        name: the symbol to launch.
        params: in order of declaration.
        body: where the text between the braces lies.
        reqntid, maxntid: threads per block along x, y and z: exactly, or at most.
        minnctapersm: blocks per SM the compiler should leave room for.
        maxnreg: registers per thread at most.
        cluster: whether a directive asks for a launch with thread block clusters.
    """

    name: str
    params: tuple[EntryParam, ...]
    body: Span
    reqntid: Dim3 | None = None
    maxntid: Dim3 | None = None
    minnctapersm: int | None = None
    maxnreg: int | None = None
    cluster: bool = False


@dataclass(frozen=True)
class Module:
    """A PTX module.

    Attributes:
        text: as it was given.
        version: (major, minor) of the PTX language.
        target: the architecture, for example "sm_90a".
        target_options: what else `.target` lists, for example "debug".
        address_size: bits of an address.
        dynamic_shared: whether it declares shared memory whose size the launch gives.
        entries: its kernels, in order.
    """

    text: str = field(repr=False)
    version: tuple[int, int]
    target: str
    target_options: tuple[str, ...]
    address_size: int
    dynamic_shared: bool
    entries: tuple[PtxEntry, ...]

    @property
    def entry(self) -> PtxEntry:
        """The only entry; `PtxError` when there is none or more than one."""
        if len(self.entries) != 1:
            names = ", ".join(e.name for e in self.entries) or "none"
            raise PtxError(f"the PTX must hold exactly one .entry, found: {names}")
        return self.entries[0]


_NAME = r"(?:[A-Za-z][\w$]*|[_$%][\w$]+)"
_HIDDEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)
_UNCLOSED = re.compile(r'/\*|"')
_VERSION = re.compile(r"\.version\s+(\d+)\.(\d+)")
_TARGET = re.compile(r"\.target\s+([\w, \t]+)")
_ADDRESS_SIZE = re.compile(r"\.address_size\s+(\d+)")
_DYNAMIC_SHARED = re.compile(r"\.extern\s+\.shared\b")
_ENTRY = re.compile(rf"\.entry\s+({_NAME})\s*(\()?")
_PARAM = re.compile(
    rf"""\s*\.param\s+ (?:\.align\s+(?P<align>\d+)\s+)?
         \.(?P<type>[bsuf]\d+)\s+
         (?:\.ptr\s+ (?:\.(?:const|global|local|shared)\s+)? (?:\.align\s+\d+\s+)?)?
         (?P<name>{_NAME})\s* (?P<array>\[\s*(?P<count>\d*)\s*\])? \s*""",
    re.VERBOSE,
)
_DIRECTIVE = re.compile(r"\.(\w+)([^.{;]*)")
_CLUSTER_DIRECTIVES = ("reqnctapercluster", "explicitcluster", "maxclusterrank")


def parse(text: str) -> Module:
    """Read a module.

    Raises:
        PtxError: when a directive every module has is missing, or an entry cannot be read.
    """
    code = _blank(text)
    version, target = _VERSION.search(code), _TARGET.search(code)
    if version is None or target is None:
        raise PtxError(f"this is not PTX: no {'.version' if version is None else '.target'} directive")
    architecture, *options = (t.strip() for t in target[1].split(","))
    address_size = _ADDRESS_SIZE.search(code)
    entries = tuple(_entry(code, match) for match in _ENTRY.finditer(code))
    return Module(
        text=text,
        version=(int(version[1]), int(version[2])),
        target=architecture,
        target_options=tuple(options),
        address_size=int(address_size[1]) if address_size else 32,
        dynamic_shared=_DYNAMIC_SHARED.search(code) is not None,
        entries=entries,
    )


def drop_trailing_params(module: Module, count: int) -> Module:
    """Remove the last `count` parameters of the only entry, which its body must not use.

    Raises:
        PtxError: when the body refers to one of them.
    """
    entry = module.entry
    if count == 0:
        return module
    kept, dropped = entry.params[:-count], entry.params[-count:]
    if len(dropped) != count:
        raise PtxError(f"entry {entry.name} has {len(entry.params)} parameters; {count} cannot be removed")
    code = body(module)
    for param in dropped:
        if re.search(rf"(?<![\w$%]){re.escape(param.name)}(?![\w$])", code):
            raise PtxError(f"parameter {param.name} cannot be removed: the body of {entry.name} refers to it")
    start = kept[-1].span[1] if kept else dropped[0].span[0]
    return parse(module.text[:start] + module.text[dropped[-1].span[1] :])


def arrange_params(module: Module, order: Sequence[int | None], pointers: Collection[int] = ()) -> Module:
    """Put the first parameters of the only entry into another order; those that `order` does not name stay last.

    The body refers to parameters by name, so it stays as it is.

    Args:
        module: the module.
        order: for each position, which parameter takes it; None: one that the body does not look at.
        pointers: the positions of those that are 64-bit pointers; others are 32-bit integers.

    Raises:
        PtxError: when it has fewer parameters.
    """
    params = module.entry.params
    if any(i is not None and i >= len(params) for i in order):
        raise PtxError(f"entry {module.entry.name} takes {len(params)} parameters; its source names more")
    if list(order) == list(range(len(order))):
        return module
    texts = [
        module.text[slice(*params[i].span)]
        if i is not None
        else f".param .u{64 if position in pointers else 32} {module.entry.name}_unused_{position}"
        for position, i in enumerate(order)
    ]
    texts += [module.text[slice(*p.span)] for i, p in enumerate(params) if i not in order]
    start, end = (params[0].span[0], params[-1].span[1]) if params else (module.entry.body[0], module.entry.body[0])
    return parse(module.text[:start] + ",\n\t".join(texts) + module.text[end:])


def rename_entry(module: Module, name: str) -> Module:
    """Give the only entry another name, also within the names that are made of it, such as those of parameters."""
    return parse(module.text.replace(module.entry.name, name))


def lower_version(module: Module, newest: tuple[int, int]) -> Module:
    """The module under an older version of the PTX language, where its own is newer than `newest`.

    The text stays as it is: PTX only ever grows, and who assembles it finds what the older version lacks.
    """
    if module.version <= newest:
        return module
    version = _VERSION.search(_blank(module.text))
    assert version is not None
    lowered = f".version {newest[0]}.{newest[1]}"
    return parse(module.text[: version.start()] + lowered + module.text[version.end() :])


def body(module: Module) -> str:
    """Return what stands between the braces of the only entry, with comments and strings blanked out."""
    return _blank(module.text)[slice(*module.entry.body)]


def _blank(text: str) -> str:
    """The text with comments and the insides of strings replaced by blanks, positions unchanged."""

    def blanks(match: re.Match[str]) -> str:
        hidden = re.sub(r"[^\n]", " ", match[0])
        return f'"{hidden[1:-1]}"' if match[0].startswith('"') else hidden

    code = _HIDDEN.sub(blanks, text)
    unclosed = _UNCLOSED.search(re.sub(r'" *"', "", code))
    if unclosed:
        what = "comment" if unclosed[0] == "/*" else "string"
        raise PtxError(f"the PTX is cut off: a {what} is not closed")
    return code


def _entry(code: str, match: re.Match[str]) -> PtxEntry:
    name, position = match[1], match.end()
    params: list[EntryParam] = []
    if match[2]:
        close = code.find(")", position)
        if close < 0:
            raise PtxError(f"the PTX is cut off in the parameters of entry {name}")
        params = _params(code, name, position, close)
        position = close + 1
    opening = code.find("{", position)
    if opening < 0 or ".entry" in code[position:opening]:
        raise PtxError(f"entry {name} has no body")
    directives = {d: arguments.strip() for d, arguments in _DIRECTIVE.findall(code[position:opening])}
    return PtxEntry(
        name=name,
        params=tuple(params),
        body=(opening + 1, _closing_brace(code, opening, name)),
        reqntid=_dim3(directives.get("reqntid")),
        maxntid=_dim3(directives.get("maxntid")),
        minnctapersm=_integer(directives.get("minnctapersm")),
        maxnreg=_integer(directives.get("maxnreg")),
        cluster=any(d in directives for d in _CLUSTER_DIRECTIVES),
    )


def _params(code: str, entry: str, start: int, end: int) -> list[EntryParam]:
    params: list[EntryParam] = []
    while code[start:end].strip():
        match = _PARAM.match(code, start, end)
        if match is None or (match.end() < end and code[match.end()] != ","):
            declaration = code[start:end].split(",")[0].strip()
            raise PtxError(f"entry {entry}: cannot read the parameter {declaration!r}")
        text = match[0]
        span = (start + len(text) - len(text.lstrip()), start + len(text.rstrip()))
        count = int(match["count"] or 0) if match["array"] else None
        align = int(match["align"]) if match["align"] else None
        params.append(EntryParam(match["name"], match["type"], count, align, span))
        start = match.end() + 1
    return params


def _closing_brace(code: str, opening: int, entry: str) -> int:
    depth = 0
    for brace in re.finditer(r"[{}]", code[opening:]):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return opening + brace.start()
    raise PtxError(f"the PTX is cut off in the body of entry {entry}")


def _dim3(arguments: str | None) -> Dim3 | None:
    if arguments is None:
        return None
    x, y, z = (*(int(n) for n in arguments.split(",")), 1, 1)[:3]
    return x, y, z


def _integer(argument: str | None) -> int | None:
    return None if argument is None else int(argument)
