"""Which branches of a host function were never taken: what they would launch was not seen."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any


class Branches:
    """Follows the lines of one function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = _plain(function)
        self._code: CodeType | None = getattr(self._function, "__code__", None)
        self._lines: set[int] = set()

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Take down the lines that run meanwhile."""
        before = sys.gettrace()

        def local(frame: FrameType, event: str, _: Any) -> Any:
            if event == "line":
                self._lines.add(frame.f_lineno)
            return local

        sys.settrace(lambda frame, _event, _arg: local if frame.f_code is self._code else None)
        try:
            yield
        finally:
            sys.settrace(before)

    def untaken(self) -> list[str]:
        """The branches that no run took, each as ``line 47: else of `if W is not None` ``."""
        try:
            source, first = inspect.getsourcelines(self._function)
            tree = ast.parse(textwrap.dedent("".join(source)))
        except (OSError, TypeError, SyntaxError):
            return []
        found = []
        for node in ast.walk(tree):
            if not isinstance(node, ast.If) or node.lineno + first - 1 not in self._lines:
                continue
            condition = f"`if {ast.unparse(node.test)}`"
            for body, what in ((node.body, condition), (node.orelse, f"else of {condition}")):
                raises = body and isinstance(body[-1], ast.Raise)
                if body and not raises and body[0].lineno + first - 1 not in self._lines:
                    found.append(f"line {body[0].lineno + first - 1}: {what}")
        return found


def _plain(function: Any) -> Any:
    """The function itself: of `torch.autograd.Function.apply`, the forward of the class."""
    owner: Any = getattr(function, "__self__", None)
    if getattr(function, "__name__", "") == "apply" and hasattr(owner, "forward"):
        return inspect.unwrap(owner.forward)
    return inspect.unwrap(function)
