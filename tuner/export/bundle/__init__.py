"""A folder that serves frozen tactics to TensorRT with neither this package nor Triton installed.

`serving.py` is the fixed half of the bundle's ``plugin.py``; the other half is generated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path

from tuner.cache import Cache
from tuner.compile.artifact import Target
from tuner.compile.service import Compiler
from tuner.compile.store import Store, default_folder
from tuner.config import load_config
from tuner.entry import Entry, problem_of
from tuner.errors import ConfigError
from tuner.export import Request
from tuner.export.bundle.contents import Held, configs_of, hold
from tuner.export.bundle.folder import write_bundle
from tuner.options import CompileOptions
from tuner.problem import Problem
from tuner.qdp.tactics import LOOKUP_ORDER
from tuner.source import kernel_hash


def export(request: Request) -> list[Path]:
    """Write the winners that the cache holds for the problems of configs, and the portfolios that cover them.

    `request.out` is the folder.

    Raises:
        ConfigError: for a config that cannot be read, or a problem that the cache does not hold.
        StorageError: when the cache cannot be read or the folder not be written.
        NoValidTacticError: when a winner does not compile any more.
    """
    if not request.sources:
        raise ConfigError("--format bundle is made from configs; name them: tuner export CONFIG... --format bundle")
    cache = Cache.open(request.cache)
    problems = [problem for path in request.sources for problem in load_config(path).problems]
    found = [(problem, entry) for problem in problems for entry in _entries(problem, cache, request)]
    found += _portfolios(problems, cache, request)
    return write_bundle(request.out, list(_compiled(found)))


def _entries(problem: Problem, cache: Cache, request: Request) -> list[Entry]:
    """The winners of exactly this problem, one for each device, by the backend nearest to TensorRT."""
    source = kernel_hash(problem.kernel)
    by_device: dict[str, Entry] = {}
    for backend in LOOKUP_ORDER:
        for device in sorted({e.device for e in cache.entries if e.kernel == problem.kernel.id}):
            hit = cache.lookup(problem, source, backend=backend, device=device)
            if hit.tier == "exact" and hit.entry is not None and hit.entry in request.selection:
                by_device.setdefault(device, hit.entry)
    if not by_device:
        where = f" that {request.selection} selects" if str(request.selection) else ""
        raise ConfigError(f"{problem}: {request.cache} holds no winner of it{where}; find one first: tuner tune CONFIG")
    return list(by_device.values())


def _portfolios(problems: list[Problem], cache: Cache, request: Request) -> list[tuple[Problem, Entry]]:
    """What serves the shapes between those of the problems, on each device by the backend nearest to TensorRT."""
    found: dict[tuple[str, str, str], tuple[Problem, Entry]] = {}
    devices = sorted({e.device for e in cache.entries if e.portfolio})
    for problem, backend, device in product(problems, LOOKUP_ORDER, devices):
        entry = cache.covering(problem, kernel_hash(problem.kernel), backend=backend, device=device)
        if entry is not None and entry in request.selection:
            found.setdefault((entry.kernel, entry.label, device), (problem_of(entry, problem.kernel), entry))
    exact = set(map(str, problems))
    return [(problem, entry) for problem, entry in found.values() if str(problem) not in exact]


def _compiled(found: list[tuple[Problem, Entry]]) -> Iterator[Held]:
    """What each winner and default compile to, compiled in parallel."""
    with ExitStack() as stack:
        compilers: dict[tuple[int, int], Compiler] = {}
        for problem, entry in found:
            if entry.capability is None:
                raise ConfigError(f"{entry}: the cache does not say for which compute capability; tune it again")
            if entry.capability not in compilers:
                compiler = Compiler.of(Target(entry.capability), CompileOptions(), Store(default_folder()))
                compilers[entry.capability] = compiler
                stack.callback(compiler.close)
            for config in configs_of(problem, entry):
                compilers[entry.capability].submit(problem, config)
        for problem, entry in found:
            assert entry.capability is not None
            yield hold(problem, entry, compilers[entry.capability])
