"""The journal of a study: its trials in Optuna storage, each written as it ends.

The search itself runs in memory; what is stored is one finished trial per write, so a process killed
at any instant leaves whole trials or nothing. A run that starts again asks the same questions in the
same order and finds the answers here.

A trial whose outcome is no verdict on its code (`lasting` is false) is stored too, for who reads what happened, but
the next run does not take it for finished: it tries the tactic again, and then the later trial counts.
"""

from __future__ import annotations

import hashlib
import json
import threading
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from tuner.errors import StorageError, TunerError
from tuner.kernel.identity import made_before
from tuner.kernel.problem_data import ProblemData, sorted_json
from tuner.outcome import Outcome, Timing
from tuner.search.space import Space
from tuner.search.tactic import Config, Tactic
from tuner.store.database import open_database, shown, without_secrets
from tuner.store.files import recorded_path
from tuner.store.study_data import (
    StudyIdentity,
    identity_attributes,
    read_identity,
    read_record,
    trial_attributes,
)

if TYPE_CHECKING:
    import optuna

T = TypeVar("T")

JOURNAL_NAME = "study.journal"
FIRST, LEADS = "first", "leads"
NOTHING: Mapping[int, int] = MappingProxyType({})
_LINE = b'{"op_code":'
"""How each line of an Optuna journal begins."""


class _Line(Struct):
    """What each line of an Optuna journal has."""

    op_code: int


_HASHED = frozenset({"source", "traffic", "reference"})
"""Parts of an identity that are hashes of Python source, so that an older hash of one tells nothing about it."""


@dataclass(frozen=True)
class StudyPlace:
    """Where trials are kept, as messages name it: the journal in a folder, or the database at a URL."""

    folder: Path
    url: str | None = None

    def __str__(self) -> str:
        return shown(self.url) if self.url else str(self.folder / JOURNAL_NAME)

    def without_secrets(self, message: str) -> str:
        """A message without what is secret in the URL."""
        return without_secrets(message, self.url) if self.url else message


class Journal:
    """The finished trials of one study, by tactic, and the place to add more.

    Attributes:
        study_name: the study's name in the storage.
        news: why the study is new though the storage has earlier ones of the problem; "" where it is not, or has none.
        history: the tactics of all stored trials in the order in which they ended, those that did not last too.
        heard: see `TrialRecord.heard`, of all trials.
        first: what is tried right after the default; None where that was not stored.
        leads: what a prediction said should be tried next; None where nothing did yet.
    """

    def __init__(self, study: optuna.Study, space: Space, news: str, where: StudyPlace) -> None:
        self._study = study
        self._where = where
        self._distributions = _distributions(space)
        self.study_name = study.study_name
        self.news = news
        self._outcomes: dict[Tactic, tuple[int, Outcome]] = {}
        self.history: list[Tactic] = []
        self.heard: dict[int, int] = {}
        for trial in guard(where, lambda: study.get_trials(deepcopy=False)):
            self._note(*read_record(trial, where))
        attributes = guard(where, lambda: study.user_attrs)
        self.leads = _configs(attributes.get(LEADS))
        self.first = _configs(attributes.get(FIRST))

    def __len__(self) -> int:
        return len(self._outcomes)

    def __contains__(self, tactic: Tactic) -> bool:
        return tactic in self._outcomes

    def outcome(self, tactic: Tactic) -> Outcome:
        """Return what became of a finished tactic."""
        return self._outcomes[tactic][1]

    def trials(self) -> list[tuple[int, Tactic, Outcome]]:
        """List number, tactic and outcome of all finished trials, in the order in which the search asked for them."""
        return sorted(((n, t, o) for t, (n, o) in self._outcomes.items()), key=lambda row: (row[0], row[1].id))

    def add(
        self, number: int, tactic: Tactic, outcome: Outcome, heard: Mapping[int, int] = MappingProxyType({})
    ) -> None:
        """Store a finished trial. When this returns, the trial survives the process.

        Args:
            number: its place in the order of asking.
            tactic, outcome: what was tried, and what became of it.
            heard: see `TrialRecord.heard`.
        """
        import optuna

        timed = isinstance(outcome, Timing)
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.COMPLETE if timed else optuna.trial.TrialState.FAIL,
            value=outcome.time_us if isinstance(outcome, Timing) else None,
            params=dict(tactic.config),
            distributions={n: d for n, d in self._distributions.items() if n in tactic.config},
            user_attrs=trial_attributes(number, tactic, outcome, heard),
        )
        guard(self._where, lambda: self._study.add_trial(trial))
        self._note(number, tactic, outcome, heard)
        self._outcomes[tactic] = (number, outcome)

    def keep_first(self, configs: Sequence[Config]) -> None:
        """Store what is tried right after the default."""
        self.first = self._keep(FIRST, configs)

    def keep_leads(self, configs: Sequence[Config]) -> None:
        """Store what a prediction said should be tried next."""
        self.leads = self._keep(LEADS, configs)

    def _keep(self, attribute: str, configs: Sequence[Config]) -> list[Config]:
        kept = [dict(c) for c in configs]
        guard(self._where, lambda: self._study.set_user_attr(attribute, kept))
        return list(kept)

    def _note(self, number: int, tactic: Tactic, outcome: Outcome, heard: Mapping[int, int]) -> None:
        self._outcomes.pop(tactic, None)
        if outcome.lasting:
            self._outcomes[tactic] = (number, outcome)
        self.history.append(tactic)
        self.heard.update(heard)


