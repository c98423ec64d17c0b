"""Reading the builder's choice from an engine."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from tuner.backends.tensorrt.inspection import chosen
from tuner.compile.artifact import Artifact, Code, Resources

NOTHING: dict[str, Any] = {f.name: {} if "Mapping" in str(f.type) else 0 for f in fields(Resources)}
FIRST = Artifact("first ptx", "k", (32, 1, 1), 0, "sm_75", (7, 0), Resources(**NOTHING), b"", "none", 0.0)
SECOND = replace(FIRST, ptx="second ptx")
OFFERED = {901: Code((FIRST,)), 902: Code((SECOND,))}


def layers(*described: Any) -> str:
    return json.dumps({"Layers": list(described), "Bindings": []})


@pytest.mark.parametrize(
    "layer",
    [
        {"LayerType": "PluginV3", "TacticValue": "0x0000000000000386"},
        {"LayerType": "PluginV3", "TacticValue": 902},
        {"LayerType": "PluginV3", "TacticName": "increment tactic 902"},
        {"LayerType": "PluginV3", "Metadata": {"Tactics": [{"TacticValue": "902"}]}},
    ],
)
def test_a_tactic_field_names_the_choice(layer: dict[str, Any]) -> None:
    assert chosen(layers({"Name": "Reformat", "TacticValue": "0x3e8"}, layer), b"", OFFERED) == 902


def test_a_number_elsewhere_is_not_a_tactic() -> None:
    assert chosen(layers({"Name": "901", "StreamId": 901, "TacticValue": "0x0"}), b"", OFFERED) is None


def test_the_code_in_the_engine_tells_where_the_inspector_does_not() -> None:
    assert chosen(layers("increment"), b"header second ptx trailer", OFFERED) == 902


@pytest.mark.parametrize("plan", [b"first ptx second ptx", b"neither"])
def test_an_engine_that_tells_of_both_or_none_leaves_it_open(plan: bytes) -> None:
    assert chosen("not JSON", plan, OFFERED) is None


def test_tactics_of_the_same_code_cannot_be_told_apart_by_it() -> None:
    assert chosen("{}", b"first ptx", {901: OFFERED[901], 903: OFFERED[901]}) is None


def test_an_operator_of_several_launches_is_known_by_the_code_of_all_of_them() -> None:
    known = {901: Code((FIRST, SECOND))}
    assert chosen("{}", b"second ptx, first ptx", known) == 901
    assert chosen("{}", b"first ptx", known) is None
