"""A bundle as TensorRT meets it: in a process with neither this package nor Triton."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from plugin_kernels import EXTENTS, write
from workspace import Workspace

from tuner import Kernel, Problem, Range, Tactic
from tuner.compile import launch_rules, ptx
from tuner.kernel.identity import kernel_hash
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem import WHICH, Dims
from tuner.outcome import Origin, Timing
from tuner.qdp.rehearsal.builder import Played, PlayedLaunch, Rehearsal
from tuner.qdp.rehearsal.call import parse
from tuner.qdp.rehearsal.rules import examine
from tuner.store.cache import update
from tuner.store.entry import entry_of

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_bindings") is None, reason="needs the extra [rehearse]"
)

H200, A10 = ("NVIDIA H200", (9, 0)), ("NVIDIA A10", (8, 6))

KERNEL = """
import triton
import triton.language as tl

from tuner import Kernel, Launch, Tensor, cdiv, choice, powers_of_two


@triton.jit
def split(x_ptr, bias_ptr, M, N, low_ptr, high_ptr, shift: tl.constexpr, flip: tl.constexpr, scale: tl.constexpr,
          BLOCK: tl.constexpr):
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    at = tl.program_id(0) * N + columns
    mask = columns < N
    x = tl.load(x_ptr + at, mask=mask) * scale + tl.load(bias_ptr + columns, mask=mask)
    if flip:
        x = -x
    tl.store(low_ptr + at, x - shift, mask=mask)
    tl.store(high_ptr + at, (x + shift).to(tl.float32), mask=mask)


kernel = Kernel(
    id="test::split",
    source=split,
    inputs={"x": Tensor("T", "*M N"), "bias": Tensor("T", "N")},
    outputs={"low": Tensor("T", "*M N"), "high": Tensor("fp32", "*M N")},
    dtypes={"T": ("fp32", "fp16")},
    attributes={"shift": 1, "flip": False, "scale": 2.0},
    params=[powers_of_two("BLOCK", 128, 512), choice("num_warps", 2, 4)],
    default={"BLOCK": 128, "num_warps": 4},
    launch=lambda M, N, BLOCK: Launch(grid=(M, cdiv(N, BLOCK)), args=(M, N)),
    reference=lambda x, bias, shift, flip, scale: (0 * x, 0 * x),
)
"""
CONFIG = """
version = 1
kernel = "kernel.py"

[[problems]]
dims = { M = 64, N = 1024 }
dtypes = { T = "fp16" }

[[problems]]
dims = { M = { min = 1, opt = 8, max = 128 }, N = { min = 16, opt = 512, max = 4096 } }
attributes = { flip = true }
"""
EXTENTS_JOB = """
version = 1
kernel = "extents.py"

[problem]
dims = { M = [2, DYNAMIC], N = DYNAMIC, B = DYNAMIC, P = DYNAMIC }
attributes = { pad = 5 }
""".replace("DYNAMIC", "{ min = 8, opt = 20, max = 60 }")
BEST = {"BLOCK": 512, "num_warps": 4}
WIDE = {"BLOCK": 256, "num_warps": 2}

PLAY = """
import json, runpy, sys
from dataclasses import asdict
sys.path[:0] = sys.argv[2:]
for package in ("tuner", "triton"):
    try:
        __import__(package)
    except ImportError:
        continue
    sys.exit(f"{package} can be imported")
from rehearsal import bindings, builder
bindings.load()
runpy.run_path(sys.argv[1])
answers = []
for call in json.load(sys.stdin):
    tensors = [builder.PlayedTensor(**t) for t in call["tensors"]]
    rehearsal = builder.play(call["plugin"], tensors, call["attributes"], lambda offered: (0, *offered))
    answers.append(asdict(rehearsal))