class Journals:
    """The studies in a folder or a storage, opened once for all problems of a job. Any thread may open one.

    Args:
        folder: where the journal file lies when no URL is given.
        url: an Optuna storage URL (``sqlite:///…``, ``postgresql://…``).

    Raises:
        StorageError: when the storage cannot be opened or holds something else.
    """

    def __init__(self, folder: Path, url: str | None) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._where = StudyPlace(folder, url)
        self._lock = threading.Lock()
        self._storage: Any = guard(self._where, lambda: open_storage(folder, url))
        storage = self._storage
        # Optuna's summaries of studies would copy all their trials.
        earlier = guard(self._where, storage.get_all_studies)
        self._known = {s.study_name: read_identity(s.user_attrs) for s in earlier}

    def open(self, identity: StudyIdentity, space: Space, *, beside: Collection[ProblemData] = ()) -> Journal:
        """Open the study with this identity, or start it.

        Args:
            identity: what makes two runs the same study.
            space: the parameters of its trials.
            beside: problems that have studies of their own beside this one. Only studies of other problems
                can be what this one was before something changed.

        Raises:
            StorageError: when the storage cannot be used.
        """
        import optuna

        with self._lock:
            where, known, storage = self._where, self._known, self._storage
            compared = identity.compared()
            own, others = identity.problem.kernel, {problem.key for problem in beside} - {identity.problem.key}
            of_kernel = {n: k for n, k in known.items() if k and k.problem.kernel == own}
            alike = (n for n, k in of_kernel.items() if k.origin.device == identity.origin.device)
            name = next((n for n in alike if of_kernel[n].compared() == compared), study_name(identity))
            # Creating a study that exists would write a line to a journal file.
            start = optuna.load_study if name in known else partial(optuna.create_study, load_if_exists=True)
            study: optuna.Study = guard(where, lambda: start(storage=storage, study_name=name))
            if known.get(name) is None:  # new, or a process was killed between these two writes
                for attribute, value in identity_attributes(identity).items():
                    guard(where, partial(study.set_user_attr, attribute, value))
            relatives = [k for k in of_kernel.values() if k.problem.key not in others]
            news = "" if name in known or not relatives else _what_changed(relatives, identity)
            known.setdefault(name, None)
            known[name] = known[name] or identity
        return Journal(study, space, news, where)


