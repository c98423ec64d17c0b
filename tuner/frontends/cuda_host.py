"""Host code in a file of CUDA C++: which functions of a text run on the host alone, and the text without them.

NVRTC compiles for the device and checks all that it is given, so a launcher beside a kernel, with its streams and
tensors, is an error. Text that NVRTC takes as it is never comes here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

_HIDDEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|^[ \t]*#(?:\\\n|[^\n])*""", re.DOTALL | re.MULTILINE
)
_ON_DEVICE = ("__global__", "__device__", "constexpr")
_DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)((?:\\\n|[^\n])*)", re.MULTILINE)
_TEMPLATE = re.compile(r"\s*template\s*<")
_SCOPE = re.compile(r'\s*(?:inline\s+)?(?:namespace\b[^()=;]*|extern\s*"C(?:\+\+)?"\s*)$')
_INSTANTIATION = re.compile(r"(?:^|(?<=[;{}]))\s*((?:extern\s+)?template\s*(?!<)\b[^;{}]*;)")
_NO_FUNCTION = ("using", "typedef", "static_assert")
_TYPE = re.compile(r"\b(?:struct|class|union|enum)\b")


def device_macros(texts: Iterable[str]) -> frozenset[str]:
    """The macros that stand for a function's place on the device, as ``#define INLINE __device__ __forceinline__``."""
    found = {name for text in texts for name, body in _DEFINE.findall(text) if any(w in body for w in _ON_DEVICE)}
    return frozenset(found)


def without_instantiations(text: str) -> str:
    """Blank explicit instantiations of templates: what is compiled is asked for by name."""
    shown = _hidden(text)
    for match in reversed(list(_INSTANTIATION.finditer(shown))):
        text = text[: match.start(1)] + _blank(match[1]) + text[match.end(1) :]
    return text


def without_host_code(text: str, macros: Collection[str]) -> str:
    """Blank all functions that run on the host alone; every line keeps its number.

    Args:
        text: CUDA C++.
        macros: names that mark a function as one of the device, besides CUDA's own.
    """
    shown = _hidden(text)
    marks = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in (*_ON_DEVICE, *macros)))
    kept: list[str] = []
    done = start = at = 0
    while at < len(shown):
        character = shown[at]
        if character == ";" and not _depth(shown, start, at):
            if _is_function(shown[start:at]) and not marks.search(shown, start, at):
                kept += [text[done:start], _blank(text[start : at + 1])]
                done = at + 1
            start = at + 1
        elif character == "}":
            start = at + 1
        elif character == "{":
            head = _without_template(shown[start:at])
            end = _matching(shown, at)
            if _SCOPE.match(text[start:at].lstrip()) or _SCOPE.match(head):
                start = at + 1
            elif _is_function(head) and not _TYPE.match(head.lstrip()):
                if not marks.search(shown, start, at):
                    kept += [text[done:start], _blank(text[start : end + 1])]
                    done = end + 1
                at, start = end, end + 1
            else:
                at = end  # of a type or an initializer, which ends with a semicolon
        at += 1
    return "".join((*kept, text[done:]))


def _is_function(head: str) -> bool:
    """Whether a declaration is one of a function: parameters, and no value before them."""
    before, parenthesis, _ = _without_template(head).partition("(")
    words = before.split()
    return bool(parenthesis and words) and "=" not in before and words[0] not in _NO_FUNCTION


def _without_template(head: str) -> str:
    while match := _TEMPLATE.match(head):
        depth, at = 1, match.end()
        while depth and at < len(head):
            depth += (head[at] == "<") - (head[at] == ">")
            at += 1
        head = head[at:]
    return head


def _depth(text: str, start: int, end: int) -> int:
    """How many parentheses are open."""
    return text.count("(", start, end) - text.count(")", start, end)


def _matching(text: str, at: int) -> int:
    """Where the block ends that begins with the brace at a place."""
    depth = 0
    for place in range(at, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return place
    return len(text) - 1


def _hidden(text: str) -> str:
    """The text with blanks in the place of comments, of what stands in quotes, and of the preprocessor's lines."""
    return _HIDDEN.sub(lambda m: _blank(m[0]), text)


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)
