"""`pytest --tuner-baseline FILE`: every rule for every problem that a baseline holds is a test.

A regression fails the test, and what is inconclusive skips it. Without a GPU only, so that a test run gives the same
answer everywhere; `tuner check` measures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tuner.errors import TunerError

if TYPE_CHECKING:
    from tuner.check.baseline import Record
    from tuner.check.setting import Setting
    from tuner.check.verdict import Check


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("qdp-tuner").addoption(
        "--tuner-baseline", metavar="FILE", type=Path, help="Hold kernels against what `tuner check --update` wrote."
    )


def pytest_configure(config: pytest.Config) -> None:
    path = _baseline(config)
    if path is not None and str(path) not in config.args:
        config.args.append(str(path))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> BaselineFile | None:
    return BaselineFile.from_parent(parent, path=file_path) if file_path == _baseline(parent.config) else None


def _baseline(config: pytest.Config) -> Path | None:
    path: Path | None = config.getoption("tuner_baseline")
    return None if path is None else (config.invocation_params.dir / path).resolve()


class BaselineFile(pytest.File):
    """A baseline; its records are checked when the first test of each runs."""

    @cached_property
    def setting(self) -> Setting:
        from tuner.check.setting import open_setting

        return open_setting(self.path, backend="model")

    def collect(self) -> Iterator[RuleItem]:
        from tuner.check.rules import RULES

        try:
            records = self.setting.baseline.records
        except TunerError as e:
            raise self.CollectError(str(e)) from e
        for record in records:
            for rule in ("recorded", "legal", "compiles", "correct", "code", *(r.name for r in RULES), "lookup"):
                name = f"{record.kernel}[{record.label} on {record.device}: {rule}]"
                yield RuleItem.from_parent(self, name=name, record=record, rule=rule)

    def checks(self, record: Record) -> list[Check]:
        """All checks of a record, made once; so is the error where they cannot be made."""
        if record.key not in self._made:
            try:
                self._made[record.key] = self._check(record)
            except TunerError as e:
                self._made[record.key] = e
        made = self._made[record.key]
        if isinstance(made, TunerError):
            raise made
        return made

    @cached_property
    def _made(self) -> dict[tuple[str, ...], list[Check] | TunerError]:
        return {}

    def _check(self, record: Record) -> list[Check]:
        import msgspec

        from tuner.check.run import check_jobs
        from tuner.tuning.config import load_config

        config = self.path.parent / record.config
        job = load_config(config)
        own = replace(job, problems=tuple(p for p in job.problems if record.of(p)))
        baseline = msgspec.structs.replace(self.setting.baseline, records=(record,))
        return list(check_jobs([(config, own)], replace(self.setting, baseline=baseline)))


class RuleItem(pytest.Item):
    """One rule for one record, for the winner and the default."""

    parent: BaselineFile

    def __init__(self, *, record: Record, rule: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._record, self._rule = record, rule

    def runtest(self) -> None:
        checks = [c for c in self.parent.checks(self._record) if c.rule == self._rule]
        worse = [c.message for c in checks if c.verdict == "regression"]
        unknown = [c.message for c in checks if c.verdict == "inconclusive"]
        if worse:
            raise TunerError("\n".join(worse))
        if unknown:
            pytest.skip("\n".join(unknown))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any) -> Any:
        return str(excinfo.value) if isinstance(excinfo.value, TunerError) else super().repr_failure(excinfo, *args)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name
