from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from workspace import KERNEL

from tuner import Problem, choice
from tuner.backends.replay import ReplayBackend
from tuner.errors import NoValidTacticError
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem_data import ProblemData
from tuner.outcome import Failure, FailureClass, Origin, Outcome, Timing
from tuner.search import Search
from tuner.search.tactic import Config, Tactic
from tuner.store.journal import Journal, open_journal
from tuner.store.results import Result, Trial
from tuner.store.study_data import StudyIdentity
from tuner.store.tables.table import Table, read_table
from tuner.tuning.loop import tune_problem
from tuner.tuning.progress import Silent

IDENTITY = StudyIdentity(ProblemData("test::scale", {"N": 4096}), "N=4096", Origin("replay", "measurement", ""))
DEFAULT = Tactic({"BLOCK": 256, "num_warps": 4})
SLOW = 40.0  # the default's time in the tables below


class Recorded(ReplayBackend):
    """Replays a table, and can be made to behave as backends that run code do.

    Args:
        table: the outcomes.
        width: how many may be on the way at a time.
        backwards: whether what was asked for first is finished last.
        steady: see `Backend`.
        lives: how many outcomes it gives before the run is interrupted.
    """

    def __init__(
        self, table: Table, width: int = 1, *, backwards: bool = False, steady: bool = True, lives: int = 10**9
    ) -> None:
        super().__init__(table)
        self.width = self.most = width
        self.steady = steady
        self._backwards = backwards
        self._lives = lives
        self.begun: list[Tactic] = []
        self.evaluated: list[Tactic] = []
        self._pending: list[tuple[Config, Future[Outcome]]] = []

    def begin(self, config: Config) -> Future[Outcome]:
        self.begun.append(Tactic(config))
        if not self._backwards:
            return super().begin(config)
        future: Future[Outcome] = Future()
        self._pending.append((config, future))
        if len(self._pending) == 1:
            threading.Timer(0.01, self._finish).start()
        return future

    def _finish(self) -> None:
        while self._pending:
            time.sleep(0 if self.steady else 0.02)  # one after another: the search hears of each by itself
            config, future = self._pending.pop()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(next(iter(self.evaluate([config])))[1])
            except KeyboardInterrupt as e:
                future.set_exception(e)

    def evaluate(self, configs: Sequence[Config]) -> Iterator[tuple[int, Outcome]]:
        for position, outcome in super().evaluate(configs):
            if self._lives == 0:
                raise KeyboardInterrupt
            self._lives -= 1
            self.evaluated.append(Tactic(configs[position]))
            yield position, outcome


class Noted(Silent):
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.trials: list[tuple[Trial, bool]] = []
        self.notes: list[str] = []

    def trial(self, trial: Trial, resumed: bool) -> None:
        self.trials.append((trial, resumed))

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "kernel.py").write_text(
        KERNEL.replace("128, 2048)", "64, 16384)").replace('"num_warps", 2, 4', '"num_warps", 1, 2, 4, 8')
    )
    return Problem.of(load_kernel("kernel.py", folder), {"N": 4096})


def time_us(tactic: Tactic) -> str:
    block, warps = tactic.config["BLOCK"], tactic.config["num_warps"]
    assert isinstance(block, int) and isinstance(warps, int)
    return str(SLOW if tactic == DEFAULT else 10 + abs(block - 2048) / 512 + 0.01 * warps)


def make_table(problem: Problem, folder: Path, **special: str) -> Table:
    """All tactics of the problem with a time; `special` gives those of a block size, as B512="compile"."""
    rows = ["BLOCK,num_warps,time_us"]
    for config in problem.space:
        block = config["BLOCK"]
        rows.append(f"{block},{config['num_warps']},{special.get(f'B{block}', time_us(Tactic(config)))}")
    path = folder / "table.csv"
    path.write_text("\n".join(rows) + "\n")
    return read_table(path)


@pytest.fixture
def table(problem: Problem, tmp_path: Path) -> Table:
    return make_table(problem, tmp_path)


def run(
    problem: Problem,
    backend: ReplayBackend,
    folder: Path,
    *,
    trials: int = 12,
    seed: int = 0,
    deadline: float = math.inf,
    incumbent: Tactic | None = None,
    progress: Silent | None = None,
    journal: Journal | None = None,
) -> Result:
    folder.mkdir(exist_ok=True)
    return tune_problem(
        problem,
        backend,
        journal or open_journal(folder, None, IDENTITY, problem.space),
        Search(problem.space, problem.kernel.default, seed=seed, budget=trials),
        trials=trials,
        deadline=deadline,
        finalists=3,
        incumbent=incumbent,
        progress=progress or Silent(),
    )


