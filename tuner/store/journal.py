"""The record of a study's trials in Optuna storage, written as each trial ends.

The search itself runs in memory; what is stored is one finished trial per write, so a process killed
at any instant leaves whole trials or nothing. A run that starts again asks the same questions in the
same order and finds the answers here.

A trial whose outcome is no verdict on its code (`lasting` is false) is stored too, for who reads what happened, but
the next run does not take it for finished: it tries the tactic again, and then the later trial counts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tuner.errors import StorageError
from tuner.outcome import VERIFIED, Failure, FailureClass, Outcome, Timing
from tuner.search.space import Space
from tuner.search.tactic import Tactic

if TYPE_CHECKING:
    import optuna

T = TypeVar("T")

JOURNAL_NAME = "study.journal"
IDENTITY = "identity"


class Journal:
    """The trials of one study: finished ones by tactic, and a place to add more.

    Attributes:
        study_name: its name in the storage.
        news: why this is not a continuation of an earlier study, or "".
    """

    def __init__(self, study: optuna.Study, space: Space, news: str, where: str) -> None:
        self._study = study
        self._where = where
        self._distributions = _distributions(space)
        self.study_name = study.study_name
        self.news = news
        self._outcomes: dict[Tactic, tuple[int, Outcome]] = {}
        found = latest(read_trial(t, where) for t in guard(where, lambda: study.get_trials(deepcopy=False)))
        self._outcomes.update((tactic, (number, outcome)) for number, tactic, outcome in found if outcome.lasting)

    def __len__(self) -> int:
        return len(self._outcomes)

    def __contains__(self, tactic: Tactic) -> bool:
        return tactic in self._outcomes

    def outcome(self, tactic: Tactic) -> Outcome:
        """What became of a finished tactic."""
        return self._outcomes[tactic][1]

    def trials(self) -> list[tuple[int, Tactic, Outcome]]:
        """All finished trials in the order in which the search asked for them."""
        return sorted(((n, t, o) for t, (n, o) in self._outcomes.items()), key=lambda row: (row[0], row[1].id))

    def add(self, number: int, tactic: Tactic, outcome: Outcome) -> None:
        """Store a finished trial. When this returns, the trial survives the process."""
        import msgspec
        import optuna

        failed = isinstance(outcome, Failure)
        record = {"number": number, "tactic": tactic.id, "failure" if failed else "timing": outcome}
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE,
            value=None if isinstance(outcome, Failure) else outcome.time_us,
            params=dict(tactic.config),
            distributions={n: d for n, d in self._distributions.items() if n in tactic.config},
            user_attrs=msgspec.to_builtins(record),
        )
        guard(self._where, lambda: self._study.add_trial(trial))
        self._outcomes[tactic] = (number, outcome)


def open_journal(
    folder: Path, url: str | None, identity: Mapping[str, str], space: Space, *, beside: Collection[str] = ()
) -> Journal:
    """Open the study with this identity, or start it.

    Args:
        folder: where the journal file lies when no URL is given.
        url: an Optuna storage URL (``sqlite:///…``, ``postgresql://…``).
        identity: what makes two runs the same study; "kernel" and "problem" name it for a reader.
        space: the parameters of its trials.
        beside: problems that have studies of their own beside this one. Only studies of other problems
            can be what this one was before something changed.

    Raises:
        StorageError: when the storage cannot be opened or holds something else.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    where = shown(url) if url else str(folder / JOURNAL_NAME)
    storage: Any = guard(where, lambda: open_storage(folder, url))
    fingerprint = hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()
    kernel, problem, device, backend = (identity[part] for part in ("kernel", "problem", "device", "backend"))
    name = f"{kernel} {problem} on {device} by {backend} #{fingerprint[:8]}"
    earlier = guard(where, lambda: optuna.get_all_study_summaries(storage, include_best_trial=False))
    known = {s.study_name: s.user_attrs.get(IDENTITY) for s in earlier}
    # Creating a study that exists would write a line to a journal file.
    start = optuna.load_study if name in known else optuna.create_study
    study: optuna.Study = guard(where, lambda: start(storage=storage, study_name=name))
    if known.get(name) is None:  # new, or a process was killed between these two writes
        guard(where, lambda: study.set_user_attr(IDENTITY, dict(identity)))
    relatives = [
        k
        for k in known.values()
        if isinstance(k, dict) and k.get("kernel") == kernel and k.get("problem") not in {*beside} - {problem}
    ]
    news = "" if name in known or not relatives else _what_changed(relatives, identity)
    return Journal(study, space, news, where)


@contextmanager
def exclusive(folder: Path, url: str | None) -> Iterator[None]:
    """Keep a second run off the same folder or storage of this machine; `StorageError` when there is one."""
    import filelock

    places = [(str(folder), folder / ".lock")]
    if url is not None:
        places.append((shown(url), _lock_of(url)))
    with ExitStack() as held:
        for name, path in places:
            lock = filelock.FileLock(path)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=0)
            except filelock.Timeout:
                raise StorageError(f"another run is using {name}; wait for it, or choose another --out") from None
            except OSError as e:
                raise StorageError(f"{path} cannot be written ({e.strerror}); give write access") from e
            held.callback(lock.release)
        yield


