"""The plain slice of a cache: written by `tuner export --format json`, merged by `tuner import`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from entries import entry
from workspace import Run, Workspace

from tuner.store.cache import Cache, encode, update
from tuner.store.tables.table import read_table

ENTRIES = (
    entry(N=4096),
    entry(N=64, dtype="fp32"),
    entry(N=4096, device="NVIDIA A100", capability=(8, 0)),
    entry(N=4096, backend="model", kind="prediction"),
    entry("other::kernel", N=4096),
)


@pytest.fixture
def cache(workspace: Workspace) -> Path:
    path = workspace.folder / "tactics.json"
    update(path, ENTRIES)
    return path


def export(workspace: Workspace, *arguments: str) -> Run:
    return workspace.run("export", "--format", "json", "--out", "slice.json", *arguments)


def test_the_whole_cache_is_exported_as_it_is(workspace: Workspace, cache: Path) -> None:
    assert export(workspace).out == "slice.json\n"
    assert (workspace.folder / "slice.json").read_bytes() == cache.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--kernel", "other::kernel"), [4]),
        (("--kernel", "increment"), [0, 1, 2, 3]),
        (("--device", "a100"), [2]),
        (("--backend", "model"), [3]),
        (("--kind", "measurement", "--kernel", "increment", "--device", "h200"), [0, 1]),
        (("--problem", "N=64"), [1]),
        (("--problem", "fp32 N=64"), [1]),
    ],
)
def test_filters_choose_entries(
    workspace: Workspace, cache: Path, arguments: tuple[str, ...], expected: list[int]
) -> None:
    assert export(workspace, *arguments).code == 0
    chosen = (ENTRIES[i] for i in expected)
    assert (workspace.folder / "slice.json").read_bytes() == encode(Cache(chosen))
    shown = workspace.run("show", *arguments, "--json").document["entries"]
    assert [e["kernel"] for e in shown] == [e.kernel for e in Cache(ENTRIES[i] for i in expected).entries]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--kernel", "incremen"), "tactics.json has 5 entries, none of them with --kernel 'incremen'"),
        (("--cache", "none.json"), "none.json holds nothing; fill it with: tuner tune CONFIG"),
        (("--storage", "sqlite:///t.db"), "name another with --cache, and no RESULTS"),
        ((".",), "name another with --cache, and no RESULTS"),
    ],
)
def test_what_selects_nothing_is_refused_and_writes_nothing(
    workspace: Workspace, cache: Path, arguments: tuple[str, ...], said: str
) -> None:
    run = export(workspace, *arguments)
    assert run.code == 2 and said in run.err
    assert not (workspace.folder / "slice.json").exists()


def test_an_import_merges_and_keeps_the_newer(workspace: Workspace, cache: Path) -> None:
    newer = msgspec.structs.replace(ENTRIES[0], date=ENTRIES[0].date + timedelta(days=1), trials=99)
    older = msgspec.structs.replace(ENTRIES[1], date=ENTRIES[1].date - timedelta(days=1), trials=99)
    update(workspace.folder / "theirs.json", [newer, older, entry(N=7)])
    run = workspace.run("import", "theirs.json", "--json")
    assert run.document == {"cache": str(cache), "read": 3, "added": 1, "replaced": 1}
    assert set(map(str, Cache.open(cache).entries)) == set(map(str, (*ENTRIES, entry(N=7))))
    trials = {str(e): e.trials for e in Cache.open(cache).entries}
    assert (trials[str(newer)], trials[str(older)]) == (99, ENTRIES[1].trials)
    again = workspace.run("import", "theirs.json")
    assert again.out == f"{cache}: 0 added, 0 replaced, 3 as they were or older\n"


def test_a_cache_exported_in_parts_and_imported_is_the_same_cache(workspace: Workspace, cache: Path) -> None:
    for kernel in ("increment", "other::kernel"):
        assert export(workspace, "--kernel", kernel, "--out", f"{kernel[:5]}.json").code == 0
    assert workspace.run("import", "incre.json", "other.json", "--cache", "joined.json").code == 0
    assert (workspace.folder / "joined.json").read_bytes() == cache.read_bytes()


def test_a_file_that_is_no_slice_leaves_the_cache_as_it_was(workspace: Workspace, cache: Path) -> None:
    content = cache.read_bytes()
    assert export(workspace).code == 0
    run = workspace.run("import", "slice.json", "job.toml")
    assert run.code == 2 and run.err.startswith("error: job.toml is damaged or no tactic cache")
    assert workspace.run("import", "missing.json").code == 2
    assert cache.read_bytes() == content


def test_one_entry_is_a_table_for_replay(workspace: Workspace, cache: Path) -> None:
    assert export(workspace, "--backend", "model").code == 0
    table = read_table(workspace.folder / "slice.json")
    timed = ENTRIES[3]
    assert timed.default is not None
    assert (table.kind, table.device, table.space.size) == ("prediction", "NVIDIA H200", 2)
    assert table.optimum_us == timed.winner.time_us
    replayed = workspace.run("replay", "slice.json", "--trials", "2", "--seeds", "2", "--json").document["tables"]
    assert replayed[0]["ratios"]["2"] == [1.0, 1.0]


def test_several_entries_are_no_table(workspace: Workspace, cache: Path) -> None:
    run = workspace.run("replay", str(cache))
    assert run.code == 2 and "holds 5 entries, and a table is one" in run.err
