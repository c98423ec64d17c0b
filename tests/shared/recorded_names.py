"""File names that may stand in a file, and those that may not, with a folder to try them in."""

from __future__ import annotations

from pathlib import Path

GOOD_NAMES = ["a", "a.ptx", "ptx/a.ptx", "a b/c", "...", "..a", "a..", "ü/π.ptx", "~", "-rf", "inside/a", "loose"]
BAD_NAMES = [
    *("", ".", "..", "/", "/etc/passwd", "../victim", "a/../b", "a/../../victim", "./a", "a/./b", "a//b", "a/", "//a"),
    *("..\\victim", "a\\b", "C:\\x", "a\nb", "a\0b", "\x1b[2J", "\u202etxt", "\ud800"),
    *("out", "out/file", "up/victim", "deep/victim"),
]


def prepared(tmp_path: Path) -> Path:
    """A folder with links into it and out of it; what they lead out to is called victim."""
    folder = tmp_path / "folder"
    (folder / "ptx").mkdir(parents=True)
    (tmp_path / "victim").write_text("thesis")
    (folder / "inside").symlink_to("ptx")
    (folder / "loose").symlink_to("nothing")
    (folder / "out").symlink_to(tmp_path / "victim")
    (folder / "up").symlink_to("..")
    (folder / "deep").symlink_to("up")
    return folder
