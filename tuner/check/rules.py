"""Which change of a fact is a regression: one rule for each way in which code gets slower.

A rule has a margin, the relative change that it lets pass. The margins are part of the baseline file, where a project
can set them. The defaults let pass what harmless edits were seen to do (`results/check`): where the order of
independent lines changes, the compiler may schedule anew, which moved the prediction by up to 3.6 %, and take some more
registers, which cost one of five resident blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from tuner.check.facts import Facts

Margin: TypeAlias = Annotated[float, Meta(ge=0, le=100, description="relative: 0.1 lets 10 % pass")]


class Margins(Struct, frozen=True, forbid_unknown_fields=True):
    """How far each fact may get worse; `time` is for what is measured."""

    spills: Margin = 0.0
    stack: Margin = 0.0
    occupancy: Margin = 0.25
    registers: Margin = 0.25
    shared_memory: Margin = 0.1
    loads: Margin = 0.05
    stores: Margin = 0.05
    load_width: Margin = 0.02
    store_width: Margin = 0.02
    load_bytes: Margin = 0.05
    store_bytes: Margin = 0.05
    pipeline: Margin = 0.0
    tensor_cores: Margin = 0.0
    atomics: Margin = 0.0
    barriers: Margin = 0.0
    instructions: Margin = 0.15
    predicted_time: Margin = 0.05
    time: Margin = 0.03


@dataclass(frozen=True)
class Rule:
    """One way for code to get slower.

    Attributes:
        name: also that of its margin.
        fact: the field of `Facts` it looks at.
        worse: in which direction that is worse.
        means: what has happened, as a clause.
        costs: what it usually costs, as a clause.
    """

    name: str
    fact: str
    worse: Literal["more", "less"]
    means: str
    costs: str

    def broken(self, before: Facts, now: Facts, margin: float) -> bool:
        """Whether the fact got worse by more than the margin."""
        a, b = getattr(before, self.fact), getattr(now, self.fact)
        # A hair more than the margin, because facts are rounded.
        return bool(b > a * (1 + margin) + 1e-9 if self.worse == "more" else b < a * (1 - margin) - 1e-9)


RULES = (
    Rule(
        "spills",
        "spill_bytes",
        "more",
        "registers ran out, so values of a thread go through local memory",
        "each spilled value costs a store and a load behind which the thread waits",
    ),
    Rule(
        "stack",
        "stack_bytes",
        "more",
        "a thread keeps an array in local memory",
        "every access to it is a memory access instead of a register",
    ),
    Rule(
        "occupancy",
        "warps_per_sm",
        "less",
        "fewer warps fit on a multiprocessor",
        "memory-bound kernels lose bandwidth about in proportion, since fewer loads are in flight",
    ),
    Rule(
        "registers",
        "registers",
        "more",
        "a thread needs more registers",
        "the next edit may cost occupancy, or spill",
    ),
    Rule(
        "shared_memory",
        "shared_bytes",
        "more",
        "a block needs more shared memory",
        "fewer blocks may fit on a multiprocessor, and values take a detour through shared memory",
    ),
    Rule(
        "loads",
        "loads",
        "more",
        "there are more global load instructions",
        "memory-bound kernels wait for the load units instead of for memory",
    ),
    Rule(
        "stores",
        "stores",
        "more",
        "there are more global store instructions",
        "memory-bound kernels wait for the store units instead of for memory",
    ),
    Rule(
        "load_width",
        "load_width",
        "less",
        "global loads are narrower: a mask, a stride or an alignment hint that let them be wide is lost",
        "as many times more load instructions for the same bytes",
    ),
    Rule(
        "store_width",
        "store_width",
        "less",
        "global stores are narrower: a mask, a stride or an alignment hint that let them be wide is lost",
        "as many times more store instructions for the same bytes",
    ),
    Rule(
        "load_bytes",
        "load_bytes",
        "more",
        "a thread loads more bytes: a wider type, or data that is read once more",
        "memory-bound kernels slow down in proportion to the bytes",
    ),
    Rule(
        "store_bytes",
        "store_bytes",
        "more",
        "a thread stores more bytes: a wider type, or data that is written once more",
        "memory-bound kernels slow down in proportion to the bytes",
    ),
    Rule(
        "pipeline",
        "async_copies",
        "less",
        "fewer loads go to shared memory asynchronously: a loop is no longer pipelined, or by fewer stages",
        "the block waits for memory between tiles instead of computing",
    ),
    Rule(
        "tensor_cores",
        "tensor_macs",
        "less",
        "less is computed by tensor-core instructions, or with smaller ones",
        "matrix products fall to a fraction of their rate",
    ),
    Rule(
        "atomics",
        "atomics",
        "more",
        "there are more atomic operations",
        "threads that update the same address wait for each other",
    ),
    Rule(
        "barriers",
        "barriers",
        "more",
        "warps wait for each other more often",
        "each barrier lasts as long as the slowest warp of the block",
    ),
    Rule(
        "instructions",
        "instructions",
        "more",
        "there are more instructions",
        "compute-bound kernels slow down in proportion; others begin to when loads can no longer hide them",
    ),
    Rule(
        "predicted_time",
        "predicted_us",
        "more",
        "the model predicts a longer time",
        "a prediction, not a measurement: run the check on a GPU to be sure",
    ),
)


def broken_rules(before: Facts, now: Facts, margins: Margins) -> Iterator[Rule]:
    """The rules that the facts of today's code break."""
    for rule in RULES:
        if rule.broken(before, now, getattr(margins, rule.name)) and not _fewer_accesses(rule, before, now):
            yield rule


def _fewer_accesses(rule: Rule, before: Facts, now: Facts) -> bool:
    """Whether a mean width is only lower because wide accesses are gone."""
    count = {"load_width": "loads", "store_width": "stores"}.get(rule.name)
    return count is not None and bool(getattr(now, count) < getattr(before, count))