def open_journal(
    folder: Path, url: str | None, identity: StudyIdentity, space: Space, *, beside: Collection[ProblemData] = ()
) -> Journal:
    """Open one study: `Journals.open` of a storage that nothing else is opened of."""
    return Journals(folder, url).open(identity, space, beside=beside)


def study_name(identity: StudyIdentity) -> str:
    """What a study is called in its storage: in words what it is of, and a hash that tells it from all others."""
    origin, digest = identity.origin, hashlib.sha256(sorted_json(identity.compared()).encode()).hexdigest()
    return f"{identity.problem.kernel} {identity.label} on {origin.device} by {origin.backend} #{digest[:8]}"


def open_storage(folder: Path, url: str | None) -> Any:
    """The Optuna storage at a URL, or the journal in a folder, mended for writing."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    if url is not None:
        return open_database(url)
    import filelock

    path = recorded_path(folder, JOURNAL_NAME, str(folder))
    _require_lines_of_json(path)
    _drop_partial_line(path)
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
    """Refuse a damaged journal, and what is none; Optuna would skip a bad last line, and fail once more follow it.

    The start of a line is let through at the end: a killed process leaves one.
    """
    if not path.exists():
        return
    *lines, rest = path.read_bytes().split(b"\n")
    if rest and rest[: len(_LINE)] != _LINE[: len(rest)]:
        lines.append(rest)
    fast = msgspec.json.Decoder(_Line)
    for number, line in enumerate(lines, start=1):
        with suppress(msgspec.DecodeError, RecursionError):
            fast.decode(line)
            continue
        try:  # what it lets through as well, and else the words for what is wrong
            if not isinstance(json.loads(line).get("op_code"), int):
                raise ValueError("it has no op_code")
        except (ValueError, AttributeError, RecursionError) as e:
            raise StorageError(
                f"{path}:{number} is no line of an Optuna journal: {e}; restore the file, or move it away to start anew"
            ) from e


def guard(where: StudyPlace, action: Callable[[], T]) -> T:
    """Run a storage operation; whatever its driver raises becomes a `StorageError` that names the place."""
    try:
        return action()
    except TunerError:
        raise
    except OSError as e:
        mend = "give room and write access, then run again"
        raise StorageError(f"{where} cannot be used: {where.without_secrets(e.strerror or str(e))}; {mend}") from e
    except Exception as e:
        first = where.without_secrets((str(e).strip() or repr(e)).splitlines()[0])
        mend = "see that it is reachable and not damaged, or choose another"
        told = "".join(traceback.format_exception(e))
        cause = e if where.without_secrets(told) == told else None
        raise StorageError(f"{where}: {type(e).__name__}: {first}; {mend}") from cause


def _what_changed(known: Sequence[StudyIdentity], identity: StudyIdentity) -> str:
    """Say what differs from the earlier study that is most alike."""
    wanted, earlier = identity.compared(), [k.compared() for k in known]
    closest = max(earlier, key=lambda k: sum(k.get(part) == value for part, value in wanted.items()))
    changed = [part for part in {**closest, **wanted} if closest.get(part) != wanted.get(part)]
    if not made_before(closest.get("source", ""), wanted.get("source", "")):
        return f"new study: other {', '.join(changed)} than in the trials recorded so far, which are kept"
    others = ", ".join(part for part in changed if part not in _HASHED)
    return (
        "new study: the trials recorded so far, which are kept, have an older hash of the kernel source, so that "
        f"nobody knows whether it is the same{f'; other {others} too' if others else ''}"
    )


def _configs(stored: object) -> list[Config] | None:
    """Configurations that were stored with a study."""
    return [dict(c) for c in stored if isinstance(c, dict)] if isinstance(stored, list) else None


def _distributions(space: Space) -> dict[str, Any]:
    import optuna

    return {p.name: optuna.distributions.CategoricalDistribution(p.values) for p in space.params}
