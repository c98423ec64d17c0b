import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import StorageError
from tuner.outcome import Failure, FailureClass, Timing
from tuner.store.tables.table import Table, read_table

DATA = Path(__file__).parents[2] / "data" / "tables"


def t4(*results: dict[str, Any], unit: str = "miliseconds") -> str:
    return json.dumps({"metadata": {"timeunit": unit}, "results": list(results), "schema_version": "1.0.0"})


def t4_row(a: int, time: float | str, invalidity: str = "correct", unit: str = "") -> dict[str, Any]:
    return {
        "configuration": {"a": a},
        "invalidity": invalidity,
        "measurements": [{"name": "time", "value": time, "unit": unit}],
        "objectives": ["time"],
    }


def cache_file(**times: object) -> str:
    rows = {key.removeprefix("a"): {"a": int(key.removeprefix("a")), "time": time} for key, time in times.items()}
    return json.dumps({"device_name": "GPU X", "tune_params_keys": ["a"], "tune_params": {"a": [1]}, "cache": rows})


def write(folder: Path, text: str, name: str = "table.json") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def read(folder: Path, text: str, name: str = "table.json") -> Table:
    return read_table(write(folder, text, name))


def time_us(table: Table, **config: int) -> float:
    outcome = table.outcome(config)
    assert isinstance(outcome, Timing)
    return outcome.time_us


def failure(table: Table, **config: int) -> FailureClass:
    outcome = table.outcome(config)
    assert isinstance(outcome, Failure)
    return outcome.kind


def test_kernel_tuner_cache_of_a_real_gpu() -> None:
    table = read_table(DATA / "convolution_A4000.json.gz")
    assert (table.name, table.device) == ("convolution_A4000", "NVIDIA RTX A4000")
    assert table.space.size == len(table.outcomes) == 4362
    assert table.space.product == 10240
    assert table.optimum_us == pytest.approx(1021.172)
    kinds = [o.kind for o in table.outcomes.values() if isinstance(o, Failure)]
    assert (kinds.count(FailureClass.RUNTIME), kinds.count(FailureClass.COMPILE), len(kinds)) == (155, 6, 161)


def test_t4_of_a_real_gpu() -> None:
    table = read_table(DATA / "dedispersion_A4000_T4.json.gz")
    assert table.space.size == len(table.outcomes) < table.space.product
    first = next(o for o in table.outcomes.values() if isinstance(o, Timing))
    assert len(first.samples_us) == 4
    assert max(first.samples_us) == pytest.approx(first.time_us, rel=0.1)
    assert 147_697 < table.optimum_us < 160_000


@pytest.mark.parametrize(
    ("unit_of_file", "unit_of_row", "expected_us"),
    [
        ("miliseconds", "", 2000.0),
        ("", "", 2000.0),
        ("seconds", "us", 2.0),
        ("microseconds", "", 2.0),
        ("ns", "", 0.002),
    ],
)
def test_t4_units(tmp_path: Path, unit_of_file: str, unit_of_row: str, expected_us: float) -> None:
    table = read(tmp_path, t4(t4_row(1, 2.0, unit=unit_of_row), unit=unit_of_file))
    assert time_us(table, a=1) == pytest.approx(expected_us)


@pytest.mark.parametrize(
    ("invalidity", "kind"),
    [
        ("compile", FailureClass.COMPILE),
        ("runtime", FailureClass.RUNTIME),
        ("correctness", FailureClass.CORRECTNESS),
        ("timeout", FailureClass.TIMEOUT),
        ("constraints", FailureClass.CONSTRAINT),
    ],
)
def test_t4_failures_keep_their_class(tmp_path: Path, invalidity: str, kind: FailureClass) -> None:
    table = read(tmp_path, t4(t4_row(1, 2.0), t4_row(2, "RuntimeFailedConfig", invalidity)))
    assert failure(table, a=2) == kind
    assert table.space.size == 2


def test_kernel_tuner_failures(tmp_path: Path) -> None:
    table = read(tmp_path, cache_file(a1=1.5, a2="InvalidConfig", a3="CompilationFailedConfig", a4=1e20))
    assert [failure(table, a=a).value for a in (2, 3, 4)] == ["constraint", "compile", "runtime"]
    assert time_us(table, a=1) == 1500.0


@pytest.mark.parametrize("ending", ["", ",", ",\n", "}"])
def test_cache_of_an_interrupted_run(tmp_path: Path, ending: str) -> None:
    text = cache_file(a1=1.5, a2=1.0).removesuffix("}}") + ending
    table = read(tmp_path, text)
    assert (table.space.size, table.optimum_us) == (2, 1000.0)


