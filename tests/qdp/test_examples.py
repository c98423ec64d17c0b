"""The examples of networks with a tuned kernel, as far as they can be held to the truth without a GPU."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from plugin_kernels import NORM, write
from simulated import write_shims

from tuner.compile.compiler import Compiler
from tuner.gpu.target import Target
from tuner.kernel.loader import load_kernel
from tuner.qdp.offers import CompilingOffer, legal
from tuner.qdp.plugin import register

ROOT = Path(__file__).parents[2] / "kernels"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_plain_tensorrt_builds_an_engine_on_the_simulated_builder(tmp_path: Path, compiled: Path) -> None:
    variables = {
        "PYTHONPATH": write_shims(tmp_path / "shims"),
        "SIMULATED_TENSORRT": str(tmp_path / "scenario.json"),
        "TUNER_CACHE": str(tmp_path / "tactics.json"),
        "TUNER_COMPILE_CACHE": str(compiled),
    }
    (tmp_path / "scenario.json").write_text(f'{{"kernel": "{ROOT / "increment.py"}"}}')
    plan = tmp_path / "engine.plan"
    run = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "plain_tensorrt.py"), str(plan)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert plan.stat().st_size > 0
    assert "serving the default (BLOCK_SIZE=256 num_warps=4), which is not tuned" in run.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_importing_an_example_runs_nothing(example: Path) -> None:
    *_, last = ast.parse(example.read_text()).body
    assert isinstance(last, ast.If)
    assert ast.unparse(last.test) == "__name__ == '__main__'"


def test_the_torch_operator_has_the_signature_of_the_kernel() -> None:
    kernel = load_kernel("increment.py", ROOT)
    body = ast.parse((ROOT / "examples" / "torch_tensorrt_example.py").read_text()).body
    functions = [node for node in body if isinstance(node, ast.FunctionDef) and node.decorator_list]
    assert len(functions) == 2  # the operator and its shapes
    for function in functions:
        assert [a.arg for a in function.args.args] == [*kernel.inputs, *kernel.attributes]
        assert [ast.literal_eval(d) for d in function.args.defaults] == list(kernel.attributes.values())


def test_a_call_as_torch_tensorrt_makes_it(layer: ModuleType, tmp_path: Path) -> None:
    """The steps of the converter of 2.14 (torch_tensorrt/dynamo/conversion/plugins/_generate_plugin_converter.py)."""
    from tensorrt.plugin._lib import QDP_REGISTRY

    kernel = write(tmp_path, "torch", NORM)
    compiler = Compiler(Target((9, 0)), store=None, workers=1, timeout_s=60, memory_bytes=4 << 30)
    register(kernel, CompilingOffer(legal, compiler))
    definition = QDP_REGISTRY[kernel.id]
    assert definition.aot_impl_func is not None  # what makes it ask for the plugin compiled ahead of time
    tensors = [layer.ITensor() for _ in definition.input_tensor_names]
    arguments = dict(kernel.attributes)  # the defaults of the operator's schema, in order
    arguments |= dict(zip(definition.input_attrs, (7, 0.5), strict=False))  # what the call gives, by position
    inputs, _, made = definition(*tensors, **arguments)(layer.QuickPluginCreationRequest.STRICT_AOT)
    assert inputs == tensors
    assert made.get_num_outputs() == 3
    assert made.attrs == {"count": 7, "eps": 0.5, "flip": False}
