"""A folder that serves frozen tactics to TensorRT with neither this package nor Triton installed.

`serving.py` is the fixed half of the bundle's ``plugin.py``; the other half is generated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import msgspec

from tuner.compile.blobs import Store, default_folder
from tuner.compile.compiler import Compiler
from tuner.compile.options import CompileOptions
from tuner.compile.steps import submit_steps
from tuner.errors import ConfigError, NoValidTacticError
from tuner.gpu.target import Target
from tuner.kernel.identity import kernel_hash
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import data_of
from tuner.outcome import VERIFIED, caution
from tuner.qdp.bundle.contents import Held, configs_of, hold
from tuner.qdp.bundle.folder import write_bundle
from tuner.search.tactic import Tactic
from tuner.store.cache import LOOKUP_ORDER, Cache
from tuner.store.entry import Entry, of_today, problem_of, proofs
from tuner.store.selection import Selection


def export_bundle(
    problems: Sequence[Problem],
    out: Path,
    cache_file: Path,
    selection: Selection,
    *,
    unverified: bool = False,
    note: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Write the winners that the cache holds for problems, and the portfolios that cover them.

    Args:
        problems: what the bundle is to serve.
        out: the folder.
        cache_file: the tactic cache.
        selection: which of its entries may be taken.
        unverified: whether tactics may be taken that nothing has found correct.
        note: is told which they are.

    Returns:
        The files written.

    Raises:
        ConfigError: for a problem that the cache does not hold.
        StorageError: when the cache cannot be read or the folder not be written.
        NoValidTacticError: when a winner does not compile any more, or is not verified and `unverified` is not set.
    """
    held = _Stock(Cache.open(cache_file), cache_file, selection)
    found = [(problem, entry) for problem in problems for entry in _entries(problem, held)]
    found += _portfolios(problems, held)
    contents = [_judged(code, proofs(held.cache.entries, code.problem.kernel)) for code in _compiled(found)]
    for code in contents:
        if doubtful := caution(code.entry.verified):
            said = f"{code.problem}: the winner ({Tactic(code.entry.winner.config)}) is {doubtful}"
            if not unverified:
                raise NoValidTacticError(f"{said}; to ship it all the same: --allow-unverified")
            note(said)
    return write_bundle(out, contents)


def _judged(held: Held, proven: Mapping[str, str]) -> Held:
    """The same, and verified where a GPU has found all the code that it serves correct."""
    if held.entry.verified == VERIFIED or not all(code.digest in proven for _, code in held.tactics):
        return held
    return replace(held, entry=msgspec.structs.replace(held.entry, verified=VERIFIED))


def require_winners(problems: Sequence[Problem], cache_file: Path, selection: Selection) -> None:
    """Refuse problems that `export_bundle` would refuse because the cache holds no winner of one.

    Raises:
        ConfigError, StorageError: as `export_bundle` does.
    """
    held = _Stock(Cache.open(cache_file), cache_file, selection)
    for problem in problems:
        _entries(problem, held)


@dataclass(frozen=True)
class _Stock:
    """What the bundle may take."""

    cache: Cache
    path: Path
    selection: Selection


def _entries(problem: Problem, held: _Stock) -> list[Entry]:
    """The winners of exactly this problem, one for each device, by the backend nearest to TensorRT."""
    source = kernel_hash(problem.kernel)
    by_device: dict[str, Entry] = {}
    outdated = False
    for backend in LOOKUP_ORDER:
        for device in sorted({e.device for e in held.cache.entries if e.kernel == problem.kernel.id}):
            hit = held.cache.lookup(problem, source, backend=backend, device=device)
            if hit.tier == "exact" and hit.entry is not None and hit.entry in held.selection:
                by_device.setdefault(device, hit.entry)
            elif hit.older_hash and hit.entry is not None and hit.entry.problem.key == data_of(problem).key:
                outdated = outdated or hit.entry in held.selection
    if not by_device and outdated:
        raise ConfigError(
            f"{problem}: {held.path} holds its winner with an older hash of the kernel source, so that nobody knows "
            "whether the source is the same; tune again: tuner tune CONFIG"
        )
    if not by_device:
        where = f" that {held.selection} selects" if str(held.selection) else ""
        raise ConfigError(f"{problem}: {held.path} holds no winner of it{where}; find one first: tuner tune CONFIG")
    return list(by_device.values())


def _portfolios(problems: Sequence[Problem], held: _Stock) -> list[tuple[Problem, Entry]]:
    """What serves the shapes between those of the problems, on each device by the backend nearest to TensorRT."""
    found: dict[tuple[str, ...], tuple[Problem, Entry]] = {}
    devices = sorted({e.device for e in held.cache.entries if e.portfolio})
    for problem, backend, device in product(problems, LOOKUP_ORDER, devices):
        entry = held.cache.covering(problem, kernel_hash(problem.kernel), backend=backend, device=device)
        if entry is not None and entry in held.selection:
            held_today = of_today(entry, problem.kernel)
            found.setdefault((*entry.problem.key, device), (problem_of(entry, problem.kernel), held_today))
    exact = {data_of(problem).key for problem in problems}
    return [(problem, entry) for problem, entry in found.values() if entry.problem.key not in exact]


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
                submit_steps(compilers[entry.capability], problem, config)
        for problem, entry in found:
            assert entry.capability is not None
            yield hold(problem, entry, compilers[entry.capability])
