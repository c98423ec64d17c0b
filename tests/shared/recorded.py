"""Results folders as a job leaves them, of made-up trials: no GPU and no compiler are needed to report."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from tuner.compile.artifact import Artifact, Code
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, FailureClass, Kind, Origin, Outcome, Timing
from tuner.search.tactic import Tactic
from tuner.store.results import Result, Trial, write_summary
from tuner.store.trials import write_trials

KERNEL = load_kernel("kernels/gemm.py", Path(__file__).parents[2])
PROBLEM = Problem.of(KERNEL, {"M": 4096, "N": 4096, "K": 4096}, {"T": "fp16"})
DEFAULT = KERNEL.default_tactic
SPACE = {
    "BLOCK_M": (16, 32, 64, 128, 256, 512),
    "BLOCK_N": (16, 32, 64, 128, 256, 512),
    "BLOCK_K": (16, 32, 64, 128, 256),
    "GROUP_M": range(1, 17),
    "PARTS": (1, 2),
    "PROGRAMS": (132, 264),
    "num_stages": range(1, 7),
    "num_warps": (1, 2, 4, 8, 16),
}
HOSTILE = '<script>alert(1)</script> & "quoted" {{ 7 * 7 }}'
"""A message that a page must show as it is."""
ENVIRONMENT = {"driver": "580.1", "cache": "cold", "note": HOSTILE}


def samples(time_us: float, seed: int, count: int = 40) -> tuple[float, ...]:
    rng = random.Random(seed)
    return tuple(time_us * rng.gauss(1, 0.004) for _ in range(count))


def measured(time_us: float, seed: int, **facts: float) -> Timing:
    """A finalist's time with its samples and the conditions it was taken under."""
    usual = {"rounds": 40.0, "sm_mhz": 1755.0, "memory_mhz": 3201.0, "temperature_c": 57.0, "power_w": 444.5}
    usual |= {"discarded_rounds": 2.0, "throttled_rounds": 0.0, "registers": 128.0}
    return Timing(time_us, "measurement", "median", samples(time_us, seed), facts={**usual, **facts})


def made_up(trials: int, seed: int = 0) -> list[Trial]:
    """The default, then random trials. Times depend on BLOCK_K most and on num_warps next."""
    rng = random.Random(seed)
    found: dict[Tactic, None] = {DEFAULT: None}
    while len(found) < trials:
        found.setdefault(Tactic({name: rng.choice(values) for name, values in SPACE.items()}), None)
    return [Trial(i, tactic, _outcome(tactic, rng)) for i, tactic in enumerate(found)]


def _outcome(tactic: Tactic, rng: random.Random) -> Outcome:
    config = {name: int(value) for name, value in tactic.config.items()}
    if tactic != DEFAULT and config["BLOCK_M"] == 256 and config["num_stages"] > 3:
        return Failure(FailureClass.COMPILE, f"needs too much shared memory {HOSTILE}\nsecond line {HOSTILE}")
    if tactic != DEFAULT and rng.random() < 0.02:
        return Failure(FailureClass.RUNTIME, "illegal address")
    time_us = 200 + 2 * abs(config["BLOCK_K"] - 64) + 10 * abs(config["num_warps"] - 8) + rng.random()
    return Timing(time_us, "measurement", "median", facts={"registers": 128.0, "sm_mhz": rng.gauss(1755, 20)})


def write_results(
    folder: Path,
    trials: Sequence[Trial],
    *,
    problem: Problem = PROBLEM,
    kind: Kind = "measurement",
    device: str = "NVIDIA H200",
    code: Mapping[Tactic, Artifact] | None = None,
    finalists: int = 4,
) -> Result:
    """Write what a job over these trials would leave, and return its result."""
    timed = {t.tactic: t.outcome for t in trials if isinstance(t.outcome, Timing)}
    ranked = sorted(timed, key=lambda t: timed[t].time_us)[:finalists]
    confirmed = {t: measured(timed[t].time_us, seed) for seed, t in enumerate(dict.fromkeys([*ranked, DEFAULT]))}
    result = Result(
        problem=problem,
        origin=Origin("cuda" if kind == "measurement" else "model", kind, device, (9, 0), ENVIRONMENT),
        winner=ranked[0],
        default=DEFAULT,
        confirmed=confirmed,
        ties=(ranked[1],),
        trials=tuple(trials),
        resumed=0,
        stopped="trials",
        code={tactic: Code((artifact,)) for tactic, artifact in (code or {}).items()},
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_trials(folder / "trials.csv", {problem: trials})
    write_summary(folder / "summary.json", [result], folder / "tactics.json", folder)
    return result
