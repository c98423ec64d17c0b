"""Winner against default, and what kind of number that is."""

from __future__ import annotations

import math

from tuner.backends.timing.statistics import log_ratio_interval
from tuner.outcome import VERIFIED, caution
from tuner.report.blocks import Figures, PageBlock, Section, Text
from tuner.report.jobs import TunedProblem
from tuner.report.text import count, duration, percent, tactic
from tuner.store.results import TacticRecord

CONFIDENCE = 0.95


def headline(job: TunedProblem) -> Section:
    """The outcome in a few numbers."""
    blocks: list[PageBlock] = []
    if job.winner is None:
        blocks.append(Text("No winner was recorded: no tactic was valid, or the run was cut short."))
        return Section("Result", blocks)
    winner, default = job.winner, job.default
    rows = [(f"winner, {job.timed_word}", duration(winner.time_us), tactic(winner.config))]
    if default is not None:
        time = duration(default.time_us) if default.time_us else "failed"
        rows.append((f"default, {job.timed_word}", time, tactic(default.config)))
    if job.speedup is not None:
        rows.append(("default / winner", f"{job.speedup:.3f}x", _interval(job)))
    rows.append(("correctness", *_correctness(winner)))
    blocks += [Figures(rows), Text(_what_the_number_is(job))]
    if doubtful := caution(winner.verified):
        blocks.append(Text(f"The winner is {doubtful}."))
    if default is not None and not default.time_us and job.trials is not None:
        tried = job.trials.failed
        blocks += [
            Text(f"The default failed: {status}, {message.partition(chr(10))[0]}")
            for id_, status, message in zip(tried["tactic"], tried["status"], tried["message"], strict=True)
            if id_ == default.id
        ]
    if default is not None and winner.id == default.id:
        blocks.append(Text("The default won: nothing that was tried is faster beyond what can be told apart."))
    if job.ties:
        ties = count(len(job.ties), "other tactic")
        blocks.append(
            Text(
                f"{ties} cannot be told from the best. Among ties, what is cached stays, then the default, then the "
                "lowest id."
            )
        )
    confirmed = job.confirmed(winner)
    if confirmed is not None and confirmed.facts.get("launch_bound"):
        blocks.append(Text("The winner is launch-bound: most of its time is the launch, which no tactic shortens."))
    return Section("Result", blocks)


def _what_the_number_is(job: TunedProblem) -> str:
    match job.kind, job.backend:
        case "prediction", _:
            return f"Times are predictions for the {job.device}. No GPU was used, and nothing here was measured."
        case _, "replay":
            return f"Times were read from a recorded table of the {job.device}; nothing was run."
        case _:
            cache = {"warm": " with tensors left in its L2 cache", "cold": " with its L2 cache evicted"}
            return f"Times were measured on the {job.device}{cache.get(job.environment.get('cache', ''), '')}."


def _interval(job: TunedProblem) -> str:
    """The interval of the speed-up over rounds in which both ran."""
    winner, default = job.confirmed(job.winner), job.confirmed(job.default)
    if winner is None or default is None or winner.id == default.id:
        return ""
    if "rounds" not in winner.facts or "rounds" not in default.facts:
        return "" if job.kind == "measurement" else "a ratio of predictions"
    low, high = log_ratio_interval(default.samples_us, winner.samples_us, 1 - CONFIDENCE)
    if not math.isfinite(low):
        return "too few rounds for an interval"
    return f"{percent(CONFIDENCE)} interval {math.exp(low):.3f} to {math.exp(high):.3f}, paired by round"


def _correctness(winner: TacticRecord) -> tuple[str, str]:
    if winner.verified == VERIFIED:
        return "verified", "against a float64 reference"
    state, _, why = winner.verified.partition(": ")
    return state or "not recorded", why
