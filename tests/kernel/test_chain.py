"""Operators of several launches, outputs in place, and outputs that start with a value, as declarations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from chained import HEAD, ONE_POINTER, PEAK, TOTAL, TURN, TWO_POINTERS

from tuner import Alias, Kernel, Problem, Range, Tensor
from tuner.errors import ConfigError
from tuner.kernel.identity import kernel_hash
from tuner.kernel.loader import load_kernel
from tuner.kernel.references import ProblemSpec, ref_of

Load: TypeAlias = Callable[..., Kernel]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Declare an operator from the text of its file, with replacements."""

    def load(text: str, *edits: tuple[str, str]) -> Kernel:
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        number = len(list(tmp_path.iterdir()))
        (tmp_path / f"kernel_{number}.py").write_text(text)
        return load_kernel(f"kernel_{number}.py", tmp_path)

    return load


def test_a_chain_has_one_space_with_the_parameters_of_its_steps_under_their_names(load: Load) -> None:
    kernel = load(PEAK)
    assert kernel.space.names == ("TILE", "parts_num_warps", "whole_BLOCK")
    assert Problem.of(kernel, {"M": 4, "N": 1000}).space.size == 12


def test_each_step_is_an_ordinary_problem_with_what_the_chains_configuration_says_of_it(load: Load) -> None:
    problem = Problem.of(load(PEAK), {"M": 4, "N": 1000}, {"T": "fp16"}, {"scale": 2.0})
    parts, whole = problem.steps({"TILE": 128, "parts_num_warps": 1, "whole_BLOCK": 32})
    assert (parts.name, parts.problem.kernel.id, parts.config) == ("parts", "test::peak__parts", {"num_warps": 1})
    assert (whole.name, whole.problem.kernel.id, whole.config) == ("whole", "test::peak__whole", {"BLOCK": 32})
    assert parts.problem.attributes == {"scale": 2.0, "TILE": 128}  # which a shape depends on, so it is no tactic
    assert whole.problem.attributes == {"TILE": 128}
    assert parts.problem.launch(parts.config).grid == (4, 8, 1)
    assert whole.problem.launch(whole.config).args == (8,)
    assert parts.problem.shape(parts.problem.kernel.outputs["partial"]) == (4, 8)
    assert (parts.inputs, parts.outputs) == (("x",), ("partial",))


def test_a_step_is_given_the_chains_inputs_that_tell_what_its_own_do_not(load: Load) -> None:
    _, whole = Problem.of(load(PEAK), {"M": 4, "N": 1000}).steps(load(PEAK).default)
    kernel = whole.problem.kernel
    assert whole.inputs == ("partial", "x")  # of which the code takes the first: x tells N, and what T is
    assert [t.unused for t in kernel.inputs.values()] == [False, True]
    assert kernel.dtypes == {"T": ("fp32", "fp16")}


def test_dimensions_with_a_range_keep_it_in_every_step(load: Load) -> None:
    kernel = load(PEAK)
    problem = Problem.of(kernel, {"M": Range(1, 4, 8), "N": 1000})
    assert all(step.problem.dims["M"] == (Range(1, 4, 8),) for step in problem.steps(kernel.default))


def test_an_output_that_starts_with_a_value_is_filled_before_the_kernel_changes_it_in_place(load: Load) -> None:
    kernel = load(TOTAL)
    start, main = Problem.of(kernel, {"M": 5, "N": 300}).steps({"TILE": 128, "num_warps": 1})
    assert (start.outputs, main.outputs) == (("total",), ("total",))
    assert start.problem.launch(start.config).args == (300, 1)
    assert main.problem.kernel.aliases == {"total": "total_start"}
    assert main.config == {"TILE": 128, "num_warps": 1}
    assert main.problem.kernel.code.arguments == ("x_ptr", "M", "N", "total_ptr")


