"""Every list and text of backends says the same."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from click.testing import CliRunner

from tuner.backends.table import AUTO, BACKENDS, auto_names, check_names, named, recorded_names
from tuner.cli.portfolio import portfolio
from tuner.cli.tune import tune
from tuner.store.cache import LOOKUP_ORDER

README = Path(__file__).parents[2] / "README.md"


def test_lookups_prefer_the_backends_that_auto_prefers() -> None:
    assert auto_names() == LOOKUP_ORDER
    assert [name for name in recorded_names() if not name.endswith("-warm")] == list(LOOKUP_ORDER)
    assert recorded_names() == ("tensorrt", "tensorrt-warm", "cuda", "cuda-warm", "model")


@pytest.mark.parametrize("command", [tune, portfolio])
def test_commands_name_the_backends_that_they_take(command: object) -> None:
    text = CliRunner().invoke(command, ["--help"]).output  # type: ignore[arg-type]
    assert all(name in text for name in (AUTO, *auto_names()))


def test_a_check_takes_those_that_say_how_long_code_takes() -> None:
    assert check_names() == ("auto", "cuda", "model")


def test_what_is_to_be_installed_exists_and_the_readme_names_every_backend() -> None:
    extras = importlib.metadata.metadata("qdp-tuner").get_all("Provides-Extra") or []
    text = README.read_text()
    for info in BACKENDS.values():
        assert not info.extra or info.extra in extras
        assert info.name in text


def test_names_are_listed_as_a_sentence_lists_them() -> None:
    assert named(("a", "b", "c")) == "a, b or c"
