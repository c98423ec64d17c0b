"""Sources that are text files: C++ and PTX, which write comments and strings alike."""

from __future__ import annotations

import re
from pathlib import Path

from tuner.errors import ConfigError

_COMMENT_OR_STRING = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)


def read(path: Path) -> str:
    """The text of a source file.

    Raises:
        ConfigError: when it cannot be read or is not UTF-8.
    """
    try:
        return path.read_text("utf-8-sig")
    except OSError as e:
        raise ConfigError(f"{path} cannot be read: {e.strerror}; give read access") from e
    except UnicodeDecodeError as e:
        raise ConfigError(f"{path} is not UTF-8 text ({e.reason} at byte {e.start}); save it as UTF-8") from e


def normalised(text: str) -> str:
    """The text without comments, empty lines, and blanks around lines."""
    code = _COMMENT_OR_STRING.sub(lambda m: " " if m[0].startswith("/") else m[0], text)
    lines = (line.strip() for line in code.splitlines())
    return "\n".join(line for line in lines if line)
