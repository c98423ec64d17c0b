"""Which change of a fact is a regression."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tuner.check.facts import Facts
from tuner.check.rules import RULES, Margins, Rule, broken_rules

FACTS = Facts(
    registers=64,
    spill_bytes=8,
    stack_bytes=16,
    shared_bytes=1024,
    warps_per_sm=32,
    loads=8,
    load_bytes=128,
    load_width=16.0,
    stores=4,
    store_bytes=64,
    store_width=16.0,
    async_copies=6,
    atomics=1,
    tensor_macs=4096,
    barriers=3,
    instructions=500,
    blocks=100,
    predicted_us=50.0,
)


def changed(**facts: Any) -> Facts:
    return msgspec.structs.replace(FACTS, **facts)


def broken(now: Facts, before: Facts = FACTS, margins: Margins = Margins()) -> set[str]:  # noqa: B008
    return {r.name for r in broken_rules(before, now, margins)}


def test_every_rule_has_a_margin_a_fact_and_a_sentence() -> None:
    names = {f.name for f in msgspec.structs.fields(Margins)}
    assert names == {r.name for r in RULES} | {"time"}
    assert all(r.fact in FACTS.__struct_fields__ and r.means and r.costs for r in RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_a_fact_that_gets_worse_breaks_its_rule_and_one_that_gets_better_does_not(rule: Rule) -> None:
    value = getattr(FACTS, rule.fact)
    worse, better = (2 * value, value / 2) if rule.worse == "more" else (value / 2, 2 * value)
    assert rule.name in broken(changed(**{rule.fact: worse}))
    assert rule.name not in broken(changed(**{rule.fact: better}))
    assert broken(FACTS) == set()


@pytest.mark.parametrize("fact", ["spill_bytes", "stack_bytes", "shared_bytes", "barriers", "atomics"])
def test_what_was_not_there_before_is_never_within_a_margin(fact: str) -> None:
    margins = Margins(**dict.fromkeys((r.name for r in RULES), 100.0))
    assert broken(changed(**{fact: 1}), changed(**{fact: 0}), margins)


def test_margins_are_relative_and_inclusive() -> None:
    margins = Margins(registers=0.25, predicted_time=0.03)
    assert broken(changed(registers=80, predicted_us=51.5), margins=margins) == set()
    assert broken(changed(registers=81), margins=margins) == {"registers"}
    assert broken(changed(predicted_us=51.6), margins=margins) == {"predicted_time"}


def test_a_lower_mean_width_is_no_loss_when_wide_accesses_are_gone() -> None:
    mixed = changed(loads=8, load_bytes=16 * 7 + 4, load_width=14.5)
    assert broken(changed(loads=2, load_bytes=20, load_width=10.0), mixed) == set()
    assert broken(changed(loads=29, load_bytes=116, load_width=4.0), mixed) == {"loads", "load_width"}
