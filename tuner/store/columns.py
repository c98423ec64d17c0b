"""What the columns of parameters are called in ``trials.csv``, where a kernel may name one `kind` or `time_us`.

A parameter's column has its name, unless another column has, or could be taken for a time: then it is
``param.kind``. So files with other names read as they always did.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

PREFIX = "param."
TIMES = frozenset({"time_s", "time_ms", "time_us", "time_ns"})
"""Columns that a reader of tables takes for the time."""


def param_columns(params: Collection[str], others: Collection[str]) -> Mapping[str, str]:
    """The column of each parameter beside other columns."""
    return {name: f"{PREFIX}{name}" if name in others or name in TIMES else name for name in params}


def column_of(param: str, columns: Collection[str]) -> str:
    """Which of the columns of a file is that of a parameter."""
    return f"{PREFIX}{param}" if f"{PREFIX}{param}" in columns else param


def param_of(column: str) -> str:
    """The parameter whose column this is."""
    return column.removeprefix(PREFIX)
