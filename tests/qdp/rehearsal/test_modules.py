"""Mistakes planted in a hand-written plugin are refused, each by the name of the rule it breaks."""

from __future__ import annotations

import pytest
from planted import CALL, Edits, plant
from workspace import Run, Workspace

FIRST = "import tensorrt.plugin as trtp"
NUMPY = (FIRST, f"import numpy as np\nimport numpy.typing as npt\n{FIRST}")
NUMBER = "    extra[0] = trtp.SymInt32(n)\n"
COMBINATION = 'trtp.AutoTuneCombination("FP32|FP16, FP32|FP16", "LINEAR", tactics)'
PARAMETERS = ".param .u64 add_x, .param .u32 add_n, .param .u64 add_y"
STATE = "CALLS = []\n\n\n@trtp.register"


def rehearse(workspace: Workspace, edits: Edits, *arguments: str, call: str = CALL) -> Run:
    """Rehearse the module with these edits; the call is played unless it is ""."""
    path = plant(workspace.folder, edits)
    calls = ("--call", call) if call else ()
    return workspace.run("rehearse", "--module", str(path), *calls, *arguments, "--json")


def broken(run: Run) -> list[tuple[str, str]]:
    """The rules that were broken, each once, with what was said."""
    assert run.code == 1, run.err
    (line,) = run.document["rehearsals"]
    return sorted({(b["rule"], b["message"]) for b in line["broken"]})


def test_the_module_without_mistakes_passes(workspace: Workspace) -> None:
    run = rehearse(workspace, ())
    assert run.code == 0, run.out + run.err
    played = {"what": CALL, "tactics": 2, "counted": True, "played": [3, 7], "aliases": [], "broken": []}
    assert run.document["rehearsals"] == [played]


LAUNCH = {
    "arguments in another order": (
        [(PARAMETERS, ".param .u64 add_x, .param .u64 add_y, .param .u32 add_n")],
        "argument order",
        "takes .u64, .u64, .u32; TensorRT passes 1 input pointer, 1 32-bit integer, 1 output pointer",
    ),
    "a float parameter": (
        [(".param .u32 add_n", ".param .f32 add_n")],
        "extra arguments",
        "parameter 1 of add is .f32; extra arguments are 32-bit integers",
    ),
    "a float in a tuple of extra arguments": (
        [(NUMBER, "    extra = trtp.SymExprs.from_tuple((scale,))\n")],
        "extra arguments",
        "Float symbolic expressions are not supported; extra arguments are 32-bit integers: compile a float in",
    ),
    "a float as a 32-bit integer": (
        [(NUMBER, "    extra[0] = trtp.SymInt32(scale)\n")],
        "expressions",
        "extra argument 0 has no expression behind it",
    ),
    "a float in the grid": (
        [("trtp.cdiv(n, size)", "scale")],
        "expressions",
        "grid_x has no expression behind it, as when it is made from a float",
    ),
    "an extra argument without a type": (
        [(NUMBER, "    extra[0] = trtp.SymInt32(n) * 4\n")],
        "extra arguments",
        "wrap every extra argument in SymInt32(…)",
    ),
    "another block than the code requires": (
        [("params.block_x = 256", "params.block_x = size * 2")],
        "block",
        "requires a block of (256, 1, 1)",
    ),
    "hidden parameters left in": (
        [(PARAMETERS, PARAMETERS + ", .param .u64 add_scratch, .param .u64 add_profile")],
        "hidden parameters",
        "takes 2 pointers after 1 input pointer,",
    ),
    "an entry of another name": ([('return "add"', 'return "sub"')], "entry", "the PTX has add"),
    "no extra argument where the code takes one": (
        [(NUMBER, ""), ("trtp.SymIntExprs(1)", "trtp.SymIntExprs(0)")],
        "parameters",
        "add takes 3 parameters; TensorRT passes 2",
    ),
    "code that is no PTX": ([("PTX, params", '"\\x7fELF", params')], "code", "no .version"),
    "code that is no text": ([("PTX, params", 'b"\\x7fELF\\xff", params')], "code", "not PTX text"),
    "a grid that is too large at the largest shape": (
        [("params.grid_x =", "params.grid_y = n * 8\n    params.grid_x =")],
        "launch",
        "grid_y is 65536 at max; CUDA takes 1 to 65535",
    ),
    "a grid that is empty at the smallest shape": (
        [("trtp.cdiv(n, size)", "n // size")],
        "launch",
        "grid_x is 0 at min",
    ),
    "an end of the process": (
        [("n = x.shape_expr.numel()", "raise SystemExit(4)")],
        "aot_impl",
        "raised SystemExit at plugins",
    ),
    "an error of its own": (
        [("trtp.cdiv(n, size)", "2 * n")],
        "aot_impl",
        "aot_impl raised TypeError at plugins.py:31: unsupported operand type(s) for *",
    ),
    "too many threads": (
        [("params.block_x = 256", "params.block_x = 2048")],
        "launch",
        "block_x is 2048",
    ),
    "an extra argument that an int32 cannot hold": (
        [(NUMBER, "    extra[0] = trtp.SymInt32(n * (1 << 20))\n")],
        "extra arguments",
        "more than an int32 holds",
    ),
}


