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
        paths = [recorded_path(out, f"{_file_name(study)}.json", str(study)) for study in studies]
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


def _file_name(study: Study) -> str:
    parts = (study.kernel.replace("::", "_"), study.label.replace("=", ""), study.device, study.backend)
    return re.sub(r"[^\w.]+", "_", "_".join(parts))
