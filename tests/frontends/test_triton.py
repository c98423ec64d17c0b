"""Real compiles: what comes out can be launched as TensorRT launches it, or the tactic is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tuner import Kernel, Problem, Range
from tuner.compile.pipeline import compile_key, compile_tactic
from tuner.compile.ptx import parse
from tuner.errors import ConfigError, UnavailableError
from tuner.gpu.target import Target
from tuner.kernel.loader import load_kernel
from tuner.outcome import FailureClass, TacticError
from tuner.search.tactic import Config

H100, A100, L4 = Target((9, 0)), Target((8, 0)), Target((8, 9))
INCREMENT = Path(__file__).parents[2] / "kernels" / "increment.py"
WIDE: Config = {"BLOCK_SIZE": 1024, "num_warps": 4}

KERNELS = """\
import triton
import triton.language as tl

from tuner import Kernel, Launch, Tensor, cdiv, choice


def declare(source, **changes):
    declared = dict(
        id=f"test::{source.fn.__name__}",
        source=source,
        inputs={"x": Tensor("T", "*N")},
        outputs={"y": Tensor("T", "*N")},
        dtypes={"T": ("fp32", "fp16", "bf16", "i8")},
        params=[choice("B", 64, 128, 8192), choice("num_warps", 1, 4, 64)],
        default={"B": 128, "num_warps": 4},
        launch=lambda N, B: Launch((cdiv(N, B),), (N,)),
        reference=lambda x: x,
    )
    return Kernel(**{**declared, **changes})


@triton.jit
def undefined(x_ptr, n, y_ptr, B: tl.constexpr):
    o = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(y_ptr + o, no_such_function(tl.load(x_ptr + o)), mask=o < n)


@triton.jit
def square(x):
    return tl.dot(x, x)


@triton.jit
def nested(x_ptr, n, y_ptr, B: tl.constexpr):
    tl.static_print("noise", B)
    o = tl.arange(0, B)
    tl.store(y_ptr + o, square(tl.load(x_ptr + o)))


@triton.jit
def assembly(x_ptr, n, y_ptr, B: tl.constexpr):
    o = tl.arange(0, B)
    v = tl.inline_asm_elementwise("bogus.f32 $0, $1;", "=r,r", [tl.load(x_ptr + o)], tl.float32, True, 1)
    tl.store(y_ptr + o, v)


@triton.jit
def row(x_ptr, y_ptr, N: tl.constexpr, eps: tl.constexpr, B: tl.constexpr, num_stages: tl.constexpr):
    total = tl.zeros((B,), tl.float32)
    for start in tl.range(0, N, B, num_stages=num_stages):
        total += tl.load(x_ptr + start + tl.arange(0, B))
    tl.store(y_ptr + tl.arange(0, B), total + eps)


@triton.jit
def tiles(a_ptr, b_ptr, K, c_ptr, B: tl.constexpr):
    o = tl.arange(0, B)[:, None] * B + tl.arange(0, B)[None, :]
    acc = tl.zeros((B, B), tl.float32)
    for k in range(0, K):
        acc = tl.dot(tl.load(a_ptr + o + k * B), tl.load(b_ptr + o + k * B), acc)
    tl.store(c_ptr + o, acc.to(tl.float16))