@pytest.mark.parametrize(("edits", "rule", "said"), LAUNCH.values(), ids=LAUNCH)
def test_a_launch_that_does_not_fit_its_code_is_refused(
    workspace: Workspace, edits: Edits, rule: str, said: str
) -> None:
    ((found, message),) = broken(rehearse(workspace, edits))
    assert found == rule
    assert said in message


TACTICS = {
    "0": ("[0, 3]", "tactic 0 is offered; ids are positive 32-bit integers; 0 is the default"),
    "a negative one": ("[-1, 3]", "tactic -1 is offered"),
    "too large": ("[1 << 31]", "tactic 2147483648 is offered"),
    "a float": ("[1.0]", "tactic 1.0 is offered"),
    "twice": ("[3, 7, 3]", "tactic 3 is offered twice"),
    "a generator": ("(t for t in [3, 7])", "the tactics are a generator"),
}


@pytest.mark.parametrize(("tactics", "said"), TACTICS.values(), ids=TACTICS)
def test_tactic_ids_that_tensorrt_does_not_take_are_refused(workspace: Workspace, tactics: str, said: str) -> None:
    ((rule, message),) = broken(rehearse(workspace, [("[3, 7]", tactics)]))
    assert rule == "tactic ids"
    assert said in message


COMBINATIONS = {
    "types that are not the network's": (
        [("FP32|FP16, FP32|FP16", "FP16, FP16")],
        "combinations",
        "autotune offers HALF, HALF, none of which are the network's types (FLOAT, FLOAT)",
    ),
    "too few types": ([("FP32|FP16, FP32|FP16", "FP32")], "combinations", "one type for every input and output"),
    "too many types": ([("FP32|FP16, FP32|FP16", "FP32, FP32, FP32")], "combinations", "one type for every input"),
    "an unknown type": ([("FP32|FP16, FP32|FP16", "FLOAT32, FLOAT32")], "combinations", "no attribute 'FLOAT32'"),
    "an unknown layout": ([('"LINEAR"', '"linear"')], "combinations", "no attribute 'linear'"),
    "one object in place of a list": (
        [(f"[{COMBINATION}]", COMBINATION), ("list[trtp.AutoTuneCombination]", "trtp.AutoTuneCombination")],
        "combinations",
        "autotune returns a list of combinations",
    ),
}


@pytest.mark.parametrize(("edits", "rule", "said"), COMBINATIONS.values(), ids=COMBINATIONS)
def test_combinations_that_tensorrt_cannot_use_are_refused(
    workspace: Workspace, edits: Edits, rule: str, said: str
) -> None:
    ((found, message),) = broken(rehearse(workspace, edits))
    assert found == rule
    assert said in message


@pytest.mark.parametrize("where", ["    params = trtp.KernelLaunchParams()", "    return x.like()"])
def test_a_branch_on_a_dynamic_dimension_is_refused(workspace: Workspace, where: str) -> None:
    edits = [(where, f"    if x.shape_expr[0] < 32:\n        pass\n{where}")]
    ((rule, message),) = broken(rehearse(workspace, edits))
    assert rule == "branch"
    assert "branches on a dynamic dimension" in message


def test_a_branch_on_a_fixed_dimension_passes(workspace: Workspace) -> None:
    where = "    params = trtp.KernelLaunchParams()"
    run = rehearse(workspace, [(where, f"    if x.shape_expr[1] < 4:\n        raise AssertionError\n{where}")])
    assert run.code == 0, run.out


