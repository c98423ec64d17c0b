"""Planted regressions, from `planted.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Planted:
    """One regression.

    Attributes:
        kernel: the file's name without its ending.
        name: of the regression, unique within the kernel.
        group: what kind of mistake it is.
        patch: pairs of old and new text.
    """

    kernel: str
    name: str
    group: str
    patch: list[tuple[str, str]]

    def apply(self, text: str) -> str:
        """The kernel file with the regression in it; `ValueError` where it no longer fits."""
        for old, new in self.patch:
            if text.count(old) != 1:
                raise ValueError(f"{self.kernel} {self.name}: {old!r} occurs {text.count(old)} times")
            text = text.replace(old, new)
        return text


PLANTED = [Planted(**p) for p in tomllib.loads((Path(__file__).parent / "planted.toml").read_text())["planted"]]
