from pathlib import Path

import pytest

from tuner import Range
from tuner.compile.options import CompileOptions
from tuner.errors import ConfigError
from tuner.search import DEFAULT_SAMPLER
from tuner.tuning.config import Job, dump_config, load_config, with_overrides
from tuner.tuning.options import SearchOptions

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))

KERNEL = """
import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, cdiv, choice, powers_of_two


@triton.jit
def scale(x_ptr, n, y_ptr, factor: tl.constexpr, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(y_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) * factor, mask=mask)


kernel = Kernel(
    id="test::scale",
    source=scale,
    inputs={"x": Tensor("T", "*M N")},
    outputs={"y": Tensor("T", "*M N")},
    dtypes={"T": ("fp32", "fp16")},
    attributes={"factor": 2.0},
    params=[powers_of_two("BLOCK", 64, 1024), choice("num_warps", 1, 2)],
    constraints=[
        Constraint("block_fits", lambda BLOCK, N: BLOCK <= N, "a block would be larger than a row"),
        Constraint("one_warp_for_short_rows", lambda num_warps, N: N > 99 or num_warps == 1, "nothing to share"),
    ],
    default={"BLOCK": 128, "num_warps": 1},
    launch=lambda M, N, BLOCK: Launch(grid=(cdiv(M * N, BLOCK),), args=(M * N,)),
    reference=lambda x, factor: x * factor,
)
"""

HEAD = 'version = 1\nkernel = "kernel.py"\n'
PROBLEM = "[problem]\ndims = { M = 4, N = 512 }\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kernel.py").write_text(KERNEL)
    return tmp_path


def load(folder: Path, text: str) -> Job:
    path = folder / "job.toml"
    path.write_text(text)
    return load_config(path)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as e:
        load(folder, text)
    message = str(e.value)
    assert "\n" not in message
    assert message.startswith(f"{folder / 'job.toml'}: ")
    return message.removeprefix(f"{folder / 'job.toml'}: ")


# -- good configs -----------------------------------------------------------------------------------


def test_a_small_config_has_defaults_for_the_rest(folder: Path) -> None:
    config = load(folder, HEAD + PROBLEM)
    assert (config.name, config.kernel, config.target) == ("job", str(folder / "kernel.py"), "h200")
    assert config.search == SearchOptions(trials=64, timeout_s=None, sampler=DEFAULT_SAMPLER, seed=0, finalists=5)
    assert config.compile == CompileOptions(timeout_s=60, memory_mb=8192, workers=0)
    (problem,) = config.problems
    assert problem.label == "M=4 N=512 T=fp32"


def test_every_value_can_be_set(folder: Path) -> None:
    config = load(
        folder,
        """
        version = 1
        kernel = "kernel.py:kernel"
        target = "sm_80"

        [[problems]]
        dims = { M = [4, { min = 1, opt = 2, max = 8 }], N = { min = 128, opt = 512, max = 1024 } }
        dtypes = { T = "fp16" }
        attributes = { factor = 0.5 }

        [[problems]]
        dims = { M = 16, N = 256 }

        [search]
        trials = 7
        timeout_s = 2.5
        sampler = "random"
        seed = 3
        finalists = 2

        [compile]
        timeout_s = 9
        memory_mb = 4096
        workers = 1
        """,
    )
    first, second = config.problems
    assert first.dims == {"M": (Range(4, 4, 4), Range(1, 2, 8)), "N": (Range(128, 512, 1024),)}
    assert (first.dtypes, first.attributes) == ({"T": "fp16"}, {"factor": 0.5})
    assert second.sizes() == {"M": 16, "N": 256}
    assert config.target == "sm_80"
    assert config.search == SearchOptions(trials=7, timeout_s=2.5, sampler="random", seed=3, finalists=2)
    assert config.compile == CompileOptions(timeout_s=9, memory_mb=4096, workers=1)