CALLED = {
    "no attribute": ("planted::add(fp32[64, 8], size=256)", "Unexpected schema"),
    "another type": ("planted::add(fp32[64, 8], size=256, scale=2)", "Unexpected type"),
    "another order": ("planted::add(fp32[64, 8], scale=2.0, size=256)", "Unexpected schema"),
    "a list for a number": ("planted::add(fp32[64, 8], size=[256], scale=2.0)", "Unexpected type '<class 'list'>'"),
    "an unknown attribute": ("planted::add(fp32[64, 8], size=256, skale=2.0)", "Unexpected attribute skale"),
    "too many tensors": ("planted::add(fp32[64, 8], fp32[64, 8], size=256, scale=2.0)", "Unexpected schema"),
}


@pytest.mark.parametrize(("call", "said"), CALLED.values(), ids=CALLED)
def test_a_call_against_the_schema_is_refused(workspace: Workspace, call: str, said: str) -> None:
    ((rule, message),) = broken(rehearse(workspace, (), call=call))
    assert rule == "schema"
    assert said in message


def test_an_attribute_that_aot_impl_leaves_out_is_refused(workspace: Workspace) -> None:
    edits = [("    x: trtp.TensorDesc, size: int, scale: float, outputs", "    x: trtp.TensorDesc, size: int, outputs")]
    ((rule, message),) = broken(rehearse(workspace, edits))
    assert rule == "attributes"
    assert "aot_impl leaves out scale" in message


AOT = '@trtp.aot_impl("planted::add")\n'


def test_a_plugin_that_nothing_computes_is_refused(workspace: Workspace) -> None:
    ((rule, message),) = broken(rehearse(workspace, [(AOT, "")]))
    assert rule == "aot_impl"
    assert "planted::add has neither an aot_impl nor an impl" in message


IMPL = """@trtp.impl("planted::add")
def run(x: trtp.Tensor, size: int, outputs: tuple[trtp.Tensor], stream: int) -> None: ...


"""


def test_a_plugin_that_compiles_at_run_time_is_played_as_far_as_it_goes(workspace: Workspace) -> None:
    run = rehearse(workspace, [(AOT, IMPL)])
    (line,) = run.document["rehearsals"]
    assert (run.code, line["tactics"], line["played"], line["broken"]) == (0, 2, [], [])
    text = workspace.run("rehearse", "--module", "plugins.py", "--call", CALL).out
    assert "no rule broken" in text and "it has an impl alone" in text
    negative = "return trtp.from_shape_expr((x.shape_expr[0] - 64, 8), x.dtype)"
    ((rule, _),) = broken(rehearse(workspace, [(AOT, IMPL), ("return x.like()", negative)]))
    assert rule == "outputs"


COMPILES = """
import tensorrt.plugin as trtp


@trtp.register("planted::twice")
def describe(x: trtp.TensorDesc, block: int) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("planted::twice")
def launch(
    x: trtp.TensorDesc, block: int, outputs: tuple[trtp.TensorDesc], tactic: int
) -> tuple[str, str, trtp.KernelLaunchParams, trtp.SymIntExprs]:
    import importlib
    import triton
    from beside import twice
    assert importlib.import_module("beside").twice.__name__ == "twice"
    signature = {"x_ptr": "*fp32", "n": "i32", "y_ptr": "*fp32", "BLOCK": "constexpr"}
    compiled = triton.compile(triton.compiler.ASTSource(fn=twice, signature=signature, constexprs={"BLOCK": block}))
    n = x.shape_expr.numel()
    params = trtp.KernelLaunchParams()
    params.grid_x = trtp.cdiv(n, block)
    params.block_x = compiled.metadata.num_warps * 32
    extra = trtp.SymIntExprs(1)
    extra[0] = trtp.SymInt32(n)
    return compiled.metadata.name, compiled.asm["ptx"], params, extra


REHEARSAL = ["planted::twice(fp32[1:8:64, 100], block=256)"]
"""

BESIDE = """
import triton
import triton.language as tl


@triton.jit
def twice(x_ptr, n, y_ptr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + at, 2 * tl.load(x_ptr + at, mask=at < n), mask=at < n)
"""


