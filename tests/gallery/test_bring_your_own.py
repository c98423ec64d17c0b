"""Every example of the page "Bring your own kernel" tunes and is correct."""

import re
from pathlib import Path

import pytest

from tuner import Problem, load_kernel, tune

PAGE = (Path(__file__).parents[2] / "kernels/README.md").read_text()
EXAMPLES = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?```python\n(.*?)```", PAGE, re.M | re.S))
SIZES = {"M": 5, "N": 1000, "P": 7}


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_tunes_and_is_correct(title: str, tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(EXAMPLES[title])
    kernel = load_kernel(str(file), tmp_path)
    problem = Problem.of(kernel, {d: SIZES[d] for d in kernel.dims})

    result = tune(problem, backend="model", trials=2, out=tmp_path / "out", cache=tmp_path / "tactics.json")

    assert not result.failures
    assert all(timing.verified == "verified" for timing in result.confirmed.values())


def test_every_row_of_the_table_leads_to_an_example() -> None:
    anchors = set(re.findall(r"\(#([\w-]+)\)", PAGE))

    assert anchors == {re.sub(r"[^\w-]", "", title.lower().replace(" ", "-")) for title in EXAMPLES}
