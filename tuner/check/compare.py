"""Hold one recorded tactic against what today's source compiles to: no GPU, and the same answer each time."""

from __future__ import annotations

from collections.abc import Iterator

from tuner.check.baseline import RecordedTactic, Role
from tuner.check.recompile import Recompiled
from tuner.check.rules import RULES, Margins, broken_rules
from tuner.check.verdict import Check, Subject
from tuner.outcome import VERIFIED, Failure, FailureClass, caution
from tuner.search.tactic import Tactic

_FAILED = {
    FailureClass.CONSTRAINT: ("legal", "is no longer in the space", "what is served for it now is another tactic"),
    FailureClass.CORRECTNESS: ("correct", "gives wrong results", "a wrong result is never worth its time"),
    FailureClass.RUNTIME: ("correct", "fails when it runs", "no result is never worth its time"),
    FailureClass.TIMEOUT: ("correct", "does not end", "no result is never worth its time"),
}


def compare_tactic(
    subject: Subject, role: Role, recorded: RecordedTactic, today: Recompiled | Failure, margins: Margins
) -> Iterator[Check]:
    """Yield a check for each rule that has something to say.

    Rules: `legal`, `compiles`, `correct`, `code` (the same machine code?), and where that has changed one for each fact
    that has changed.
    """
    who = f"{role} ({Tactic(recorded.config)})"
    if isinstance(today, Failure) and not today.lasting:
        message = f"{who} could not be judged: {today.headline}; that may be the machine's doing, so check again"
        yield subject.check("compiles", "inconclusive", message, recorded.id, None, role)
        return
    if isinstance(today, Failure):
        failed, what, cost = _FAILED.get(
            today.kind, ("compiles", "no longer compiles", "what is served for it now is another tactic")
        )
        why = today.headline
        yield subject.check(failed, "regression", f"{who} {what}: {why}; {cost}", recorded.id, None, role)
        return
    if today.verified != VERIFIED and recorded.verified == VERIFIED:
        message = f"{who} passed the correctness gate when it was recorded and is now {caution(today.verified)}"
        yield subject.check("correct", "inconclusive", message, recorded.verified, today.verified, role)
    else:
        yield subject.check(
            "correct", "pass", f"{who}: {caution(today.verified) or VERIFIED}", recorded.verified, today.verified, role
        )
    before, now = recorded.fingerprint[:12], today.fingerprint[:12]
    tools = "" if today.code.compilers == recorded.compiler else f" by {today.code.compilers}"
    if recorded.fingerprint == today.fingerprint:
        yield subject.check("code", "pass", f"{who}: code unchanged{tools}", before, now, role)
        return
    broken = list(broken_rules(recorded.facts, today.facts, margins))
    changed = [r for r in RULES if getattr(recorded.facts, r.fact) != getattr(today.facts, r.fact)]
    same = "facts equal" if not changed else "facts within their margins"
    what = f"worse: {', '.join(r.name for r in broken)}" if broken else same
    yield subject.check("code", "pass", f"{who}: code changed{tools}, {what}", before, now, role)
    for rule in changed:
        a, b = getattr(recorded.facts, rule.fact), getattr(today.facts, rule.fact)
        margin = f"{100 * getattr(margins, rule.name):g} %"
        if rule in broken:
            message = f"{who}: {rule.fact} {b:g}, was {a:g} (margin {margin}): {rule.means}; usual cost: {rule.costs}"
            yield subject.check(rule.name, "regression", message, a, b, role)
        else:
            yield subject.check(rule.name, "pass", f"{who}: {rule.fact} {b:g}, was {a:g} (margin {margin})", a, b, role)
