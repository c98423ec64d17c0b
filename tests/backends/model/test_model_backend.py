from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from workspace import KERNEL, STORE

from tuner import Problem, Range, Timed
from tuner.backends.model.backend import ModelBackend
from tuner.backends.select import BackendChoice, open_backend
from tuner.backends.setting import BackendSetting
from tuner.compile.blobs import Store
from tuner.compile.options import CompileOptions
from tuner.kernel.loader import load_kernel
from tuner.outcome import Failure, FailureClass, Outcome, Timing

GOOD = {"BLOCK": 256, "num_warps": 4}
WRONG = {"BLOCK": 512, "num_warps": 4}
REFUSED = {"BLOCK": 1024, "num_warps": 4}
MISTAKES = "    if BLOCK == 512:\n        y = y + 1\n    tl.static_assert(BLOCK != 1024, 'too wide')\n"

Make = Callable[..., ModelBackend]


@pytest.fixture
def make(tmp_path: Path, compiled: Path) -> Iterator[Make]:
    """Opens backends for a kernel that is wrong or refused at some block sizes."""
    (tmp_path / "kernel.py").write_text(KERNEL.replace(STORE, MISTAKES + STORE, 1))
    usual = Problem.of(load_kernel("kernel.py", tmp_path), {"N": 1 << 20})
    opened: list[ModelBackend] = []

    def open_one(target: str = "h200", store: Path = compiled, timed: Sequence[Timed] | None = None) -> ModelBackend:
        dims = {"N": Range(1 << 10, 1 << 20, 1 << 24)}
        problem = usual if timed is None else Problem.of(usual.kernel, dims, timed=timed)
        setting = BackendSetting(target, compile=CompileOptions(workers=2))
        backend = open_backend(BackendChoice.of("model"), problem, setting, Store(store))
        assert isinstance(backend, ModelBackend)
        opened.append(backend)
        return backend

    yield open_one
    for backend in opened:
        backend.close()


def outcomes(backend: ModelBackend, *configs: dict[str, int]) -> list[Outcome]:
    found = dict(backend.evaluate(configs))
    return [found[i] for i in range(len(configs))]


def test_each_tactic_gets_its_own_outcome(make: Make) -> None:
    good, wrong, refused = outcomes(make(), GOOD, WRONG, REFUSED)
    assert isinstance(good, Timing)
    assert (good.kind, good.statistic, good.samples_us, good.verified) == ("prediction", "model", (), "verified")
    assert good.time_us > 0 and good.facts
    assert isinstance(wrong, Failure) and wrong.kind == FailureClass.CORRECTNESS
    assert isinstance(refused, Failure) and refused.kind == FailureClass.COMPILE
    assert "too wide" in refused.message


def test_confirming_repeats_the_prediction_in_the_order_given(make: Make) -> None:
    backend = make()
    assert backend.confirm([WRONG, GOOD]) == outcomes(backend, WRONG, GOOD)


def test_a_prediction_is_for_the_target(make: Make) -> None:
    (h200,), (l4,) = outcomes(make("h200"), GOOD), outcomes(make("l4"), GOOD)
    assert isinstance(h200, Timing) and isinstance(l4, Timing)
    assert l4.time_us > 2 * h200.time_us, "an L4 has a sixteenth of the bandwidth"


def test_preparing_compiles_once(make: Make, tmp_path: Path) -> None:
    backend = make(store=tmp_path / "cold")
    backend.prepare([GOOD])
    first = outcomes(backend, GOOD)
    assert backend.confirm([GOOD]) == first
    assert len(list((tmp_path / "cold").glob("??/*.artifact"))) == 1
    with closing(make(store=tmp_path / "cold")) as again:
        assert outcomes(again, GOOD) == first
        assert again._compiler.counts.compiled == 0


def test_times_closer_than_the_model_can_tell_are_ties(make: Make) -> None:
    backend = make()
    a, b, c = (Timing(t, "prediction", "model") for t in (100.0, 100.09, 100.2))
    assert backend.tied(a, b) and backend.tied(b, a)
    assert not backend.tied(a, c) and not backend.tied(c, a)


def test_the_environment_names_the_compiler(make: Make) -> None:
    backend = make()
    backend.prepare([GOOD])
    assert set(backend.origin.environment) == {"triton", "ptxas"}


def test_the_time_is_the_weighted_mean_over_the_shapes_that_are_listed(make: Make) -> None:
    small, large = Timed({"N": 1 << 14}), Timed({"N": 1 << 24}, 3)
    alone = [outcomes(make(timed=[shape]), GOOD)[0] for shape in (small, large)]
    (both,) = outcomes(make(timed=[small, large]), GOOD)
    times = [o.time_us for o in (*alone, both) if isinstance(o, Timing)]
    assert times[1] > 2 * times[0]
    assert times[2] == pytest.approx(0.25 * times[0] + 0.75 * times[1])


CUDA = """
from tuner import Kernel, Launch, Tensor, cdiv, choice
from tuner.frontends import CudaCpp

CODE = '''
extern "C" __global__ void twice(const float* x, int n, float* y) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] + x[i];
}
'''

kernel = Kernel(
    id="test::twice",
    source=CudaCpp(CODE, "twice"),
    inputs={"x": Tensor("fp32", "*N")},
    outputs={"y": Tensor("fp32", "*N")},
    params=[choice("THREADS", 64, 128)],
    default={"THREADS": 64},
    launch=lambda N, THREADS: Launch((cdiv(N, THREADS),), (N,), block=(THREADS,)),
    reference=lambda x: 2 * x,
)
"""


def test_what_a_gpu_found_correct_is_verified_here_too(tmp_path: Path, compiled: Path) -> None:
    (tmp_path / "twice.py").write_text(CUDA)
    problem = Problem.of(load_kernel("twice.py", tmp_path), {"N": 1000})
    setting = BackendSetting("h200", compile=CompileOptions(workers=1))

    def outcome(proofs: dict[str, str]) -> tuple[Outcome, str]:
        with closing(open_backend(BackendChoice.of("model"), problem, setting, Store(compiled), proofs)) as backend:
            ((_, found),) = backend.evaluate([{"THREADS": 64}])
            artifact = backend.compiled({"THREADS": 64})
            assert artifact is not None
            return found, artifact.digest

    found, digest = outcome({})
    assert isinstance(found, Timing)
    assert (found.verified, found.lasting) == ("unverified: CUDA C++ runs on a GPU only", False)
    found, _ = outcome({digest: "found correct on NVIDIA H200, 2026-01-02"})
    assert isinstance(found, Timing)
    assert (found.verified, found.checked) == ("verified", "found correct on NVIDIA H200, 2026-01-02")
    found, _ = outcome({digest[::-1]: "found correct elsewhere"})
    assert isinstance(found, Timing) and found.verified != "verified"
