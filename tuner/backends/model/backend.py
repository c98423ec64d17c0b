"""The backend for machines without a GPU: compile for a named device, check on the CPU, predict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from tuner.backends.base import Backend
from tuner.backends.model.predict import predict_steps
from tuner.backends.setting import Opening
from tuner.compile.artifact import Code
from tuner.compile.compiler import Compiler
from tuner.compile.steps import submit_steps
from tuner.gate.verifier import Verdict, Verifier
from tuner.gpu.catalog import Device, find_device
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, Origin, Outcome, Timing
from tuner.search.tactic import Config

TIE = 1e-3
"""Predictions closer than this are called equal: the model has no term that fine."""

_GATE_TIMEOUT_S = 300.0
"""A backstop: the slowest check of a kernel that comes with this package takes 15 s on one busy core."""


class ModelBackend(Backend):
    """Predicts times from real compiles. Every number it gives is a prediction."""

    batch = 8

    def __init__(
        self,
        problem: Problem,
        device: Device,
        compiler: Compiler,
        verifier: Verifier,
        proofs: Mapping[str, str] | None = None,
    ) -> None:
        """Predict for a device.

        Args:
            problem: what to time.
            device: the GPU, which need not be present.
            compiler, verifier: compile and check tactics; closed with the backend.
            proofs: PTX that a GPU has found correct, by its `Code.digest`, and how.
        """
        self._problem, self._proofs = problem, proofs or {}
        self._device = device
        self._compiler = compiler
        self._verifier = verifier

    @property
    def origin(self) -> Origin:
        device = self._device
        return Origin("model", "prediction", device.name, device.capability, self._compiler.versions())

    def prepare(self, configs: Sequence[Config]) -> None:
        for config in configs:
            submit_steps(self._compiler, self._problem, config)

    def evaluate(self, configs: Sequence[Config]) -> Iterator[tuple[int, Outcome]]:
        pairs = {
            i: (submit_steps(self._compiler, self._problem, c), self._verifier.submit(c)) for i, c in enumerate(configs)
        }
        while pairs:
            for i in [i for i, pair in pairs.items() if all(f.done() for f in pair)]:
                compiled, verdict = pairs.pop(i)
                yield i, self._outcome(configs[i], compiled.result(), verdict.result())
            pending: set[Future[Any]] = {f for pair in pairs.values() for f in pair if not f.done()}
            wait(pending, return_when=FIRST_COMPLETED)

    def tied(self, a: Timing, b: Timing) -> bool:
        return abs(a.time_us - b.time_us) <= TIE * min(a.time_us, b.time_us)

    def compiled(self, config: Config) -> Code | None:
        outcome = submit_steps(self._compiler, self._problem, config).result()
        return None if isinstance(outcome, Failure) else outcome

    def close(self) -> None:
        self._compiler.close()
        self._verifier.close()

    def _outcome(self, config: Config, compiled: Code | Failure, verdict: Verdict) -> Outcome:
        if isinstance(compiled, Failure):
            return compiled
        if failure := verdict.failure():
            return failure
        verdict = self._proven(compiled, verdict)
        parts = [(predict_steps(self._device, p, config, compiled), share) for p, share in self._problem.shares]
        common = [n for n in parts[0][0].facts if all(n in part.facts for part, _ in parts)]
        facts = {name: sum(part.facts[name] * share for part, share in parts) for name in common}
        mean_us = sum(part.time_us * share for part, share in parts)
        return Timing(
            mean_us,
            "prediction",
            parts[0][0].statistic,
            verified=verdict.verified,
            facts=facts,
            checked=verdict.checked,
            lasting=verdict.lasting,
        )

    def _proven(self, compiled: Code, verdict: Verdict) -> Verdict:
        """The verdict, or that of a GPU on this very PTX where there is none here."""
        proof = self._proofs.get(compiled.digest)
        return verdict if verdict.kind == "verified" or proof is None else Verdict("verified", checked=proof)


def open_backend(opening: Opening) -> Backend:
    """Predict for the target."""
    setting = opening.setting
    device = find_device(setting.target)
    verifier = Verifier(
        opening.problem,
        seed=setting.seed,
        workers=setting.compile.workers,
        timeout_s=_GATE_TIMEOUT_S,
        memory_bytes=setting.compile.memory_mb << 20,
        store=opening.store,
    )
    compiler = Compiler.of(device.target, setting.compile, opening.store)
    return ModelBackend(opening.problem, device, compiler, verifier, opening.proofs)
