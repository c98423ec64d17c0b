"""Pick the winner among confirmed finalists, by a rule that never depends on luck."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tuner.outcome import VERIFIED, Timing
from tuner.search.tactic import Tactic


@dataclass(frozen=True)
class Chosen:
    """The winner, and the tactics whose times cannot be told from the best one's (winner excluded)."""

    winner: Tactic
    ties: tuple[Tactic, ...]


def shortlist(
    timings: Mapping[Tactic, Timing],
    count: int,
    always: Iterable[Tactic],
    tied: Callable[[Timing, Timing], bool],
) -> list[Tactic]:
    """The finalists: the `count` fastest, whatever ties with the fastest, and `always` (where it ran).

    Only verified tactics are ranked where there are any. Ties beyond four times `count` are left out,
    slowest first: more of them cannot change what is gained, and each costs a confirmation.
    """
    sound = _sound(timings)
    ranked = sorted(sound, key=lambda t: (sound[t].time_us, t.id))
    best = timings[ranked[0]]
    near = [t for i, t in enumerate(ranked[: 4 * count]) if i < count or tied(best, timings[t])]
    return list(dict.fromkeys([*near, *(t for t in always if t in timings)]))


def choose(
    confirmed: Mapping[Tactic, Timing],
    default: Tactic,
    incumbent: Tactic | None,
    tied: Callable[[Timing, Timing], bool],
) -> Chosen:
    """Choose the winner by the stable rule.

    Among the tactics tied with the fastest, and never one with a longer time than the default's,
    the incumbent wins, then the default, then the lowest id. A tactic that could not be verified only
    wins where none could be, but for the default: it stays in the race, and loses ties to what is verified.

    Args:
        confirmed: times taken side by side; not empty.
        default: the kernel's default tactic.
        incumbent: what the cache has served so far.
        tied: whether two times are too close to call.
    """
    everything, confirmed = confirmed, dict(_sound(confirmed))
    if default in everything:
        confirmed[default] = everything[default]
    best = min(confirmed, key=lambda t: (confirmed[t].time_us, t.id))
    level = [t for t in confirmed if t == best or tied(confirmed[best], confirmed[t])]
    limit = confirmed[default].time_us if default in confirmed else float("inf")
    eligible = [t for t in level if confirmed[t].time_us <= limit]
    winner = min(eligible, key=lambda t: (confirmed[t].verified != VERIFIED, t != incumbent, t != default, t.id))
    ties = sorted((t for t in level if t != winner), key=lambda t: (confirmed[t].time_us, t.id))
    return Chosen(winner, tuple(ties))


def _sound(timings: Mapping[Tactic, Timing]) -> Mapping[Tactic, Timing]:
    return {t: timing for t, timing in timings.items() if timing.verified == VERIFIED} or timings