def _lock_of(url: str) -> Path:
    import platformdirs

    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    return platformdirs.user_cache_path("qdp-tuner") / "locks" / f"{name}.lock"


def shown(url: str) -> str:
    """A URL without its password."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def open_storage(folder: Path, url: str | None) -> Any:
    """The Optuna storage at a URL, or the journal in a folder, mended for writing."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    if url is not None:
        return optuna.storages.get_storage(url)
    import filelock

    path = folder / JOURNAL_NAME
    _drop_partial_line(path)
    _require_lines_of_json(path)
    # Optuna's own lock files outlive a killed process and are waited for; the kernel frees this one.
    lock: Any = filelock.FileLock(folder / f".{JOURNAL_NAME}.lock")
    return optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _drop_partial_line(path: Path) -> None:
    """Cut off what a killed process left of its last write: it was never acknowledged."""
    if not path.exists():
        return
    with path.open("r+b") as f:
        end = f.seek(0, 2)
        while end:
            start = max(0, end - 4096)
            f.seek(start)
            newline = f.read(end - start).rfind(b"\n")
            if newline >= 0:
                f.truncate(start + newline + 1)
                return
            end = start
        f.truncate(0)


def _require_lines_of_json(path: Path) -> None:
    """Refuse a damaged journal; Optuna would skip a bad last line, and fail once more lines follow it."""
    if not path.exists():
        return
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            if not isinstance(json.loads(line).get("op_code"), int):
                raise ValueError("it has no op_code")
        except (ValueError, AttributeError) as e:
            raise StorageError(
                f"{path}:{number} is no line of an Optuna journal: {e}; restore the file, or move it away to start anew"
            ) from e


def guard(where: str, action: Callable[[], T]) -> T:
    """Run a storage operation; whatever its driver raises becomes a `StorageError` that names the place."""
    try:
        return action()
    except StorageError:
        raise
    except OSError as e:
        mend = "give room and write access, then run again"
        raise StorageError(f"{where} cannot be used: {e.strerror or e}; {mend}") from e
    except Exception as e:
        first = (str(e).strip() or repr(e)).splitlines()[0]
        mend = "see that it is reachable and not damaged, or choose another"
        raise StorageError(f"{where}: {type(e).__name__}: {first}; {mend}") from e


def _what_changed(known: Sequence[Mapping[str, str]], identity: Mapping[str, str]) -> str:
    """Say what differs from the earlier study that is most alike."""
    closest = max(known, key=lambda k: sum(k.get(part) == value for part, value in identity.items()))
    changed = [part for part in {**closest, **identity} if closest.get(part) != identity.get(part)]
    return f"new study: other {', '.join(changed)} than in the trials recorded so far, which are kept"


def _distributions(space: Space) -> dict[str, Any]:
    import optuna

    return {p.name: optuna.distributions.CategoricalDistribution(p.values) for p in space.params}


def latest(trials: Iterable[tuple[int, Tactic, Outcome]]) -> list[tuple[int, Tactic, Outcome]]:
    """The last trial of each tactic, of trials in the order in which they ended."""
    return list({tactic: (number, tactic, outcome) for number, tactic, outcome in trials}.values())


@dataclass(frozen=True)
class _TrialRecord:
    """The user attributes of a trial: all there is to say about it but its parameters."""

    number: int
    tactic: int
    timing: Timing | None = None
    failure: Failure | None = None


def read_trial(trial: optuna.trial.FrozenTrial, where: str) -> tuple[int, Tactic, Outcome]:
    """Number, tactic and outcome of a stored trial."""
    import msgspec

    tactic = Tactic(trial.params)
    try:
        record = msgspec.convert(trial.user_attrs, _TrialRecord)
        if record.tactic != tactic.id:
            raise ValueError(f"tactic {record.tactic} is not the id of ({tactic})")
        outcome = record.failure or record.timing
        if outcome is None:
            raise ValueError("it has neither a timing nor a failure")
        if "lasting" not in trial.user_attrs["failure" if record.failure else "timing"]:
            outcome = replace(outcome, lasting=_was_verdict(outcome))
    except ValueError as e:
        raise StorageError(
            f"{where}: trial {trial.number} is not one of tuner's: {e}; move it away, or choose another"
        ) from e
    return record.number, tactic, outcome


def _was_verdict(outcome: Outcome) -> bool:
    """Whether an outcome that was stored before outcomes said so is lasting, as far as can be told."""
    if isinstance(outcome, Timing):
        return outcome.verified == VERIFIED
    return outcome.kind in (FailureClass.CORRECTNESS, FailureClass.CONSTRAINT)