def test_the_default_comes_first_and_the_winner_is_the_best_of_what_was_tried(
    problem: Problem, table: Table, tmp_path: Path
) -> None:
    progress = Noted()
    result = run(problem, Recorded(table), tmp_path, progress=progress)
    assert result.trials[0].tactic == result.default == DEFAULT
    assert [t.number for t in result.trials] == list(range(12))
    times = {t.tactic: t.outcome.time_us for t in result.trials if isinstance(t.outcome, Timing)}
    best = min(times, key=lambda t: times[t])
    assert result.winner == best
    assert result.confirmed[DEFAULT].time_us == SLOW
    assert result.speedup == SLOW / times[best]
    assert (result.stopped, result.resumed, result.failures) == ("trials", 0, {})
    assert progress.trials == [(t, False) for t in result.trials]


def test_a_space_smaller_than_the_budget_is_tried_in_full(problem: Problem, table: Table, tmp_path: Path) -> None:
    result = run(problem, Recorded(table, width=5), tmp_path, trials=1000)
    assert result.stopped == "space exhausted"
    assert len({t.tactic for t in result.trials}) == len(result.trials) == problem.space.size
    assert result.winner == Tactic({"BLOCK": 2048, "num_warps": 1})


@pytest.mark.parametrize("backwards", [False, True])
def test_the_default_is_tried_even_when_there_is_no_time(
    problem: Problem, table: Table, tmp_path: Path, backwards: bool
) -> None:
    result = run(problem, Recorded(table, width=4, backwards=backwards), tmp_path, deadline=-math.inf)
    assert result.stopped == "time"
    assert len(result.trials) == 1
    assert result.speedup is not None and result.speedup >= 1


def test_a_winner_never_has_a_longer_time_than_the_default(problem: Problem, tmp_path: Path) -> None:
    table = make_table(problem, tmp_path, B256="1.0")
    result = run(problem, Recorded(table), tmp_path, trials=1000)
    assert result.winner == DEFAULT, "tied with another, and the default keeps a tie"
    assert {t.config["BLOCK"] for t in result.ties} == {256} and len(result.ties) == 2


def test_the_order_in_which_a_batch_is_finished_changes_nothing(problem: Problem, table: Table, tmp_path: Path) -> None:
    forward = run(problem, Recorded(table, width=4), tmp_path / "a", trials=20)
    backward = run(problem, Recorded(table, width=4, backwards=True), tmp_path / "b", trials=20)
    assert forward.trials == backward.trials
    assert (forward.winner, forward.ties, forward.confirmed) == (backward.winner, backward.ties, backward.confirmed)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("lives", range(12))
def test_an_interrupted_run_ends_as_an_undisturbed_one_and_repeats_nothing(
    problem: Problem, table: Table, tmp_path: Path, lives: int, backwards: bool
) -> None:
    whole = run(problem, Recorded(table, width=4), tmp_path / "whole")
    first = Recorded(table, width=4, backwards=backwards, lives=lives)
    with pytest.raises(KeyboardInterrupt):
        run(problem, first, tmp_path / "cut")
    progress, second = Noted(), Recorded(table, width=4)
    result = run(problem, second, tmp_path / "cut", progress=progress)
    assert result == replace(whole, resumed=lives)
    assert len(first.evaluated) == lives
    assert not set(first.evaluated) & set(second.evaluated)
    assert len(first.evaluated) + len(second.evaluated) == 12
    assert {t.tactic for t, resumed in progress.trials if resumed} == set(first.evaluated)


def test_a_larger_budget_goes_on_where_the_smaller_one_stopped(problem: Problem, table: Table, tmp_path: Path) -> None:
    run(problem, Recorded(table, width=4), tmp_path, trials=8)
    more = Recorded(table, width=4)
    result = run(problem, more, tmp_path, trials=20)
    assert (result.resumed, len(more.evaluated), len(result.trials)) == (8, 12, 20)
    assert result.trials == run(problem, Recorded(table, width=4), tmp_path / "whole", trials=20).trials


def test_an_incumbent_that_the_search_misses_is_tried_and_served_on(
    problem: Problem, table: Table, tmp_path: Path
) -> None:
    best = Tactic({"BLOCK": 2048, "num_warps": 1})
    result = run(problem, Recorded(table), tmp_path, trials=2, incumbent=best)
    assert result.winner == best
    assert [t.number for t in result.trials] == [0, 1, 2] and result.trials[2].tactic == best
    assert run(problem, Recorded(table), tmp_path, trials=2, incumbent=best).trials == result.trials


