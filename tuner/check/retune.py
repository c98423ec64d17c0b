"""Whether a recorded winner is still near the best that a short new search finds."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec

from tuner.backends.select import BackendChoice, open_backend
from tuner.backends.timing.plan import CONFIRMATION
from tuner.backends.timing.statistics import relation
from tuner.check.baseline import Record
from tuner.check.recompile import target_of
from tuner.check.verdict import Check, CheckVerdict, Subject
from tuner.compile.blobs import Store
from tuner.outcome import Failure, Timing
from tuner.search.tactic import Tactic
from tuner.temporary import temporary_folder
from tuner.tuning.job import Places, run_job
from tuner.tuning.progress import Silent


def retuned(subject: Subject, record: Record, choice: BackendChoice, trials: int, margin: float, store: Store) -> Check:
    """Search anew, then time the best and the recorded winner side by side.

    Args:
        subject, record: the problem and what was recorded of it.
        choice: who says how long a tactic takes.
        trials: how many fresh trials.
        margin: relative; a winner that takes longer than the best by more is a regression.
        store: keeps compiled tactics.
    """
    winner = Tactic(record.winner.config)
    search = msgspec.structs.replace(subject.job.search, trials=trials)
    target = target_of(record.device, record.capability)
    job = replace(subject.job, problems=(subject.problem,), search=search, target=target)
    with tempfile.TemporaryDirectory(dir=temporary_folder()) as folder:
        (result,) = run_job(job, choice, Places(Path(folder), Path(folder, "tactics.json")), Silent())
    best = result.winner
    if best == winner:
        message = f"winner ({winner}): the best of {trials} fresh trials too"
        return subject.check("retune", "pass", message, winner.id, best.id)
    with closing(open_backend(choice, subject.problem, job.setting, store)) as backend:
        old, new = backend.confirm([winner.config, best.config])
    if isinstance(old, Failure) or isinstance(new, Failure):
        failed = old if isinstance(old, Failure) else new
        assert isinstance(failed, Failure)
        message = f"winner ({winner}) and ({best}) could not be compared: {failed.headline}"
        return subject.check("retune", "inconclusive", message, winner.id, best.id)
    verdict = _verdict(old, new, margin)
    number = "predicted" if old.kind == "prediction" else "measured"
    message = (
        f"winner ({winner}): {number} {old.time_us:.4g} us, the best of {trials} fresh trials ({best}) "
        f"{new.time_us:.4g} us (margin {100 * margin:g} %)"
    )
    mend = "; run tuner tune again" if verdict == "regression" else ""
    return subject.check("retune", verdict, message + mend, round(old.time_us, 4), round(new.time_us, 4))


def _verdict(old: Timing, new: Timing, margin: float) -> CheckVerdict:
    if old.kind == "prediction":
        return "regression" if old.time_us > new.time_us * (1 + margin) else "pass"
    found = relation(old.samples_us, new.samples_us, replace(CONFIRMATION, margin=margin))
    return "regression" if found == "slower" else "inconclusive" if found == "open" else "pass"