def test_effective_values_load_back_to_the_same_from_any_folder(folder: Path) -> None:
    dims = "dims = { M = [4, { min = 1, opt = 2, max = 8 }], N = { min = 128, opt = 512, max = 1024 } }"
    text = (
        f"{HEAD}[[problems]]\n{dims}\nattributes = {{ factor = 1e-6 }}\n{PROBLEM.replace('[problem]', '[[problems]]')}"
    )
    config = load(folder, text + "[search]\ntimeout_s = 30\n")
    (folder / "elsewhere").mkdir()
    again = load(folder / "elsewhere", dump_config(config))
    assert dump_config(again) == dump_config(config)
    assert [p.dims for p in again.problems] == [p.dims for p in config.problems]
    assert (
        [p.attributes for p in again.problems]
        == [p.attributes for p in config.problems]
        == [
            {"factor": 1e-6},
            {"factor": 2.0},
        ]
    )
    assert (again.name, again.kernel, again.target) == (config.name, config.kernel, config.target)
    assert (again.search, again.compile) == (config.search, config.compile)


def test_a_grid_is_many_problems(folder: Path) -> None:
    config = load(folder, HEAD + "[problem]\ndims = { M = { values = [3, 1] }, N = { powers_of_two = [200, 1024] } }\n")
    assert [tuple(p.sizes().values()) for p in config.problems] == [(m, n) for m in (3, 1) for n in (256, 512, 1024)]
    assert [p.label for p in load(folder, dump_config(config)).problems] == [p.label for p in config.problems]


def test_shapes_to_time_at_survive_the_dump(folder: Path) -> None:
    dims = "dims = { M = [2, { min = 1, opt = 2, max = 8 }], N = 512 }\n"
    config = load(
        folder, f"{HEAD}[problem]\n{dims}timed = [{{ dims = {{ M = [2, 8] }}, weight = 3 }}, {{ dims = {{}} }}]\n"
    )
    for loaded in (config, load(folder, dump_config(config))):
        assert [(p.sizes()["M"], share) for p, share in loaded.problems[0].shares] == [(16, 0.75), (4, 0.25)]


@pytest.mark.parametrize(
    ("trials", "given", "further"), [(64, None, 16), (6, None, 6), (20, None, 8), (64, 30, 30), (4, 30, 4)]
)
def test_a_further_shape_gets_a_part_of_the_budget(trials: int, given: int | None, further: int) -> None:
    assert SearchOptions(trials=trials, shared_trials=given).further_trials == further


def test_a_kernel_file_with_an_odd_name_survives_the_dump(folder: Path) -> None:
    odd = 'a "quoted" \\ näme \N{SNOWMAN} \N{PILE OF POO}\t\x7f.py'
    (folder / odd).write_text(KERNEL)
    path = odd.replace("\\", "\\\\").replace('"', '\\"').replace("\x7f", "\\u007f")
    config = load(folder, f'version = 1\nkernel = "{path}"\n{PROBLEM}')
    assert load(folder, dump_config(config)).kernel == config.kernel == str(folder / odd)


def test_a_kernel_can_be_named_by_module(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "kernel.py").rename(folder / "scale_for_config_test.py")
    monkeypatch.syspath_prepend(folder)
    config = load(folder, f'version = 1\nkernel = "scale_for_config_test:kernel"\n{PROBLEM}')
    assert config.problems[0].kernel.id == "test::scale"
    assert load(folder, dump_config(config)).kernel == "scale_for_config_test:kernel"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_shipped_configs_load(path: Path) -> None:
    assert load_config(path).name == path.stem


# -- overrides ----------------------------------------------------------------------------------------


def test_given_values_override_and_others_stay(folder: Path) -> None:
    config = load(folder, HEAD + PROBLEM + "[search]\nseed = 5\n[compile]\nworkers = 3\n")
    changed = with_overrides(config, trials=9, timeout_s=1.5)
    assert changed.search == SearchOptions(trials=9, stop=False, timeout_s=1.5, seed=5)
    assert changed.compile == config.compile
    assert with_overrides(config, workers=1).compile == CompileOptions(workers=1)
    assert with_overrides(config) == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"trials": 0}, "command line: search.trials: expected int >= 1"),
        ({"timeout_s": -1.0}, "command line: search.timeout_s: expected float > 0.0"),
        ({"sampler": "randon"}, "command line: search.sampler: unknown sampler 'randon'; did you mean 'random'?"),
        ({"workers": -1}, "command line: compile.workers: expected int >= 0"),
    ],
)
def test_overrides_are_checked(override: dict[str, object], message: str, folder: Path) -> None:
    config = load(folder, HEAD + PROBLEM)
    with pytest.raises(ConfigError) as e:
        with_overrides(config, **override)  # type: ignore[arg-type]
    assert str(e.value).startswith(message)


