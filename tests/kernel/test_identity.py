"""The version of a kernel hash tells hashes that do not compare from sources that differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.kernel.identity import VERSION, kernel_hash, made_before
from tuner.kernel.loader import load_kernel

ROOT = Path(__file__).parents[2]
DIGITS = "0123456789abcdef" * 4


def test_a_hash_says_its_version() -> None:
    made = kernel_hash(load_kernel("kernels/increment.py", ROOT))
    version, digits = made.split(":")
    assert int(version) == VERSION and len(digits) == 64


@pytest.mark.parametrize(
    ("source", "older"),
    [
        (DIGITS, True),
        (f"{VERSION - 1}:{DIGITS}", True),
        (f"{VERSION}:{DIGITS}", False),
        (f"{VERSION + 1}:{DIGITS}", False),
        ("abc", False),
        (f"one:{DIGITS}", False),
    ],
)
def test_only_what_an_older_version_made_is_older(source: str, older: bool) -> None:
    assert made_before(source, f"{VERSION}:{DIGITS[::-1]}") is older
    assert not made_before(source, "abc")