def test_a_module_compiles_what_lies_beside_it_for_a_gpu_that_is_not_here(workspace: Workspace) -> None:
    (workspace.folder / "beside.py").write_text(BESIDE)
    (workspace.folder / "compiles.py").write_text(COMPILES)
    triton = {"TRITON_CACHE_DIR": str(workspace.folder / "triton")}
    workspace = Workspace(workspace.folder, workspace.compiled, triton)
    run = workspace.run("rehearse", "--module", "compiles.py", "--json")
    (line,) = run.document["rehearsals"]
    assert (line["played"], [b["rule"] for b in line["broken"]]) == ([0], ["hidden parameters"])
    assert line["device"] == "NVIDIA H200"
    older = workspace.run("rehearse", "--module", "compiles.py", "--target", "a100")
    assert "1 of 1 tactics played" in older.out and "hidden parameters" in older.out
    assert "target" not in older.out  # what was compiled fits the GPU that was named


OUTPUTS = {
    "more than are annotated": ("return x.like(), x.like()", "register describes 2 outputs, and its annotation says 1"),
    "a float extent": ("return trtp.from_shape_expr((x.shape_expr[0], scale), x.dtype)", "no expression behind it"),
    "a negative extent": (
        "return trtp.from_shape_expr((x.shape_expr[0] - 64, 8), x.dtype)",
        "output 0 has shape (-63, 8) at min",
    ),
}


@pytest.mark.parametrize(("returned", "said"), OUTPUTS.values(), ids=OUTPUTS)
def test_outputs_that_do_not_fit_are_refused(workspace: Workspace, returned: str, said: str) -> None:
    ((rule, message),) = broken(rehearse(workspace, [("return x.like()", returned)]))
    assert rule == "outputs"
    assert said in message


SIGNATURES = {
    "annotations that are texts": [
        ("import tensorrt.plugin", "from __future__ import annotations\nimport tensorrt.plugin")
    ],
    "a default": [("scale: float) ->", "scale: float = 2.0) ->")],
    "no annotation of what is returned": [("-> tuple[str, str, trtp.KernelLaunchParams, trtp.SymIntExprs]", "")],
    "a reserved namespace": [("planted::add", "trt::add")],
    "an attribute before a tensor": [
        ("describe(x: trtp.TensorDesc, size: int,", "describe(size: int, x: trtp.TensorDesc,")
    ],
}


@pytest.mark.parametrize("edits", SIGNATURES.values(), ids=SIGNATURES)
def test_a_registration_that_nvidias_layer_refuses_is_a_broken_rule(workspace: Workspace, edits: Edits) -> None:
    ((rule, message),) = broken(rehearse(workspace, edits))
    assert rule == "signature"
    assert "plugins.py:" in message


IMPURE = {
    "describe": (
        "    return x.like()",
        "    CALLS.append(0)\n    return trtp.from_shape_expr((len(CALLS),), x.dtype)",
        "outputs",
    ),
    "autotune": ("    tactics = [3, 7]", "    CALLS.append(0)\n    tactics = [len(CALLS)]", "offered"),
    "aot_impl": (
        "params.block_x = 256",
        "params.block_x = 256\n    CALLS.append(0)\n    params.shared_mem = len(CALLS)",
        "played",
    ),
}


@pytest.mark.parametrize(("old", "new", "what"), IMPURE.values(), ids=IMPURE)
def test_functions_that_answer_differently_each_time_are_refused(
    workspace: Workspace, old: str, new: str, what: str
) -> None:
    ((rule, message),) = broken(rehearse(workspace, [("@trtp.register", STATE), (old, new)]))
    assert rule == "purity"
    assert f"({what})" in message


def test_code_for_another_architecture_is_refused_where_a_target_is_named(workspace: Workspace) -> None:
    edits = [(".target sm_80", ".target sm_100")]
    assert rehearse(workspace, edits).code == 0
    ((rule, message),) = broken(rehearse(workspace, edits, "--target", "h200"))
    assert rule == "target"
    assert "sm_100" in message


def test_a_broken_tactic_is_named_and_the_others_are_played(workspace: Workspace) -> None:
    run = rehearse(workspace, [("params.block_x = 256", "params.block_x = 256 if tactic == 3 else 128")])
    assert run.code == 1
    (line,) = run.document["rehearsals"]
    assert line["played"] == [3, 7]
    assert [(b["tactic"], b["rule"]) for b in line["broken"]] == [(7, "block")]


def test_a_rule_that_tactics_break_alike_is_said_once(workspace: Workspace) -> None:
    path = plant(workspace.folder, [('return "add"', 'return "sub"')])
    run = workspace.run("rehearse", "--module", str(path), "--call", CALL)
    assert run.code == 1
    first, second = run.out.splitlines()[:2]
    assert first == f"{CALL}: 2 of 2 tactics played, 1 rule broken"
    assert second == "  entry (tactics 3, 7): aot_impl names the kernel 'sub'; the PTX has add"


