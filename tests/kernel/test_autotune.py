"""Kernels as public repositories write them, under `@triton.autotune`, come in as they are."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from declare import HEAD

from tuner import Problem, Range
from tuner.compile.compiler import Compiler, Counts
from tuner.compile.pipeline import compile_key, compile_tactic
from tuner.compile.ptx import parse
from tuner.errors import ConfigError
from tuner.gate.verifier import Verifier
from tuner.gpu.target import Target
from tuner.kernel.identity import kernel_hash
from tuner.kernel.loader import load_kernel
from tuner.outcome import Failure, FailureClass, TacticError
from tuner.search.params import Param

H100 = Target((9, 0))

ADD = """
@triton.autotune(
    configs=[triton.Config({"BLOCK_SIZE": b}, num_warps=w) for b in (512, 256, 1024) for w in (4, 8)],
    key=["n_elements"],
)
@triton.jit
def add_kernel(x_ptr, y_ptr, output_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    tl.store(output_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) + tl.load(y_ptr + offsets, mask=mask), mask=mask)

kernel = Kernel.from_autotune(
    add_kernel,
    id="test::add",
    inputs={"x": Tensor("T", "*N"), "y": Tensor("T", "*N")},
    outputs={"output": Tensor("T", "*N")},
    dtypes={"T": ("fp32", "fp16")},
    launch=lambda N, BLOCK_SIZE: Launch((cdiv(N, BLOCK_SIZE),), (N,)),
    reference=lambda x, y: x + y,
    tiles={"N": "BLOCK_SIZE"},
)
"""

MATMUL = """
def get_configs():
    return [
        triton.Config({"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k, "GROUP_M": 8}, num_stages=s, num_warps=w)
        for m, n, k, s, w in [(64, 64, 32, 4, 4), (128, 64, 32, 3, 4), (64, 32, 64, 5, 2), (32, 64, 32, 5, 2)]
    ]

def prune(configs, named_args, **kwargs):
    size = named_args["a_ptr"].element_size()
    kept = [c for c in configs if c.kwargs["BLOCK_K"] <= named_args["K"]]
    return [c for c in kept if size * c.num_stages * c.kwargs["BLOCK_K"] * c.kwargs["BLOCK_M"] < 64 * 1024]

@triton.autotune(configs=get_configs(), key=["M", "N", "K"], prune_configs_by={"early_config_prune": prune})
@triton.heuristics({"EVEN_K": lambda args: args["K"] % args["BLOCK_K"] == 0})
@triton.jit
def matmul_kernel(
    a_ptr, b_ptr, c_ptr, M, N, K, stride_am, stride_ak, stride_bk, stride_bn, stride_cm, stride_cn,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, GROUP_M: tl.constexpr,
    EVEN_K: tl.constexpr, ACTIVATION: tl.constexpr = "",
):
    pid = tl.program_id(axis=0)
    num_pid_m = tl.cdiv(M, BLOCK_M)
    num_pid_n = tl.cdiv(N, BLOCK_N)
    group = pid // (GROUP_M * num_pid_n)
    size = min(num_pid_m - group * GROUP_M, GROUP_M)
    pid_m = group * GROUP_M + (pid % (GROUP_M * num_pid_n)) % size
    pid_n = (pid % (GROUP_M * num_pid_n)) // size
    offs_m = pid_m * BLOCK_M + tl.arange(0, BLOCK_M)
    offs_n = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)
    offs_k = tl.arange(0, BLOCK_K)
    a_ptrs = a_ptr + offs_m[:, None] * stride_am + offs_k[None, :] * stride_ak
    b_ptrs = b_ptr + offs_k[:, None] * stride_bk + offs_n[None, :] * stride_bn
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in range(0, tl.cdiv(K, BLOCK_K)):
        if EVEN_K:
            a = tl.load(a_ptrs, mask=offs_m[:, None] < M, other=0.0)
            b = tl.load(b_ptrs, mask=offs_n[None, :] < N, other=0.0)
        else:
            a = tl.load(a_ptrs, mask=(offs_m[:, None] < M) & (offs_k[None, :] < K - k * BLOCK_K), other=0.0)
            b = tl.load(b_ptrs, mask=(offs_k[:, None] < K - k * BLOCK_K) & (offs_n[None, :] < N), other=0.0)
        acc = tl.dot(a, b, acc)
        a_ptrs += BLOCK_K * stride_ak
        b_ptrs += BLOCK_K * stride_bk
    if ACTIVATION == "relu":
        acc = tl.maximum(acc, 0)
    c_ptrs = c_ptr + stride_cm * offs_m[:, None] + stride_cn * offs_n[None, :]
    tl.store(c_ptrs, acc.to(c_ptr.dtype.element_ty), mask=(offs_m[:, None] < M) & (offs_n[None, :] < N))

kernel = Kernel.from_autotune(
    matmul_kernel,
    id="test::matmul",
    inputs={"a": Tensor("T", "M K"), "b": Tensor("T", "K N")},
    outputs={"c": Tensor("T", "M N")},
    dtypes={"T": ("fp16", "fp32")},
    launch=lambda M, N, K, BLOCK_M, BLOCK_N: Launch(
        (cdiv(M, BLOCK_M) * cdiv(N, BLOCK_N),), (M, N, K, K, 1, N, 1, N, 1)
    ),
    reference=lambda a, b: a @ b,
    tolerances={"fp16": Tolerance(2**-8, 2**-5), "fp32": Tolerance(2**-8, 2**-5)},
)
"""

LAYER_NORM = """
@triton.heuristics({"BLOCK_N": lambda args: triton.next_power_of_2(args["N"])})
@triton.autotune(configs=[triton.Config({}, num_warps=w) for w in (1, 2, 4, 8)], key=["N"])
@triton.jit
def layer_norm_fwd(X, Y, W, B, stride, N, eps, HAS_BIAS: tl.constexpr, BLOCK_N: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK_N)
    x = tl.load(X + row * stride + cols, mask=cols < N, other=0.0).to(tl.float32)
    mean = tl.sum(x, axis=0) / N
    xbar = tl.where(cols < N, x - mean, 0.0)
    rstd = 1 / tl.sqrt(tl.sum(xbar * xbar, axis=0) / N + eps)
    y = xbar * rstd * tl.load(W + cols, mask=cols < N).to(tl.float32)
    if HAS_BIAS:
        y += tl.load(B + cols, mask=cols < N).to(tl.float32)
    tl.store(Y + row * stride + cols, y, mask=cols < N)

def reference(X, W, B, eps, HAS_BIAS):
    centred = X - X.mean(axis=-1, keepdims=True)
    y = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps) * W
    return y + B if HAS_BIAS else y

