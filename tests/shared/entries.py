"""Cache entries as tuning would leave them."""

from __future__ import annotations

from datetime import UTC, datetime

from tuner.outcome import Kind
from tuner.search.tactic import Config, Tactic
from tuner.store.entry import Entry, Samples, TimedTactic

FAST: Config = {"BLOCK": 1024, "num_warps": 4}
DEFAULT: Config = {"BLOCK": 256, "num_warps": 4}


def timed(config: Config, time_us: float, kind: Kind = "measurement") -> TimedTactic:
    """A tactic with its time."""
    if kind == "prediction":
        return TimedTactic(Tactic(config).id, dict(config), time_us, "model")
    return TimedTactic(Tactic(config).id, dict(config), time_us, "median", Samples(3, time_us, time_us, time_us))


def entry(
    kernel: str = "example::increment",
    *,
    N: int,
    dtype: str = "fp16",
    source: str = "abc",
    backend: str = "cuda",
    device: str = "NVIDIA H200",
    capability: tuple[int, int] = (9, 0),
    kind: Kind = "measurement",
    winner: Config = FAST,
    time_us: float = 10.0,
    trials: int = 8,
) -> Entry:
    """An entry whose default takes 20 us."""
    return Entry(
        kernel=kernel,
        source=source,
        backend=backend,
        device=device,
        capability=capability,
        dims={"N": N},
        dtypes={"T": dtype},
        attributes={"amount": 1},
        kind=kind,
        winner=timed(winner, time_us, kind),
        default=timed(DEFAULT, 20.0, kind),
        ties=(),
        verified="verified",
        trials=trials,
        environment={"driver": "580.1"},
        date=datetime(2026, 1, 2, tzinfo=UTC),
    )
