"""`tuner rehearse CONFIG`: every shipped job is played by the real command, and mistakes are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from workspace import KERNEL, Workspace

from tuner.tuning.config import load_config

SHIPPED = Path(__file__).parents[2] / "configs"
CONFIGS = sorted([*SHIPPED.glob("*.toml"), *SHIPPED.glob("chains/*.toml")])


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_job_rehearses_clean(workspace: Workspace, config: Path) -> None:
    run = workspace.run("rehearse", str(config), "--tactics", "2", "--workers", "2", "--json")
    if run.code == 3 and "pip install" in run.err:
        pytest.skip(run.err)
    assert run.code == 0, run.out + run.err
    lines = run.document["rehearsals"]
    assert [line["what"] for line in lines] == [str(p) for p in load_config(config).problems]
    for line in lines:
        assert len(line["played"]) == min(2, line["tactics"])
        assert line["broken"] == []


def test_what_was_played_is_said(workspace: Workspace) -> None:
    run = workspace.run("rehearse", "job.toml", "--tactics", "3", "--workers", "1")
    assert run.code == 0, run.err
    first, last = run.out.splitlines()
    assert first == "test::scale N=4194304 T=fp32: 3 of 9 tactics played, no rule broken"
    assert last.startswith("Played on the Python layer of TensorRT ") and last.endswith("; no engine was built.")


def test_every_tactic_can_be_played_and_a_few_are_always_the_same(workspace: Workspace) -> None:
    few = [workspace.run("rehearse", "job.toml", "--tactics", "3", "--json").document for _ in range(2)]
    assert few[0] == few[1]
    (line,) = workspace.run("rehearse", "job.toml", "--all", "--json").document["rehearsals"]
    assert len(line["played"]) == line["tactics"] == 9
    assert set(few[0]["rehearsals"][0]["played"]) < set(line["played"])


def test_a_launch_that_tensorrt_cannot_evaluate_is_refused(workspace: Workspace) -> None:
    workspace.write(KERNEL.replace("cdiv(N, BLOCK),", "cdiv(N, BLOCK) if N > 64 else 1,"))
    config = workspace.folder / "job.toml"
    config.write_text(config.read_text().replace("N = 4194304", "N = { min = 1, opt = 64, max = 4096 }"))
    run = workspace.run("rehearse", "job.toml", "--tactics", "1", "--workers", "1")
    assert run.code == 1, run.err
    assert "0 of 9 tactics played, 1 rule broken" in run.out
    assert "kernel 'test::scale'" in run.out


def test_a_symbolic_launch_that_differs_from_the_timed_one_is_refused(workspace: Workspace) -> None:
    workspace.write(KERNEL.replace("cdiv(N, BLOCK),", "cdiv(N, BLOCK) if isinstance(N, int) else N,"))
    config = workspace.folder / "job.toml"
    config.write_text(config.read_text().replace("N = 4194304", "N = { min = 1, opt = 64, max = 4096 }"))
    run = workspace.run("rehearse", "job.toml", "--tactics", "1", "--workers", "1")
    assert run.code == 1, run.err
    assert "agreement" in run.out and "timed is" in run.out


PLUGIN = """
import tensorrt.plugin as trtp


@trtp.register("a::b")
def describe(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()
"""

USAGE = {
    "nothing": ([], "name either configs or --module FILE"),
    "both": (["job.toml", "--module", "kernel.py"], "name either configs or --module FILE"),
    "a call without a module": (["job.toml", "--call", "a::b()"], "--call goes with --module"),
    "no such config": (["absent.toml"], "absent.toml"),
    "no such target": (["job.toml", "--target", "h201"], "unknown device 'h201'"),
    "no tactics": (["job.toml", "--tactics", "0"], "--tactics"),
    "a call that cannot be read": (["--module", "plugin.py", "--call", "a.b()"], "call 'a.b()': does not read"),
    "a call of another plugin": (
        ["--module", "plugin.py", "--call", "a::c(fp32[4])"],
        "call 'a::c(fp32[4])': no such plugin is registered; did you mean 'a::b'",
    ),
    "a file without plugins": (["--module", "kernel.py"], "kernel.py registers no plugin"),
}


@pytest.mark.parametrize(("arguments", "said"), USAGE.values(), ids=USAGE)
def test_what_cannot_be_done_is_one_line_and_code_2(workspace: Workspace, arguments: list[str], said: str) -> None:
    (workspace.folder / "plugin.py").write_text(PLUGIN)
    run = workspace.run("rehearse", *arguments)
    assert (run.code, run.out) == (2, "")
    (line,) = run.err.splitlines()
    assert line.startswith("error: ") and said in line


def test_without_the_bindings_the_extra_is_named(workspace: Workspace) -> None:
    hide = "import sys; sys.modules['tensorrt_bindings'] = None\n"
    (workspace.folder / "sitecustomize.py").write_text(hide)
    hidden = Workspace(workspace.folder, workspace.compiled, {"PYTHONPATH": str(workspace.folder)})
    run = hidden.run("rehearse", "job.toml")
    assert (run.code, run.out) == (3, "")
    assert run.err == "error: NVIDIA's Python layer is not installed; pip install 'qdp-tuner[rehearse]'\n"


def test_a_c_compiler_may_be_named_with_options(workspace: Workspace) -> None:
    path = workspace.folder / "plugins.py"
    path.write_text(PLUGIN)
    named = Workspace(workspace.folder, workspace.compiled, {"CC": "env cc -O1"})
    assert "a::b: registered, and not played" in named.run("rehearse", "--module", str(path)).out


def test_what_is_no_c_compiler_is_said(workspace: Workspace) -> None:
    for compiler, said in (("/", "CC='/' is no program"), ("false", "false makes no empty library")):
        run = Workspace(workspace.folder, workspace.compiled, {"CC": compiler}).run("rehearse", "job.toml")
        assert (run.code, run.out) == (3, "")
        assert run.err.startswith(f"error: {said}") and run.err.count("\n") == 1


def test_without_a_c_compiler_that_is_said(workspace: Workspace) -> None:
    run = Workspace(workspace.folder, workspace.compiled, {"CC": "no-such-compiler"}).run("rehearse", "job.toml")
    assert (run.code, run.out) == (3, "")
    assert run.err == "error: no C compiler called 'no-such-compiler'; install gcc, or name one with CC\n"