@pytest.mark.parametrize(
    ("text", "arguments"), [(ONE_POINTER, ("n", "x_ptr")), (TWO_POINTERS, ("x_ptr", "n", "turned_ptr"))]
)
def test_an_output_in_place_is_taken_in_the_parameter_of_its_name_or_of_its_inputs(
    load: Load, text: str, arguments: tuple[str, ...]
) -> None:
    kernel = load(text)
    assert kernel.aliases == {"turned": "x"}
    assert (kernel.outputs["turned"].dtype, kernel.outputs["turned"].shape) == ("T", "*N")
    assert kernel.code.arguments == arguments
    (step,) = Problem.of(kernel, {"N": 100}).steps(kernel.default)
    assert step.problem.kernel is kernel


AGAIN = """        Step("again", parts, inputs=("x",), outputs=("partial",),
             launch=lambda M, N, TILE: Launch(grid=(M, cdiv(N, TILE)), args=(N,))),
        Step("whole\""""


def test_a_step_may_change_the_workspace_in_place_and_fill_it_before(load: Load) -> None:
    kernel = load(
        PEAK,
        ('"M cdiv(N, TILE)")}', '"M cdiv(N, TILE)", start=-7)}'),
        ('        Step("whole"', AGAIN),
    )
    steps = Problem.of(kernel, {"M": 4, "N": 1000}).steps(kernel.default)
    assert [s.name for s in steps] == ["start_partial", "parts", "again", "whole"]
    fill = steps[0]
    assert fill.problem.attributes == {"TILE": 64}
    assert fill.problem.launch(fill.config).args == (4, 16)
    assert fill.config["VALUE"] == -7


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (ONE_POINTER, 'Alias("x")', 'Alias("y")', "is an alias of 'y', which is no input"),
        (
            ONE_POINTER,
            '{"turned": Alias("x")}',
            '{"turned": Alias("x"), "again": Alias("x")}',
            "aliases of 'x'; TensorRT takes one for each input",
        ),
        (TOTAL, '"x": Tensor("T", "M N")', '"x": Tensor("T", "M N", start=0)', "start=… is for outputs"),
        (PEAK, 'inputs=("partial",)', 'inputs=("partail",)', "'partail' is no input, workspace or output of the chain"),
        (PEAK, 'outputs=("partial",)', 'outputs=("peak",)', "reads 'partial', which no step before it writes"),
        (PEAK, "cdiv(N, TILE)\")}", "cdiv(N, TILES)\")}", "'TILES' is no dimension, attribute or parameter"),
        (PEAK, 'default={', "default={'IDLE': 1, ", "unknown parameter 'IDLE'"),
        (PEAK, 'Step("whole"', 'Step("parts"', "two steps have one name: parts, parts"),
        (PEAK, 'Step("whole", whole', 'Step("the whole", whole', "has to be an identifier"),
        (PEAK, '"whole_BLOCK": 64', '"BLOCK": 64', "unknown parameter 'BLOCK'"),
        (PEAK, "args=(N,))),", "args=(N, K))),", "launch of .*raised NameError: name 'K'"),
        (
            PEAK,
            'outputs={"peak": Tensor("T", "M")}',
            'outputs={"peak": Tensor("T", "M"), "other": Tensor("T", "M")}',
            "no step writes 'other'",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_to_do(load: Load, text: str, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kernel = load(text, (old, new))
        Problem.of(kernel, {"M": 4, "N": 100}).steps(kernel.default)[0].problem.launch(
            kernel.parts[0].config(kernel.default)
        )


def test_a_parameter_that_no_step_uses_is_refused(load: Load) -> None:
    with pytest.raises(ConfigError, match="'IDLE' is used by no step"):
        load(
            PEAK,
            ("params=[powers_of_two", 'params=[choice("IDLE", 1), powers_of_two'),
            ("default={", "default={'IDLE': 1, "),
        )


def test_an_input_that_was_changed_in_place_is_not_read_by_its_old_name(load: Load) -> None:
    text = HEAD + TURN.replace(HEAD, "").replace("PARAMETERS", "x_ptr, n").replace("TO", "x_ptr").replace(
        "FROM", "x_ptr"
    )
    body = text[: text.index("kernel = Kernel(")]
    step = (
        'Step("{0}", turn, inputs=("x",), outputs=({1},), params=[choice("BLOCK", 64)],'
        "\n    launch=lambda N, BLOCK: Launch(grid=(cdiv(N, BLOCK),), args=(N,)))"
    )
    chain = f"""kernel = Chain(
    id="test::twice",
    inputs={{"x": Tensor("fp32", "N")}},
    outputs={{"turned": Alias("x")}},
    steps=[{step.format("one", '"turned"')}, {step.format("two", 'Alias("turned")')}],
    default={{"one_BLOCK": 64, "two_BLOCK": 64}},
    reference=lambda x: x,
)
"""
    with pytest.raises(
        ConfigError, match="step 'two' reads 'x', which an earlier step changes in place; read 'turned'"
    ):
        load(body + chain)


def test_the_identity_covers_every_step_the_order_and_what_outputs_start_with(load: Load) -> None:
    peak, total, turn = (kernel_hash(load(text)) for text in (PEAK, TOTAL, ONE_POINTER))
    assert kernel_hash(load(PEAK)) == peak
    assert kernel_hash(load(PEAK, ("tl.maximum(", "tl.minimum("))) != peak
    assert kernel_hash(load(PEAK, ("tl.max(x.to", "tl.min(x.to"))) != peak
    assert kernel_hash(load(PEAK, ("grid=(M,)", "grid=(M, 1)"))) != peak
    assert kernel_hash(load(PEAK, ('"whole_BLOCK": 64', '"whole_BLOCK": 32'))) == peak
    assert kernel_hash(load(TOTAL, ("start=0", "start=1"))) != total
    assert (
        kernel_hash(load(ONE_POINTER, ('Alias("x")', 'Tensor("T", "*N")'), ("(x_ptr, n,", "(x_ptr, n, turned_ptr,")))
        != turn
    )


def test_another_process_finds_the_launches_of_an_operator(load: Load) -> None:
    for text in (PEAK, TOTAL):
        kernel = load(text)
        problem = Problem.of(kernel, {"M": 4, "N": 1000})
        for step in problem.steps(kernel.default):
            assert ref_of(step.problem.kernel).load() is step.problem.kernel
            assert ProblemSpec.of(step.problem).load().label == step.problem.label


def test_what_an_autotuner_resets_starts_at_zero_and_what_it_restores_is_changed_in_place(load: Load) -> None:
    def tuned(text: str, around: str) -> Kernel:
        decorated = (
            text.replace(
                "@triton.jit\n", f"@triton.autotune([triton.Config({{'SIZE': 64}})], key=[], {around})\n@triton.jit\n"
            )
            .replace("TILE", "SIZE")
            .replace("BLOCK", "SIZE")
        )
        lines = [
            line for line in decorated.splitlines() if not line.strip().startswith(("params=", "default=", "source="))
        ]
        return load(
            "\n".join(lines).replace("Kernel(", f"Kernel.from_autotune({'total' if 'total' in text else 'turn'},")
        )

    kernel = tuned(TOTAL.replace(", start=0", ""), "reset_to_zero=['total_ptr']")
    assert kernel.outputs["total"].start == 0
    assert [p.name for p in kernel.parts] == ["start_total", "main"]
    assert tuned(ONE_POINTER, "restore_value=['x_ptr']").aliases == {"turned": "x"}
    with pytest.raises(
        ConfigError, match="restores 'x_ptr', so the kernel changes it in place: declare an output as Al"
    ):
        tuned(TWO_POINTERS.replace('Alias("x")', 'Tensor("T", "*N")'), "restore_value=['x_ptr']")
    with pytest.raises(ConfigError, match="resets 'x_ptr' to zero, which takes no output"):
        tuned(TOTAL, "reset_to_zero=['x_ptr']")


def test_an_alias_is_equal_to_one_of_the_same_input() -> None:
    tensor = Tensor("fp16", "M N")
    assert Alias("x").of(tensor) == Alias("x").of(tensor) != Alias("y").of(tensor)
