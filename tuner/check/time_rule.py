"""What two measurements of old and new code come to: the `time` rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tuner.check.baseline import Record
from tuner.check.measure import Comparison, FaultyError, Gpu, RecordedCode, compare_codes
from tuner.check.recompile import Recompiled
from tuner.check.verdict import Check, CheckVerdict, Subject
from tuner.compile.artifact import Loadable
from tuner.compile.ptx import lower_version, parse
from tuner.outcome import FailureClass
from tuner.search.tactic import Tactic


def timed(subject: Subject, record: Record, ptx: Sequence[str], today: Recompiled, gpu: Gpu) -> Check:
    """Measure the winner's recorded PTX and today's code, a second time if it has become slower."""
    who = f"winner ({Tactic(record.winner.config)})"
    recorded = [
        RecordedCode(Loadable(_understood(text, gpu), code.entry, code.block, code.shared_bytes), code.grid, code.args)
        for text, code in zip(ptx, record.codes, strict=True)
    ]
    now = [replace(a.loadable, ptx=_understood(a.ptx, gpu)) for a in today.code.steps]
    runs: list[Comparison] = []
    try:
        for seed, turned in enumerate((False, True)):
            runs.append(compare_codes(gpu, subject.problem, record.winner.config, recorded, now, seed, turned))
            if not runs[-1].slower:
                break
    except FaultyError as e:
        return _faulty(subject, who, e)
    verdict, why = judge(runs, gpu.plan.margin)
    last = runs[-1]
    return subject.check("time", verdict, f"{who}: {why}: {last}", last.recorded_us, last.today_us)


def judge(runs: list[Comparison], margin: float) -> tuple[CheckVerdict, str]:
    """The verdict of one measurement, or of two where the first found today's code slower; and why."""
    last, percent = runs[-1], f"{100 * margin:g} %"
    if last.time in ("tied", "faster"):
        if len(runs) > 1:
            return "inconclusive", "slower in one process and not in another; check again on an idle GPU"
        return "pass", f"not slower by {percent}"
    if last.throttled:
        return "inconclusive", "the device was throttled; check again when it is cool"
    if last.time == "open":
        return "inconclusive", f"too noisy to tell from a margin of {percent}; check again on an idle GPU"
    if last.cycles is None:
        return "inconclusive", "slower in time, but the SM clock cannot be read; install nvidia-ml-py"
    if last.cycles != "slower":
        return "inconclusive", "slower in time but not in cycles, so the clock differed; check again"
    return "regression", f"slower by more than {percent} in time and in cycles, in two processes"


def _faulty(subject: Subject, who: str, error: FaultyError) -> Check:
    why = error.failure.headline
    if error.side == "recorded":
        message = f"{who}: the recorded code cannot be measured here: {why}; record it anew with --update"
        return subject.check("time", "inconclusive", message)
    rule = "correct" if error.failure.kind is FailureClass.CORRECTNESS else "runs"
    return subject.check(rule, "regression", f"{who} fails on the GPU: {why}")


def _understood(ptx: str, gpu: Gpu) -> str:
    """PTX in the newest version that the device's driver knows, where its own is newer."""
    newest = gpu.info.target.max_ptx
    return ptx if newest is None else lower_version(parse(ptx), newest).text