kernel = Kernel.from_autotune(
    layer_norm_fwd,
    id="test::layer_norm",
    inputs={"X": Tensor("T", "*M N"), "W": Tensor("T", "N"), "B": Tensor("T", "N")},
    outputs={"Y": Tensor("T", "*M N")},
    dtypes={"T": ("fp32", "fp16")},
    attributes={"eps": 1e-5, "HAS_BIAS": True},
    launch=lambda M, N: Launch((M,), (N, N)),
    reference=reference,
    tolerances={"fp32": Tolerance(2**-16, 2**-16)},
)
"""

SOFTMAX = """
def fits(configs, named_args, n_cols, **kwargs):
    return [c for c in configs if c.kwargs["BLOCK"] >= n_cols][:3]

@triton.autotune(
    configs=[triton.Config(dict(BLOCK=b), num_warps=w, num_stages=1) for b in (256, 1024, 4096) for w in (2, 4, 8, 16)],
    key=["n_cols"],
    prune_configs_by={"early_config_prune": fits, "perf_model": None, "top_k": None},
)
@triton.jit
def softmax_kernel(
    output_ptr, input_ptr, input_row_stride, output_row_stride, n_cols: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    x = tl.load(input_ptr + row * input_row_stride + cols, mask=cols < n_cols, other=-float("inf"))
    e = tl.exp(x - tl.max(x, axis=0))
    tl.store(output_ptr + row * output_row_stride + cols, e / tl.sum(e, axis=0), mask=cols < n_cols)

def reference(input):
    e = np.exp(input - input.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)

kernel = Kernel.from_autotune(
    softmax_kernel,
    id="test::softmax",
    inputs={"input": Tensor("fp32", "M n_cols")},
    outputs={"output": Tensor("fp32", "M n_cols")},
    launch=lambda M, n_cols: Launch((M,), (n_cols, n_cols)),
    reference=reference,
    default={"BLOCK": 1024, "num_warps": 4, "num_stages": 1},
    tolerances={"fp32": Tolerance(2**-18, 2**-126)},
)
"""

ROTARY = """
@triton.autotune(
    [triton.Config({"BLOCK_H": h}, num_warps=w, maxnreg=r) for h in (1, 2, 4) for w in (1, 2) for r in (None, 64)],
    key=["heads", "dim"],
)
@triton.jit
def rotary(OUT, X, COS, SIN, seqlen, heads, dim: tl.constexpr, BLOCK_H: tl.constexpr, CONJ: tl.constexpr = False):
    s = tl.program_id(0)
    h = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    k = tl.arange(0, dim // 2)
    if s < seqlen:
        offs = (s * heads + h[:, None]) * dim + k[None, :]
        mask = h[:, None] < heads
        cos = tl.load(COS + s * dim + k)[None, :]
        sin = tl.load(SIN + s * dim + k)[None, :]
        if CONJ:
            sin = -sin
        x0 = tl.load(X + offs, mask=mask)
        x1 = tl.load(X + offs + dim // 2, mask=mask)
        tl.store(OUT + offs, x0 * cos - x1 * sin, mask=mask)
        tl.store(OUT + offs + dim // 2, x0 * sin + x1 * cos, mask=mask)

def reference(X, COS, SIN):
    a, b = np.split(X, 2, axis=-1)
    half = a.shape[-1]
    c, s = COS[:, None, :half], SIN[:, None, :half]
    return np.concatenate([a * c - b * s, a * s + b * c], axis=-1)

kernel = Kernel.from_autotune(
    rotary,
    id="test::rotary",
    inputs={
        "X": Tensor("fp32", "seqlen heads dim"),
        "COS": Tensor("fp32", "seqlen dim"),
        "SIN": Tensor("fp32", "seqlen dim"),
    },
    outputs={"OUT": Tensor("fp32", "seqlen heads dim")},
    launch=lambda seqlen, heads, BLOCK_H: Launch((seqlen, cdiv(heads, BLOCK_H)), (seqlen, heads)),
    reference=reference,
    tolerances={"fp32": Tolerance(2**-18, 2**-18)},
)
"""

KERNELS = {"add": ADD, "matmul": MATMUL, "layer_norm": LAYER_NORM, "softmax": SOFTMAX, "rotary": ROTARY}
DIMS: dict[str, dict[str, int]] = {
    "add": {"N": 1000},
    "matmul": {"M": 96, "N": 64, "K": 64},
    "layer_norm": {"M": 12, "N": 300},
    "softmax": {"M": 5, "n_cols": 700},
    "rotary": {"seqlen": 3, "heads": 3, "dim": 64},
}
Load = Callable[..., Problem]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a kernel, edited, at its sizes or others."""

    def make(name: str, old: str = "", new: str = "", **dims: int | Range) -> Problem:
        assert old in KERNELS[name]
        (tmp_path / f"{name}.py").write_text(HEAD + KERNELS[name].replace(old, new))
        return Problem.of(load_kernel(f"{name}.py", tmp_path), {**DIMS[name], **dims})

    return make


@pytest.mark.parametrize("name", KERNELS)
def test_every_config_is_correct_and_launched_as_tensorrt_does(load: Load, name: str) -> None:
    problem = load(name)
    kernel = problem.kernel
    verifier = Verifier(problem, seed=0, store=None, workers=1, timeout_s=60, memory_bytes=4 << 30)
    try:
        answers = {str(c): verifier.submit(c) for c in problem.space}
        assert {c: a.result().verified for c, a in answers.items()} == dict.fromkeys(answers, "verified")
    finally:
        verifier.close()
    launch = problem.launch(kernel.default)
    params = parse(compile_tactic(problem, kernel.default, H100).ptx).entry.params
    assert [p.size for p in params] == [8] * len(kernel.inputs) + [4] * len(launch.args) + [8] * len(kernel.outputs)


def test_configs_become_the_space_and_the_first_the_default(load: Load) -> None:
    add = load("add")
    assert add.kernel.params == [
        Param("BLOCK_SIZE", (256, 512, 1024)),
        Param("num_warps", (4, 8)),
        Param("num_stages", (3,)),
    ]
    assert add.kernel.default == {"BLOCK_SIZE": 512, "num_warps": 4, "num_stages": 3}
    assert add.space.size == 6
    assert load("rotary").space.size == 12
    assert load("rotary").kernel.space.names == ("BLOCK_H", "num_warps", "num_stages", "maxnreg")
    matmul = load("matmul")
    assert (matmul.kernel.space.product, matmul.space.size) == (3 * 2 * 2 * 3 * 2, 4)
    unlisted = {**matmul.kernel.default, "BLOCK_M": 32}
    violated = matmul.space.violated(unlisted)
    assert violated is not None and str(violated) == "listed: it is none of the autotuner's configs"


def test_the_pruning_hook_becomes_a_constraint_that_sees_sizes_and_types(load: Load) -> None:
    assert {c["BLOCK_K"] for c in load("matmul", K=32).space} == {32}
    wide = Problem.of(load("matmul").kernel, DIMS["matmul"], {"T": "fp32"})
    assert {(c["BLOCK_M"], c["BLOCK_K"]) for c in wide.space} == {(64, 32), (128, 32), (32, 32)}
    assert [(c["BLOCK"], c["num_warps"]) for c in load("softmax").space] == [(1024, 2), (1024, 4), (1024, 8)]
    pruned = load("softmax", n_cols=2000).space.violated(load("softmax").kernel.default)
    assert pruned is not None and pruned.name == "early_config_prune"


def test_heuristics_are_computed_for_each_problem(load: Load) -> None:
    even, odd = load("matmul"), load("matmul", K=65)
    default = even.kernel.default
    assert compile_key(even, default, H100) != compile_key(odd, default, H100)
    assert "EVEN_K" not in even.kernel.constant_names


EVEN = '"EVEN_K": lambda args: args["K"] % args["BLOCK_K"] == 0'


@pytest.mark.parametrize(
    "asked",
    [
        'args["a_ptr"].data_ptr() % 256 == 0 and args["a_ptr"].data_ptr() != args["b_ptr"].data_ptr()',
        'args["a_ptr"].stride() == (64, 1) and args["a_ptr"].stride(-1) == 1 and args["a_ptr"].is_contiguous()',
        'args["a_ptr"].size() == (96, 64) and args["b_ptr"].nbytes == 64 * 64 * 2 and args["c_ptr"].ndim == 2',
        'args["a_ptr"].device.type == "cuda" and args["a_ptr"].is_cuda and args["a_ptr"].dtype.itemsize == 2',
        '(args["num_warps"], args["num_stages"], args["num_ctas"]) == (4, 4, 1) and "maxnreg" not in args',
        'args.pop("K") == 64',
    ],
)
def test_heuristics_are_answered_what_tensorrt_settles(load: Load, asked: str) -> None:
    default = load("matmul").kernel.default
    expected = compile_tactic(load("matmul", EVEN, '"EVEN_K": lambda args: True'), default, H100)
    assert compile_tactic(load("matmul", EVEN, f'"EVEN_K": lambda args: {asked}'), default, H100).ptx == expected.ptx


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            'args["a_ptr"].grad',
            r"AttributeError: 'grad' of a tensor is not known before it runs in TensorRT; known are ",
        ),
        ('args["stride"]', r"KeyError: 'stride'"),
        ('args["a_ptr"].size(5)', r"IndexError: "),
    ],
)
def test_a_heuristic_that_asks_for_what_is_not_known_is_named(load: Load, asked: str, said: str) -> None:
    problem = load("matmul", EVEN, f'"EVEN_K": lambda args: {asked}')
    with pytest.raises(
        ConfigError, match=rf"the heuristic EVEN_K raised {said}.*; see <lambda> \(.*matmul.py:"
    ) as error:
        compile_tactic(problem, problem.kernel.default, H100)
    assert "\n" not in str(error.value)


def test_heuristics_alone_are_launched_as_triton_does(load: Load) -> None:
    decorator = LAYER_NORM[LAYER_NORM.index("@triton.autotune") : LAYER_NORM.index("@triton.jit")]
    problem = load("layer_norm", decorator, "")
    assert list(problem.space) == [{"num_warps": 4, "num_stages": 3}]
    both = load("layer_norm")
    assert (
        compile_tactic(problem, problem.kernel.default, H100).ptx
        == compile_tactic(both, problem.kernel.default, H100).ptx
    )


def test_a_heuristic_that_differs_within_a_range_refuses_the_tactic(load: Load) -> None:
    dynamic = load("matmul", K=Range(64, 128, 256))
    with pytest.raises(TacticError, match="the heuristic EVEN_K is True at some sizes of the range and False") as error:
        compile_tactic(dynamic, dynamic.kernel.default, H100)
    assert error.value.kind == FailureClass.CONSTRAINT
    assert compile_tactic(load("matmul", M=Range(1, 64, 100)), dynamic.kernel.default, H100).entry


def test_a_tactic_that_a_heuristic_refuses_costs_one_trial(load: Load) -> None:
    dynamic = load("matmul", K=Range(64, 128, 256))
    with closing(Compiler(H100, store=None, workers=1, timeout_s=60, memory_bytes=4 << 30)) as compiler:
        answer = compiler.submit(dynamic, dynamic.kernel.default).result(timeout=60)
        assert isinstance(answer, Failure) and answer.kind is FailureClass.CONSTRAINT
        assert answer.message.startswith("the heuristic EVEN_K is True")
        assert compiler.counts == Counts(failed=1)


def test_a_heuristic_that_fails_is_named_with_its_place(load: Load) -> None:
    problem = load("matmul", 'args["K"] % args["BLOCK_K"] == 0', 'args["KK"]')
    with pytest.raises(
        ConfigError, match=r"kernel 'test::matmul': the heuristic EVEN_K raised KeyError: 'KK'; see .*py"
    ):
        compile_tactic(problem, problem.kernel.default, H100)


def test_heuristics_see_parameters_at_their_default_values_and_those_before(load: Load) -> None:
    new = '"EVEN_K": lambda args: args["ACTIVATION"] == "", "ACTIVATION_": lambda args: args["EVEN_K"]'
    problem = load("matmul", '"EVEN_K": lambda args: args["K"] % args["BLOCK_K"] == 0', new)
    assert problem.constants(problem.kernel.default).items() >= {"EVEN_K": True, "ACTIVATION_": True}.items()


def test_strides_that_are_always_one_make_loads_wide(load: Load) -> None:
    problem = load("matmul", M=256, N=256, K=256)
    assert set(compile_tactic(problem, problem.kernel.default, H100).resources.load_widths) == {16}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("matmul", '% args["BLOCK_K"] == 0', '% (2 * args["BLOCK_K"]) == 0'),
        ("matmul", 'ACTIVATION: tl.constexpr = ""', 'ACTIVATION: tl.constexpr = "relu"'),
        ("add", "+ tl.load(y_ptr", "- tl.load(y_ptr"),
    ],
)
def test_the_hash_follows_heuristics_and_default_values(load: Load, name: str, old: str, new: str) -> None:
    assert kernel_hash(load(name, old, new).kernel) != kernel_hash(load(name).kernel)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("add", 'key=["n_elements"],', 'key=["n_elements"], pre_hook=print,', "calls a hook around a launch"),
        ("add", 'key=["n_elements"]', 'key=["n"]', "the key 'n' is no parameter of the kernel"),
        ("add", 'inputs={"x"', 'inputs={"z"', "which takes which tensor: .z. by none, .y. by y_ptr"),
        ("add", "(N,)),\n", "(N, N)),\n", "launch passes 2 extra integers, the source takes 1"),
        ("add", "num_warps=w)", "num_warps=w, pre_hook=print)", "has a pre_hook"),
        (
            "layer_norm",
            "triton.Config({}, num_warps=w) for",
            "triton.Config({'A': 1} if w < 2 else {}) for",
            "different",
        ),
        ("add", "@triton.autotune(", "@(lambda **k: lambda f: f)(", "tiles maps .N. to .BLOCK_SIZE."),
        (
            "matmul",
            '["a_ptr"].element_size()',
            '["a_ptr"].grad',
            "'early_config_prune' failed: the hook raised AttributeError: 'grad' of a tensor is not known before",
        ),
        (
            "add",
            "@triton.jit",
            "@triton.autotune(configs=[triton.Config({'BLOCK_SIZE': 64})], key=[])\n@triton.jit",
            "under @triton.autotune twice, which Triton itself cannot launch",
        ),
        (
            "layer_norm",
            "@triton.heuristics(",
            "@triton.autotune(configs=[triton.Config({}, num_warps=8)], key=[])\n@triton.heuristics(",
            "under @triton.autotune twice",
        ),
        ("add", "num_warps=w)", "num_warps=w, ir_override='add.ptx')", "replaces the kernel's code"),
    ],
)
def test_what_cannot_come_in_is_named(load: Load, name: str, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        problem = load(name, old, new)
        problem.launch(problem.kernel.default)
        _ = problem.space.size
    assert "\n" not in str(error.value)


def test_a_default_value_that_is_a_constexpr_is_its_value(load: Load) -> None:
    old = "n_elements, BLOCK_SIZE: tl.constexpr):"
    plain = load("add", old, "n_elements, BLOCK_SIZE: tl.constexpr, how: tl.constexpr = 1):")
    wrapped = load("add", old, "n_elements, BLOCK_SIZE: tl.constexpr, how: tl.constexpr = tl.constexpr(1)):")
    config = plain.kernel.default
    assert wrapped.constants(config) == plain.constants(config)
    assert compile_tactic(wrapped, config, H100).ptx == compile_tactic(plain, config, H100).ptx


WRAPPED = """
class Entry:
    def __init__(self, fn):
        self.fn = fn

class OwnTuner(triton.runtime.autotuner.Autotuner):
    pass

def own(function):
    return OwnTuner(
        function, function.arg_names, [triton.Config({"BLOCK": b}, num_warps=4) for b in (256, 512)], ["n"], None, None
    )

@Entry
@own
@triton.heuristics({"EVEN": lambda args: args["n"] % args["BLOCK"] == 0})
@triton.heuristics({"BIASED": lambda args: args["bias"] is not None})
@triton.jit
def shift(out, n, src, bias=None, BLOCK: tl.constexpr = 64, EVEN: tl.constexpr = False, BIASED: tl.constexpr = True):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(src + at) if EVEN else tl.load(src + at, mask=at < n)
    if BIASED:
        x += tl.load(bias + at, mask=at < n)
    tl.store(out + at, x, mask=at < n)

DECLARED = dict(
    id="test::shift",
    outputs={"out": Tensor("fp32", "N")},
    launch=lambda N, BLOCK: Launch((cdiv(N, BLOCK),), args={"n": N}),
    tiles={"N": "BLOCK"},
)
plain = Kernel.from_autotune(shift, inputs={"src": Tensor("fp32", "N")}, reference=lambda src: src, **DECLARED)
biased = Kernel.from_autotune(
    shift,
    inputs={"bias": Tensor("fp32", "N"), "src": Tensor("fp32", "N")},
    reference=lambda src, bias: src + bias,
    **DECLARED,
)
"""


@pytest.mark.parametrize(
    ("name", "arguments", "params"), [("plain", ("src", "n", "out"), 3), ("biased", ("bias", "src", "n", "out"), 4)]
)
def test_what_wraps_a_function_is_found_by_what_it_offers(
    tmp_path: Path, name: str, arguments: tuple[str, ...], params: int
) -> None:
    (tmp_path / "shift.py").write_text(HEAD + WRAPPED)
    problem = Problem.of(load_kernel(f"shift.py:{name}", tmp_path), {"N": 1000})
    kernel = problem.kernel
    assert kernel.code.arguments == arguments
    assert kernel.params[0].values == (256, 512)
    assert problem.constants(kernel.default).items() >= {"EVEN": False, "BIASED": name == "biased"}.items()
    assert len(parse(compile_tactic(problem, kernel.default, H100).ptx).entry.params) == params
    with closing(Verifier(problem, seed=0, store=None, workers=1, timeout_s=300, memory_bytes=2**32)) as gate:
        assert gate.submit(kernel.default).result().kind == "verified"


OPTIONAL = """
@triton.heuristics({
    "BIASED": lambda args: args["bias"] is not None,
})
@triton.jit
def shift(out, scale, bias, n, src, BIASED: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(src + at, mask=at < n)
    if BIASED:
        x += tl.load(bias + at, mask=at < n)
    if scale != None:
        x *= tl.load(scale)
    tl.store(out + at, x, mask=at < n)

kernel = Kernel(
    id="test::shift",
    source=shift,
    inputs={"src": Tensor("fp32", "N")},
    outputs={"out": Tensor("fp32", "N")},
    params=[Param("BLOCK", (256,))],
    default={"BLOCK": 256},
    launch=lambda N, BLOCK: Launch((cdiv(N, BLOCK),), args=(N,)),
    reference=lambda src: src,
)
"""


@pytest.mark.parametrize("args", ["(N,)", '{"n": N}'])
def test_a_pointer_that_the_code_asks_for_and_nothing_gives_is_none(tmp_path: Path, args: str) -> None:
    text = HEAD + "from tuner import Param\n" + OPTIONAL
    (tmp_path / "shift.py").write_text(text.replace("args=(N,)", f"args={args}"))
    problem = Problem.of(load_kernel("shift.py", tmp_path), {"N": 1000})
    assert problem.kernel.code.arguments == ("src", "n", "out")
    assert problem.constants(problem.kernel.default) == {"BLOCK": 256, "BIASED": False, "scale": None, "bias": None}
    assert len(parse(compile_tactic(problem, problem.kernel.default, H100).ptx).entry.params) == 3


def test_pointers_that_are_not_asked_for_are_named(tmp_path: Path) -> None:
    text = HEAD + "from tuner import Param\n" + OPTIONAL.replace("if scale != None", "if True")
    (tmp_path / "shift.py").write_text(text)
    problem = Problem.of(load_kernel("shift.py", tmp_path), {"N": 1000})
    with pytest.raises(ConfigError, match=r"passes 1 .*, the source takes 3 \(scale, bias, n\).*absent=\(…\)"):
        problem.launch(problem.kernel.default)


def test_heuristics_alone_come_in_by_either_way(load: Load) -> None:
    autotuned = KERNELS["add"][: KERNELS["add"].index("@triton.jit")]
    text = KERNELS["add"].replace(autotuned, '@triton.heuristics({"BLOCK_SIZE": lambda args: 512})\n')
    text = text.replace("lambda N, BLOCK_SIZE: Launch((cdiv(N, BLOCK_SIZE),)", "lambda N: Launch((cdiv(N, 512),)")
    text = text.replace('    tiles={"N": "BLOCK_SIZE"},\n', "")
    by_class = load("add", KERNELS["add"], text)
    plain = text.replace(
        "Kernel.from_autotune(\n    add_kernel", "Kernel(\n    source=add_kernel, params=[], default={}"
    )
    declared = load("add", KERNELS["add"], plain)
    assert by_class.kernel.default == {"num_warps": 4, "num_stages": 3}
    ptx = compile_tactic(declared, {}, H100).ptx
    assert compile_tactic(by_class, by_class.kernel.default, H100).ptx == ptx