json.dump(answers, sys.stdout)
"""


@dataclass(frozen=True)
class Made:
    """A folder with a kernel, a config, a cache, and what `tuner` does in it."""

    workspace: Workspace

    @property
    def folder(self) -> Path:
        return self.workspace.folder

    @property
    def kernel(self) -> Kernel:
        return load_kernel("kernel.py", self.folder)

    def problem(self, dims: Dims, **more: Any) -> Problem:
        return Problem.of(self.kernel, dims, more.get("dtypes"), more.get("attributes"))

    def remember(
        self,
        problem: Problem,
        config: Mapping[str, Any],
        device: tuple[str, tuple[int, int]] = H200,
        beside: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Put a winner into the cache, or a portfolio of it and those beside it."""
        winner, default = Tactic(config), problem.kernel.default_tactic
        others = [Tactic(c) for c in beside]
        times = {
            winner: Timing(5.0, "measurement", "median", (5.0,) * 9),
            default: Timing(7.0, "measurement", "median"),
            **{t: Timing(6.0, "measurement", "median") for t in others},
        }
        entry = entry_of(
            problem,
            kernel_hash(problem.kernel),
            origin=Origin("cuda", "measurement", *device, {"driver": "580"}),
            confirmed=times,
            winner=winner,
            default=default,
            ties=(),
            trials=4,
            portfolio=[winner, *others] if others else (),
        )
        update(self.folder / "tactics.json", [entry])

    def export(self, out: str = "bundle", *options: str) -> Path:
        run = self.workspace.run("export", "job.toml", "--format", "bundle", "--out", out, *options)
        assert run.code == 0, run.err
        return self.folder / out


@pytest.fixture
def made(workspace: Workspace) -> Made:
    return prepared(workspace)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Path:
    """One that no test changes."""
    return prepared(Workspace(tmp_path_factory.mktemp("bundle"), compiled)).export()


def prepared(workspace: Workspace, kernel: str = KERNEL) -> Made:
    """A kernel, a config with two problems, and a cache with the winners of both."""
    workspace.write(kernel=kernel)
    (workspace.folder / "job.toml").write_text(CONFIG)
    made = Made(workspace)
    made.remember(made.problem({"M": 64, "N": 1024}, dtypes={"T": "fp16"}), BEST)
    made.remember(made.problem({"M": Range(1, 8, 128), "N": Range(16, 512, 4096)}, attributes={"flip": True}), WIDE)
    return made