def test_a_plugin_without_autotune_is_played_with_its_default(workspace: Workspace) -> None:
    run = rehearse(workspace, [('@trtp.autotune("planted::add")\n', "")])
    assert run.code == 0, run.out
    assert run.document["rehearsals"][0]["played"] == [0]


def test_only_as_many_tactics_are_played_as_asked_for(workspace: Workspace) -> None:
    assert rehearse(workspace, (), "--tactics", "1").document["rehearsals"][0]["played"] == [3]


KINDS = {
    "int": ("int", "2"),
    "bool": ("bool", "True"),
    "text": ("str", "'abc'"),
    "array": ("npt.NDArray[np.int32]", "[1, 2]"),
}


@pytest.mark.parametrize(("annotation", "value"), KINDS.values(), ids=KINDS)
def test_attributes_arrive_as_they_are_written(workspace: Workspace, annotation: str, value: str) -> None:
    edits = [
        NUMPY,
        ("scale: float", f"scale: {annotation}"),
        ("    n = x.shape_expr", f"    assert np.array_equal(scale, {value}), scale\n    n = x.shape_expr"),
    ]
    run = rehearse(workspace, edits, call=CALL.replace("2.0", value))
    assert run.code == 0, run.out + run.err


def test_a_list_that_does_not_fit_its_array_is_an_error_of_use(workspace: Workspace) -> None:
    edits = [
        NUMPY,
        ("scale: float", "scale: npt.NDArray[np.int8]"),
    ]
    run = rehearse(workspace, edits, call=CALL.replace("2.0", "[400]"))
    assert (run.code, run.out) == (2, "")
    assert "scale=[400]: " in run.err


def test_a_list_in_the_module_names_its_calls(workspace: Workspace) -> None:
    calls = [CALL, CALL.replace("fp32", "fp16")]
    run = rehearse(workspace, [("PTX = ", f"REHEARSAL = {calls!r}\nPTX = ")], call="")
    assert run.code == 0, run.out
    assert [line["what"] for line in run.document["rehearsals"]] == calls


@pytest.mark.parametrize("calls", [CALL, [1], None])
def test_calls_that_are_no_list_of_texts_are_an_error_of_use(workspace: Workspace, calls: object) -> None:
    path = plant(workspace.folder, [("PTX = ", f"REHEARSAL = {calls!r}\nPTX = ")])
    run = workspace.run("rehearse", "--module", str(path))
    assert (run.code, run.out) == (2, "")
    assert "plugins.py: REHEARSAL is " in run.err and "give a list of texts, such as ['planted::add(" in run.err


def test_a_module_in_a_folder_called_plugin_is_not_taken_for_nvidias(workspace: Workspace) -> None:
    folder = workspace.folder / "plugin"
    folder.mkdir()
    (folder / "plugins.py").write_text("import tensorrt.plugin\nraise ValueError('mine')\n")
    run = workspace.run("rehearse", "--module", str(folder / "plugins.py"))
    assert (run.code, run.out) == (2, "")
    assert "plugins.py:2 raised ValueError on import: mine" in run.err


def test_without_a_call_the_text_to_type_is_shown(workspace: Workspace) -> None:
    path = plant(workspace.folder)
    run = workspace.run("rehearse", "--module", str(path))
    assert run.code == 3
    assert "to play it, name its tensors: --call 'planted::add(fp32[1:64:1024], size=int, scale=float)'" in run.out


def test_a_module_that_registers_nothing_is_refused(workspace: Workspace) -> None:
    path = workspace.folder / "nothing.py"
    path.write_text("x = 1\n")
    run = workspace.run("rehearse", "--module", str(path))
    assert (run.code, run.out) == (2, "")
    assert "nothing.py registers no plugin" in run.err


FILES = {
    "absent": (None, "does not exist"),
    "not Python": ("def f(:\n", "SyntaxError"),
    "raising": ("import tensorrt.plugin\nraise ValueError('mine')\n", "plugins.py:2 raised ValueError on import: mine"),
}


@pytest.mark.parametrize(("text", "said"), FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_loaded_is_an_error_of_use(workspace: Workspace, text: str | None, said: str) -> None:
    path = workspace.folder / "plugins.py"
    if text is not None:
        path.write_text(text)
    run = workspace.run("rehearse", "--module", str(path))
    assert (run.code, run.out) == (2, "")
    assert said in run.err
