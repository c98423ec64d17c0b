"""Words and data types that a network chooses cross TensorRT as positions in a table, live and in a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from declare import HEAD
from workspace import Workspace

from tuner import Problem
from tuner.errors import ConfigError
from tuner.kernel.loader import load_kernel
from tuner.qdp.tables import call_values, served, tables, word

CLAMP = (
    HEAD
    + """
from tuner import DType, Word

@triton.jit
def clamp(dst_ptr, src_ptr, n, bound, END: tl.constexpr, SUM: tl.constexpr, HOW: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(src_ptr + at, mask=at < n).to(SUM) * bound
    if END == "relu":
        x = tl.maximum(x, 0.0)
    tl.store(dst_ptr + at, x.to(dst_ptr.dtype.element_ty), mask=at < n)

def reference(src, bound, END):
    return np.maximum(src * bound, 0) if END == "relu" else src * bound

kernel = Kernel(
    id="test::clamp",
    source=clamp,
    inputs={"src": Tensor("T", "N")},
    outputs={"dst": Tensor("U", "N")},
    dtypes={"T": ("fp32", "fp16"), "U": ("fp16", "fp32")},
    attributes={"bound": 0.5, "END": Word("none", "relu"), "SUM": DType("fp32", "fp16"), "HOW": "fixed"},
    params=[],
    default={},
    launch=lambda N, BLOCK: Launch((cdiv(N, BLOCK),), args={"n": N}),
    reference=reference,
    tolerances={"fp16": Tolerance(2**-8, 2**-8), "fp32": Tolerance(2**-8, 2**-8)},
)
""".replace("params=[]", "params=[Param('BLOCK', (256, 512))]")
    .replace("default={}", "default={'BLOCK': 256}")
    .replace("from tuner import DType", "from tuner import DType, Param")
)

JOBS = """
version = 1
kernel = "kernel.py"
target = "h200"

[[problems]]
dims = { N = 4096 }

[[problems]]
dims = { N = 4096 }
dtypes = { T = "fp16", U = "fp32" }
attributes = { END = "relu", bound = 2.0 }
"""


def test_a_plugin_has_positions_of_what_may_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(CLAMP)
    kernel = load_kernel("kernel.py", tmp_path)
    assert served(kernel) == ("bound", "END", "SUM", "U")
    assert tables(kernel) == {"END": ("none", "relu"), "SUM": ("fp32", "fp16"), "U": ("fp16", "fp32")}
    problem = Problem.of(kernel, {"N": 64}, {"U": "fp32"}, {"END": "relu"})
    assert call_values(problem) == {"bound": 0.5, "END": 1, "SUM": 0, "U": 1}
    assert [word(kernel, n, v) for n, v in call_values(problem).items()] == [0.5, "relu", "fp32", "fp32"]
    with pytest.raises(ConfigError, match="END=2 is none of 0 for none, 1 for relu"):
        word(kernel, "END", 2)


def test_words_and_types_are_served_live_and_from_a_bundle(workspace: Workspace) -> None:
    workspace.write(CLAMP)
    (workspace.folder / "job.toml").write_text(JOBS)
    tuned = workspace.run("tune", "job.toml", "--backend", "model", "--trials", "2")
    assert tuned.code == 0 and tuned.out.count("verified") >= 2, tuned.out + tuned.err
    rehearsed = workspace.run("rehearse", "job.toml")
    assert rehearsed.code == 0, rehearsed.out + rehearsed.err
    exported = workspace.run("export", "job.toml", "--format", "bundle", "--out", "bundle")
    assert exported.code == 0, exported.err
    bundled = json.loads((workspace.folder / "bundle/manifest.json").read_bytes())["kernels"]["test::clamp"]
    assert bundled["tables"] == {"END": ["none", "relu"], "SUM": ["fp32", "fp16"], "U": ["HALF", "FLOAT"]}
    assert "HOW" not in bundled["attributes"]
    played = workspace.run("rehearse", "bundle")
    assert played.code == 0, played.out + played.err
    call = "test::clamp(fp16[4096], bound=2.0, END={}, SUM=0, U=1)"
    assert workspace.run("rehearse", "--module", "bundle/plugin.py", "--call", call.format(1)).code == 0
    other = workspace.run("rehearse", "--module", "bundle/plugin.py", "--call", call.format(0))
    assert other.code == 1 and "END=none" in other.out
    beyond = workspace.run("rehearse", "--module", "bundle/plugin.py", "--call", call.format(7))
    assert beyond.code == 1 and "END=7 is none of 0 for none, 1 for relu" in beyond.out


def test_a_word_without_a_choice_has_one_value_in_a_bundle(workspace: Workspace) -> None:
    workspace.write(CLAMP)
    (workspace.folder / "job.toml").write_text(JOBS.replace('END = "relu"', 'HOW = "otherwise"'))
    assert workspace.run("tune", "job.toml", "--backend", "model", "--trials", "1").code == 0
    refused = workspace.run("export", "job.toml", "--format", "bundle", "--out", "bundle")
    assert refused.code == 2 and "between which a network could not choose" in refused.err, refused.err
