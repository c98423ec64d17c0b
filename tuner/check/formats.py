"""What checks look like: a table, JSON, JUnit XML, GitHub annotations with a step summary."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Sequence

from tuner.check.verdict import Check, Number, as_document, overall
from tuner.outcome import VERIFIED

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold in any spelling, such as those that colour a compiler's message."""


def as_json(checks: Sequence[Check]) -> str:
    return json.dumps(as_document(checks), indent=2) + "\n"


def junit(checks: Sequence[Check]) -> str:
    """A test suite for each kernel; a regression is a failure, what is inconclusive an error."""
    root = ET.Element("testsuites", name="tuner check")
    for kernel in dict.fromkeys(c.kernel for c in checks):
        own = [c for c in checks if c.kernel == kernel]
        counts = Counter(c.verdict for c in own)
        suite = ET.SubElement(
            root,
            "testsuite",
            name=kernel,
            tests=str(len(own)),
            failures=str(counts["regression"]),
            errors=str(counts["inconclusive"]),
        )
        for c in own:
            case = ET.SubElement(suite, "testcase", classname=f"{kernel} {c.problem}", name=rule_of(c))
            if c.verdict == "pass":
                ET.SubElement(case, "system-out").text = c.message
            else:
                ET.SubElement(case, "failure" if c.verdict == "regression" else "error", message=c.message)
    ET.indent(root)
    return _NOT_XML.sub("\ufffd", ET.tostring(root, encoding="unicode", xml_declaration=True)) + "\n"


def github(checks: Sequence[Check]) -> str:
    """GitHub's workflow commands: an error for a regression, a warning for what is inconclusive, else a notice."""
    lines: list[str] = []
    for c in filter(matters, checks):
        kind = {"regression": "error", "inconclusive": "warning", "pass": "notice"}[c.verdict]
        where = f"file={_property(c.file)}," if c.file.endswith(".py") else ""
        title, text = _property(f"{c.kernel}: {c.rule}"), _data(f"{c.problem}: {c.message}")
        lines.append(f"::{kind} {where}title={title}::{text}")
    return "\n".join([*lines, conclusion(checks)]) + "\n"


def markdown(checks: Sequence[Check]) -> str:
    """A table of what differs, before and after, and the messages of what matters."""
    lines = [f"### tuner check: {conclusion(checks)}", ""]
    differing = list(filter(differs, checks))
    if differing:
        lines += ["| kernel | problem | rule | before | after | verdict |", "| --- | --- | --- | ---: | ---: | --- |"]
        for c in differing:
            cells = (c.kernel, c.problem, rule_of(c), value_of(c.baseline), value_of(c.now), c.verdict)
            lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    lines += ["", *(f"- **{c.verdict}** {c}" for c in filter(matters, checks))]
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[Sequence[Check]], str]] = {"json": as_json, "junit": junit, "github": github}


def differs(check: Check) -> bool:
    return check.verdict != "pass" or check.baseline != check.now


def matters(check: Check) -> bool:
    """Whether a check has something to tell beyond its numbers."""
    doubtful = check.rule == "correct" and check.now != VERIFIED
    return check.verdict != "pass" or doubtful or (check.rule in ("accepted", "lookup") and check.baseline != check.now)


def rule_of(check: Check) -> str:
    return f"{check.rule} ({check.role})" if check.role else check.rule


def conclusion(checks: Sequence[Check]) -> str:
    problems = len({c.of.key for c in checks})
    counts = Counter(c.verdict for c in checks)
    parts = [f"{n} {verdict}" for verdict, n in counts.items() if verdict != "pass"]
    of = f"{_count(len(checks), 'check')} of {_count(problems, 'problem')}"
    return f"{overall(checks)}: {', '.join([*parts, of])}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun if n == 1 else f'{noun}s'}"


def value_of(value: Number) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _data(text: str) -> str:
    """Escaped as GitHub's toolkit escapes the data of a command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
