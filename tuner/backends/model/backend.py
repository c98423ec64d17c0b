"""The backend for machines without a GPU: compile for a named device, check on the CPU, predict."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from tuner.backends.base import Backend, as_they_end
from tuner.backends.kept import Closable, Kept
from tuner.backends.model.predictor import Predictor
from tuner.backends.setting import Opening
from tuner.compile.artifact import Code
from tuner.compile.compiler import Compiler
from tuner.compile.steps import disassembled_steps, submit_steps
from tuner.gate.verifier import Verdict, Verifier, checking_pool
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

    width = 8

    def __init__(
        self,
        problem: Problem,
        device: Device,
        compiler: Compiler,
        verifier: Verifier,
        proofs: Mapping[str, str] | None = None,
        closes: Sequence[Closable] | None = None,
    ) -> None:
        """Predict for a device.

        Args:
            problem: what to time.
            device: the GPU, which need not be present.
            compiler, verifier: compile and check tactics.
            proofs: PTX that a GPU has found correct, by its `Code.digest`, and how.
            closes: what is closed with the backend; by default the compiler and the verifier.
        """
        self._problem, self._proofs = problem, proofs or {}
        self._device = device
        self._compiler = compiler
        self._predictor = Predictor(device, compiler)
        self._verifier = verifier
        self._closes = (compiler, verifier) if closes is None else closes
        self.most = max(self.width, 2 * compiler.workers)

    @property
    def origin(self) -> Origin:
        device = self._device
        return Origin("model", "prediction", device.name, device.capability, self._compiler.versions())

    def prepare(self, configs: Sequence[Config]) -> None:
        for config in configs:
            submit_steps(self._compiler, self._problem, config)

    def begin(self, config: Config) -> Future[Outcome]:
        outcome: Future[Outcome] = Future()
        verdict = self._verifier.submit(config)
        predicted = self._predictor.submit(self._problem, config)
        waiting: tuple[Future[Any], Future[Any]] = (predicted, verdict)
        lock = threading.Lock()

        def ended(_: Future[Any]) -> None:
            with lock:
                if outcome.done() or not all(f.done() for f in waiting):
                    return
                try:
                    outcome.set_result(self._outcome(config, predicted.result(), verdict.result()))
                except BaseException as e:  # whoever waits for it would wait forever
                    outcome.set_exception(e)

        for future in waiting:
            future.add_done_callback(ended)
        return outcome

    def evaluate(self, configs: Sequence[Config]) -> Iterator[tuple[int, Outcome]]:
        return as_they_end(self.begin, configs)

    def tied(self, a: Timing, b: Timing) -> bool:
        return abs(a.time_us - b.time_us) <= TIE * min(a.time_us, b.time_us)

    def compiled(self, config: Config) -> Code | None:
        """The code of a tactic, disassembled: this is of winners, which somebody looks at."""
        outcome = submit_steps(self._compiler, self._problem, config).result()
        return None if isinstance(outcome, Failure) else disassembled_steps(outcome)

    def close(self) -> None:
        for thing in self._closes:
            thing.close()

    def _outcome(self, config: Config, predicted: Outcome, verdict: Verdict) -> Outcome:
        if isinstance(predicted, Failure):
            return predicted
        if failure := verdict.failure():
            return failure
        if verdict.kind != "verified":
            verdict = self._proven(config, verdict)
        return replace(predicted, verified=verdict.verified, checked=verdict.checked, lasting=verdict.lasting)

    def _proven(self, config: Config, verdict: Verdict) -> Verdict:
        """That of a GPU on this very PTX, where there is none here."""
        compiled = submit_steps(self._compiler, self._problem, config).result()
        proof = self._proofs.get(compiled.digest) if isinstance(compiled, Code) else None
        return verdict if proof is None else Verdict("verified", checked=proof)


def open_backend(opening: Opening) -> Backend:
    """Predict for the target."""
    setting, kept = opening.setting, opening.kept or Kept()
    device = find_device(setting.target)
    memory_bytes = setting.compile.memory_mb << 20
    pool = kept.get("checking", lambda: checking_pool(setting.compile.workers, memory_bytes))
    target = replace(device.target, disassemble=False)
    compiler = kept.get("compiler", lambda: Compiler.of(target, setting.compile, opening.store))
    compiler.forget()
    verifier = Verifier(
        opening.problem,
        seed=setting.seed,
        workers=setting.compile.workers,
        timeout_s=_GATE_TIMEOUT_S,
        memory_bytes=memory_bytes,
        store=opening.store,
        pool=pool,
    )
    closes = [kept] if opening.kept is None else []
    return ModelBackend(opening.problem, device, compiler, verifier, opening.proofs, closes)
