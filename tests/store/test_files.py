"""Names that stand in files, and what is read, replaced and deleted by them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from recorded_names import BAD_NAMES, GOOD_NAMES, prepared

from tuner.errors import StorageError
from tuner.store.files import leftovers, locked, plain_content, recorded_path, write_atomic


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_name_inside_the_folder_is_a_path(tmp_path: Path, name: str) -> None:
    folder = prepared(tmp_path)
    assert recorded_path(folder, name, "data.json: file") == folder / name


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_leads_elsewhere_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    folder = prepared(tmp_path)
    with pytest.raises(StorageError, match=r"data\.json: file: .*; (restore data\.json|remove the link)") as e:
        recorded_path(folder, name, "data.json: file")
    assert str(e.value).isprintable()


def test_an_absolute_name_of_a_file_inside_is_refused_too(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    with pytest.raises(StorageError):
        recorded_path(folder, str(folder / "a"), "data.json")


def test_a_folder_may_be_reached_by_a_link(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    (tmp_path / "link").symlink_to(folder)
    assert recorded_path(tmp_path / "link", "ptx/a", "data.json") == tmp_path / "link" / "ptx" / "a"


def test_only_a_plain_file_has_content(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    (folder / "ptx" / "a").write_text("code")
    os.mkfifo(folder / "pipe")
    assert plain_content(folder, "ptx/a") == b"code"
    for name in ("inside/a", "loose", "out", "ptx", "pipe", "none", "ptx/a/b"):
        assert plain_content(folder, name) is None, name


def test_only_leftovers_of_killed_writers_are_removed(tmp_path: Path) -> None:
    mine = [".a[1].json.notes.tmp", ".a[1].json.0123456g.tmp", "a[1].json.01234567.tmp", ".a1.json.01234567.tmp"]
    for name in mine:
        (tmp_path / name).touch()
    (tmp_path / ".a[1].json.89abcdef.tmp").symlink_to(mine[0])
    left = tmp_path / ".a[1].json.01234567.tmp"
    left.touch()
    target = tmp_path / "a[1].json"
    assert leftovers(target) == [left]
    with locked(target):
        write_atomic(target, b"new")
    assert not left.exists() and {*mine} < {p.name for p in tmp_path.iterdir()}