def test_another_target_is_loaded_for(folder: Path) -> None:
    (folder / "job.toml").write_text(HEAD + PROBLEM)
    assert load_config(folder / "job.toml", "l4").target == "l4"
    with pytest.raises(ConfigError, match=r"^command line: target: unknown device 'h20'; did you mean"):
        load_config(folder / "job.toml", "h20")


# -- bad files ----------------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml does not exist; name a TOML file, or start one with: tuner new"):
        load_config(tmp_path / "none.toml")


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory; name a TOML file"):
        load_config(tmp_path)


@pytest.mark.parametrize("data", [b"\xff\xfe\x00\x01", b"a = " + b"[" * 100_000], ids=["binary", "deeply nested"])
def test_garbage_is_no_config(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_bytes(data)
    with pytest.raises(ConfigError, match=r"job\.toml is not a TOML file: "):
        load_config(tmp_path / "job.toml")


def test_a_syntax_error_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text("version = 1\nkernel = kernel.py\n")
    with pytest.raises(ConfigError, match=r"job\.toml is not valid TOML: .*\(at line 2, column 10\)"):
        load_config(tmp_path / "job.toml")


# -- bad values ---------------------------------------------------------------------------------------

BAD_VALUES = {
    "no version": ('kernel = "kernel.py"\n' + PROBLEM, "version is missing"),
    "newer version": (HEAD.replace("1", "2") + PROBLEM, "version: invalid enum value 2"),
    "no kernel": ("version = 1\n" + PROBLEM, "kernel is missing"),
    "empty kernel": ('version = 1\nkernel = ""\n' + PROBLEM, "kernel: expected str of length >= 1"),
    "unknown key": (HEAD + "tagret = 'h200'\n" + PROBLEM, "unknown key tagret; did you mean 'target'?"),
    "unknown search key": (
        HEAD + PROBLEM + "[search]\ntrails = 3\n",
        "unknown key search.trails; did you mean 'trials'?",
    ),
    "unknown compile key": (
        HEAD + PROBLEM + "[compile]\nmemory = 3\n",
        "unknown key compile.memory; did you mean 'memory_mb'?",
    ),
    "unknown problem key": (
        HEAD + "[[problems]]\ndims = { M = 4, N = 512 }\n[[problems]]\ndim = { M = 4, N = 512 }\n",
        "unknown key problems[1].dim; did you mean 'dims'?",
    ),
    "empty grid": (
        HEAD + "[problem]\ndims = { M = 4, N = { powers_of_two = [513, 600] } }\n",
        "problem.dims.N.powers_of_two: [513, 600] holds no size",
    ),
    "grid of one number": (
        HEAD + "[problem]\ndims = { M = 4, N = { powers_of_two = [512] } }\n",
        "problem.dims.N.powers_of_two: expected [smallest, largest], not [512]",
    ),
    "grid of texts": (
        HEAD + "[problem]\ndims = { M = 4, N = { values = ['512'] } }\n",
        "problem.dims.N.values: expected int, got str",
    ),
    "misspelt grid": (
        HEAD + "[problem]\ndims = { M = 4, N = { power_of_two = [1, 512] } }\n",
        "problem.dims.N: unknown key 'power_of_two'; did you mean 'powers_of_two'?",
    ),
    "grid twice": (
        HEAD + "[problem]\ndims = { M = 4, N = { values = [512, 512] } }\n",
        "problem.dims.N.values: [512, 512] holds a size twice",
    ),
    "grid of two kinds": (
        HEAD + "[problem]\ndims = { M = 4, N = { values = [512], powers_of_two = [1, 2] } }\n",
        "problem.dims.N: values and powers_of_two do not go together",
    ),
    "endless grid": (
        HEAD
        + "[problem]\ndims = { M = { powers_of_two = [1, 4611686018427387904] }, N = { values = "
        + f"{[*range(1, 40)]} }} }}\n",
        "problem.dims: a grid of 2457 problems; 1024 are allowed",
    ),
    "timed outside": (
        HEAD + "[problem]\ndims = { M = { min = 1, opt = 2, max = 8 }, N = 512 }\ntimed = [{ dims = { M = 9 } }]\n",
        "problem: timed: M=9 is outside the range 1:2:8",
    ),
    "timed unknown": (
        HEAD + "[problem]\ndims = { M = { min = 1, opt = 2, max = 8 }, N = 512 }\ntimed = [{ dims = { m = 9 } }]\n",
        "problem: unknown dimension 'm'; there is M, N",
    ),
    "timed misspelt": (
        HEAD + "[problem]\ndims = { M = 4, N = 512 }\ntimed = [{ dims = {}, wieght = 3 }]\n",
        "unknown key problem.timed[0].wieght; did you mean 'weight'?",
    ),
    "timed twice": (
        HEAD + "[problem]\ndims = { M = 4, N = 512 }\ntimed = [{ dims = { M = 4 } }, { dims = {} }]\n",
        "problem: timed: M=4 N=512 is listed twice; add up the weights",
    ),
    "timed for nothing": (
        HEAD + "[problem]\ndims = { M = 4, N = 512 }\ntimed = [{ dims = { M = 4 }, weight = 0 }]\n",
        "problem.timed[0].weight: expected float > 0.0",
    ),
    "unknown range key": (
        HEAD + "[problem]\ndims = { M = 4, N = { min = 1, opt = 2, maxi = 3 } }\n",
        "unknown key problem.dims.N.maxi; did you mean 'max'?",
    ),
    "incomplete range": (
        HEAD + "[problem]\ndims = { M = [1, { min = 1, opt = 2 }], N = 512 }\n",
        "problem.dims.M[1].max is missing",
    ),
    "descending range": (
        HEAD + "[problem]\ndims = { M = 4, N = { min = 3, opt = 2, max = 4 } }\n",
        "problem.dims.N: expected min <= opt <= max, not 3, 2, 4",
    ),
    "not a table": (HEAD + "search = 5\n" + PROBLEM, "search: expected table, got int"),
    "trials of another type": (HEAD + PROBLEM + "[search]\ntrials = '3'\n", "search.trials: expected int, got str"),
    "trials true": (HEAD + PROBLEM + "[search]\ntrials = true\n", "search.trials: expected int, got bool"),
    "no trials": (HEAD + PROBLEM + "[search]\ntrials = 0\n", "search.trials: expected int >= 1"),
    "negative timeout": (HEAD + PROBLEM + "[search]\ntimeout_s = -1\n", "search.timeout_s: expected float > 0.0"),
    "endless timeout": (HEAD + PROBLEM + "[compile]\ntimeout_s = inf\n", "compile.timeout_s: expected float <= "),
    "timeout not a number": (HEAD + PROBLEM + "[compile]\ntimeout_s = nan\n", "compile.timeout_s: expected float > 0"),
    "build timeout": (
        HEAD + PROBLEM + "[tensorrt]\nbuild_timout_s = 3\n",
        "unknown key tensorrt.build_timout_s; did you mean 'build_timeout_s'?",
    ),
    "no workspace": (HEAD + PROBLEM + "[tensorrt]\nworkspace_mb = 0\n", "tensorrt.workspace_mb: expected int >= 1"),
    "network of another kind": (
        HEAD + PROBLEM + "[tensorrt]\nnetwork = 'kernel.py'\n",
        "tensorrt.network: 'kernel.py' is neither FILE.onnx nor FILE.py:FUNCTION",
    ),
    "network that is not there": (
        HEAD + PROBLEM + "[tensorrt]\nnetwork = '/no/net.onnx'\n",
        "tensorrt.network: /no/net.onnx",
    ),
    "shapes without a network": (
        HEAD + PROBLEM + "[tensorrt.shapes]\nx = { min = [1], opt = [2], max = [3] }\n",
        "tensorrt.shapes: these are shapes of a network's inputs; name the network",
    ),
    "shapes out of order": (
        HEAD + PROBLEM + "[tensorrt.shapes]\nx = { min = [1, 8], opt = [2, 4], max = [3, 8] }\n",
        "tensorrt.shapes.x: expected min <= opt <= max, all of one length",
    ),
    "shapes of two ranks": (
        HEAD + PROBLEM + "[tensorrt.shapes]\nx = { min = [1], opt = [2, 4], max = [3, 8] }\n",
        "tensorrt.shapes.x: expected min <= opt <= max, all of one length",
    ),
    "negative workers": (HEAD + PROBLEM + "[compile]\nworkers = -1\n", "compile.workers: expected int >= 0"),
    "unknown sampler": (
        HEAD + PROBLEM + "[search]\nsampler = 'randm'\n",
        "search.sampler: unknown sampler 'randm'; did you mean 'random'?",
    ),
    "unknown target": (HEAD + "target = 'h2000'\n" + PROBLEM, "target: unknown device 'h2000'; did you mean 'h200'?"),
    "no problem": (HEAD, "problems: there is none; add a [problem] table"),
    "empty problems": (HEAD + "problems = []\n", "problems: there is none; add a [problem] table"),
    "problem twice": (
        HEAD + PROBLEM + PROBLEM.replace("[problem]", "[[problems]]"),
        "both [problem] and [[problems]]; write [[problems]] for each",
    ),
    "repeated problem": (
        HEAD + "[[problems]]\ndims = { M = 4, N = 512 }\n" * 2,
        "problems[1] repeats problems[0] (M=4 N=512 T=fp32); leave one out",
    ),
    "no dims": (HEAD + "[problem]\ndtypes = { T = 'fp16' }\n", "problem.dims is missing"),
    "missing dim": (HEAD + "[problem]\ndims = { M = 4 }\n", "problem: dims: test::scale also needs N"),
    "unknown dim": (HEAD + "[problem]\ndims = { M = 4, N = 512, n = 1 }\n", "problem: unknown dimension 'n'; "),
    "zero size": (HEAD + "[problem]\ndims = { M = 4, N = 0 }\n", "problem.dims.N: expected int >= 1"),
    "negative size": (HEAD + "[problem]\ndims = { M = [4, -2], N = 512 }\n", "problem.dims.M[1]: expected int >= 1"),
    "fractional size": (HEAD + "[problem]\ndims = { M = 4, N = 5.5 }\n", "problem.dims.N: expected int, got float"),
    "no extents": (HEAD + "[problem]\ndims = { M = [], N = 512 }\n", "problem.dims.M: expected at least one size"),
    "nested extents": (
        HEAD + "[problem]\ndims = { M = [[4]], N = 512 }\n",
        "problem.dims.M[0]: expected int, got ",
    ),
    "several extents": (HEAD + "[problem]\ndims = { M = 4, N = [2, 256] }\n", "problem: dims.N: one extent, not 2"),
    "unknown dtype variable": (HEAD + PROBLEM + "dtypes = { U = 'fp16' }\n", "problem: unknown dtype variable 'U'; "),
    "unsupported dtype": (
        HEAD + PROBLEM + "dtypes = { T = 'bf16' }\n",
        "problem: dtypes.T: 'bf16' is not supported; did you mean 'fp16'?",
    ),
    "unknown attribute": (
        HEAD + PROBLEM + "attributes = { facto = 1.0 }\n",
        "problem: unknown attribute 'facto'; did you mean 'factor'?",
    ),
    "attribute of another type": (
        HEAD + PROBLEM + "attributes = { factor = 1 }\n",
        "problem: attributes.factor: 1 is not of type float",
    ),
    "attribute text": (
        HEAD + PROBLEM + "attributes = { factor = 'a' }\n",
        "problem: attributes.factor: 'a' is not of type float",
    ),
    "attribute not finite": (
        HEAD + PROBLEM + "attributes = { factor = nan }\n",
        "problem.attributes.factor: nan is not a finite number",
    ),
    "no legal point": (
        HEAD + "[problem]\ndims = { M = 4, N = 32 }\n",
        "problem: no tactic is legal for M=4 N=32 T=fp32; 100 % of all are refused by block_fits: a block would be",
    ),
    "default not legal here": (
        HEAD + "[problem]\ndims = { M = 4, N = 64 }\n",
        "problem: the kernel's default (BLOCK=128 num_warps=1) is not legal for M=4 N=64 T=fp32: block_fits: a block",
    ),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_bad_value_is_refused_with_its_key(name: str, folder: Path) -> None:
    text, expected = BAD_VALUES[name]
    message = refusal(folder, text)
    assert message.startswith(expected), message


# -- bad kernels --------------------------------------------------------------------------------------

BAD_KERNELS = {
    "raises": ("import math\nmath.sqrt(-1)\n", "kernel.py:2 raised ValueError on import: math domain error"),
    "raises over several lines": ("raise ValueError('one\\n  two')\n", "raised ValueError on import: one two"),
    "syntax error": ("x = = 1\n", "kernel.py:1 raised SyntaxError on import"),
    "exits": ("import sys\nsys.exit(3)\n", "kernel.py:2 raised SystemExit on import: 3"),
    "no kernel": ("x = 1\n", "kernel.py holds no Kernel"),
    "default outside its space": (
        KERNEL.replace('"BLOCK": 128', '"BLOCK": 100'),
        "kernel.py: kernel 'test::scale': BLOCK=100 is not in the space; use one of [64, 128, 256, 512, 1024]",
    ),
    "default of an unknown parameter": (
        KERNEL.replace('"num_warps": 1}', '"num_wraps": 1}'),
        "kernel.py: kernel 'test::scale': unknown parameter 'num_wraps'; did you mean 'num_warps'?",
    ),
}


@pytest.mark.parametrize("name", BAD_KERNELS)
def test_a_bad_kernel_file_is_refused(name: str, tmp_path: Path) -> None:
    source, expected = BAD_KERNELS[name]
    (tmp_path / "kernel.py").write_text(source)
    message = refusal(tmp_path, HEAD + PROBLEM)
    assert message.startswith("kernel: ") and expected in message, message


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("gone.py", "gone.py does not exist"),
        ("kernel.py:kernal", "holds no Kernel called 'kernal'; did you mean 'kernel'?"),
        (
            "no_such_module:kernel",
            "No module named 'no_such_module'; name a file as path/to/file.py, or package",
        ),
        (":kernel", "Empty module name"),
    ],
)
def test_a_kernel_that_is_not_there_is_refused(spec: str, expected: str, folder: Path) -> None:
    message = refusal(folder, f'version = 1\nkernel = "{spec}"\n{PROBLEM}')
    assert message.startswith("kernel: ") and expected in message, message


