"""What a run says while it goes on (stderr) and when it is done (stdout)."""

from __future__ import annotations

import sys
import time
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tuner.outcome import Failure, Timing, caution
from tuner.search.tactic import Tactic
from tuner.store.results import CERTAINTY, STOPPED

if TYPE_CHECKING:
    from rich.table import Table

    from tuner.backends.base import Backend
    from tuner.kernel.problem import Problem
    from tuner.store.results import Result, Trial


def say(message: str) -> None:
    """Write a line to stderr."""
    print(message, file=sys.stderr, flush=True)


def format_us(microseconds: float) -> str:
    """A time with four significant digits and its unit."""
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:.4g} s"
    if microseconds >= 1e4:
        return f"{microseconds / 1e3:.4g} ms"
    return f"{microseconds:.4g} us"


def new_table(*columns: str) -> Table:
    """A table whose first column is on the left and whose text never wraps into another row's."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print a table to stdout, as wide as the terminal, or as it needs when there is none."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 160
    # What stands in brackets or between colons is text: pip install qdp-tuner[cuda].
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines()))


class TerminalProgress:
    """A bar on a terminal; elsewhere one line when a search starts and one per note.

    The bar shows the best time so far, trials per second, failures by class and the time left.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._since = time.monotonic()
        self._done = self._fresh = 0
        self._best = float("inf")
        self._failures: Counter[str] = Counter()

    def __enter__(self) -> TerminalProgress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[best]} {task.fields[rate]} {task.fields[failures]}"),
                TimeRemainingColumn(),
                console=Console(file=sys.stderr),
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def pause(self) -> None:
        """Clear the bar, so that results can be printed."""
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
            self._bar.refresh()

    def started(self, problem: Problem, backend: Backend, trials: int) -> None:
        self._reset()
        if self._bar is None:
            origin, size = backend.origin, problem.space.size_text
            say(f"{problem}: up to {trials} of {size} tactics on {origin.backend} for {origin.device}")
        else:
            self.pause()
            self._task = self._bar.add_task(str(problem), total=trials, best="", rate="", failures="")

    def trial(self, trial: Trial, resumed: bool) -> None:
        self._done += 1
        self._fresh += not resumed
        if isinstance(trial.outcome, Timing):
            self._best = min(self._best, trial.outcome.time_us)
        else:
            self._failures[trial.outcome.kind.value] += 1
        if self._bar is not None:
            rate = self._fresh / max(time.monotonic() - self._since, 1e-9)
            self._bar.update(
                self._task,
                completed=self._done,
                best=f"best {format_us(self._best)}" if self._best < float("inf") else "",
                rate=f"{rate:.1f}/s" if self._fresh else "",
                failures=" ".join(f"{n} {kind}" for kind, n in self._failures.items()),
            )

    def note(self, message: str) -> None:
        if self._bar is None:
            say(message)
        else:
            self._bar.console.print(message, highlight=False, markup=False)

    def _reset(self) -> None:
        self._since = time.monotonic()
        self._done = self._fresh = 0
        self._best = float("inf")
        self._failures.clear()


def result_table(result: Result) -> Table:
    """Winner, default and ties of one problem."""
    number = "predicted" if result.origin.kind == "prediction" else "measured"
    table = new_table("", "tactic", f"{number} time", "speed-up", "id", "correct")
    rows: list[tuple[str, Tactic]] = [("winner", result.winner)]
    if result.default != result.winner:
        rows.append(("default", result.default))
    rows += [("tie", t) for t in result.ties if t != result.default]
    for label, tactic in rows[:8]:
        timing = result.confirmed.get(tactic)
        if timing is None:
            table.add_row(label, str(tactic), f"failed: {_why_failed(result, tactic)}", "", str(tactic.id), "")
            continue
        label += " (tie)" if label == "default" and tactic in result.ties else ""
        label += " (the default)" if label == "winner" and tactic == result.default else ""
        reference = result.confirmed.get(result.default)
        speedup = f"{reference.time_us / timing.time_us:.3f}x" if reference else ""
        table.add_row(label, str(tactic), format_us(timing.time_us), speedup, str(tactic.id), timing.verified)
    if len(rows) > 8:
        table.add_row("", f"and {len(rows) - 8} more ties", "", "", "", "")
    return table


def what_the_number_is(result: Result) -> str:
    """What kind of number was shown, of how many trials."""
    trials = f"{len(result.trials)} trials"
    if result.failures:
        trials += f" ({', '.join(f'{n} failed: {kind}' for kind, n in result.failures.items())})"
    if result.resumed:
        trials += f", {result.resumed} of them from earlier runs"
    shapes = len(result.problem.shares)
    means = f", weighted means over {shapes} shapes" if shapes > 1 else ""
    if result.origin.kind == "prediction":
        kind = f"Times are predictions for an {result.origin.device}{means}; no GPU was used"
    else:
        kind = f"Times were measured on an {result.origin.device}{means}"
    said = f"{kind}. {trials}, {STOPPED[result.stopped]}."
    if result.stopped in CERTAINTY:
        said += f"\n{CERTAINTY[result.stopped]}."
    if result.confirmed[result.winner].facts.get("launch_bound"):
        said += "\nThe winner is launch-bound: most of its time is the launch itself, which no tactic shortens."
    doubtful = caution(result.confirmed[result.winner].verified)
    return f"{said}\nThe winner is {doubtful}." if doubtful else said


def _why_failed(result: Result, tactic: Tactic) -> str:
    for trial in result.trials:
        if trial.tactic == tactic and isinstance(trial.outcome, Failure):
            return f"{trial.outcome.kind.value}, {trial.outcome.headline}"
    return "not tried"
