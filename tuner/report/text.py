"""Numbers and tactics as a reader sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.report.jobs import TunedProblem
from tuner.store.results import TacticRecord


def duration(time_us: float | None) -> str:
    """A time with four significant digits and its unit."""
    if time_us is None:
        return "-"
    for limit, unit, factor in ((1e3, "µs", 1.0), (1e6, "ms", 1e-3)):
        if time_us < limit:
            return f"{time_us * factor:.4g} {unit}"
    return f"{time_us * 1e-6:.4g} s"


def number(value: float) -> str:
    """Up to four significant digits, whole numbers in full."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:.4g}"


def tactic(config: Mapping[str, Any]) -> str:
    return " ".join(f"{k}={v}" for k, v in config.items())


def count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def slower(time_us: float, than_us: float) -> str:
    """How much longer one time is than another, as a signed percentage."""
    return f"{100 * (time_us / than_us - 1):+.1f} %"


def role(job: TunedProblem, finalist: TacticRecord) -> str:
    """What a finalist is: the winner, a tie, the default, or several of these."""
    roles = {
        "winner": job.winner is not None and finalist.id == job.winner.id,
        "tie": finalist.id in job.ties,
        "default": job.default is not None and finalist.id == job.default.id,
    }
    return ", ".join(name for name, holds in roles.items() if holds)
