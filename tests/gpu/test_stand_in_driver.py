"""Files that ask for the GPU get the answers of a named one where there is none."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tuner import Kernel, load_kernel
from tuner.errors import ConfigError, UnavailableError
from tuner.gpu import present
from tuner.gpu.catalog import DEVICES, Device, find_device
from tuner.gpu.stand_in_driver import StandInDriver, answering, compiling_for
from tuner.kernel.references import ref_of

pytestmark = pytest.mark.skipif(present.available() is None, reason="here a GPU answers for itself")


def asked(device: str, question: str) -> str:
    """What a fresh process prints that asks while a device answers."""
    code = f"""
        from tuner.gpu.catalog import find_device
        from tuner.gpu.stand_in_driver import StandInDriver, answering
        driver = StandInDriver(find_device({device!r}))
        with answering(driver):
            {question}
            print(driver.asked)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: d.short)
def test_triton_is_told_of_the_named_device(device: Device) -> None:
    with answering(StandInDriver(device)):
        from triton.runtime import driver

        properties = driver.active.utils.get_device_properties(driver.active.get_current_device())
        target = driver.active.get_current_target()
        assert (target.backend, target.arch, target.warp_size) == (
            "cuda",
            device.capability[0] * 10 + device.capability[1],
            32,
        )
        assert properties["multiprocessor_count"] == device.sms
        # What Triton's own `get_dram_gbps` makes of clock and width is the data sheet's bandwidth.
        bandwidth = properties["mem_clock_rate"] * properties["mem_bus_width"] * 2 / 1e6 / 8
        assert bandwidth == pytest.approx(device.dram_gbps, rel=1e-3)


def test_it_answers_whoever_imports_triton_meanwhile_and_nobody_afterwards() -> None:
    ask = "import triton; print(triton.runtime.driver.active.get_current_target().arch)"
    assert asked("a100", ask).split() == ["80", "True"]
    assert asked("a100", "import triton; print(0)").split() == ["0", "False"]
    driver = StandInDriver(find_device("h200"))
    with answering(driver):
        from triton.runtime import driver as triton_driver

        assert triton_driver.active.get_current_target().arch == 90
    with pytest.raises(RuntimeError, match="0 active drivers"):
        _ = triton_driver.active


def test_within_another_block_for_the_device_the_first_goes_on_answering() -> None:
    from triton.runtime import driver as triton_driver

    outer, inner = StandInDriver(find_device("h200")), StandInDriver(find_device("h200"))
    with answering(outer):
        with answering(inner):
            assert triton_driver.active.device is outer.device
        assert (outer.asked, inner.asked) == (True, True)
        with answering(inner):
            pass
        assert not inner.asked
        with answering(StandInDriver(find_device("l4"))):
            assert triton_driver.active.get_current_target().arch == 89
        assert triton_driver.active.get_current_target().arch == 90


def test_a_launch_is_refused_in_one_line() -> None:
    driver = StandInDriver(find_device("l4"))
    with pytest.raises(UnavailableError, match="launches a kernel on a GPU, and there is none here; NVIDIA L4 only"):
        driver.load_binary("name", b"", 0, 0)
    with pytest.raises(UnavailableError, match="times a kernel"):
        driver.get_benchmarker()(lambda: None)


def test_torch_is_told_of_the_named_device_and_forgets_it() -> None:
    pytest.importorskip("torch")
    ask = (
        "import torch; print(torch.cuda.is_available(), *torch.cuda.get_device_capability(), torch.cuda.device_count())"
    )
    assert asked("l4", ask).split() == ["True", "8", "9", "1", "True"]
    both = f"{ask}\n            import triton; print(triton.runtime.driver.active.get_current_target().arch)"
    assert asked("l4", both).split() == ["True", "8", "9", "1", "89", "True"]
    code = "from tuner.gpu.torch_cuda import *\nimport torch\nbefore = dict(vars(torch.cuda)), torch.version.cuda\n"
    code += "from tuner.gpu.catalog import find_device\nfrom tuner.gpu.stand_in_driver import *\n"
    code += "with answering(StandInDriver(find_device('l4'))):\n    assert torch.cuda.is_available()\n"
    code += "assert (dict(vars(torch.cuda)), torch.version.cuda) == before and not torch.cuda.is_available()\n"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_code_that_asks_while_it_is_compiled_is_told_what_it_is_compiled_for() -> None:
    from triton.language import target_info

    for capability, new in (((9, 0), True), ((8, 0), False)):
        with compiling_for(capability):
            assert target_info.cuda_capability_geq(9, 0) is new


KERNEL = """
import triton
import triton.language as tl
from triton.runtime import driver
from tuner import Kernel, Launch, Tensor, cdiv, choice

SMS = driver.active.utils.get_device_properties(0)["multiprocessor_count"]


@triton.jit
def copy(x_ptr, n, y_ptr, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + offsets, tl.load(x_ptr + offsets, mask=offsets < n), mask=offsets < n)


kernel = Kernel(
    id="test::copy",
    source=copy,
    inputs={"x": Tensor("fp32", "N")},
    outputs={"y": Tensor("fp32", "N")},
    params=[choice("BLOCK", 128, 256)],
    default={"BLOCK": 128},
    launch=lambda N, BLOCK: Launch(grid=(cdiv(N, BLOCK),), args=(N,)),
    reference=lambda x: x,
)
"""


def sms(kernel: Kernel) -> int:
    return int(kernel.launch.__globals__["SMS"])


def test_a_kernel_file_is_loaded_anew_for_another_device(tmp_path: Path) -> None:
    (tmp_path / "asks.py").write_text(KERNEL)
    for device, count in (("h200", 132), ("l4", 58), ("h200", 132), ("sm_80", 108)):
        kernel = load_kernel("asks.py", tmp_path, device)
        assert sms(kernel) == count
        assert sms(ref_of(kernel).load()) == count  # what a child process loads
    assert load_kernel("asks.py", tmp_path, "sm_80") is kernel
    with pytest.raises(ConfigError, match="unknown device 'h201'"):
        load_kernel("asks.py", tmp_path, "h201")


def test_a_module_on_the_path_is_for_one_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "asks_as_module.py").write_text(KERNEL)
    kernel = load_kernel("asks_as_module:kernel", tmp_path, "l4")
    assert sms(kernel) == 58
    assert ref_of(kernel).load() is kernel
    with pytest.raises(ConfigError, match=r"was told of NVIDIA L4; for NVIDIA H200 it needs a process of its own"):
        load_kernel("asks_as_module:kernel", tmp_path)