def test_an_incumbent_keeps_a_tie_and_no_more(problem: Problem, tmp_path: Path) -> None:
    table = make_table(problem, tmp_path, B1024="5.0", B512="6.0")
    tied = [Tactic({"BLOCK": 1024, "num_warps": w}) for w in (1, 2, 4, 8)]
    for incumbent in tied:
        result = run(problem, Recorded(table), tmp_path, trials=1000, incumbent=incumbent)
        assert result.winner == incumbent
        assert set(result.ties) == set(tied) - {incumbent}
    slower = Tactic({"BLOCK": 512, "num_warps": 2})
    result = run(problem, Recorded(table), tmp_path, trials=1000, incumbent=slower)
    assert result.winner == min(tied, key=lambda t: t.id)
    assert slower in result.confirmed


def test_failures_cost_one_trial_each_and_are_counted_by_class(problem: Problem, tmp_path: Path) -> None:
    table = make_table(problem, tmp_path, B128="compile", B512="correctness", B2048="timeout", B4096="runtime")
    result = run(problem, Recorded(table), tmp_path, trials=1000)
    legal = [c["BLOCK"] for c in problem.space]
    assert result.failures == {
        "correctness": legal.count(512),
        "timeout": legal.count(2048),
        "runtime": legal.count(4096),
        "compile": legal.count(128),
    }
    assert result.winner.config["BLOCK"] == 1024


def test_a_default_that_fails_leaves_no_speedup(problem: Problem, tmp_path: Path) -> None:
    result = run(problem, Recorded(make_table(problem, tmp_path, B256="runtime")), tmp_path)
    assert DEFAULT not in result.confirmed and result.speedup is None
    assert isinstance(result.trials[0].outcome, Failure)


def test_nothing_valid_is_an_error_with_the_reason(problem: Problem, tmp_path: Path) -> None:
    table = make_table(problem, tmp_path)
    nothing = replace(table, outcomes={k: Failure(FailureClass.COMPILE, "no\nway") for k in table.outcomes})
    with pytest.raises(NoValidTacticError) as e:
        run(problem, Recorded(nothing), tmp_path)
    assert str(e.value) == (
        "test::scale N=4096 T=fp32: no tactic is valid (12 compile); "
        "the first, (BLOCK=256 num_warps=4), failed with: no"
    )


def test_a_finalist_that_fails_when_confirmed_is_passed_over(problem: Problem, table: Table, tmp_path: Path) -> None:
    class Fickle(Recorded):
        def confirm(self, configs: Sequence[Config]) -> list[Outcome]:
            outcomes = super().confirm(configs)
            return outcomes if len(configs) == 1 else [Failure(FailureClass.CORRECTNESS, "wrong now"), *outcomes[1:]]

        def evaluate(self, configs: Sequence[Config]) -> Iterator[tuple[int, Outcome]]:
            return enumerate([self._table.outcome(c) for c in configs])

    progress = Noted()
    result = run(problem, Fickle(table), tmp_path, trials=1000, progress=progress)
    assert result.winner == Tactic({"BLOCK": 2048, "num_warps": 2}), "the second best"
    assert progress.notes == ["finalist (BLOCK=2048 num_warps=1) failed when it was confirmed: wrong now"]


class Flaky(Recorded):
    """Fails some tactics, by no fault of theirs, so many times before they succeed."""

    def __init__(self, table: Table, times: dict[Tactic, int]) -> None:
        super().__init__(table, width=4)
        self._times = times

    def evaluate(self, configs: Sequence[Config]) -> Iterator[tuple[int, Outcome]]:
        for position, outcome in super().evaluate(configs):
            tactic = Tactic(configs[position])
            if self._times.get(tactic, 0):
                self._times[tactic] -= 1
                outcome = Failure(FailureClass.TIMEOUT, "took longer than 4 s", lasting=False)
            yield position, outcome


def test_what_is_no_verdict_is_tried_once_more_within_a_run_and_again_by_the_next(
    problem: Problem, table: Table, tmp_path: Path
) -> None:
    whole = run(problem, Recorded(table, width=4), tmp_path / "whole")
    once, often = whole.trials[3].tactic, whole.trials[5].tactic
    backend = Flaky(table, {once: 1, often: 3})
    first = run(problem, backend, tmp_path / "flaky")
    assert (backend.evaluated.count(once), backend.evaluated.count(often)) == (2, 2)
    outcomes = {t.tactic: t.outcome for t in first.trials}
    assert isinstance(outcomes[once], Timing) and first.failures == {"timeout": 1}
    second = Flaky(table, {often: 1})
    result = run(problem, second, tmp_path / "flaky")
    assert second.evaluated[:2] == [often, often] and not set(second.evaluated[2:]) & set(backend.evaluated)
    assert {t.tactic: t.outcome for t in result.trials}[often] == whole.trials[5].outcome and not result.failures


