"""An attribute has to arrive somewhere: else whoever sets it gets the code of its default."""

from __future__ import annotations

from pathlib import Path

import pytest
from workspace import KERNEL

from tuner.errors import ConfigError
from tuner.kernel.loader import load_kernel

FACTOR = "factor: tl.constexpr, "
UNUSED = KERNEL.replace(FACTOR, "").replace("* factor\n    tl", "* 2\n    tl")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ('default={"BLOCK"', 'bytes=lambda N, factor: N, default={"BLOCK"'),
        ('default={"BLOCK"', 'flops=lambda N, factor: N, default={"BLOCK"'),
        ("x * factor", "x * 2"),
    ],
    ids=["reference", "bytes", "flops", "nowhere"],
)
def test_one_that_changes_no_code_is_refused(tmp_path: Path, old: str, new: str) -> None:
    (tmp_path / "kernel.py").write_text(UNUSED.replace(old, new) if old else UNUSED)
    with pytest.raises(ConfigError, match="attribute 'factor' reaches neither the source nor the launch"):
        load_kernel("kernel.py", tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            'Constraint("work", lambda',
            'Constraint("two", lambda factor: factor == 2, "…"), Constraint("work", lambda',
        ),
        ("N, BLOCK: Launch(grid=(cdiv(N, BLOCK),), args=(N,))", "N, BLOCK, factor: Launch((cdiv(N, BLOCK),), (N,))"),
    ],
    ids=["constraint", "launch"],
)
def test_one_that_chooses_what_is_run_is_taken(tmp_path: Path, old: str, new: str) -> None:
    assert old in UNUSED
    (tmp_path / "kernel.py").write_text(UNUSED.replace(old, new))
    assert load_kernel("kernel.py", tmp_path).attributes == {"factor": 2.0}
