"""Write the README's tables, `tables.md`, from the raw files beside this script.

    python results/check/table.py --out FOLDER

Columns of the GPU appear when `gpu.py` has written its files.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import Arguments, markdown

Row: TypeAlias = dict[str, Any]
HERE = Path(__file__).resolve().parent
SLOWER = 1.03
"""Really slower: the whole interval of the ratio of times lies above this, the check's default margin."""


def main() -> None:
    given = Arguments(__doc__).read()
    harmless, planted = rows("harmless"), rows("planted")
    slowdowns = {(r["kernel"], r["kind"], r["name"], r["role"]): r for r in rows("slowdowns")}
    verdicts = {(r["kernel"], r["kind"], r["name"]): r for r in rows("verdicts")}
    tables = [alarms({"first": rows("first/harmless"), "now": harmless, "unseen": rows("seed_1/harmless")})]
    if planted:
        tables += [summary(planted, slowdowns, verdicts), regressions(planted, slowdowns, verdicts)]
    controls = [r for r in slowdowns.values() if r["kind"] != "planted"]
    if controls:
        tables.append(negatives(controls, verdicts))
    (given.out / "tables.md").write_text("\n\n".join(tables) + "\n")


def rows(name: str) -> list[Row]:
    path = HERE / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def alarms(runs: dict[str, list[Row]]) -> str:
    """Edits by kernel, how many became the same machine code, and false alarms of the layer without a GPU."""
    lines = []
    for kernel in [*sorted({r["kernel"] for r in runs["now"]}), "all"]:
        mine = {name: [r for r in run if kernel in (r["kernel"], "all")] for name, run in runs.items()}
        false = [sum(r["verdict"] != "pass" for r in run) for run in mine.values()]
        counts = [f"{len(run)}, {sum(map(unchanged, run))}" for run in (mine["now"], mine["unseen"])]
        lines.append([kernel, counts[0], *false[:2], counts[1], false[2]])
    head = ("seed 0: edits, same machine code", "false alarms, first margins", "now")
    return markdown(("kernel", *head, "seed 1: edits, same machine code", "false alarms, now"), lines)


def summary(planted: Sequence[Row], slowdowns: dict[Any, Row], verdicts: dict[Any, Row]) -> str:
    """How many regressions of each kind each layer finds."""
    lines = []
    groups = list(dict.fromkeys(r["group"] for r in planted))
    for group in [*groups, "all"]:
        mine = [r for r in planted if group in (r["group"], "all")]
        line = [group, len(mine), sum(r["verdict"] == "regression" for r in mine)]
        if slowdowns:
            slow = [r for r in mine if really_slower(slowdowns, r)]
            found = sum(gpu_verdict(verdicts, r) == "regression" for r in slow)
            line += [len(slow), sum(r["verdict"] == "regression" for r in slow), found]
        lines.append(line)
    gpu = ("really slower", "of these found without a GPU", "of these found by timing") if slowdowns else ()
    return markdown(("kind", "planted", "found without a GPU", *gpu), lines)


def regressions(planted: Sequence[Row], slowdowns: dict[Any, Row], verdicts: dict[Any, Row]) -> str:
    """One line for each planted regression."""
    lines = []
    for r in planted:
        line = [r["kernel"], r["name"], r["group"], rules(r)]
        if slowdowns:
            line += [ratio(slowdowns, r, "winner"), ratio(slowdowns, r, "default"), gpu_verdict(verdicts, r)]
        lines.append(line)
    gpu = ("winner, time now / before", "default", "timing says") if slowdowns else ()
    return markdown(("kernel", "regression", "kind", "rules broken without a GPU", *gpu), lines)


def negatives(controls: Sequence[Row], verdicts: dict[Any, Row]) -> str:
    """Edits and unedited kernels that should not differ."""
    lines = []
    for r in controls:
        verdict = gpu_verdict(verdicts, r, r["kind"])
        lines.append([r["kernel"], r["kind"], r["name"], r["role"], interval(r), verdict])
    return markdown(("kernel", "control", "edit", "tactic", "time now / before", "timing says"), lines)


def unchanged(row: Row) -> bool:
    code = [c["message"] for c in row.get("checks", []) if c["rule"] == "code"]
    return bool(code) and all("code unchanged" in message for message in code)


def rules(row: Row) -> str:
    if row["verdict"] == "error":
        return f"error: {row['message']}"
    broken = Counter(c["rule"] for c in row["checks"] if c["verdict"] == "regression")
    return ", ".join(broken) or ("none: same machine code" if unchanged(row) else "none")


def really_slower(slowdowns: dict[Any, Row], row: Row) -> bool:
    found = slowdowns.get((row["kernel"], "planted", row["name"], "winner"), {})
    return bool("ratio" in found and found["ratio"][0] > SLOWER)


def gpu_verdict(verdicts: dict[Any, Row], row: Row, kind: str = "planted") -> str:
    """What the check says of the time of the winner; "not run" where it did not come to that."""
    checks = verdicts.get((row["kernel"], kind, row["name"]), {}).get("checks", [])
    return next((c["verdict"] for c in checks if c["rule"] in ("time", "runs", "correct")), "not run")


def ratio(slowdowns: dict[Any, Row], row: Row, role: str) -> str:
    return interval(slowdowns.get((row["kernel"], "planted", row["name"], role), {}))


def interval(row: Row) -> str:
    if "ratio" not in row:
        return "failed" if "error" in row else ""
    low, high = row["ratio"]
    return f"{low:.3f} to {high:.3f}" + (" (wrong)" if row["faults"] else "")


if __name__ == "__main__":
    main()
