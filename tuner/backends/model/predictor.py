"""Predictions made where tactics are compiled: following a kernel's code takes tens of milliseconds."""

from __future__ import annotations

from concurrent.futures import Future

from tuner.backends.model.predict import predict_steps
from tuner.compile.artifact import Code
from tuner.compile.compiler import Compiler
from tuner.compile.steps import CompiledSteps, submit_steps
from tuner.errors import ConfigError
from tuner.gpu.catalog import Device
from tuner.kernel.problem import Problem
from tuner.kernel.references import LoadError, ProblemSpec
from tuner.outcome import Failure, FailureClass, Outcome, Timing
from tuner.search.tactic import Config


class Predictor:
    """Compiles tactics and predicts their times in the processes of a compiler.

    Args:
        device: what they would run on.
        compiler: for its architecture. Not closed with this object.
    """

    def __init__(self, device: Device, compiler: Compiler) -> None:
        self._device, self._compiler = device, compiler

    def submit(self, problem: Problem, config: Config) -> Future[Outcome]:
        """Begin to compile and predict a tactic: the weighted mean over the sizes that the problem is timed at."""
        outcome: Future[Outcome] = Future()

        def compiled(done: Future[CompiledSteps]) -> None:
            try:
                code = done.result()
                if isinstance(code, Failure):
                    outcome.set_result(code)
                    return
                spec = ProblemSpec.of(problem)
                predicted = self._compiler.run(_predicted, spec, dict(config), self._device.name, code)
                predicted.add_done_callback(finished)
            except BaseException as e:  # whoever waits for it would wait forever
                outcome.set_exception(e)

        def finished(done: Future[Outcome | Failure]) -> None:
            try:
                outcome.set_result(done.result())
            except BaseException as e:
                outcome.set_exception(e)

        submit_steps(self._compiler, problem, config).add_done_callback(compiled)
        return outcome


def predicted(device: Device, problem: Problem, config: Config, code: Code) -> Timing:
    """The predicted time of a compiled tactic: the weighted mean over the sizes that the problem is timed at.

    Raises:
        ConfigError: when the device cannot hold even one block.
    """
    parts = [(predict_steps(device, p, config, code), share) for p, share in problem.shares]
    common = [n for n in parts[0][0].facts if all(n in part.facts for part, _ in parts)]
    facts = {name: sum(part.facts[name] * share for part, share in parts) for name in common}
    return Timing(sum(part.time_us * share for part, share in parts), "prediction", parts[0][0].statistic, facts=facts)


def _predicted(spec: ProblemSpec, config: Config, device: str, code: Code) -> Outcome:
    """Predict in a worker."""
    from tuner.gpu.catalog import find_device

    try:
        return predicted(find_device(device), spec.load(), config, code)
    except LoadError as e:
        return Failure(FailureClass.COMPILE, str(e), lasting=False)
    except ConfigError as e:
        return Failure(FailureClass.CONSTRAINT, str(e))
