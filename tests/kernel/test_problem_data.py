"""The one description of a problem: what it tells apart, and what it does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tuner import Problem, Range, Timed
from tuner.gate.inputs import make_inputs
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem_data import ProblemData, RangeData, ShapeData, data_of, problem_from

KERNEL = load_kernel("kernels/increment.py", Path(__file__).parents[2])
DATA = ProblemData("test::scale", {"M": 8, "N": RangeData(1, 8, 64)}, {"T": "fp16"}, {"factor": 2.0})


def test_a_problem_comes_back_from_its_data_and_from_json() -> None:
    problem = Problem.of(KERNEL, {"N": (Range(1, 4, 8), 16)}, {"T": "fp16"}, {"amount": 3})
    data = data_of(problem)
    assert data == ProblemData("example::increment", {"N": (RangeData(1, 4, 8), 16)}, {"T": "fp16"}, {"amount": 3})
    again = problem_from(msgspec.json.decode(msgspec.json.encode(data), type=ProblemData), KERNEL)
    assert data_of(again) == data and again.dims == problem.dims


def test_a_scalar_has_a_dimension_without_extents() -> None:
    scalar = data_of(Problem.of(KERNEL, {"N": ()}))
    assert scalar.dims == {"N": ()} and scalar.key != data_of(Problem.of(KERNEL, {"N": 1})).key


def test_timed_shapes_are_part_of_the_data_with_all_their_dimensions() -> None:
    problem = Problem.of(KERNEL, {"N": Range(1, 8, 64)}, timed=[Timed({"N": 4}, 3.0), Timed({})])
    assert data_of(problem).timed == (ShapeData({"N": 4}, 3.0), ShapeData({"N": 8}))


@pytest.mark.parametrize(
    "other",
    [
        {"kernel": "test::other"},
        {"dims": {"M": 8, "N": 8}},
        {"dims": {"M": (8,), "N": RangeData(1, 8, 32)}},
        {"dtypes": {"T": "fp32"}},
        {"attributes": {"factor": 2}},
        {"attributes": {"factor": 2.5}},
        {"attributes": {"factor": "2.0"}},
        {"attributes": {"factor": float("inf")}},
        {"attributes": {"factor": True}},
    ],
)
def test_another_problem_has_another_key_and_id(other: dict[str, Any]) -> None:
    changed = msgspec.structs.replace(DATA, **other)
    assert changed.key != DATA.key and changed.id != DATA.id


def test_neither_the_order_of_names_nor_timed_shapes_make_another_problem() -> None:
    same = msgspec.structs.replace(
        DATA, dims=dict(reversed(DATA.dims.items())), timed=(ShapeData({"M": 8, "N": 8}, 2.0),)
    )
    assert (same.key, same.id) == (DATA.key, DATA.id)


def test_the_id_stays_the_same_between_versions() -> None:
    """Files of a results folder refer to each other by it."""
    assert DATA.id == "b875f586ac87"


def test_random_inputs_depend_on_the_problem_and_not_on_what_its_label_shows() -> None:
    one = Problem.of(KERNEL, {"N": 64}, attributes={"amount": 2})
    other = Problem.of(replace(KERNEL, attributes={"amount": 2}), {"N": 64})
    hidden = Problem.of(KERNEL, {"N": 64})
    assert one.label != other.label == hidden.label
    drawn = [make_inputs(p, 0)["x"].tobytes() for p in (one, other, hidden)]
    assert drawn[0] == drawn[1] != drawn[2]
