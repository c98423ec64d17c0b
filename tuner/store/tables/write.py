"""Tables of all trials of studies: a file for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from tuner.errors import ConfigError
from tuner.store.files import recorded_path, write_atomic
from tuner.store.studies import Study


def write_studies(studies: Sequence[Study], out: Path, encode: Callable[[Study], bytes]) -> list[Path]:
    """Write studies: into one file when `out` ends in ``.json``, else a file for each.

    Raises:
        ConfigError: when there is more than one for a file.
        StorageError: when a file cannot be written, or is a symbolic link out of the folder.
    """
    if out.suffix != ".json":
        paths = [recorded_path(out, f"{name}.json", name) for name in _file_names(studies)]
    elif len(studies) == 1:
        paths = [out]
    else:
        listed = "; ".join(map(str, studies[:4]))
        raise ConfigError(
            f"{out} has room for one study, not {len(studies)} ({listed}); "
            "give --out a folder, or choose with --problem, --device and the like"
        )
    if len(set(paths)) < len(paths):
        raise ConfigError("several RESULTS hold a study of the same problem, device and backend; export one at a time")
    encoded = [encode(study) for study in studies]
    for path, data in zip(paths, encoded, strict=True):
        write_atomic(path, data)
    return paths


def _file_names(studies: Sequence[Study]) -> list[str]:
    """A name for each study, with the id of its problem where a study of another problem has the same name."""
    names = [_file_name(study) for study in studies]
    problems: dict[str, set[str]] = {}
    for name, study in zip(names, studies, strict=True):
        problems.setdefault(name, set()).add(study.problem.id)
    return [
        f"{name}_{study.problem.id}" if len(problems[name]) > 1 else name
        for name, study in zip(names, studies, strict=True)
    ]


def _file_name(study: Study) -> str:
    kernel, origin = study.problem.kernel.replace("::", "_"), study.origin
    parts = (kernel, study.label.replace("=", ""), origin.device, origin.backend)
    return re.sub(r"[^\w.]+", "_", "_".join(parts))
