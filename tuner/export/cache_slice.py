"""The plain entries of a tactic cache: a cache file of its own, which `tuner import` merges into another."""

from __future__ import annotations

from pathlib import Path

from tuner.cache import Cache, encode
from tuner.errors import ConfigError
from tuner.export import Request
from tuner.files import write_atomic


def export(request: Request) -> list[Path]:
    """Write the selected entries of the cache into one file."""
    if request.sources or request.storage:
        raise ConfigError(f"json exports the tactic cache, {request.cache}; name another with --cache, and no RESULTS")
    held = Cache.open(request.cache).entries
    entries = [e for e in held if e in request.selection]
    if not entries:
        raise ConfigError(
            f"{request.cache} has {len(held)} entries, none of them with {request.selection}"
            if held
            else f"{request.cache} holds nothing; fill it with: tuner tune CONFIG"
        )
    write_atomic(request.out, encode(Cache(entries)))
    return [request.out]
