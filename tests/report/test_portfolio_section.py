"""A portfolio in the report: what is taken, and what each shape loses."""

from __future__ import annotations

from pathlib import Path

import pytest
from page import Page
from recorded import made_up, write_results

from tuner.errors import StorageError
from tuner.report import write_report
from tuner.store.portfolios import FILE, Candidate, Portfolio, write_portfolios

FOUND = Portfolio(
    kernel="example::gemm",
    problem="M=1:64:4096 N=4096 K=4096 T=fp16",
    backend="cuda",
    device="NVIDIA H200",
    kind="measurement",
    within=0.02,
    method="exact",
    shapes=("M=1", "M=64", "M=4096"),
    candidates=(
        Candidate(11, {"BLOCK_M": 64}, (10.0, 20.0, 56.7), 28.9, True),
        Candidate(22, {"BLOCK_M": 256}, (17.3, 20.2, 50.0), 29.2, True),
        Candidate(33, {"BLOCK_M": 128}, (11.0, 20.3, 50.0), 27.1, False),
    ),
    left_out=("(BLOCK_M=512) is not legal over M=1:64:4096",),
)


def test_losses_are_relative_to_the_fastest_at_each_shape() -> None:
    assert [[round(loss, 3) for loss in row] for row in FOUND.losses()] == [
        [0.0, 0.73, 0.1],
        [0.0, 0.01, 0.015],
        [0.134, 0.0, 0.0],
    ]


def test_a_report_shows_portfolios_with_a_heatmap(tmp_path: Path) -> None:
    write_results(tmp_path, made_up(20))
    write_portfolios(tmp_path, [FOUND])
    write_report([tmp_path], tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    text = Page(html).text["Portfolio"]
    assert "2 tactics of 3 serve every shape within 2.0 % of the fastest; no smaller set does." in text
    assert "Left out: (BLOCK_M=512) is not legal" in text
    assert "(measured)" in text and "predicted" not in text
    assert "Portfolio of example::gemm M=1:64:4096" in html
    for loss in ("73.0", "13.4"):
        assert f">{loss}</text>" in html


def test_a_damaged_portfolio_is_named(tmp_path: Path) -> None:
    write_results(tmp_path, made_up(20))
    (tmp_path / FILE).write_text('[{"kernel": 1}]')
    with pytest.raises(StorageError, match=r"portfolio.json is damaged: .* run tuner portfolio again"):
        write_report([tmp_path], tmp_path / "report.html")
