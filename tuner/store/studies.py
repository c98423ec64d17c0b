"""Reading of the studies that runs have recorded, to show or export them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from tuner.errors import ConfigError, StorageError
from tuner.kernel.problem_data import ProblemData
from tuner.outcome import Origin, Outcome, Timing
from tuner.search.tactic import Tactic
from tuner.store.database import named_storage, shown
from tuner.store.journal import JOURNAL_NAME, StudyPlace, guard, open_storage
from tuner.store.selection import Selection
from tuner.store.study_data import StudyIdentity, latest_trials, read_identity, read_trial


@dataclass(frozen=True)
class Study:
    """A study as it was recorded.

    Attributes:
        identity: what it is of.
        trials: number, tactic and outcome of each finished trial, in the order of asking.
    """

    identity: StudyIdentity
    trials: tuple[tuple[int, Tactic, Outcome], ...]

    @property
    def problem(self) -> ProblemData:
        """What was tuned."""
        return self.identity.problem

    @property
    def label(self) -> str:
        """The problem's dimensions, data types and changed attributes in one line, for people."""
        return self.identity.label

    @property
    def origin(self) -> Origin:
        """Where its times come from; their kind is that of the trials, where one has a time."""
        origin = self.identity.origin
        return replace(origin, kind=next((o.kind for _, _, o in self.trials if isinstance(o, Timing)), origin.kind))

    def __str__(self) -> str:
        return f"{self.problem.kernel} {self.label} on {self.origin.device} by {self.origin.backend}"


def read_studies(folder: Path, url: str | None = None) -> list[Study]:
    """Read the studies of a results folder or a storage, also while a run is writing there.

    Of several studies of one problem on one device by one backend, the one whose last trial ended last is
    taken: the kernel or the versions have changed since the others.

    Args:
        folder: the results folder that holds the journal.
        url: an Optuna storage URL instead.

    Raises:
        StorageError: when there is no journal, or the storage cannot be read.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder / JOURNAL_NAME
    where = StudyPlace(folder, url)
    if url is None and not path.is_file():
        raise StorageError(f"{path} does not exist; name a results folder of tuner tune, or its --storage URL")
    storage: Any = guard(
        where,
        lambda: open_storage(folder, url) if url else optuna.storages.JournalStorage(JournalFileBackend(str(path))),
    )
    latest: dict[tuple[str, ...], tuple[datetime, Study]] = {}
    for name in guard(where, lambda: optuna.get_all_study_names(storage)):
        found = _read_study(storage, name, where)
        if found is None:
            continue
        study, origin = found[1], found[1].origin
        key = (*study.problem.key, origin.device, origin.backend)
        if study.trials and (key not in latest or latest[key][0] <= found[0]):
            latest[key] = found
    return [study for _, study in latest.values()]


def select_studies(folders: Sequence[Path], url: str | None, selection: Selection) -> list[Study]:
    """Read the selected studies of results folders, or else of an Optuna storage URL, given or in `TUNER_STORAGE`.

    Raises:
        ConfigError: when neither or both are named, or nothing is selected.
        StorageError: when something cannot be read.
    """
    url = url if folders else named_storage(url)
    if bool(folders) == bool(url):
        raise ConfigError("name the results folders of tuner tune, such as results/JOB, or else --storage URL")
    found = read_studies(Path(), url) if url else [study for folder in folders for study in read_studies(folder)]
    selected = [study for study in found if study in selection]
    if not selected:
        where = shown(url) if url else ", ".join(map(str, folders))
        listed = f" with {selection}; there is {'; '.join(map(str, found[:4]))}" if found else ""
        raise ConfigError(f"{where}: no study that has finished trials{listed}")
    return selected


def _read_study(storage: Any, name: str, where: StudyPlace) -> tuple[datetime, Study] | None:
    """When the last trial of a study ended, and the study; None when it is not one of tuner's."""
    import optuna

    study: optuna.Study = guard(where, lambda: optuna.load_study(storage=storage, study_name=name))
    identity = read_identity(guard(where, lambda: study.user_attrs))
    if identity is None:
        return None
    finished = guard(where, lambda: study.get_trials(deepcopy=False))
    ended = max((t.datetime_complete for t in finished if t.datetime_complete), default=datetime.min)
    trials = sorted(latest_trials(read_trial(t, where) for t in finished), key=lambda row: (row[0], row[1].id))
    return ended, Study(identity, tuple(trials))
