"""Exports of all trials of a study: which studies, and a file for each."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tuner.errors import ConfigError
from tuner.export import Request
from tuner.files import write_atomic
from tuner.journal import shown
from tuner.studies import Study, read_studies


def export_studies(request: Request, encode: Callable[[Study], bytes]) -> list[Path]:
    """Write the selected studies: into one file when `out` ends in ``.json``, else a file for each."""
    studies = _selected(request)
    if request.out.suffix != ".json":
        paths = [request.out / f"{_file_name(study)}.json" for study in studies]
    elif len(studies) == 1:
        paths = [request.out]
    else:
        listed = "; ".join(map(str, studies[:4]))
        raise ConfigError(
            f"{request.out} has room for one study, not {len(studies)} ({listed}); "
            "give --out a folder, or choose with --problem, --device and the like"
        )
    if len(set(paths)) < len(paths):
        raise ConfigError("several RESULTS hold a study of the same problem, device and backend; export one at a time")
    encoded = [encode(study) for study in studies]
    for path, data in zip(paths, encoded, strict=True):
        write_atomic(path, data)
    return paths


def _selected(request: Request) -> list[Study]:
    if bool(request.sources) == bool(request.storage):
        raise ConfigError("name the results folders of tuner tune, such as results/JOB, or else --storage URL")
    if request.storage:
        found = read_studies(Path(), request.storage)
    else:
        found = [study for folder in request.sources for study in read_studies(folder)]
    selected = [study for study in found if study in request.selection]
    if not selected:
        where = shown(request.storage) if request.storage else ", ".join(map(str, request.sources))
        listed = f" with {request.selection}; there is {'; '.join(map(str, found[:4]))}" if found else ""
        raise ConfigError(f"{where}: no study that has finished trials{listed}")
    return selected


def _file_name(study: Study) -> str:
    parts = (study.kernel.replace("::", "_"), study.label.replace("=", ""), study.device, study.backend)
    return re.sub(r"[^\w.]+", "_", "_".join(parts))