undefined_kernel = declare(undefined)
nested_kernel = declare(nested)
assembly_kernel = declare(assembly)
row_kernel = declare(
    row,
    inputs={"x": Tensor("fp32", "N")},
    outputs={"y": Tensor("fp32", "N")},
    dtypes={},
    attributes={"eps": 0.5},
    params=[choice("B", 128), choice("num_stages", 1, 2)],
    default={"B": 128, "num_stages": 2},
    launch=lambda: Launch((1,)),
)
tiles_kernel = declare(
    tiles,
    inputs={"a": Tensor("fp16", "K"), "b": Tensor("fp16", "K")},
    outputs={"c": Tensor("fp16", "K")},
    dtypes={},
    params=[choice("B", 64, 128, 256), choice("num_warps", 4, 8), choice("num_stages", 3, 4), choice("maxnreg", 0, 64)],
    default={"B": 64, "num_warps": 4, "num_stages": 3, "maxnreg": 0},
    launch=lambda K: Launch((1,), (K,)),
    reference=lambda a, b: a,
)
"""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Kernel]:
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "mine.py").write_text(KERNELS)
    return lambda name: load_kernel(f"mine.py:{name}_kernel", folder)


def increment(n: int | Range = 1 << 20, **kwargs: Any) -> Problem:
    return Problem.of(load_kernel(str(INCREMENT), Path()), {"N": n}, **kwargs)


@pytest.mark.parametrize(("target", "name"), [(H100, "sm_90a"), (A100, "sm_80"), (L4, "sm_89")])
def test_artifact_is_launchable_with_inputs_integers_and_outputs(target: Target, name: str) -> None:
    artifact = compile_tactic(increment(), WIDE, target)
    entry = parse(artifact.ptx).entry
    assert [p.type for p in entry.params] == ["u64", "u32", "u64"]
    assert (artifact.entry, artifact.target, artifact.block) == ("increment", name, (128, 1, 1))
    assert entry.name == "increment" and entry.reqntid == artifact.block
    assert parse(artifact.ptx).version == artifact.ptx_version
    assert artifact.cubin.startswith(b"\x7fELF")
    assert artifact.shared_bytes == 0 and 0 < artifact.resources.registers <= 255
    assert "triton" in artifact.compiler and "ptxas" in artifact.compiler


def test_counting_instructions_can_be_left_out() -> None:
    counted = compile_tactic(increment(), WIDE, H100)
    plain = compile_tactic(increment(), WIDE, replace(H100, disassemble=False))
    assert (plain.ptx, plain.cubin) == (counted.ptx, counted.cubin)
    assert plain.resources.registers == counted.resources.registers
    assert counted.resources.instructions["total"] > 0
    assert not (plain.resources.instructions or plain.resources.load_widths or plain.resources.loop_instructions)


def test_ptx_depends_on_no_path_and_no_run(tmp_path: Path) -> None:
    (tmp_path / "copy.py").write_text("# moved\n\n\n" + INCREMENT.read_text())
    copy = Problem.of(load_kernel("copy.py", tmp_path), {"N": 1 << 20})
    first, second = compile_tactic(increment(), WIDE, H100), compile_tactic(copy, WIDE, H100)
    assert first.ptx == second.ptx
    assert str(INCREMENT.parent) not in first.ptx and ".loc" not in first.ptx
    assert compile_key(increment(), WIDE, H100) == compile_key(copy, WIDE, H100)


@pytest.mark.parametrize(
    ("n", "dtype", "widths"),
    [
        (1 << 20, "fp32", {16}),
        (1 << 20, "fp16", {16}),
        ((1 << 20) + 8, "fp32", {4}),
        (1001, "fp16", {2}),
        (Range(16, 1 << 20, 1 << 20), "fp32", {4}),
    ],
)
def test_loads_are_wide_only_where_the_size_is_always_divisible(n: int | Range, dtype: str, widths: set[int]) -> None:
    resources = compile_tactic(increment(n, dtypes={"T": dtype}), WIDE, A100).resources
    assert set(resources.load_widths) == widths
    assert set(resources.store_widths) == widths


def test_range_that_is_always_divisible_gives_wide_loads() -> None:
    kernel = replace(increment().kernel, launch=_launch_of_multiples)
    problem = Problem.of(kernel, {"N": (Range(1, 64, 128), 16)})
    assert set(compile_tactic(problem, WIDE, A100).resources.load_widths) == {16}


def _launch_of_multiples(N: int, BLOCK_SIZE: int) -> Any:
    from tuner import Launch, cdiv

    return Launch((cdiv(N, BLOCK_SIZE),), (N,))


def test_attributes_are_compiled_in() -> None:
    one = compile_tactic(increment(), WIDE, A100)
    seven = compile_tactic(increment(attributes={"amount": 7}), WIDE, A100)
    assert "0f3F800000" in one.ptx and "0f40E00000" in seven.ptx


def test_dimension_and_option_can_be_constants_of_the_source(kernels: Callable[[str], Kernel]) -> None:
    artifact = compile_tactic(Problem.of(kernels("row"), {"N": 1024}), {"B": 128, "num_stages": 2}, H100)
    assert len(parse(artifact.ptx).entry.params) == 2
    assert "0f3F000000" in artifact.ptx


def test_dynamic_dimension_cannot_be_a_constant(kernels: Callable[[str], Kernel]) -> None:
    problem = Problem.of(kernels("row"), {"N": Range(128, 1024, 2048)})
    for function in (compile_key, compile_tactic):
        with pytest.raises(ConfigError, match=r"takes dimension 'N' as a constant, so it needs one size"):
            function(problem, {"B": 128, "num_stages": 2}, H100)


def test_register_cap_is_a_directive_and_zero_is_none(kernels: Callable[[str], Kernel]) -> None:
    problem = Problem.of(kernels("tiles"), {"K": 64})
    free = compile_tactic(problem, problem.kernel.default, A100)
    capped = compile_tactic(problem, {**problem.kernel.default, "maxnreg": 64}, A100)
    assert parse(free.ptx).entry.maxnreg is None
    assert parse(capped.ptx).entry.maxnreg == 64
    assert capped.resources.registers <= 64 < free.resources.registers


@pytest.mark.parametrize("target", [Target((9, 0), (8, 0)), Target((8, 0), (7, 4))])
def test_ptx_version_is_lowered_to_what_the_driver_knows(target: Target) -> None:
    assert compile_tactic(increment(), WIDE, target).ptx_version == target.max_ptx


def test_newer_driver_changes_nothing() -> None:
    assert compile_key(increment(), WIDE, Target((9, 0), (99, 0))) == compile_key(increment(), WIDE, H100)


def test_driver_older_than_the_device_is_refused() -> None:
    target = Target((9, 0), (7, 8))
    for function in (compile_key, compile_tactic):
        with pytest.raises(
            UnavailableError, match=r"compute capability 9\.0 needs PTX 8\.0, and the driver takes 7\.8"
        ):
            function(increment(), WIDE, target)


def failure(problem: Problem, config: Config, target: Target = H100) -> TacticError:
    with pytest.raises(TacticError) as error:
        compile_tactic(problem, config, target)
    return error.value


@pytest.mark.parametrize(
    ("name", "headline"),
    [
        ("undefined", "no_such_function is not defined"),
        ("nested", "equal ranks >= 2 (in: return tl.dot(x, x))"),
        ("assembly", ": Not a name of any known instruction: 'bogus'"),
    ],
)
def test_first_line_of_a_failure_is_its_cause(
    kernels: Callable[[str], Kernel], capfd: pytest.CaptureFixture[str], name: str, headline: str
) -> None:
    problem = Problem.of(kernels(name), {"N": 4096})
    error = failure(problem, problem.kernel.default)
    assert error.kind is FailureClass.COMPILE
    assert headline in str(error).splitlines()[0]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("target", "config", "message"),
    [
        (
            H100,
            {"B": 256, "num_warps": 8, "num_stages": 3},
            "bytes of shared memory; a block on compute capability 9.0 may use 232448",
        ),
        (
            L4,
            {"B": 128, "num_warps": 8, "num_stages": 4},
            "needs 196608 bytes of shared memory; a block on compute capability 8.9 may use 101376",
        ),
    ],
)
def test_more_shared_memory_than_a_block_may_use_is_a_failure(
    kernels: Callable[[str], Kernel], target: Target, config: Config, message: str
) -> None:
    error = failure(Problem.of(kernels("tiles"), {"K": 4096}), {**config, "maxnreg": 0}, target)
    assert error.kind is FailureClass.COMPILE
    assert message in str(error)


@pytest.mark.parametrize(
    ("n", "config", "kind", "message"),
    [
        (4096, {"BLOCK_SIZE": 2048, "num_warps": 64}, FailureClass.COMPILE, "2048 threads per block"),
        (4096, {"BLOCK_SIZE": 256, "num_warps": 3}, FailureClass.COMPILE, "num_warps must be a power of 2"),
        (1 << 31, WIDE, FailureClass.CONSTRAINT, "passes 2147483648, which does not fit the 32-bit integers"),
    ],
)
def test_tactics_that_no_launch_could_carry_are_failures(
    n: int, config: Config, kind: FailureClass, message: str
) -> None:
    error = failure(increment(n), config)
    assert error.kind is kind
    assert message in str(error).splitlines()[0]


def test_grid_beyond_the_axis_is_a_failure() -> None:
    from tuner import Launch

    kernel = replace(increment().kernel, launch=lambda N, BLOCK_SIZE: Launch((1, N), (N,)))
    error = failure(Problem.of(kernel, {"N": 65536}), WIDE)
    assert "65536 blocks along y; CUDA takes 1 to 65535" in str(error)


def test_key_is_the_same_in_another_process() -> None:
    code = (
        "import sys; from pathlib import Path; from tuner import Problem; from tuner.kernel.loader import load_kernel;"
        "from tuner.gpu.target import Target; from tuner.compile.pipeline import compile_key;"
        "p = Problem.of(load_kernel(sys.argv[1], Path()), {'N': 1 << 20});"
        "print(compile_key(p, {'BLOCK_SIZE': 1024, 'num_warps': 4}, Target((9, 0))))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(INCREMENT)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == compile_key(increment(), WIDE, H100)


def test_key_follows_everything_that_changes_the_ptx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "edited.py").write_text(INCREMENT.read_text().replace("x + amount, ", "x - amount, "))
    edited = Problem.of(load_kernel("edited.py", tmp_path), {"N": 1 << 20})
    keys = [
        compile_key(increment(), WIDE, H100),
        compile_key(edited, WIDE, H100),
        compile_key(increment(1001), WIDE, H100),
        compile_key(increment(dtypes={"T": "fp16"}), WIDE, H100),
        compile_key(increment(attributes={"amount": 2}), WIDE, H100),
        compile_key(increment(), {**WIDE, "num_warps": 8}, H100),
        compile_key(increment(), {**WIDE, "BLOCK_SIZE": 2048}, H100),
        compile_key(increment(), {**WIDE, "maxnreg": 32}, H100),
        compile_key(increment(), WIDE, A100),
        compile_key(increment(), WIDE, Target((9, 0), (8, 0))),
        compile_key(increment(), WIDE, Target((9, 0), disassemble=False)),
    ]
    assert len(set(keys)) == len(keys)
    monkeypatch.setenv("DISABLE_LLVM_OPT", "1")  # which no worker inherits
    assert compile_key(increment(), WIDE, H100) in keys


def test_key_ignores_what_does_not_reach_the_compiler() -> None:
    assert compile_key(increment(1 << 21), WIDE, H100) == compile_key(increment(1 << 20), WIDE, H100)
    assert compile_key(increment(), {**WIDE, "maxnreg": 0}, H100) == compile_key(increment(), WIDE, H100)