def test_a_module_that_raises_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "raises_for_config_test.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(folder)
    message = refusal(folder, f'version = 1\nkernel = "raises_for_config_test:kernel"\n{PROBLEM}')
    assert (
        message == "kernel: kernel 'raises_for_config_test:kernel' raised ZeroDivisionError on import: division by zero"
    )


def test_a_constraint_that_raises_is_refused(folder: Path) -> None:
    (folder / "kernel.py").write_text(KERNEL.replace("BLOCK <= N,", "BLOCK / (N - 512) > 0,"))
    message = refusal(folder, HEAD + PROBLEM)
    assert message.startswith("problem: constraint 'block_fits' failed on {'BLOCK': 128}: ZeroDivisionError"), message


def test_a_network_is_found_from_any_folder(folder: Path) -> None:
    (folder / "net.py").write_text("")
    options = "[tensorrt]\nnetwork = 'net.py:block'\nshapes = { x = { min = [1, 4], opt = [2, 4], max = [3, 4] } }\n"
    config = load(folder, HEAD + PROBLEM + options)
    assert config.tensorrt.network == f"{folder / 'net.py'}:block"
    assert config.tensorrt.shapes["x"].opt == (2, 4)
    (folder / "elsewhere").mkdir()
    assert load(folder / "elsewhere", dump_config(config)).tensorrt == config.tensorrt
