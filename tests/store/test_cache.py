import json
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from tuner import Kernel, Launch, Problem, Range, Tactic, Tensor, Tolerance, cdiv
from tuner.errors import StorageError
from tuner.kernel.identity import VERSION, kernel_hash
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem_data import RangeData
from tuner.outcome import Kind, Origin, Timing
from tuner.store.cache import LOOKUP_ORDER, Cache, Hit, default_path, encode, lookup, merge, schema, update
from tuner.store.entry import Entry, Proof, differences, entry_of, proofs
from tuner.store.nearest import Nearest

ROOT = Path(__file__).resolve().parents[2]
INCREMENT = load_kernel("kernels/increment.py", ROOT)
ROWS = replace(
    INCREMENT,
    inputs={"x": Tensor("T", "*M N")},
    outputs={"y": Tensor("T", "*M N")},
    launch=lambda M, N, BLOCK_SIZE: Launch(grid=(cdiv(M * N, BLOCK_SIZE),), args=(M * N,)),
)
SMALL = {"BLOCK_SIZE": 128, "num_warps": 2}
LARGE = {"BLOCK_SIZE": 2048, "num_warps": 8}


def entry(
    kernel: Kernel = INCREMENT,
    *,
    dims: dict[str, Any] | None = None,
    dtype: str = "fp16",
    attributes: dict[str, Any] | None = None,
    source: str = "abc",
    backend: str = "cuda",
    device: str = "NVIDIA H200",
    capability: tuple[int, int] | None = (9, 0),
    config: dict[str, Any] = LARGE,
    time_us: float = 20.0,
    samples_us: tuple[float, ...] = (),
    ties: tuple[Tactic, ...] = (),
) -> Entry:
    winner, default = Tactic(config), kernel.default_tactic
    timing = Timing(time_us, "measurement", "median", samples_us)
    return entry_of(
        Problem.of(kernel, dims or {"N": 1024}, {"T": dtype}, attributes),
        source,
        origin=Origin(backend, "measurement", device, capability, {"driver": "580.82"}),
        confirmed={winner: timing, default: replace(timing, time_us=30.0), **dict.fromkeys(ties, timing)},
        winner=winner,
        default=default,
        ties=ties,
        trials=8,
    )


def ask(
    cache: Cache,
    kernel: Kernel = INCREMENT,
    *,
    dims: dict[str, Any] | None = None,
    dtype: str = "fp16",
    attributes: dict[str, Any] | None = None,
    source: str = "abc",
    backend: str = "cuda",
    device: str = "NVIDIA H200",
    capability: tuple[int, int] | None = (9, 0),
) -> Hit:
    problem = Problem.of(kernel, dims or {"N": 1024}, {"T": dtype}, attributes)
    return cache.lookup(problem, source, backend=backend, device=device, capability=capability)


# -- what is stored ------------------------------------------------------------------------------


def test_a_missing_file_is_an_empty_cache(tmp_path: Path) -> None:
    assert Cache.open(tmp_path / "none.json").entries == ()


def test_an_entry_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    tie = Tactic(SMALL)
    dims = {"M": (4, Range(1, 8, 64)), "N": Range(16, 16, 32)}
    stored = entry(ROWS, dims=dims, attributes={"amount": 2}, samples_us=(19.0, 20.0, 22.0), ties=(tie,))
    update(tmp_path / "c.json", [stored])
    (read,) = Cache.open(tmp_path / "c.json").entries
    assert read == stored
    assert read.dims == {"M": (4, RangeData(1, 8, 64)), "N": RangeData(16, 16, 32)}
    assert (read.winner.id, read.winner.config) == (Tactic(LARGE).id, LARGE)
    assert read.default is not None and read.default.id == INCREMENT.default_tactic.id
    assert [t.id for t in read.ties] == [tie.id]
    assert read.attributes == {"amount": 2}
    assert read.date.utcoffset() == timedelta(0)


def test_samples_are_summarised() -> None:
    samples = entry(samples_us=tuple(float(i) for i in range(1, 102))).winner.samples
    assert samples is not None
    assert (samples.count, samples.median_us, samples.low_us, samples.high_us) == (101, 51.0, 6.0, 96.0)
    single = entry(samples_us=(7.0,)).winner.samples
    assert single is not None
    assert (single.count, single.median_us, single.low_us, single.high_us) == (1, 7.0, 7.0, 7.0)


