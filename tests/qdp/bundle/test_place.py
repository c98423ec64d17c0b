"""What an export does to a folder: killed at any moment, with files of others in it, with a manifest of others."""

from __future__ import annotations

import ast
import fcntl
import hashlib
import json
import os
import runpy
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from recorded_names import BAD_NAMES, GOOD_NAMES, prepared

from tuner.errors import StorageError
from tuner.qdp.bundle import place
from tuner.qdp.bundle.manifest import Manifest
from tuner.qdp.bundle.place import put_bundle
from tuner.store.files import recorded_path

SERVING = Path(place.__file__).with_name("serving.py")
READER = {"_read", "_inside", "BundleError"}
OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir", "os.listdir", "os.scandir"}


def reader() -> str:
    """The part of a bundle's plugin.py that reads its files, without what needs TensorRT."""
    tree = ast.parse(SERVING.read_text())
    kept = [
        node
        for node in tree.body
        if getattr(node, "name", None) in READER
        or (isinstance(node, (ast.Import, ast.ImportFrom)) and "tensorrt" not in ast.unparse(node))
    ]
    return ast.unparse(ast.Module(kept, [])) + "\nMANIFEST, PTX = _read(Path(__file__).parent)\n"


def bundle_files(name: str, ptx: Mapping[str, str]) -> dict[str, bytes]:
    """The files of a bundle that says its name."""
    return {"plugin.py": f"{reader()}NAME = {name!r}\n".encode()} | {f"ptx/{n}.ptx": t.encode() for n, t in ptx.items()}


BUNDLES = {
    "old": bundle_files("old", {"a": "// a", "b": "// b"}),
    "new": bundle_files("new", {"b": "// b", "c": "// c", "d": "// d"}),
    "third": bundle_files("third", {"a": "// a", "e": "// e"}),
}


def export(out: Path, name: str) -> list[Path]:
    listed = {n: hashlib.sha256(content).hexdigest() for n, content in sorted(BUNDLES[name].items())}
    return put_bundle(out, BUNDLES[name], Manifest(made_by=name, kernels={}, files=listed))


def served(out: Path) -> str | None:
    """Which bundle a process that imports the plugin is served; None where there is no plugin yet."""
    if not (out / "plugin.py").exists():
        return None
    found = runpy.run_path(str(out / "plugin.py"))
    assert found["MANIFEST"]["made_by"] == found["NAME"]
    assert {n: t.encode() for n, t in found["PTX"].items()} == {
        n: c for n, c in BUNDLES[found["NAME"]].items() if n.endswith(".ptx")
    }
    return str(found["NAME"])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def killed(action: Callable[[], object], at: int) -> bool:
    """Whether a process that does this was killed before its file operation number `at`, by SIGKILL."""
    pid = os.fork()
    if pid == 0:
        count = 0

        def hook(event: str, _: object) -> None:
            nonlocal count
            if event in OPERATIONS:
                count += 1
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(hook)
            action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("before", ["old", None])
def test_killed_at_any_moment_one_bundle_is_served_and_the_next_works(tmp_path: Path, before: str | None) -> None:
    seen, at = set(), 0
    while True:
        at += 1
        out = tmp_path / str(at)
        if before is not None:
            export(out, before)
            (out / "ptx" / "mine.ptx").write_text("mine")
        ended = not killed(lambda out=out: export(out, "new"), at)  # type: ignore[misc]
        seen.add(served(out) if out.exists() else None)
        again = killed(lambda out=out: export(out, "third"), at)  # type: ignore[misc]
        assert served(out) in {before, "new", "third"} if again else served(out) == "third"
        written = export(out, "third")
        assert served(out) == "third"
        mine = {} if before is None else {"ptx/mine.ptx": b"mine"}
        assert contents(out).keys() == {str(p.relative_to(out)) for p in written} | mine.keys()
        assert {**contents(out), **mine} == contents(out)
        if ended:
            break
    assert at > 20 and seen == {before, "new"}


def test_what_is_written_is_what_is_returned_and_listed(tmp_path: Path) -> None:
    written = export(tmp_path / "a" / "b", "old")
    manifest = json.loads((tmp_path / "a" / "b" / "manifest.json").read_text())
    assert {str(p.relative_to(tmp_path / "a" / "b")) for p in written} == {*manifest["files"], "manifest.json"}
    assert {p for p in (tmp_path / "a" / "b").rglob("*") if p.is_file()} == {*written}
    before = contents(tmp_path)
    export(tmp_path / "a" / "b", "old")
    assert contents(tmp_path) == before


def test_files_that_were_edited_are_kept(tmp_path: Path) -> None:
    export(tmp_path, "old")
    (tmp_path / "ptx" / "a.ptx").write_text("// edited")
    export(tmp_path, "new")  # which has no a.ptx
    assert (tmp_path / "ptx" / "a.ptx").read_text() == "// edited" and served(tmp_path) == "new"
    before = contents(tmp_path)
    with pytest.raises(StorageError, match=r"ptx/a\.ptx is not as it was exported; move it away"):
        export(tmp_path, "third")  # which has one
    assert contents(tmp_path) == before and served(tmp_path) == "new"


def edit_plugin(out: Path) -> None:
    with (out / "plugin.py").open("a") as f:
        f.write("# tuned by hand\n")


def edit_manifest(out: Path) -> None:
    text = (out / "manifest.json").read_text()
    assert text.count('"made_by": "old"') == 1
    (out / "manifest.json").write_text(text.replace('"made_by": "old"', '"made_by": "old", "note": "mine"'))


def reformat_manifest(out: Path) -> None:
    (out / "manifest.json").write_text(json.dumps(json.loads((out / "manifest.json").read_text()), indent=4))


