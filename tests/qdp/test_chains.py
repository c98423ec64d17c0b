"""Operators of several launches in a build script: what their layers are given, and what the builder is told."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from chained import ONE_POINTER, PEAK, TOTAL
from plugin_kernels import SCALE, write

from tuner.errors import ConfigError
from tuner.kernel.identity import kernel_hash
from tuner.kernel.kernel import Kernel
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem import Problem, Range
from tuner.outcome import Origin, Timing
from tuner.qdp import register
from tuner.qdp.rehearsal.builder import PlayedTensor
from tuner.qdp.rehearsal.network import PlayedNetwork
from tuner.search.tactic import Config, Tactic
from tuner.store.cache import Cache
from tuner.store.entry import Entry, entry_of

BEST: Config = {"TILE": 256, "parts_num_warps": 1, "whole_BLOCK": 32}


@pytest.fixture(autouse=True)
def compile_cache(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_COMPILE_CACHE", str(compiled))


def declared(folder: Path, name: str, text: str) -> Kernel:
    """An operator with an id of its own."""
    (folder / f"{name}.py").write_text(
        text.replace("test::peak", f"test::{name}").replace("test::total", f"test::{name}")
    )
    return load_kernel(f"{name}.py", folder)


def entry(problem: Problem, config: Config) -> Entry:
    """What tuning would have left in a cache."""
    winner, default = Tactic(config), problem.kernel.default_tactic
    times = {t: Timing(5.0, "measurement", "median", (5.0,) * 9) for t in (winner, default)}
    origin = Origin("cuda", "measurement", "NVIDIA H200", (9, 0), {})
    source = kernel_hash(problem.kernel)
    return entry_of(problem, source, origin=origin, confirmed=times, winner=winner, default=default, ties=(), trials=2)


def tensor(dtype: str, *extents: int | tuple[int, int, int]) -> PlayedTensor:
    ends = [e if isinstance(e, tuple) else (e, e, e) for e in extents]
    return PlayedTensor(dtype, *(tuple(e[i] for e in ends) for i in range(3)))


def given(network: PlayedNetwork) -> list[tuple[str, Mapping[str, Any]]]:
    return [(layer.plugin.partition("__")[2], layer.attributes) for layer in network.layers]


def test_the_recorded_parameters_reach_every_layer(layer: ModuleType, tmp_path: Path) -> None:
    kernel = declared(tmp_path, "recorded", PEAK)
    known = entry(Problem.of(kernel, {"M": 64, "N": 1000}), BEST)
    plugin = register(kernel, cache=Cache([known]), device="h200", workers=1)
    network = PlayedNetwork()
    peak = plugin.add(network, network.add_input(tensor("FLOAT", 64, 1000)), scale=1.0)
    assert given(network) == [
        ("parts", {"scale": 1.0, "TILE": 256, "num_warps": 1}),
        ("whole", {"TILE": 256, "BLOCK": 32}),
    ]
    assert (peak.played.opt, peak.played.dtype) == ((64,), "FLOAT")
    workspace = network.layers[1].tensors[0]
    assert workspace is network.layers[0].get_output(0)
    assert workspace.played.opt == (64, 4)  # cdiv(1000, 256)
    assert [len(layer.rehearsal.offered) for layer in network.layers] == [1, 1]
    assert not network.broken and plugin.errors == []


def test_sizes_that_the_network_does_not_know_are_asked_for_and_may_be_given(
    layer: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = declared(tmp_path, "dynamic", PEAK)
    problem = Problem.of(kernel, {"M": Range(1, 8, 70), "N": 500}, attributes={"scale": 2.0})
    plugin = register(kernel, cache=Cache([entry(problem, BEST)]), device="h200", workers=1)
    network = PlayedNetwork()
    x = network.add_input(tensor("FLOAT", (1, 8, 70), 500))
    with pytest.raises(ConfigError, match=r"input 'x' is \(-1, 500\).*pass them: problem=Problem.of"):
        plugin.add(network, x)
    assert network.layers == []
    with caplog.at_level(logging.WARNING, "tuner.qdp"):
        plugin.add(network, x, problem=problem)
    assert [values for _, values in given(network)] == [
        {"scale": 2.0, "TILE": 256, "num_warps": 1},
        {"TILE": 256, "BLOCK": 32},
    ]
    assert not caplog.records


def test_a_problem_that_the_network_does_not_pose_is_refused(layer: ModuleType, tmp_path: Path) -> None:
    kernel = declared(tmp_path, "posed", PEAK)
    plugin, network = register(kernel, cache=Cache([]), device="h200", workers=1), PlayedNetwork()
    x = network.add_input(tensor("FLOAT", (1, 8, 70), 500))
    with pytest.raises(ConfigError, match=r"input 'x' is \(-1, 500\) in the network"):
        plugin.add(network, x, problem=Problem.of(kernel, {"M": Range(1, 8, 70), "N": 501}))
    with pytest.raises(ConfigError, match="the network's tensors are FLOAT"):
        plugin.add(network, x, problem=Problem.of(kernel, {"M": Range(1, 8, 70), "N": 500}, {"T": "fp16"}))
    with pytest.raises(ConfigError, match="the problem is of another kernel"):
        plugin.add(network, x, problem=Problem.of(declared(tmp_path, "posed_twin", PEAK), {"M": 8, "N": 500}))
    with pytest.raises(ConfigError, match=r"takes 1 tensors \(x\)"):
        plugin.add(network, x, x)
    assert network.layers == []


def test_all_plugins_of_an_operator_are_registered_or_none(layer: ModuleType, tmp_path: Path) -> None:
    taken = declared(tmp_path, "taken__whole", ONE_POINTER.replace("test::turn", "test::taken__whole"))
    register(taken, tactics="all", device="h200", workers=1)
    with pytest.raises(ConfigError, match="'test::taken__whole' is already registered"):
        register(declared(tmp_path, "taken", PEAK), cache=Cache([]), device="h200", workers=1)
    assert not hasattr(layer.plugin.op.test, "taken__parts")


def test_without_an_entry_the_default_is_given_with_a_warning(
    layer: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = declared(tmp_path, "untuned", PEAK)
    plugin = register(kernel, cache=tmp_path / "absent.json", device="h200", workers=1)
    network = PlayedNetwork()
    plugin.add(network, network.add_input(tensor("HALF", 3, 64)))
    assert [values["TILE"] for _, values in given(network)] == [64, 64]
    assert "serving the default (TILE=64 parts_num_warps=2 whole_BLOCK=64), which is not tuned" in caplog.text


def test_an_attribute_may_pin_a_parameter(layer: ModuleType, tmp_path: Path) -> None:
    kernel = declared(tmp_path, "pinned", PEAK)
    attributes = {"scale": "scale", "tile": "TILE"}
    plugin = register(kernel, tactics=[BEST], device="h200", workers=1, attributes=attributes)
    network = PlayedNetwork()
    plugin.add(network, network.add_input(tensor("FLOAT", 3, 640)), tile=128)
    assert [values["TILE"] for _, values in given(network)] == [128, 128]
    with pytest.raises(ConfigError, match="no attribute 'tiles'; did you mean 'tile'"):
        plugin.add(network, network.add_input(tensor("FLOAT", 3, 640)), tiles=128)


def test_an_operator_of_several_layers_is_not_called_as_one(layer: ModuleType, tmp_path: Path) -> None:
    plugin = register(declared(tmp_path, "called", PEAK), cache=Cache([]), device="h200", workers=1)
    with pytest.raises(ConfigError, match="no single layer but test::called__parts, test::called__whole; use add"):
        plugin(layer.ITensor())


def test_a_text_of_a_step_travels_as_its_place_among_the_texts(layer: ModuleType, tmp_path: Path) -> None:
    text = PEAK.replace("peak_ptr, BLOCK: tl.constexpr)", "peak_ptr, BLOCK: tl.constexpr, HINT: tl.constexpr)")
    text = text.replace('choice("BLOCK", 32, 64)]', 'choice("BLOCK", 32, 64), choice("HINT", "", "evict_first")]')
    text = text.replace('"whole_BLOCK": 64', '"whole_BLOCK": 64, "whole_HINT": ""')
    text = text.replace('other=float("-inf"))\n        )', 'other=float("-inf"), eviction_policy=HINT)\n        )')
    kernel = declared(tmp_path, "hinted", text)
    plugin = register(kernel, tactics=[{**BEST, "whole_HINT": "evict_first"}], device="h200", workers=1)
    network = PlayedNetwork()
    plugin.add(network, network.add_input(tensor("FLOAT", 3, 640)))
    _, whole = network.layers
    assert whole.attributes == {"TILE": 256, "BLOCK": 32, "HINT": 1}
    (played,) = whole.rehearsal.played
    assert "evict_first" in played.code


class Told:
    """A builder's config that remembers."""

    def __init__(self) -> None:
        self.set: list[tuple[Any, bool]] = []

    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        self.set.append((feature, enable))