def test_the_schema_file_is_current() -> None:
    current = (ROOT / "tuner/store/cache.schema.json").read_text()
    assert current == schema(), "write it anew with tuner.store.cache.schema()"


def test_a_written_cache_meets_the_schema_and_a_broken_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    update(path, [entry(ROWS, dims={"M": (2, Range(1, 2, 3)), "N": 8}, samples_us=(1.0, 2.0)), entry(capability=None)])
    content = json.loads(path.read_text())
    validator = jsonschema.Draft202012Validator(json.loads(schema()))
    validator.validate(content)
    content["entries"][0]["winner"]["time_us"] = -1
    assert not validator.is_valid(content)


def test_the_same_content_is_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    entries = [entry(dims={"N": n}, dtype=t) for n in (4096, 16, 1024) for t in ("fp32", "fp16")]
    update(tmp_path / "a.json", entries)
    for e in reversed(entries):
        update(tmp_path / "b.json", [msgspec.structs.replace(e, dtypes=dict(reversed(e.dtypes.items())))])
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_change_is_a_short_diff(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    old = [entry(dims={"N": n}) for n in (16, 32, 64)]
    before = encode(update(path, old)).decode().splitlines()
    winner = msgspec.structs.replace(old[1].winner, time_us=19.5)
    after = encode(update(path, [msgspec.structs.replace(old[1], winner=winner)])).decode().splitlines()
    assert [line.strip() for line in after if line not in before] == ['"time_us": 19.5,']
    assert max(map(len, after)) < 120


def test_the_default_place_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNER_CACHE", str(tmp_path / "mine.json"))
    assert default_path() == tmp_path / "mine.json"
    monkeypatch.delenv("TUNER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "qdp-tuner" / "tactics.json"


# -- lookup ----------------------------------------------------------------------------------------


def test_an_exact_match_wins() -> None:
    hit = ask(Cache([entry(), entry(dims={"N": 1025}, config=SMALL)]))
    assert (hit.tier, hit.tactic) == ("exact", Tactic(LARGE))
    assert str(hit).startswith("exact: N=1024 T=fp16 amount=1 on NVIDIA H200 (measurement by cuda, 20")


def test_the_nearest_shape_is_nearest_in_ratio() -> None:
    cache = Cache([entry(dims={"N": 100}, config=SMALL), entry(dims={"N": 1000})])
    hit = ask(cache, dims={"N": 400})  # 300 above the one, but nearer to it in ratio is the other
    assert (hit.tier, hit.tactic) == ("nearest", Tactic(LARGE))
    assert hit.distance == pytest.approx(3**0.5 * 1.3219, abs=1e-3)
    assert str(hit).startswith("nearest shape: N=1000 T=fp16 amount=1 on NVIDIA H200, 2.29 away in log2")


def test_equally_near_shapes_are_chosen_by_a_stable_rule() -> None:
    entries = [entry(dims={"N": 512}, config=SMALL), entry(dims={"N": 2048})]
    assert ask(Cache(entries)).tactic == ask(Cache(reversed(entries))).tactic == Tactic(SMALL)


def test_ranges_count_towards_the_distance() -> None:
    cache = Cache([entry(dims={"N": 64}, config=SMALL), entry(dims={"N": Range(1, 64, 4096)})])
    assert ask(cache, dims={"N": Range(1, 64, 2048)}).tactic == Tactic(LARGE)


def test_another_device_of_the_same_capability_comes_after_the_device_itself() -> None:
    far, other = entry(dims={"N": 1 << 20}, config=SMALL), entry(device="NVIDIA H100")
    assert ask(Cache([far, other])).tactic == Tactic(SMALL)
    hit = ask(Cache([other]))
    assert (hit.tier, hit.tactic) == ("device", Tactic(LARGE))
    assert str(hit).startswith("another device of the same compute capability: N=1024 T=fp16 amount=1 on NVIDIA H100")


@pytest.mark.parametrize("capability", [(8, 9), None])
def test_a_device_of_another_capability_does_not_match(capability: tuple[int, int] | None) -> None:
    assert ask(Cache([entry(device="NVIDIA L4", capability=capability)])).tier == "default"
    assert ask(Cache([entry(device="NVIDIA H100")]), capability=capability).tier == "default"


@pytest.mark.parametrize(
    "asked",
    [{"source": "abd"}, {"dtype": "bf16"}, {"backend": "model"}, {"attributes": {"amount": 2}}],
    ids=lambda a: next(iter(a)),
)
def test_a_lookup_never_crosses(asked: dict[str, Any]) -> None:
    hit = ask(Cache([entry(), entry(dims={"N": 2048})]), **asked)
    assert (hit.tier, hit.tactic, hit.entry) == ("default", INCREMENT.default_tactic, None)
    assert str(hit).startswith("default tactic: 2 of this kernel in the cache, none with this source")


OLD, OLDER, NOW = "f" * 64, "e" * 64, f"{VERSION}:{'a' * 64}"


def test_an_entry_of_an_older_hash_drops_a_tier_and_says_so() -> None:
    hit = ask(Cache([entry(source=OLD)]), source=NOW)
    assert (hit.tier, hit.tactic, hit.older_hash) == ("nearest", Tactic(LARGE), True)
    assert str(hit).endswith("; recorded with an older hash of the kernel source; tune again)")
    elsewhere = ask(Cache([entry(source=OLD, device="NVIDIA H100")]), source=NOW)
    assert (elsewhere.tier, elsewhere.older_hash) == ("device", True)
    other = f"{VERSION}:{'b' * 64}"
    assert ask(Cache([entry(source=other)]), source=NOW).tier == "default"  # of the same version, so another source


def test_an_entry_of_an_older_hash_comes_after_all_others() -> None:
    far = entry(source=NOW, dims={"N": 1 << 20}, config=SMALL)
    hit = ask(Cache([entry(source=OLD), far]), source=NOW)
    assert (hit.tactic, hit.older_hash) == (Tactic(SMALL), False)
    old, new = entry(source=OLD, backend="tensorrt"), entry(source=NOW, backend="model", config=SMALL)
    problem = Problem.of(INCREMENT, {"N": 1024}, {"T": "fp16"})
    found = [lookup(Cache(c), problem, NOW, LOOKUP_ORDER, "NVIDIA H200", (9, 0)) for c in ([old, new], [old], [])]
    assert [(h.tier, h.older_hash) for h in found] == [("exact", False), ("nearest", True), ("default", False)]


def test_of_two_older_hashes_the_one_recorded_last_serves() -> None:
    first, last = entry(source=OLD), entry(source=OLDER, config=SMALL)
    first = msgspec.structs.replace(first, date=last.date - timedelta(days=1))
    assert ask(Cache([first, last]), source=NOW).tactic == Tactic(SMALL)


def test_an_older_hash_crosses_nothing_else() -> None:
    cache = Cache([entry(source=OLD)])
    for asked in ({"dtype": "bf16"}, {"backend": "model"}, {"attributes": {"amount": 2}}):
        assert ask(cache, source=NOW, **asked).tier == "default"


def test_an_empty_cache_says_so() -> None:
    assert str(ask(Cache())) == "default tactic: the cache has no entry of this kernel"


def test_an_entry_whose_winner_is_not_legal_is_passed_over() -> None:
    illegal = {"BLOCK_SIZE": 64, "num_warps": 32}
    unknown = {"BLOCK_SIZE": 64, "num_wraps": 2}
    cache = Cache([entry(config=illegal), entry(dims={"N": 1025}, config=unknown), entry(dims={"N": 9999})])
    hit = ask(cache)
    assert (hit.tier, hit.tactic) == ("nearest", Tactic(LARGE))


def test_attribute_values_of_other_types_are_other_values() -> None:
    scaled = replace(INCREMENT, attributes={"amount": 1.0})
    assert ask(Cache([entry()]), scaled).tier == "default"


def test_nearest_points_come_in_the_order_of_a_full_scan() -> None:
    rng = random.Random(0)
    for dims in (1, 2, 3):
        # Few distinct coordinates, so that many points tie.
        points = [tuple(float(rng.randrange(6)) for _ in range(dims)) for _ in range(300)]
        place = tuple(float(rng.randrange(6)) for _ in range(dims))
        expected = sorted((sum((a - b) ** 2 for a, b in zip(p, place, strict=True)), i) for i, p in enumerate(points))
        found = list(Nearest(points).search(place))
        assert [i for _, i in found] == [i for _, i in expected]
        assert [d**2 for d, _ in found] == pytest.approx([d for d, _ in expected])


# -- merge -----------------------------------------------------------------------------------------


def test_merging_keeps_the_newer_of_two_and_everything_else() -> None:
    old, new = entry(time_us=20), entry(time_us=21)
    old = msgspec.structs.replace(old, date=new.date - timedelta(days=1))
    prediction = entry(backend="model", time_us=5)
    for a, b in ((old, new), (new, old)):
        assert merge(Cache([a]), Cache([b, prediction])).entries == (new, prediction)


def test_of_two_equally_old_entries_the_second_cache_wins() -> None:
    a = entry(time_us=20)
    b = msgspec.structs.replace(entry(time_us=21), date=a.date)
    assert merge(Cache([a]), Cache([b])).entries == (b,)
    assert merge(Cache([b]), Cache([a])).entries == (a,)


def test_a_date_that_lies_ahead_beats_nothing(tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    ahead = msgspec.structs.replace(entry(time_us=20), date=now + timedelta(hours=1))
    today = msgspec.structs.replace(entry(time_us=21), date=now)
    assert merge(Cache([ahead]), Cache([today])).entries == merge(Cache([today]), Cache([ahead])).entries == (today,)
    found = msgspec.structs.replace(entry(time_us=22), date=now - timedelta(days=1))  # by a clock that is behind
    for held in (ahead, today):
        update(tmp_path / "c.json", [held])
        assert update(tmp_path / "c.json", [found], by_date=True).entries == ((found,) if held is ahead else (today,))
        assert update(tmp_path / "c.json", [found]).entries == (found,)


def test_what_differs_today_is_said() -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    recorded = msgspec.structs.replace(
        entry(), environment={"triton": "3.1.0", "ptxas": "12.8.93", "driver": "580"}, date=now
    )
    assert differences(recorded, {"triton": "3.1.0", "ptxas": "12.8.93"}, now) == ""
    assert differences(recorded, {"triton": "3.6.0", "ptxas": "12.8.93", "nvrtc": "13.0"}, now) == (
        "recorded with triton 3.1.0, and 3.6.0 is installed: tune again"
    )
    ahead = differences(recorded, {}, now - timedelta(hours=1))
    assert ahead == "its date, 2026-05-01 00:00 UTC, lies ahead of this machine's clock: tune again"


def test_what_a_gpu_found_correct_travels_with_the_entry(tmp_path: Path) -> None:
    def recorded(backend: str, kind: Kind, verified: str = "verified") -> Entry:
        return msgspec.structs.replace(
            entry(backend=backend), kind=kind, verified=verified, evidence=Proof("looked at", {"7": backend * 8})
        )

    entries = [
        recorded("cuda", "measurement"),
        recorded("model", "prediction"),
        recorded("tensorrt", "measurement", ""),
    ]
    update(tmp_path / "c.json", entries)
    held = Cache.open(tmp_path / "c.json").entries
    assert [e.evidence for e in held] == [e.evidence for e in sorted(entries, key=lambda e: e.backend)]
    (ptx,) = proofs(held, INCREMENT)
    assert ptx == "cuda" * 8 and proofs(held, INCREMENT)[ptx].startswith("found correct on ")


# -- files that are refused --------------------------------------------------------------------------


def content(**changes: Any) -> dict[str, Any]:
    return {**json.loads(encode(Cache([entry()]))), **changes}


def tampered(change: Callable[[dict[str, Any]], Any]) -> bytes:
    data = content()
    change(data["entries"][0])
    return json.dumps(data).encode()


WHOLE = encode(Cache([entry()]))

BAD_FILES = {
    "empty": (b"", "is damaged or no tactic cache", "move it away"),
    "truncated": (WHOLE[: len(WHOLE) // 2], "is damaged", "restore it, or move it away"),
    "binary": (bytes(range(256)), "is damaged", "move it away"),
    "deeply nested": (b"[" * 100_000, "is damaged", "move it away"),
    "foreign object": (b'{"tuned": true}', 'lacks "format"', "name another file"),
    "foreign array": (b"[1, 2]", 'lacks "format"', "name another file"),
    "newer version": (json.dumps(content(version=2, extra=1)).encode(), "version 2", "upgrade qdp-tuner"),
    "version 0": (json.dumps(content(version=0)).encode(), "$.version", "restore it"),
    "unknown field": (tampered(lambda e: e.update(extra=1)), "extra", "$.entries[0]"),
    "missing field": (tampered(lambda e: e.pop("winner")), "winner", "$.entries[0]"),
    "wrong type": (tampered(lambda e: e.update(trials="8")), "expected `int`", "$.entries[0].trials"),
    "no trials": (tampered(lambda e: e.update(trials=0)), ">= 1", "$.entries[0].trials"),
    "huge id": (tampered(lambda e: e["winner"].update(id=2**31)), "<= 2147483647", "$.entries[0].winner.id"),
    "another id": (tampered(lambda e: e["winner"].update(id=5)), "id 5 is not the id", "$.entries[0].winner"),
    "another config": (tampered(lambda e: e["winner"]["config"].update(num_warps=8.0)), "is not the id", "winner"),
    "nested config": (tampered(lambda e: e["winner"]["config"].update(a=[])), "array", "$.entries[0].winner.config"),
    "negative time": (tampered(lambda e: e["winner"].update(time_us=-1)), "> 0", "$.entries[0].winner.time_us"),
    "NaN": (tampered(lambda e: e["winner"].update(time_us=float("nan"))), "malformed", "byte"),
    "infinity": (WHOLE.replace(b"20.0", b"1e999"), "out of range", "restore it"),
    "no size": (tampered(lambda e: e["dims"].update(N=0)), ">= 1", "$.entries[0].dims"),
    "no extents": (tampered(lambda e: e["dims"].update(N=[])), "length >= 1", "$.entries[0].dims"),
    "descending range": (
        tampered(lambda e: e["dims"].update(N={"min": 4, "opt": 2, "max": 8})),
        "min <= opt <= max",
        "$.entries[0].dims",
    ),
    "date without zone": (tampered(lambda e: e.update(date="2026-01-01T00:00:00")), "timezone", "$.entries[0].date"),
    "repeated problem": (json.dumps(content(entries=content()["entries"] * 2)).encode(), "several", "N=1024"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_with_place_and_mend_and_never_overwritten(name: str, tmp_path: Path) -> None:
    data, *hints = BAD_FILES[name]
    path = tmp_path / "c.json"
    path.write_bytes(data)
    actions: list[Callable[[], Cache]] = [lambda: Cache.open(path), lambda: update(path, [entry()])]
    for action in actions:
        with pytest.raises(StorageError) as e:
            action()
        message = str(e.value)
        assert str(path) in message and "\n" not in message
        assert all(hint.lower() in message.lower() for hint in hints), message
    assert path.read_bytes() == data


def test_an_entry_that_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    update(path, [entry()])
    before = path.read_bytes()
    for time_us in (float("nan"), float("inf"), -1.0, 0.0):
        with pytest.raises(StorageError, match="not storable in a tactic cache"):
            update(path, [entry(dims={"N": 5}, time_us=time_us)])
    assert path.read_bytes() == before


def test_a_folder_is_no_cache(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is not a file; name a cache file with --cache or TUNER_CACHE"):
        Cache.open(tmp_path)
    with pytest.raises(StorageError):
        update(tmp_path, [entry()])


# -- writing -------------------------------------------------------------------------------------------


def test_permissions_and_symbolic_links_are_kept(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "c.json", tmp_path / "link.json"
    link.symlink_to(real)
    update(link, [entry()])
    real.chmod(0o640)
    update(link, [entry(dims={"N": 7})])
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert len(Cache.open(real)) == len(Cache.open(link)) == 2


def test_a_folder_that_cannot_be_made_is_an_error_with_a_mend(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"c\.json cannot be written: .*choose another place"):
        update(tmp_path / "file" / "c.json", [entry()])


def test_a_folder_without_write_permission_is_an_error_with_a_mend(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    code = f"""
        import filelock  # now: another user may not be allowed to read the environment

        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            update(Path({str(folder / "c.json")!r}), [entry()])
        except StorageError as e:
            print(e)
    """
    assert "cannot be written: Permission denied; give room or write access" in run(code)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    update(path, [entry()])
    before = path.read_bytes()
    code = f"""
        resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before)}, {len(before)}))
        try:
            update(Path({str(path)!r}), [entry(dims={{"N": n}}) for n in range(1, 100)])
        except StorageError as e:
            print(e)
    """
    assert "cannot be written: File too large; give room" in run(code)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".lock") == ["c.json"]


def test_eight_processes_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    # Each writes its own 25 problems 8 times over, and sees its last write of each whenever it writes.
    code = """
        written = {{}}
        for i in range(200):
            n = {first} + i % 25
            written[n] = i + 1.0
            cache = update(Path({path!r}), [entry(dims={{"N": n}}, time_us=written[n])])
            stored = {{e.dims["N"]: e.winner.time_us for e in cache.entries}}
            assert written.items() <= stored.items()
    """
    writers = [start(code.format(path=str(path), first=1 + 25 * w)) for w in range(8)]
    assert [w.wait() for w in writers] == [0] * 8
    stored = {e.dims["N"]: e.winner.time_us for e in Cache.open(path).entries}
    assert stored == {n: 176.0 + (n - 1) % 25 for n in range(1, 201)}


def test_a_writer_that_is_killed_leaves_a_valid_file(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    update(path, [entry(dims={"N": n}) for n in range(1, 400)])
    code = f"""
        print("ready", flush=True)
        while True:
            update(Path({str(path)!r}), [entry(dims={{"N": 400}})])
    """
    rng = random.Random(0)
    for _ in range(5):
        writer = start(code, stdout=subprocess.PIPE)
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(timeout=0.05 + rng.random() / 5)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert len(Cache.open(path)) in (399, 400)
    update(path, [entry(dims={"N": 401})])
    assert len(Cache.open(path)) == 401
    assert not list(tmp_path.glob(".*.tmp")), "what killed writers left behind stays"


PRELUDE = """
import os, resource, sys
sys.path[:0] = {tests!r}
from pathlib import Path
from test_cache import SMALL, StorageError, entry, update
"""


def start(code: str, **options: Any) -> "subprocess.Popen[bytes]":
    program = PRELUDE.format(
        tests=[str(Path(__file__).parent), str(Path(__file__).parents[1] / "shared")]
    ) + textwrap.dedent(code)
    return subprocess.Popen([sys.executable, "-c", program], **options)


def run(code: str) -> str:
    process = start(code, stdout=subprocess.PIPE)
    output = process.communicate()[0].decode()
    assert process.returncode == 0
    return output


def test_an_entry_that_was_held_against_another_reference_is_unverified(tmp_path: Path) -> None:
    held = entry(dims={"N": 400}, source=kernel_hash(INCREMENT))
    update(tmp_path / "tactics.json", [held])
    edited = replace(INCREMENT, reference=lambda x, amount: x + 2 * amount)
    looser = replace(INCREMENT, tolerances={"fp16": Tolerance(1.0, 1.0)})

    def looked_up(kernel: Kernel) -> Hit:
        problem = Problem.of(kernel, {"N": 400}, {"T": "fp16"})
        cache = Cache.open(tmp_path / "tactics.json")
        return cache.lookup(problem, kernel_hash(kernel), backend="cuda", device="NVIDIA H200")

    assert (looked_up(INCREMENT).tier, looked_up(INCREMENT).entry) == ("exact", held)
    for kernel in (edited, looser):
        hit = looked_up(kernel)
        assert hit.tier == "exact" and hit.entry is not None
        assert hit.entry.verified == "unverified: the reference or a tolerance has changed since; tune again"
        assert not proofs([held], kernel)
