"""Rehearse a kernel: its plugin is played for a problem, and compared with what is timed for that problem."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tuner.compile.artifact import Artifact
from tuner.gpu.target import Target
from tuner.kernel.problem import WHICH, Problem
from tuner.qdp.dtypes import member
from tuner.qdp.offers import default_tactic, pinned_space
from tuner.qdp.plugin import Offer
from tuner.qdp.rehearsal.builder import Broken, Played, PlayedLaunch, PlayedTensor, Rehearsal, play
from tuner.qdp.rehearsal.rules import examine
from tuner.qdp.tables import call_values
from tuner.search.points import drawn
from tuner.search.tactic import Config, Tactic


@dataclass(frozen=True)
class Sample:
    """Chooses the default and legal tactics at random, always the same ones, `count` in all."""

    count: int

    def __call__(self, problem: Problem, pinned: Config) -> Sequence[Tactic]:
        space, default = pinned_space(problem, pinned), default_tactic(problem, pinned)
        others = drawn(space, default.config, random.Random(0), self.count)
        return [default, *map(Tactic, others)][: self.count]


def rehearse(problem: Problem, offer: Offer, target: Target) -> tuple[Rehearsal, tuple[Broken, ...]]:
    """Play the registered plugin of a problem's kernel with the offered tactics.

    Args:
        problem: what the network asks of it.
        offer: what the plugin was registered with.
        target: the device to run on.

    Returns:
        What was played, and all broken rules.
    """
    kernel = problem.kernel
    tensors = [
        PlayedTensor(member(problem.dtype(t)), *(problem.shape(t, which) for which in WHICH))
        for t in kernel.inputs.values()
    ]
    rehearsal = play(kernel.id, tensors, call_values(problem))
    broken = examine(rehearsal, target)
    if broken:
        return rehearsal, broken
    return rehearsal, (*check_outputs(problem, rehearsal), *_launches(problem, offer, rehearsal))


def check_outputs(problem: Problem, rehearsal: Rehearsal) -> Iterator[Broken]:
    """The shapes and types that the plugin describes are those the correctness gate checks, and so are the aliases."""
    kernel = problem.kernel
    for (name, tensor), (dtype, shapes) in zip(kernel.outputs.items(), rehearsal.outputs, strict=True):
        for which in WHICH:
            expected = (member(problem.dtype(tensor)), problem.shape(tensor, which))
            if (dtype, shapes[which]) != expected:
                message = f"output {name!r} is {dtype} {shapes[which]} at {which}, and {expected} when it is checked"
                yield Broken(None, "outputs", message)
    inputs, outputs = list(kernel.inputs), list(kernel.outputs)
    if (found := {outputs[o]: inputs[i] for o, i in rehearsal.aliases}) != dict(kernel.aliases):
        yield Broken(None, "aliases", f"in place are {found}; declared is {dict(kernel.aliases)}")


def _launches(problem: Problem, offer: Offer, rehearsal: Rehearsal) -> Iterator[Broken]:
    tactics = {t.id: t for t in offer.tactics(problem, {})}
    for played in rehearsal.played:
        tactic = tactics[played.tactic]
        yield from check_launch(problem, tactic, offer.artifact(problem, tactic), played)


def check_launch(problem: Problem, tactic: Tactic, artifact: Artifact, played: Played) -> Iterator[Broken]:
    """The symbolic launch has the numbers of the one that is timed."""
    for which in WHICH:
        timed = problem.launch(tactic.config, which)
        expected = PlayedLaunch(
            tuple(int(g) for g in timed.grid),  # type: ignore[arg-type]
            artifact.block,
            artifact.shared_bytes,
            tuple(int(a) for a in timed.args),  # type: ignore[arg-type]
        )
        if played.launches[which] != expected:
            message = f"TensorRT would launch {played.launches[which]} at {which}; timed is {expected}"
            yield Broken(played.tactic, "agreement", message)
