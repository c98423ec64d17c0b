"""The tensorrt backend through the real command, on a simulated TensorRT, in processes that really hang and crash."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from chained import ONE_POINTER, PEAK, TOTAL, TWO_POINTERS
from simulated import write_shims
from workspace import KERNEL, STORE, Run, Workspace

from tuner import Tactic

DEFAULT = Tactic({"BLOCK": 256, "num_warps": 4})
FAST = Tactic({"BLOCK": 1024, "num_warps": 4})
TIMES = {DEFAULT: 50.0, FAST: 40.0}
NETWORK = """
def twice(network, plugin):
    import tensorrt as trt

    x = network.add_input("image", trt.float32, ({extent},))
    for _ in range(2):
        x = network.add_plugin(plugin(x, factor=2.0), aot=True).get_output(0)
    x.name = "probability"
    network.mark_output(x)
"""


@dataclass(frozen=True)
class Engines:
    """A workspace whose `tensorrt` and CUDA driver are simulated."""

    workspace: Workspace
    path: str
    scenario: dict[str, Any] = field(default_factory=dict)

    def tune(
        self,
        *,
        n: str = "65536",
        dims: str = "",
        kernel: str = KERNEL,
        trials: int = 20,
        more: str = "",
        us: Mapping[Tactic, float] = TIMES,
        faults: Mapping[Tactic, str] | None = None,
        options: tuple[str, ...] = ("--backend", "tensorrt"),
        **scenario: Any,
    ) -> Run:
        """Run `tuner tune`; `us` and `faults` by tactic."""
        folder = self.workspace.folder
        self.workspace.write(kernel, trials=trials, more=more)
        job = (folder / "job.toml").read_text().replace("N = 4194304", dims or f"N = {n}")
        (folder / "job.toml").write_text(job)
        told = {
            "kernel": str(folder / "kernel.py"),
            "us": {str(t.id): time for t, time in us.items()},
            "faults": {str(t.id): fault for t, fault in (faults or {}).items()},
            **scenario,
        }
        (folder / "scenario.json").write_text(json.dumps(told))
        variables = {"PYTHONPATH": self.path, "SIMULATED_TENSORRT": str(folder / "scenario.json")}
        return replace(self.workspace, variables=variables).run("tune", "job.toml", "--json", *options)

    @property
    def trials(self) -> dict[int, dict[str, str]]:
        """The rows of `trials.csv` by tactic id, in the order of the trials."""
        with (self.workspace.folder / "results" / "job" / "trials.csv").open() as file:
            return {int(row["tactic"]): row for row in csv.DictReader(file)}

    @property
    def finalists(self) -> dict[int, dict[str, float]]:
        """The facts of the finalists by tactic id."""
        summary = json.loads((self.workspace.folder / "results" / "job" / "summary.json").read_text())
        return {f["id"]: f["facts"] for f in summary["jobs"][0]["finalists"]}


@pytest.fixture
def engines(workspace: Workspace, tmp_path: Path) -> Engines:
    return Engines(workspace, write_shims(tmp_path / "shims"))


def test_each_tactic_is_built_checked_and_timed_and_the_fastest_wins(engines: Engines) -> None:
    run = engines.tune()
    assert run.code == 0, run.err
    job = run.job
    assert (job["backend"], job["kind"], job["device"]) == ("tensorrt", "measurement", "Simulated GPU")
    assert (job["winner"]["id"], job["winner"]["time_us"]) == (FAST.id, pytest.approx(40))
    assert job["speedup"] == pytest.approx(50 / 40)
    assert job["environment"]["tensorrt"].split(".")[0].isdigit()
    rows = engines.trials
    assert len(rows) == 9
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert {row["verified"] for row in rows.values()} == {"verified"}
    assert all(float(row["engine_bytes"]) > 0 and float(row["build_s_timing_cache"]) > 0 for row in rows.values())


def test_tensors_go_to_their_names_in_whatever_order_the_engine_lists_them(engines: Engines) -> None:
    kernel = KERNEL
    for old, new in (
        ("x_ptr, n, y_ptr,", "x_ptr, z_ptr, n, y_ptr, high_ptr,"),
        (
            STORE,
            f"    z = tl.load(z_ptr + offsets, mask=mask)\n    tl.store(high_ptr + offsets, y + z, mask=mask)\n{STORE}",
        ),
        ("offsets, y, mask", "offsets, y - z, mask"),
        ('"x": Tensor("T", "*N")', '"x": Tensor("T", "*N"), "z": Tensor("T", "*N")'),
        ('"y": Tensor("T", "*N")', '"low": Tensor("T", "*N"), "top": Tensor("T", "*N")'),
        ("lambda x, factor: x * factor", "lambda x, z, factor: (x * factor - z, x * factor + z)"),
    ):
        assert old in kernel
        kernel = kernel.replace(old, new)
    engines.tune(kernel=kernel, trials=2)
    assert {row["status"] for row in engines.trials.values()} == {"ok"}


def test_the_first_engine_is_also_built_without_a_timing_cache_to_see_what_it_is_worth(engines: Engines) -> None:
    engines.tune(trials=2)
    rows = list(engines.trials.values())
    (first,) = (row for row in rows if row["build_s"])  # whichever is compiled first is built first
    assert float(first["build_s"]) > 0
    assert all(float(row["timing_cache_bytes"]) > 0 for row in rows)


def test_the_timing_cache_serves_the_next_run_and_a_damaged_one_is_begun_anew(engines: Engines, tmp_path: Path) -> None:
    engines = replace(engines, workspace=replace(engines.workspace, compiled=tmp_path / "compiled"))
    engines.tune(trials=1)
    (kept,) = (engines.workspace.compiled / "tensorrt").glob("*.timing")
    assert str(DEFAULT.id).encode() in kept.read_bytes()
    kept.write_bytes(b"damaged")
    run = engines.tune(trials=2)
    assert run.code == 0, run.err
    assert kept.read_bytes() != b"damaged"


@pytest.mark.parametrize("silent", [False, True])
def test_finalists_say_which_of_them_the_builder_chooses(engines: Engines, silent: bool) -> None:
    engines.tune(trials=4, silent=silent)
    finalists = engines.finalists
    best = min(finalists, key=lambda tactic: float(engines.trials[tactic]["time_us"]))
    assert {tactic: facts["builder_chose"] for tactic, facts in finalists.items()} == {
        tactic: float(tactic == best) for tactic in finalists
    }
    assert {facts["builder_agrees"] for facts in engines.finalists.values()} == {1.0}


def test_a_builder_that_chooses_a_slower_tactic_disagrees(engines: Engines) -> None:
    engines.tune(trials=4, us={DEFAULT: 500.0}, builder_us={str(DEFAULT.id): 1.0})
    assert engines.finalists[DEFAULT.id]["builder_chose"] == 1
    assert {facts["builder_agrees"] for facts in engines.finalists.values()} == {0.0}


FAULTS = {
    Tactic({"BLOCK": 128, "num_warps": 2}): ("refuse", "compile", "Could not find any implementation"),
    Tactic({"BLOCK": 256, "num_warps": 2}): ("crash", "runtime", "the engine build took the process down: the process"),
    Tactic({"BLOCK": 512, "num_warps": 2}): ("hang", "timeout", "the engine build did not end: no answer within 4.0 s"),
    Tactic({"BLOCK": 512, "num_warps": 4}): ("wrong", "correctness", "y is wrong"),
    Tactic({"BLOCK": 1024, "num_warps": 2}): ("fail at run", "runtime", "IExecutionContext::enqueueV3: launch failed"),
    Tactic({"BLOCK": 2048, "num_warps": 2}): ("crash at run", "runtime", "the launch took the process down"),
}


def test_every_fault_costs_one_trial(engines: Engines) -> None:
    faults = {tactic: fault for tactic, (fault, _, _) in FAULTS.items()}
    run = engines.tune(faults=faults, more="\n[tensorrt]\nbuild_timeout_s = 4\n")
    assert run.code == 0, run.err
    assert run.job["winner"]["id"] == FAST.id
    rows = engines.trials
    for tactic, (_, kind, message) in FAULTS.items():
        assert rows[tactic.id]["status"] == kind
        assert message in rows[tactic.id]["message"]
    assert [row["status"] for row in rows.values()].count("ok") == len(rows) - len(FAULTS) == 3


def test_an_engine_that_holds_the_default_instead_costs_one_trial(engines: Engines) -> None:
    run = engines.tune(reports={str(FAST.id): DEFAULT.id})
    assert run.code == 0, run.err
    row = engines.trials[FAST.id]
    assert row["status"] == "compile"
    assert row["message"] == f"TensorRT built the default ({DEFAULT}) into the engine instead"


def test_dynamic_dimensions_are_built_with_a_profile_and_checked_over_its_range(engines: Engines) -> None:
    run = engines.tune(n="{ min = 1, opt = 4096, max = 8192 }", trials=3)
    assert run.code == 0, run.err
    # min 1, opt 4096, max 8192, and an odd size between
    assert all(float(row["checked_elements"]) > 1 + 4096 + 8192 for row in engines.trials.values())


def test_the_network_around_the_plugin_is_timed_with_the_default_and_the_fastest(engines: Engines) -> None:
    (engines.workspace.folder / "net.py").write_text(NETWORK.format(extent=65536))
    run = engines.tune(more='\n[tensorrt]\nnetwork = "net.py:twice"\n', overhead_us=5)
    assert run.code == 0, run.err
    times = {i: f["network_us"] for i, f in engines.finalists.items() if "network_us" in f}
    assert times == {DEFAULT.id: pytest.approx(2 * 50 + 5), FAST.id: pytest.approx(2 * 40 + 5)}
    assert run.job["environment"]["network"] == "net.py:twice"


def test_a_network_can_be_an_onnx_file_with_dynamic_inputs(engines: Engines) -> None:
    model = {"input": ["x", "FLOAT", [-1]], "plugins": [["test::scale", {"factor": 2.0}]]}
    (engines.workspace.folder / "net.onnx").write_text(json.dumps(model))
    options = '\n[tensorrt]\nnetwork = "net.onnx"\nshapes = { x = { min = [1], opt = [4096], max = [8192] } }\n'
    run = engines.tune(n="{ min = 1, opt = 4096, max = 8192 }", trials=3, more=options)
    assert run.code == 0, run.err
    assert [f["network_us"] for i, f in engines.finalists.items() if i == DEFAULT.id] == [pytest.approx(50)]


@pytest.mark.parametrize(
    ("name", "kernel", "dims"), [("peak", PEAK, "M = 64, N = 500"), ("total", TOTAL, "M = 64, N = 500")]
)
def test_an_operator_of_several_launches_is_a_network_of_its_steps(
    engines: Engines, name: str, kernel: str, dims: str
) -> None:
    run = engines.tune(kernel=kernel, trials=4, dims=dims, us={})
    assert run.code == 0, run.err
    rows = engines.trials
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert {row["verified"] for row in rows.values()} == {"verified"}
    # The plan holds the code of all steps, and the builder had nothing to choose.
    assert {float(row["tactic_confirmed"]) for row in rows.values()} == {1.0}
    assert all("builder_chose" not in facts for facts in engines.finalists.values())


@pytest.mark.parametrize("kernel", [ONE_POINTER, TWO_POINTERS], ids=["one pointer", "two pointers"])
def test_an_output_in_the_place_of_an_input_begins_anew_in_each_run(engines: Engines, kernel: str) -> None:
    run = engines.tune(kernel=kernel, trials=2, us={})
    assert run.code == 0, run.err
    assert {row["status"] for row in engines.trials.values()} == {"ok"}
    assert {row["verified"] for row in engines.trials.values()} == {"verified"}


MISTAKES = [
    (NETWORK.format(extent=4096), "", "the network calls test::scale N=4096 T=fp32, and N=65536 T=fp32 is tuned"),
    (NETWORK.format(extent=-1), "", "input 'image' is dynamic; give its shapes in [tensorrt.shapes]"),
]


@pytest.mark.parametrize(("network", "options", "message"), MISTAKES)
def test_a_mistake_in_the_network_ends_the_run_at_its_start(
    engines: Engines, network: str, options: str, message: str
) -> None:
    (engines.workspace.folder / "net.py").write_text(network)
    run = engines.tune(more=f'\n[tensorrt]\nnetwork = "net.py:twice"\n{options}\n')
    assert run.code == 2, run.err
    assert message in run.err
    assert not engines.trials


def test_a_default_that_cannot_be_built_is_not_taken_for_a_mistake_in_the_network(engines: Engines) -> None:
    (engines.workspace.folder / "net.py").write_text(NETWORK.format(extent=65536))
    run = engines.tune(trials=3, faults={DEFAULT: "refuse"}, more='\n[tensorrt]\nnetwork = "net.py:twice"\n')
    assert run.code == 0, run.err
    assert engines.trials[DEFAULT.id]["status"] == "compile"
    assert any("network_us" in facts for facts in engines.finalists.values())


def test_a_model_that_cannot_be_parsed_says_what_the_parser_said(engines: Engines) -> None:
    (engines.workspace.folder / "net.onnx").write_text("{}")
    run = engines.tune(more='\n[tensorrt]\nnetwork = "net.onnx"\n')
    assert run.code == 2
    assert "Failed to parse ONNX model from file" in run.err


def test_auto_prefers_engines_and_says_why(engines: Engines) -> None:
    run = engines.tune(trials=2, options=())
    assert run.code == 0
    assert "backend tensorrt: a GPU and TensorRT" in run.err
    assert run.job["backend"] == "tensorrt"


def test_a_tensorrt_that_is_too_old_is_refused(engines: Engines) -> None:
    run = engines.tune(version="10.8.0.43")
    assert run.code == 3
    assert "TensorRT 10.8.0.43 has no plugins compiled ahead of time; 10.9 or newer is needed" in run.err
    assert "pip install 'qdp-tuner[tensorrt]' --upgrade" in run.err


def test_an_engine_for_each_shape_is_timed_where_several_are_listed(engines: Engines) -> None:
    shapes = "timed = [{ dims = { N = 1024 } }, { dims = { N = 65536 }, weight = 3 }]"
    run = engines.tune(n=f"{{ min = 1, opt = 4096, max = 65536 }} }}\n{shapes}\n# {{", trials=3)
    assert run.code == 0, run.err
    assert {row["status"] for row in engines.trials.values()} == {"ok"}
    assert run.job["winner"]["time_us"] == pytest.approx(min(float(row["time_us"]) for row in engines.trials.values()))
    assert run.job["bytes"] == 8 * (1024 + 3 * 65536) // 4  # what moves in the mean, as the time is one