def bare(bundle: Path, calls: Sequence[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Play calls over a bundle in a Python that finds numpy, the bindings and the standard library only."""
    site = bundle.parent / f"{bundle.name}-site"
    if not site.exists():
        site.mkdir()
        packages = Path(str(importlib.util.find_spec("numpy").origin)).parents[1]  # type: ignore[union-attr]
        for name in ("numpy", "numpy.libs", "tensorrt_bindings"):
            if (packages / name).exists():
                (site / name).symlink_to(packages / name)
        rehearsal = importlib.util.find_spec("tuner.qdp.rehearsal")
        assert rehearsal is not None
        shutil.copytree(Path(str(rehearsal.origin)).parent, site / "rehearsal")
    parsed = [parse(text) for text in calls]
    data = [{"plugin": c.plugin, "tensors": [asdict(t) for t in c.tensors], "attributes": c.attributes} for c in parsed]
    command = [sys.executable, "-I", "-S", "-c", PLAY, str(bundle / "plugin.py"), str(site)]
    return subprocess.run(
        command, input=json.dumps(data), capture_output=True, text=True, env={**os.environ, **variables}, timeout=120
    )


def answers(bundle: Path, *calls: str, **variables: str) -> list[Rehearsal]:
    """What the bundle answers, read back."""
    done = bare(bundle, calls, **variables)
    assert done.returncode == 0, done.stderr
    found = []
    for data in json.loads(done.stdout):
        played = [
            Played(p["tactic"], p["entry"], p["code"], {w: _launch(n) for w, n in p["launches"].items()})
            for p in data["played"]
        ]
        outputs = tuple((dtype, {w: tuple(s) for w, s in shapes.items()}) for dtype, shapes in data["outputs"])
        assert not data["broken"], data["broken"]
        found.append(Rehearsal(data["inputs"], outputs, tuple(data["offered"]), tuple(played)))
    return found


def refusal(bundle: Path, call: str, **variables: str) -> str:
    """Why the bundle does not serve a call."""
    done = bare(bundle, [call], **variables)
    if done.returncode:
        return done.stderr
    (answer,) = json.loads(done.stdout)
    return str(answer["broken"][0]["message"])


def _launch(data: dict[str, Any]) -> PlayedLaunch:
    grid, block, extra = (tuple(data[n]) for n in ("grid", "block", "extra"))
    return PlayedLaunch(grid, block, data["shared_bytes"], extra)


EXACT = "test::split(fp16[64, 1024], fp16[1024], shift=1, flip=False, scale=2.0)"
RANGE = "test::split(fp32[1:8:128, 16:512:4096], fp32[16:512:4096], shift=1, flip=True, scale=2.0)"


def test_it_serves_winner_and_default_without_this_package_or_triton(bundle: Path) -> None:
    made = Made(Workspace(bundle.parent, bundle.parent))
    exact, dynamic = answers(bundle, EXACT, RANGE)
    problems = (
        made.problem({"M": 64, "N": 1024}, dtypes={"T": "fp16"}),
        made.problem({"M": Range(1, 8, 128), "N": Range(16, 512, 4096)}, attributes={"flip": True}),
    )
    for rehearsal, problem, config in ((exact, problems[0], BEST), (dynamic, problems[1], WIDE)):
        assert rehearsal.offered == (Tactic(config).id,)
        assert not examine(rehearsal, None)
        for played, expected in zip(rehearsal.played, (problem.kernel.default, config), strict=True):
            block = (32 * int(expected["num_warps"]), 1, 1)
            for which in WHICH:
                timed = problem.launch(expected, which)
                launch = played.launches[which]
                assert (launch.grid, launch.block, launch.extra) == (timed.grid, block, timed.args)
    assert exact.outputs == (("HALF", dict.fromkeys(WHICH, (64, 1024))), ("FLOAT", dict.fromkeys(WHICH, (64, 1024))))


def refusing(block: int) -> str:
    """The kernel, which does not compile with a block of this size."""
    return KERNEL.replace("    columns =", f"    tl.static_assert(BLOCK != {block}, 'no room')\n    columns =", 1)


def test_a_default_that_does_not_compile_is_left_out_and_the_winner_stands_in(workspace: Workspace) -> None:
    made = prepared(workspace, refusing(128))
    run = workspace.run("export", "job.toml", "--format", "bundle", "--out", "bundle")
    assert run.code == 0, run.err
    said = "leaving out the default (BLOCK=128 num_warps=4), which does not compile for NVIDIA H200: "
    assert run.err.count(said) == 2, run.err
    assert "(BLOCK=512 num_warps=4) stands in for it" in run.err
    (exact,) = answers(made.folder / "bundle", EXACT)
    assert exact.offered == (Tactic(BEST).id,)
    default, winner = exact.played
    assert (default.entry, default.code, default.launches) == (winner.entry, winner.code, winner.launches)


@pytest.mark.parametrize(
    ("recorded", "why"),
    [
        ({"default": None}, "failed when it was tuned"),
        ({"default": {"id": Tactic(WIDE).id, "config": WIDE}}, "was not the default when it was tuned: tune again"),
        ({"evidence": {"how": "interpreted", "ptx": {}}}, "nothing has found correct"),
    ],
)
def test_a_default_that_was_not_found_correct_is_left_out(made: Made, recorded: dict[str, Any], why: str) -> None:
    cache = made.folder / "tactics.json"
    data = json.loads(cache.read_bytes())
    for entry in data["entries"]:
        entry |= {n: {**entry.get(n, {}), **v} if v else v for n, v in recorded.items()}
    cache.write_text(json.dumps(data))
    run = made.workspace.run("export", "job.toml", "--format", "bundle", "--out", "bundle")
    assert run.code == 0, run.err
    assert run.err.count(f"leaving out the default (BLOCK=128 num_warps=4), which {why}; (BLOCK=") == 2, run.err
    (exact,) = answers(made.folder / "bundle", EXACT)
    default, winner = exact.played
    assert (default.code, default.launches) == (winner.code, winner.launches)
    assert not list((made.folder / "bundle/ptx").glob(f"*-{made.kernel.default_tactic.id}-*"))


def test_a_winner_that_does_not_compile_is_refused(workspace: Workspace) -> None:
    prepared(workspace, refusing(512))
    run = workspace.run("export", "job.toml", "--format", "bundle", "--out", "bundle")
    assert run.code == 1
    assert "(BLOCK=512 num_warps=4) does not compile: " in run.err
    assert not (workspace.folder / "bundle").exists()


def test_a_bundle_computes_extents(workspace: Workspace) -> None:
    kernel = write(workspace.folder, "extents", EXTENTS)
    (workspace.folder / "job.toml").write_text(EXTENTS_JOB)
    made = Made(workspace)
    sizes = Range(8, 20, 60)
    problem = Problem.of(kernel, {"M": (2, sizes), "N": sizes, "B": sizes, "P": sizes}, attributes={"pad": 5})
    made.remember(problem, {"BLOCK": 32})
    call = "test::extents(fp32[2, 8:20:60, 8:20:60], i32[9:21:61], i8[11:35:115], pad=5)"
    bundle = made.export("bundle", "--allow-unverified")
    (rehearsal,) = answers(bundle, call)
    assert not examine(rehearsal, None)
    outputs = kernel.outputs.values()
    assert [shapes for _, shapes in rehearsal.outputs] == [{w: problem.shape(t, w) for w in WHICH} for t in outputs]
    for played, config in zip(rehearsal.played, ({"BLOCK": 64}, {"BLOCK": 32}), strict=True):
        for which in WHICH:
            timed = problem.launch(config, which)
            assert (played.launches[which].grid, played.launches[which].extra) == (timed.grid, timed.args)
    uneven = refusal(bundle, call.replace("i8[11:35:115]", "i8[11:35:116]"))
    assert "input 'packed', '2*P - pad', is [116]; it has to be [115]" in uneven


def test_a_range_serves_every_range_within_it(bundle: Path) -> None:
    (rehearsal,) = answers(
        bundle, "test::split(fp32[2:3:4, 5, 64:65:66], fp32[64:65:66], shift=1, flip=True, scale=2.0)"
    )
    winner = rehearsal.played[1]
    assert winner.tactic == Tactic(WIDE).id
    assert winner.launches["max"].grid == (20, 1, 1) and winner.launches["max"].extra == (20, 66)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (EXACT.replace("64,", "65,"), "the network asks for M=65 N=1024 T=HALF"),
        (
            RANGE.replace(":128", ":129"),
            "this bundle holds M=64 N=1024 T=fp16; M=1:8:128 N=16:512:4096 T=fp32 flip=True",
        ),
        (EXACT.replace("flip=False", "flip=True"), "flip=True"),
        (EXACT.replace("scale=2.0", "scale=2.5"), "scale=2.5"),
        (EXACT.replace("fp16[64, 1024]", "fp32[64, 1024]"), "input 'bias' is HALF"),
        (EXACT.replace("fp16[1024]", "fp16[1025]"), "input 'bias', 'N', is [1025]; it has to be [1024]"),
        (EXACT.replace("fp16[1024]", "fp16[1, 1024]"), "input 'bias' has rank 2"),
    ],
)
def test_what_it_does_not_hold_it_refuses(bundle: Path, call: str, why: str) -> None:
    assert why in refusal(bundle, call)


def test_code_that_promises_divisibility_is_not_served_where_it_does_not_hold(made: Made) -> None:
    (made.folder / "job.toml").write_text(
        CONFIG.split("[[problems]]")[0]
        + "[problem]\ndims = { M = [{ min = 1, opt = 2, max = 8 }, 16], N = 1024 }\ndtypes = { T = 'fp16' }\n"
    )
    made.remember(made.problem({"M": (Range(1, 2, 8), Range(16, 16, 16)), "N": 1024}, dtypes={"T": "fp16"}), BEST)
    bundle = made.export()
    tail = "1024], fp16[1024], shift=1, flip=False, scale=2.0)"
    (held,) = answers(bundle, f"test::split(fp16[1:1:2, 48, {tail}")
    assert held.played[1].tactic == Tactic(BEST).id
    assert "the network asks for M=16:128" in refusal(bundle, f"test::split(fp16[16:32:128, {tail}")


def test_between_shapes_it_offers_the_whole_portfolio(made: Made) -> None:
    (made.folder / "job.toml").write_text(CONFIG.rsplit("[[problems]]", 1)[0])
    made.remember(made.problem({"M": Range(1, 64, 128), "N": 1024}, dtypes={"T": "fp16"}), WIDE, beside=[BEST])
    made.remember(made.problem({"M": Range(1, 64, 128), "N": 2048}, dtypes={"T": "fp16"}), WIDE, beside=[BEST])
    bundle = made.export()
    exact, between = answers(bundle, EXACT, EXACT.replace("fp16[64", "fp16[1:70:100"))
    assert exact.offered == (Tactic(BEST).id,)
    assert between.offered == (Tactic(WIDE).id, Tactic(BEST).id)
    assert not examine(between, None)
    assert {p.launches["max"].extra for p in between.played} == {(100, 1024)}
    held = json.loads((bundle / "manifest.json").read_text())["kernels"]["test::split"]["problems"]
    assert [p["problem"] for p in held] == ["M=1:64:128 N=1024 T=fp16", "M=64 N=1024 T=fp16"]
    assert [t["time_us"] for t in held[0]["tactics"]] == [5.0, 6.0]


def test_equal_contents_give_equal_bytes(made: Made, tmp_path: Path) -> None:
    first = made.export("one")
    other = Made(Workspace(made.folder, tmp_path / "other compile cache")).export("two")
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert [p.relative_to(other) for p in sorted(other.rglob("*")) if p.is_file()] == files
    assert all((first / f).read_bytes() == (other / f).read_bytes() for f in files)
    manifest = json.loads((first / "manifest.json").read_text())
    assert set(manifest["files"]) | {"manifest.json"} == {str(f) for f in files}


def test_the_manifest_says_what_was_measured(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    problems = manifest["kernels"]["test::split"]["problems"]
    (exact,) = [p for p in problems if p["data"]["dims"] == {"M": 64, "N": 1024}]
    assert exact["problem"] == "M=64 N=1024 T=fp16" and exact["device"] == "NVIDIA H200"
    assert exact["times"]["kind"] == "measurement" and exact["times"]["backend"] == "cuda"
    (tactic,) = exact["tactics"]
    assert (tactic["config"], tactic["time_us"], exact["default"]["time_us"]) == (BEST, 5.0, 7.0)
    assert exact["environment"] == {"driver": "580"} and "triton" in exact["compiler"]


def test_an_input_may_be_a_scalar(made: Made) -> None:
    kernel = made.folder / "kernel.py"
    kernel.write_text(kernel.read_text().replace('"bias": Tensor("T", "N")', '"bias": Tensor("T", "")'))
    (made.folder / "job.toml").write_text(CONFIG.rsplit("[[problems]]", 1)[0])
    made.remember(made.problem({"M": 64, "N": 1024}, dtypes={"T": "fp16"}), BEST)
    bundle = made.export()
    scalar = EXACT.replace("fp16[1024]", "fp16[()]")
    (rehearsal,) = answers(bundle, scalar)
    assert rehearsal.offered == (Tactic(BEST).id,)
    assert "input 'bias' has rank 1; its shape is ''" in refusal(bundle, EXACT)
    run = made.workspace.run("rehearse", "--module", str(bundle / "plugin.py"), "--json")
    assert [line["what"] for line in run.document["rehearsals"]] == [scalar]


def test_an_id_that_is_taken_is_said(made: Made) -> None:
    made.export()
    (made.folder / "twice.py").write_text("import runpy\nfor _ in range(2):\n    runpy.run_path('bundle/plugin.py')\n")
    run = made.workspace.run("rehearse", "--module", "twice.py")
    assert (run.code, run.out) == (2, "")
    assert "BundleError on import: the plugin id 'test::split' is already registered in this process" in run.err


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}"])
def test_a_damaged_manifest_is_found_on_import(made: Made, content: str | None) -> None:
    bundle = made.export()
    (bundle / "manifest.json").unlink()
    if content is not None:
        (bundle / "manifest.json").write_text(content)
    message = refusal(bundle, EXACT).splitlines()[-1]
    assert "BundleError" in message and "manifest.json cannot be read" in message
    assert message.endswith("export the bundle again")


@pytest.mark.parametrize("damage", ["flip", "remove", "plugin"])
def test_a_damaged_file_is_found_on_import(made: Made, damage: str) -> None:
    bundle = made.export()
    victim = bundle / "plugin.py" if damage == "plugin" else next((bundle / "ptx").iterdir())
    if damage == "remove":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes() + b"\n")
    message = refusal(bundle, EXACT)
    assert victim.name in message and "export the bundle again" in message


def test_several_devices_each_get_their_own(made: Made, tmp_path: Path) -> None:
    exact = made.problem({"M": 64, "N": 1024}, dtypes={"T": "fp16"})
    made.remember(exact, WIDE, A10)
    bundle = made.export()
    for name, capability, served in (
        ("NVIDIA H200", (9, 0), BEST),
        ("NVIDIA H100", (9, 0), BEST),
        ("NVIDIA A10", (8, 6), WIDE),
        ("NVIDIA L4", (8, 9), WIDE),  # an A10's code is portable to it
    ):
        (rehearsal,) = answers(bundle, EXACT, LD_LIBRARY_PATH=str(driver(tmp_path, name, capability)))
        assert rehearsal.offered == (Tactic(served).id,), name
    message = refusal(bundle, EXACT, LD_LIBRARY_PATH=str(driver(tmp_path, "NVIDIA A100", (8, 0))))
    assert "this device is a NVIDIA A100 of compute capability 8.0" in message and "NVIDIA H200 (9.0)" in message


def driver(folder: Path, name: str, capability: tuple[int, int]) -> Path:
    """A folder with a `libcuda.so.1` that describes a device."""
    place = folder / f"driver-{capability[0]}{capability[1]}-{name.replace(' ', '')}"
    place.mkdir(exist_ok=True)
    source = f"""
        #include <string.h>
        int cuInit(unsigned f) {{ return 0; }}
        int cuCtxGetDevice(int *d) {{ return 201; }}
        int cuDeviceGet(int *d, int i) {{ *d = i; return 0; }}
        int cuDeviceGetAttribute(int *v, int a, int d) {{ *v = a == 75 ? {capability[0]} : {capability[1]}; return 0; }}
        int cuDeviceGetName(char *n, int l, int d) {{ strncpy(n, "{name}", l); return 0; }}
    """
    command = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-x", "c", "-", "-o", str(place / "libcuda.so.1")]
    subprocess.run(command, input=source, text=True, check=True)
    return place


def test_the_command_rehearses_it_as_it_is(bundle: Path, workspace: Workspace) -> None:
    run = workspace.run("rehearse", "--module", str(bundle / "plugin.py"), "--target", "h200", "--json")
    assert run.code == 0, run.err
    assert [len(line["played"]) for line in run.document["rehearsals"]] == [1, 1]


def test_each_entry_of_a_stored_ptx_takes_what_tensorrt_passes(bundle: Path) -> None:
    for file in (bundle / "ptx").iterdir():
        launch_rules.check_parameters(ptx.parse(file.read_text()).entry, 2, 2, 2)


def test_another_export_replaces_its_own_files_and_nothing_else(made: Made) -> None:
    bundle = made.export()
    before = {p.name for p in (bundle / "ptx").iterdir()}
    (bundle / ".git").mkdir()
    (bundle / ".git" / "HEAD").write_text("ref: refs/heads/main")
    (bundle / "README.md").write_text("mine")
    (made.folder / "job.toml").write_text(CONFIG.rsplit("[[problems]]", 1)[0])
    made.export()
    left = {str(p.relative_to(bundle)) for p in bundle.rglob("*") if p.is_file()}
    listed = {*json.loads((bundle / "manifest.json").read_text())["files"], "manifest.json"}
    assert left == listed | {".git/HEAD", "README.md"} and (bundle / "README.md").read_text() == "mine"
    assert {p.name for p in (bundle / "ptx").iterdir()} < before
    (rehearsal,) = answers(bundle, EXACT)
    assert rehearsal.offered == (Tactic(BEST).id,)


def test_a_folder_that_is_no_bundle_is_refused(made: Made) -> None:
    (made.folder / "mine").mkdir()
    (made.folder / "mine" / "manifest.json").write_text('{"manifest_version": 3, "name": "an extension"}')
    run = made.workspace.run("export", "job.toml", "--format", "bundle", "--out", "mine")
    assert run.code == 2 and "mine exists and is no bundle" in run.err
    assert [p.name for p in (made.folder / "mine").iterdir()] == ["manifest.json"]


def test_code_that_the_manifest_does_not_list_is_not_read(made: Made) -> None:
    bundle, secret = made.export(), made.folder / "secret.ptx"
    secret.write_text("s3cret")
    manifest = json.loads((bundle / "manifest.json").read_text())
    for name in (str(secret), "../secret.ptx", "secret.ptx"):
        manifest["kernels"]["test::split"]["problems"][0]["tactics"][0]["ptx"] = name
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        assert "does not list it" in refusal(bundle, EXACT)
    manifest["files"]["../secret.ptx"] = hashlib.sha256(secret.read_bytes()).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert "'../secret.ptx' is not the name of a file in" in refusal(bundle, EXACT)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--format", "bundle"), "name them: tuner export CONFIG"),
        (("job.toml", "--format", "bundle", "--cache", "empty.json"), "find one first: tuner tune CONFIG"),
        (("job.toml", "--format", "bundle", "--device", "B200"), "--device 'B200'"),
    ],
)
def test_nothing_to_export_is_said(made: Made, arguments: tuple[str, ...], why: str) -> None:
    run = made.workspace.run("export", *arguments, "--out", "bundle")
    assert run.code == 2 and why in run.err and run.err.count("\n") == 1
    assert not (made.folder / "bundle").exists()


def test_a_kernel_that_changed_since_it_was_tuned_is_not_exported(made: Made) -> None:
    file = made.folder / "kernel.py"
    file.write_text(file.read_text().replace("x - shift", "x - 2 * shift"))
    run = made.workspace.run("export", "job.toml", "--format", "bundle", "--out", "bundle")
    assert run.code == 2 and "holds no winner of it" in run.err