def link_plugin(out: Path) -> None:
    (out / "plugin.py").rename(out.parent / "elsewhere.py")
    (out / "plugin.py").symlink_to(out.parent / "elsewhere.py")


def link_ptx(out: Path) -> None:
    (out / "ptx").rename(out.parent / "elsewhere")
    (out / "ptx").symlink_to(out.parent / "elsewhere")


def link_nowhere(out: Path) -> None:
    (out / "ptx" / "c.ptx").symlink_to(out.parent / "victim")


def link_manifest(out: Path) -> None:
    (out / "manifest.json").rename(out.parent / "elsewhere.json")
    (out / "manifest.json").symlink_to(out.parent / "elsewhere.json")


def take_a_name(out: Path) -> None:
    (out / "ptx" / "c.ptx").mkdir()


def remove_manifest(out: Path) -> None:
    (out / "manifest.json").unlink()


@pytest.mark.parametrize(
    "change",
    [
        *(edit_plugin, edit_manifest, reformat_manifest, link_plugin, link_ptx, link_nowhere, link_manifest),
        *(take_a_name, remove_manifest),
    ],
)
def test_what_is_not_as_it_was_exported_is_refused_and_kept(tmp_path: Path, change: Callable[[Path], None]) -> None:
    out = tmp_path / "bundle"
    export(out, "old")
    change(out)
    before = contents(tmp_path)
    with pytest.raises(StorageError, match=r"not as it was exported|no bundle|no folder of a bundle|symbolic link"):
        export(out, "new")
    assert contents(tmp_path) == before


def without_seal(out: Path) -> None:
    """The manifest as versions wrote it that sealed none."""
    data = json.loads((out / "manifest.json").read_text())
    del data["seal"]
    (out / "manifest.json").write_text(json.dumps(data, indent=1) + "\n")


def test_a_bundle_from_before_there_were_seals_is_replaced(tmp_path: Path) -> None:
    export(tmp_path, "old")
    without_seal(tmp_path)
    export(tmp_path, "new")
    assert served(tmp_path) == "new"
    assert {*contents(tmp_path)} == {*BUNDLES["new"], "manifest.json"}


@pytest.mark.parametrize("change", [edit_plugin, reformat_manifest, link_ptx])
def test_a_bundle_without_a_seal_that_was_changed_is_kept(tmp_path: Path, change: Callable[[Path], None]) -> None:
    out = tmp_path / "bundle"
    export(out, "old")
    without_seal(out)
    change(out)
    before = contents(tmp_path)
    with pytest.raises(StorageError, match=r"not as it was exported|no folder of a bundle|symbolic link"):
        export(out, "new")
    assert contents(tmp_path) == before


def test_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    for name, text in (("package.json", "{}"), ("manifest.json", "[]"), ("manifest.json", '{"format": "qdp"}')):
        folder = tmp_path / f"{name}-{len(text)}"
        folder.mkdir()
        (folder / name).write_text(text)
        with pytest.raises(StorageError, match="exists and is no bundle"):
            export(folder, "new")
        assert contents(folder) == {name: text.encode()}
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        with pytest.raises(StorageError, match=f"{name} exists and is no bundle"):
            export(tmp_path / name, "new")


def test_a_link_to_the_bundle_is_a_way_to_it(tmp_path: Path) -> None:
    export(tmp_path / "v1", "old")
    (tmp_path / "current").symlink_to("v1")
    export(tmp_path / "current", "new")
    assert (tmp_path / "current").is_symlink() and served(tmp_path / "v1") == "new"


def forged(out: Path, name: str, content: bytes) -> None:
    """A manifest that claims that an export wrote this file, with a right hash and a right seal."""
    data = json.loads((out / "manifest.json").read_text())
    del data["seal"]
    data["files"][name] = hashlib.sha256(content).hexdigest()
    seal = hashlib.sha256(json.dumps(data).encode()).hexdigest()
    (out / "manifest.json").write_text(json.dumps({**data, "seal": seal}, indent=1) + "\n")


@pytest.mark.parametrize(
    "name", ["../victim", "/ABSOLUTE/victim", ".git/config", "README.md", "ptx/../../victim", "up"]
)
def test_a_forged_manifest_deletes_nothing(tmp_path: Path, name: str) -> None:
    out = tmp_path / "bundle"
    export(out, "old")
    (out / ".git").mkdir()
    (out / "up").symlink_to("../victim")
    for victim in (tmp_path / "victim", out / ".git" / "config", out / "README.md"):
        victim.write_text("thesis")
    forged(out, name.replace("/ABSOLUTE", str(tmp_path)), b"thesis")
    before = contents(tmp_path)
    with pytest.raises(StorageError, match=r"manifest\.json: files: "):
        export(out, "new")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", [*GOOD_NAMES, *BAD_NAMES])
def test_the_plugin_takes_the_names_that_this_package_takes(tmp_path: Path, name: str) -> None:
    folder = prepared(tmp_path)
    names: dict[str, Any] = {}
    exec(reader().rpartition("\nMANIFEST")[0], names)
    try:
        expected: Path | None = recorded_path(folder, name, "manifest.json")
    except StorageError:
        expected = None
    try:
        found = names["_inside"](folder, name)
    except names["BundleError"]:
        found = None
    assert found == expected


def test_two_exports_at_once_are_refused(tmp_path: Path) -> None:
    export(tmp_path, "old")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(StorageError, match="another export is writing to"):
        export(tmp_path, "new")
    os.close(descriptor)
    export(tmp_path, "new")
    assert served(tmp_path) == "new"
