"""Rehearse an operator of several launches: a network of its steps is played for each of some tactics."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from tuner.compile.artifact import Artifact
from tuner.compile.compiler import Compiles
from tuner.gpu.target import Target
from tuner.kernel.kernel import Kernel
from tuner.kernel.parts import StepProblem
from tuner.kernel.problem import WHICH, Problem
from tuner.outcome import Failure
from tuner.qdp.chains import register_chain
from tuner.qdp.dtypes import member
from tuner.qdp.offers import compiled
from tuner.qdp.rehearsal.builder import Broken, PlayedTensor, Rehearsal
from tuner.qdp.rehearsal.kernels import check_launch, check_outputs
from tuner.qdp.rehearsal.network import LayerBroken, PlayedLayer, PlayedNetwork
from tuner.qdp.rehearsal.rules import examine
from tuner.search.tactic import Config, Tactic

_log = logging.getLogger("tuner.qdp")


@dataclass(frozen=True)
class PlayedSteps:
    """What the builder learned of the plugins of an operator.

    Attributes:
        steps: each plugin's id, with all that was played of it.
        played: the tactics that were played and broke no rule.
        broken: the rules that were broken, each with the step in its message.
    """

    steps: tuple[tuple[str, Rehearsal], ...]
    played: tuple[int, ...]
    broken: tuple[Broken, ...]


class RehearsedChain:
    """An operator that was registered to be rehearsed."""

    def __init__(self, kernel: Kernel, compiler: Compiles) -> None:
        """Register it; arguments as for `tuner.qdp.chains.register_chain`."""
        self._offer = _Told(compiler)
        self._plugin = register_chain(kernel, self._offer)

    def rehearse(self, problem: Problem, tactics: Sequence[Tactic], target: Target) -> PlayedSteps:
        """Play a network of the operator's steps for each tactic that compiles.

        Args:
            problem: what the network asks of it.
            tactics: legal ones.
            target: the device to run on.
        """
        for tactic in tactics:  # in parallel
            for step in problem.steps(tactic.config):
                self._offer.compiler.submit(step.problem, step.config)
        found: dict[str, Rehearsal] = {}
        played, broken = [], []
        for tactic in tactics:
            steps = problem.steps(tactic.config)
            if not self._offer.compiles(problem, tactic, steps):
                continue
            self._offer.told, failed = tactic, list[Broken]()
            for layer, step in zip(self._layers(problem), steps, strict=False):
                failed += self._step_broken(layer, step, target)
                known = found.setdefault(layer.plugin, replace(layer.rehearsal, played=()))
                found[layer.plugin] = replace(known, played=(*known.played, *layer.rehearsal.played))
            broken += [replace(b, tactic=tactic.id) for b in failed]
            if not failed:
                played.append(tactic.id)
        return PlayedSteps(tuple(found.items()), tuple(played), tuple(broken))

    def _layers(self, problem: Problem) -> list[PlayedLayer]:
        """Those of a network of the operator alone, up to the first that breaks a rule."""
        network = PlayedNetwork()
        inputs = [
            network.add_input(
                PlayedTensor(member(problem.dtype(tensor)), *(problem.shape(tensor, which) for which in WHICH))
            )
            for tensor in problem.kernel.inputs.values()
        ]
        with suppress(LayerBroken):  # which rule it is, is among what was learned of the layer
            self._plugin.add(network, *inputs, problem=problem)
        return network.layers

    def _step_broken(self, layer: PlayedLayer, step: StepProblem, target: Target) -> Iterator[Broken]:
        for b in examine(layer.rehearsal, target) or self._disagreements(layer.rehearsal, step):
            yield replace(b, message=f"step {step.name}: {b.message}")

    def _disagreements(self, rehearsal: Rehearsal, step: StepProblem) -> Iterator[Broken]:
        yield from check_outputs(step.problem, rehearsal)
        tactic = Tactic(step.config)
        for played in rehearsal.played:
            if played.tactic != tactic.id:
                yield Broken(None, "agreement", f"TensorRT would run tactic {played.tactic}; timed is ({tactic})")
            else:
                yield from check_launch(step.problem, tactic, self._offer.artifact(step.problem, tactic), played)


@dataclass
class _Told:
    """Offers the tactic that it is told to."""

    compiler: Compiles
    told: Tactic | None = None

    def tactic(self, problem: Problem, pinned: Config) -> Tactic:
        assert self.told is not None
        return self.told

    def artifact(self, problem: Problem, tactic: Tactic) -> Artifact:
        return compiled(self.compiler, problem, tactic)

    def compiles(self, problem: Problem, tactic: Tactic, steps: Sequence[StepProblem]) -> bool:
        """Whether all launches of a tactic do; one that does not is reported, as no fault of the plugins."""
        for step in steps:
            result = self.compiler.submit(step.problem, step.config).result()
            if isinstance(result, Failure):
                _log.warning(f"{problem}: leaving out ({tactic}): step {step.name}: {result.headline}")
                return False
        return True
