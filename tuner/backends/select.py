"""Choose a backend that works here, and open it for a problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tuner.backends.base import Backend
from tuner.backends.kept import Kept
from tuner.backends.setting import BackendSetting, Opening
from tuner.backends.table import AUTO, BACKENDS, first_present
from tuner.compile.blobs import Store
from tuner.errors import ConfigError, UnavailableError, did_you_mean
from tuner.kernel.problem import Problem


@dataclass(frozen=True)
class BackendChoice:
    """A backend and why it was taken.

    Attributes:
        name: one of `tuner.backends.table.BACKENDS`.
        why: a clause for the user, "" when it was asked for.
        devices: ordinals of the GPUs to measure on, for a backend that does.
        table: for replay: the recorded table.
        warm: leave tensors in the L2 between launches, for a backend that measures.
    """

    name: str
    why: str = ""
    devices: tuple[int, ...] = (0,)
    table: Path | None = None
    warm: bool = False

    @classmethod
    def of(
        cls, name: str, devices: Sequence[int] = (0,), table: Path | None = None, warm: bool = False
    ) -> BackendChoice:
        """Check a backend's name; "auto" takes the first that works here.

        Raises:
            ConfigError: for an unknown name, or replay without a table.
            UnavailableError: for a backend that does not work here.
        """
        if name not in (AUTO, *BACKENDS):
            raise ConfigError(f"unknown backend {name!r}{did_you_mean(name, (AUTO, *BACKENDS))}")
        if (name == "replay") != (table is not None):
            raise ConfigError("--backend replay and --table FILE belong together: the table holds the times")
        if name == AUTO:
            first, why = first_present()
            return cls(first, why, tuple(devices), None, warm)
        missing = BACKENDS[name].missing()
        if missing is not None:
            raise UnavailableError(f"the {name} backend does not work here: {missing}; `tuner doctor` says more")
        return cls(name, "", tuple(devices), table, warm)


def open_backend(
    choice: BackendChoice,
    problem: Problem,
    setting: BackendSetting,
    store: Store,
    proofs: Mapping[str, str] | None = None,
    kept: Kept | None = None,
) -> Backend:
    """Make the backend for a problem. The caller closes it.

    Args:
        choice: which one.
        problem, setting, store, proofs: as in `Opening`.
        kept: as there; without it, all processes end when the backend is closed.
    """
    opening = Opening(problem, setting, store, choice.devices, choice.warm, choice.table, kept, proofs or {})
    opened: Backend = import_module(BACKENDS[choice.name].module).open_backend(opening)
    return opened