def test_without_a_judged_default_nothing_wins(problem: Problem, table: Table, tmp_path: Path) -> None:
    with pytest.raises(NoValidTacticError) as e:
        run(problem, Flaky(table, {DEFAULT: 2}), tmp_path)
    assert str(e.value) == (
        "test::scale N=4096 T=fp32: the default (BLOCK=256 num_warps=4) could not be judged, so no winner can be held "
        "against it; it failed with: timeout, took longer than 4 s; run the same command again"
    )
    assert run(problem, Recorded(table), tmp_path).confirmed[DEFAULT].time_us == SLOW


def test_a_winner_that_nothing_verified_is_said(problem: Problem, table: Table, tmp_path: Path) -> None:
    doubtful = {
        k: replace(o, verified="unverified: CUDA C++ runs on a GPU only")
        for k, o in table.outcomes.items()
        if isinstance(o, Timing)
    }
    progress = Noted()
    result = run(problem, Recorded(replace(table, outcomes=doubtful)), tmp_path, progress=progress)
    said = "UNVERIFIED: nothing has held its results against the reference (CUDA C++ runs on a GPU only)"
    assert progress.notes == [f"test::scale N=4096 T=fp32: the winner ({result.winner}) is {said}"]


def test_a_configuration_whose_id_is_taken_is_refused(problem: Problem, tmp_path: Path) -> None:
    ids: dict[int, int] = {}
    first = second = 0
    for value in range(10**6):  # two of about 50,000 values share one of 2**31 ids
        first = ids.setdefault(Tactic({"BLOCK": value, "num_warps": 4}).id, value)
        if first != value:
            second = value
            break
    kernel = replace(
        problem.kernel,
        params=[choice("BLOCK", first, second), choice("num_warps", 4)],
        default={"BLOCK": first, "num_warps": 4},
        constraints=(),
    )
    path = tmp_path / "twins.csv"
    path.write_text(f"BLOCK,num_warps,time_us\n{first},4,7.0\n{second},4,5.0\n")
    twins = Problem.of(kernel, {"N": 4096})
    result = run(twins, Recorded(read_table(path)), tmp_path)
    assert result.winner.config["BLOCK"] == first
    assert result.failures == {"constraint": 1}
    refused = result.trials[1].outcome
    assert isinstance(refused, Failure) and f"BLOCK={first} num_warps=4" in refused.message


def test_a_measured_search_that_was_cut_short_comes_to_the_same_state(
    problem: Problem, table: Table, tmp_path: Path
) -> None:
    """Told as results come, in whatever order they do, and still the next run knows what was on the way."""
    whole = Recorded(table, width=4, backwards=True, steady=False)
    run(problem, whole, tmp_path / "whole", trials=20)
    stored = open_journal(tmp_path / "whole", None, IDENTITY, problem.space)
    asked = [tactic for _, tactic, _ in stored.trials()]
    assert len(asked) == 20 and stored.history != asked, "they ended in another order than they were asked for"
    told = each_heard(tmp_path / "whole")
    for kept in sorted({1, *(heard for trial in told for heard in trial.values())} - {0, 20}):
        folder = tmp_path / str(kept)
        folder.mkdir()
        cut = open_journal(folder, None, IDENTITY, problem.space)
        for tactic, heard in list(zip(stored.history, told, strict=True))[:kept]:
            cut.add(asked.index(tactic), tactic, stored.outcome(tactic), heard)
        again = Recorded(table, width=4, backwards=True, steady=False)
        result = run(problem, again, folder, trials=20, journal=cut)
        assert result.resumed == kept and not set(stored.history[:kept]) & set(again.evaluated)
        begun = [asked[n] for n in sorted(told[kept - 1]) if asked[n] not in stored.history[:kept]]
        begun += [asked[n] for n, heard in sorted(stored.heard.items()) if heard == kept]
        assert again.begun[: len(begun)] == begun and (kept == 1 or begun)


def each_heard(folder: Path) -> list[dict[int, int]]:
    """What each trial of a study says of how much the search knew, in the order in which they ended."""
    lines = (folder / "study.journal").read_text().splitlines()
    trials = [json.loads(line)["user_attrs"] for line in lines if "user_attrs" in line and "tactic" in line]
    return [{int(n): h for n, h in attributes["heard"].items()} for attributes in trials]
