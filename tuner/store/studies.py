"""Read the studies that runs have recorded, for whoever shows or exports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tuner.errors import ConfigError, StorageError
from tuner.outcome import Kind, Outcome, Timing
from tuner.search.tactic import Tactic
from tuner.store.journal import IDENTITY, JOURNAL_NAME, guard, latest, open_storage, read_trial, shown
from tuner.store.selection import Selection


@dataclass(frozen=True)
class Study:
    """A study as it was recorded.

    Attributes:
        identity: what it was opened with.
        trials: number, tactic and outcome of each finished trial, in the order of asking.
    """

    identity: Mapping[str, str]
    trials: tuple[tuple[int, Tactic, Outcome], ...]

    @property
    def kernel(self) -> str:
        return self.identity["kernel"]

    @property
    def label(self) -> str:
        return self.identity["problem"]

    @property
    def device(self) -> str:
        return self.identity["device"]

    @property
    def backend(self) -> str:
        return self.identity["backend"]

    @property
    def kind(self) -> Kind:
        """What kind of number its times are."""
        return next((o.kind for _, _, o in self.trials if isinstance(o, Timing)), "measurement")

    def __str__(self) -> str:
        return f"{self.kernel} {self.label} on {self.device} by {self.backend}"


def read_studies(folder: Path, url: str | None = None) -> list[Study]:
    """Read what was recorded; also while a run goes on, which it does not disturb.

    Of the studies of one problem on one device by one backend, the one whose last trial ended last is
    taken: the kernel or the versions had changed since the others.

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
    where = shown(url) if url else str(path)
    if url is None and not path.is_file():
        raise StorageError(f"{path} does not exist; name a results folder of tuner tune, or its --storage URL")
    storage: Any = guard(
        where,
        lambda: open_storage(folder, url) if url else optuna.storages.JournalStorage(JournalFileBackend(str(path))),
    )
    latest: dict[str, tuple[datetime, Study]] = {}
    for name in guard(where, lambda: optuna.get_all_study_names(storage)):
        ended, study = _read_study(storage, name, where)
        if study.trials and (str(study) not in latest or latest[str(study)][0] <= ended):
            latest[str(study)] = ended, study
    return [study for _, study in latest.values()]


def select_studies(folders: Sequence[Path], url: str | None, selection: Selection) -> list[Study]:
    """The selected studies of results folders, or of an Optuna storage URL.

    Raises:
        ConfigError: when neither or both are named, or nothing is selected.
        StorageError: when something cannot be read.
    """
    if bool(folders) == bool(url):
        raise ConfigError("name the results folders of tuner tune, such as results/JOB, or else --storage URL")
    found = read_studies(Path(), url) if url else [study for folder in folders for study in read_studies(folder)]
    selected = [study for study in found if study in selection]
    if not selected:
        where = shown(url) if url else ", ".join(map(str, folders))
        listed = f" with {selection}; there is {'; '.join(map(str, found[:4]))}" if found else ""
        raise ConfigError(f"{where}: no study that has finished trials{listed}")
    return selected


def _read_study(storage: Any, name: str, where: str) -> tuple[datetime, Study]:
    """When the last trial of a study ended, and the study; without trials when it is not one of ours."""
    import optuna

    study: optuna.Study = guard(where, lambda: optuna.load_study(storage=storage, study_name=name))
    identity = guard(where, lambda: study.user_attrs).get(IDENTITY)
    finished = guard(where, lambda: study.get_trials(deepcopy=False)) if isinstance(identity, dict) else []
    ended = max((t.datetime_complete for t in finished if t.datetime_complete), default=datetime.min)
    trials = sorted(latest(read_trial(t, where) for t in finished), key=lambda row: (row[0], row[1].id))
    return ended, Study(identity or dict.fromkeys(("kernel", "problem", "device", "backend"), ""), tuple(trials))