def test_csv_with_failures_and_types(tmp_path: Path) -> None:
    text = "block,kind,fast,scale,time_ms\n64,x,true,0.5,2.0\n32,y,false,1,compile\n32,x,true,1,1.25\n"
    table = read(tmp_path, text, "mine.csv")
    assert [p.values for p in table.space.params] == [(32, 64), ("x", "y"), (True, False), (0.5, 1.0)]
    assert table.space.size == 3
    assert table.optimum_us == 1250.0
    outcome = table.outcome({"block": 32, "kind": "y", "fast": False, "scale": 1.0})
    assert isinstance(outcome, Failure) and outcome.kind == FailureClass.COMPILE


def test_csv_and_json_of_the_same_rows_agree(tmp_path: Path) -> None:
    from_csv = read(tmp_path, "a,time_us\n1,1500\n2,runtime\n", "a.csv")
    from_json = read(tmp_path, cache_file(a1=1.5, a2="RuntimeFailedConfig"))
    assert list(from_csv.space) == list(from_json.space)
    assert time_us(from_csv, a=1) == time_us(from_json, a=1)


def test_whole_numbers_among_fractions_become_fractions(tmp_path: Path) -> None:
    table = read(tmp_path, t4(t4_row(1, 1.0), {**t4_row(2, 2.0), "configuration": {"a": 1.5}}))
    assert [p.values for p in table.space.params] == [(1.0, 1.5)]
    assert {"a": 1.0} in table.space and isinstance(table.outcome({"a": 1.0}), Timing)


def test_gzip_is_recognised_by_content(tmp_path: Path) -> None:
    path = tmp_path / "squeezed"
    path.write_bytes(gzip.compress(b"a,time_us\n1,3\n"))
    assert read_table(path).optimum_us == 3.0


def test_a_configuration_that_was_not_recorded_violates_a_constraint(tmp_path: Path) -> None:
    table = read(tmp_path, "a,b,time_us\n1,1,5\n2,2,6\n2,1,7\n", "t.csv")
    missing = {"a": 1, "b": 2}
    assert missing not in table.space
    assert "recorded" in str(table.space.violated(missing))
    assert failure(table, **missing) == FailureClass.CONSTRAINT


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("t.json", '{"results": [{"configuration": {"a": 1}, "inval', "cut short"),
        ("t.json", '{"tune_params_keys": ["a"], "cache": {"1": {"a": 1, "ti', "cut short"),
        ("t.json", '{"hello": 1}', "neither a T4 file"),
        ("t.json", '{"results": [{"configuration": [1]}]}', "results[0].configuration"),
        ("t.json", t4(t4_row(1, 1.0, unit="parsecs")), "results[0] has the unit 'parsecs'"),
        ("t.json", t4(t4_row(1, 1.0), t4_row(2, 1.0, "haunted")), "results[1]"),
        ("t.json", t4(t4_row(1, 1.0), t4_row(2, -1.0)), "results[1] has the time -1.0"),
        ("t.json", t4(t4_row(1, 1.0), t4_row(1, 2.0)), "results[1] repeats"),
        ("t.json", cache_file(a1=None), "cache['1'] has the time None"),
        ("t.json", '{"tune_params_keys": ["a"], "cache": {"1": {"time": 1}}}', "cache['1'] has no 'a'"),
        ("t.json", '{"tune_params_keys": ["a"], "cache": {"1": {"a": [2], "time": 1}}}', "cache['1'] has a=[2]"),
        ("t.json", '{"results": [{"configuration": {"a": null}}]}', "results[0].configuration"),
        ("t.json", cache_file(a1="RuntimeFailedConfig"), "no configuration has a time"),
        ("t.csv", "a,b\n1,2\n", "line 1"),
        ("t.csv", "", "line 1"),
        ("t.csv", "a,time_us\n1,2\n2\n", "line 3 has 1 fields"),
        ("t.csv", "a,time_us\n1,2\n2,soon\n", "line 3 has neither a time nor"),
        ("t.csv", "a,time_us\n1,nan\n", "line 2 has the time nan"),
        ("t.csv", "a,time_us\n", "no configuration has a time"),
    ],
)
def test_malformed_tables_are_refused_with_file_and_place(tmp_path: Path, name: str, text: str, place: str) -> None:
    with pytest.raises(StorageError) as caught:
        read(tmp_path, text, name)
    message = str(caught.value)
    assert name in message and place in message
    assert "\n" not in message


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    cut = tmp_path / "cut.json.gz"
    cut.write_bytes(gzip.compress(cache_file(a1=1.0).encode())[:-12])
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    for path in (cut, binary, tmp_path / "absent.csv", tmp_path):
        with pytest.raises(StorageError, match=path.name):
            read_table(path)
