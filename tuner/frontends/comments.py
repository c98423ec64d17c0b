"""C++ and PTX write comments and strings alike; so one function strips both."""

from __future__ import annotations

import re

_COMMENT_OR_STRING = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)


def normalised(text: str) -> str:
    """The text without comments, empty lines, and blanks around lines."""
    code = _COMMENT_OR_STRING.sub(lambda m: " " if m[0].startswith("/") else m[0], text)
    lines = (line.strip() for line in code.splitlines())
    return "\n".join(line for line in lines if line)
