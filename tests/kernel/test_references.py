"""A problem is the same in every process."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from workspace import KERNEL

from tuner import Problem, Range, Timed
from tuner.errors import ConfigError
from tuner.kernel.identity import kernel_hash
from tuner.kernel.kernel import Kernel
from tuner.kernel.loader import load_kernel
from tuner.kernel.references import LoadError, ProblemSpec
from tuner.workers.faults import out_of_memory


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    (tmp_path / "kernel.py").write_text(KERNEL)
    return load_kernel("kernel.py", tmp_path)


def described(problem: Problem) -> list[object]:
    """What tells problems apart."""
    settings = (problem.dims, problem.dtypes, problem.attributes)
    return [problem.label, *map(dict, settings), kernel_hash(problem.kernel)]


LOAD = """
import pickle, sys
sys.path[:0] = sys.argv[1:]
from test_references import described
spec = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps(described(spec.load())))
"""


@pytest.mark.parametrize("size", [4096, Range(1, 64, 4096)])
def test_another_process_makes_the_same_problem(kernel: Kernel, size: int | Range) -> None:
    problem = Problem.of(kernel, {"N": size}, {"T": "fp16"}, {"factor": 0.1})
    spec = pickle.dumps(ProblemSpec.of(problem))
    command = [sys.executable, "-c", LOAD, str(Path(__file__).parent), str(Path(__file__).parents[1] / "shared")]
    done = subprocess.run(command, input=spec, capture_output=True, check=True)
    assert pickle.loads(done.stdout) == described(problem)


def test_equal_problems_have_equal_specs_and_are_made_once(kernel: Kernel) -> None:
    def spec(size: int) -> ProblemSpec:
        return ProblemSpec.of(Problem.of(kernel, {"N": size}, {"T": "fp16"}))

    assert spec(8) == spec(8)
    assert spec(8).load() is spec(8).load()
    assert spec(8).load() is not spec(9).load()


def test_shapes_to_time_at_go_along(kernel: Kernel) -> None:
    timed = [Timed({"N": 4}, 3), Timed({"N": 32})]
    loaded = ProblemSpec.of(Problem.of(kernel, {"N": Range(1, 8, 64)}, timed=timed)).load()
    assert [(p.sizes()["N"], share) for p, share in loaded.shares] == [(4, 0.75), (32, 0.25)]


SCRIPT = f"""
{KERNEL}
if __name__ == "__main__":
    from tuner import Problem
    from tuner.kernel.references import ProblemSpec

    problem = Problem.of(kernel, {{"N": 8}}, {{"T": "fp32"}})
    loaded = ProblemSpec.of(problem).load()
    print(loaded.kernel is not kernel, loaded.label == problem.label)
"""


def test_a_script_may_hold_the_kernel_itself(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("raise ValueError('no luck')", r"kernel\.py:1 raised ValueError on import: no luck"),
        ("x = (", r"kernel\.py:1 raised SyntaxError on import"),
        (KERNEL.replace("test::scale", "test::other"), r"kernel\.py: LookupError: holds no kernel 'test::scale'"),
        (None, r"kernel\.py: FileNotFoundError: .*kernel\.py"),
    ],
    ids=["raises", "broken", "renamed", "removed"],
)
def test_a_kernel_that_cannot_be_loaded_any_more_says_why(
    kernel: Kernel, tmp_path: Path, text: str | None, why: str
) -> None:
    spec = ProblemSpec.of(Problem.of(kernel, {"N": 8}, {"T": "fp32"}))
    if text is None:
        (tmp_path / "kernel.py").unlink()
    else:
        (tmp_path / "kernel.py").write_text(text)
    with pytest.raises(LoadError, match=why):
        spec.load()


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"*N"', '"*M"', "dimension"),
        ('"BLOCK": 256', '"BLOCK": 300', r"kernel\.py: .*300"),
    ],
    ids=["other dimensions", "a default outside the space"],
)
def test_a_declaration_that_is_refused_is_the_users_mistake(
    kernel: Kernel, tmp_path: Path, old: str, new: str, why: str
) -> None:
    spec = ProblemSpec.of(Problem.of(kernel, {"N": 8}, {"T": "fp32"}))
    (tmp_path / "kernel.py").write_text(KERNEL.replace(old, new))
    with pytest.raises(ConfigError, match=why):
        spec.load()


EATS = """
try:
    bytearray(1 << 60)
except MemoryError as e:
    raise ValueError("something went wrong") from e
"""


def test_running_out_of_memory_is_told_from_a_file_that_raises(kernel: Kernel, tmp_path: Path) -> None:
    spec = ProblemSpec.of(Problem.of(kernel, {"N": 8}, {"T": "fp32"}))
    (tmp_path / "kernel.py").write_text(EATS)
    with pytest.raises(ConfigError) as raised:
        spec.load()
    assert out_of_memory(raised.value)