@pytest.mark.parametrize(("name", "text", "needed"), [("sums", TOTAL, True), ("peaks", PEAK, False)])
def test_a_builder_is_told_of_outputs_in_place(
    layer: ModuleType, tmp_path: Path, name: str, text: str, needed: bool
) -> None:
    plugin, told = register(declared(tmp_path, name, text), cache=Cache([]), device="h200", workers=1), Told()
    plugin.configure(told)
    assert told.set == ([(layer.PreviewFeature.ALIASED_PLUGIN_IO_10_03, True)] if needed else [])


def test_what_fills_an_output_comes_first_and_is_changed_in_place(layer: ModuleType, tmp_path: Path) -> None:
    plugin = register(declared(tmp_path, "filled", TOTAL), cache=Cache([]), device="h200", workers=1)
    network = PlayedNetwork()
    total = plugin.add(network, network.add_input(tensor("FLOAT", 8, 100)))
    fill, main = network.layers
    assert fill.plugin == "test::filled__start_total" and fill.rehearsal.aliases == ()
    assert main.rehearsal.aliases == ((0, 1),)
    assert total is main.get_output(0) and total.played.opt == (100,)


def test_a_kernel_of_one_launch_is_added_in_the_same_way(layer: ModuleType, tmp_path: Path) -> None:
    kernel = write(tmp_path, "single", SCALE)
    plugin, network = register(kernel, tactics="all", device="h200", workers=1), PlayedNetwork()
    y = plugin.add(network, network.add_input(tensor("FLOAT", 600)))
    assert given(network) == [("", {"amount": 1})]
    assert y.played.opt == (600,)


def test_an_output_in_place_is_that_of_the_argument(layer: ModuleType, tmp_path: Path) -> None:
    kernel = declared(tmp_path, "turned", ONE_POINTER.replace("test::turn", "test::turned"))
    plugin, network = register(kernel, tactics="all", device="h200", workers=1), PlayedNetwork()
    plugin.add(network, network.add_input(tensor("HALF", 6, 100)))
    assert network.layers[0].rehearsal.aliases == ((0, 0),)


def test_sources_of_one_launch_and_of_several_are_registered_apart(layer: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "both.py").write_text(
        TOTAL.replace("kernel = Kernel(", "several = Kernel(")
        + "\nfrom tuner import alternatives\nkernel = alternatives('test::both', first=several, second=several)\n"
    )
    with pytest.raises(ConfigError, match="register the source that you want by itself"):
        register(load_kernel("both.py:kernel", tmp_path), cache=Cache([]), device="h200", workers=1)
