"""How many tactics are on the way to a GPU at a time: as few as keep it busy, found out as they pass."""

from __future__ import annotations

import threading

_FIRST = 8
"""On the way to each GPU at first. With so many a search finds nearly what one finds that asks one at a time; with two
the GPU idles until the limit has risen, for seconds where kernels are light."""


class Pace:
    """A limit that rises when a GPU waited for a tactic, and falls when tactics wait for a GPU. Any thread may report.

    Each tactic on the way is one of whose time the search knows nothing when it proposes another; each too few leaves
    the GPU idle while the next one compiles. Compilers that all have work already are not helped by more.

    Attributes:
        limit: how many may be on the way now.
        most: the largest that it may become.
    """

    def __init__(self, devices: int, compilers: int) -> None:
        """Never less than one on each GPU and one for it that compiles meanwhile."""
        self.least, self.most = 2 * devices, max(2 * devices, compilers + devices)
        self.limit = min(self.most, _FIRST * devices)
        self._devices = devices
        self._lock = threading.Lock()

    def taken(self, waited: bool) -> None:
        """Hear that a GPU has taken a tactic, and whether it was idle until that was compiled."""
        if waited:
            self._move(1)

    def ready(self, before: int) -> None:
        """Hear that a tactic is compiled, and how many such were waiting for a GPU before it."""
        if before >= self._devices:
            self._move(-1)

    def _move(self, by: int) -> None:
        with self._lock:
            self.limit = min(self.most, max(self.least, self.limit + by))
