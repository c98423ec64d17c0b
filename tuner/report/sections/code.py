"""What the winner and the default were compiled to, side by side, and the winner's listings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from tuner.compile.artifact import Resources
from tuner.report.blocks import Folded, PageBlock, Section, TableBlock, Text
from tuner.report.jobs import TunedProblem
from tuner.report.listing import Listing, read_listing
from tuner.report.sections.conditions import CONDITIONS
from tuner.report.text import number
from tuner.store.results import CodeFiles, TacticRecord

_FROM_CODE = frozenset({"registers", "spill_bytes", "shared_bytes"})
"""What a run records of the code, for when nothing else does."""


def code(job: TunedProblem) -> Section | None:
    """Compile facts, PTX and SASS; nothing where no code was recorded."""
    columns = {"winner": job.confirmed(job.winner), "default": job.confirmed(job.default)}
    if job.winner is not None and job.default is not None and job.winner.id == job.default.id:
        columns = {"winner and default": job.confirmed(job.winner)}
    known = {name: t for name, t in columns.items() if t is not None and (t.launches or t.facts)}
    launches = {_column(name, c): c for name, t in known.items() for c in t.launches}
    listings = {name: read_listing(job.folder, c) for name, c in launches.items()}
    compiled = {name: _compiled(c, listings[name]) for name, c in launches.items()}
    run = {name: _run(t, own=_FROM_CODE if compiled else frozenset()) for name, t in known.items()}
    blocks: list[PageBlock] = []
    if compiled:
        blocks.append(_side_by_side(compiled, "Compile facts; rows that differ are stressed"))
    if any(run.values()):
        blocks.append(_side_by_side(run, f"Facts about the run, {job.timed_word}"))
    if not blocks:
        return None
    blocks += [Text(f"Compiled by {c}.") for c in sorted({c.compiler for c in launches.values()})]
    for name, listing in listings.items():
        blocks += [Text(note, note=True) for note in listing.missing]
        if not name.startswith("default"):
            blocks += [Folded(f"{kind} of the {name}", text) for kind, text in listing.texts.items()]
    return Section("Code", blocks)


def _column(name: str, code: CodeFiles) -> str:
    return f"{name}, {code.step}" if code.step else name


def _run(tactic: TacticRecord, own: frozenset[str]) -> dict[str, float | str]:
    """Facts about a run, but those that stand elsewhere."""
    return {_spelt(name): value for name, value in tactic.facts.items() if name not in own | {*CONDITIONS}}


def _compiled(code: CodeFiles, listing: Listing) -> dict[str, float | str]:
    taken = code.resources
    if not taken.instructions and listing.counts is not None:
        taken = _with_counts(taken, listing.counts)
    facts: dict[str, float | str] = {
        "threads per block": prod(code.block),
        "registers per thread": taken.registers,
        "spilled bytes, stored": taken.spill_store_bytes,
        "spilled bytes, loaded": taken.spill_load_bytes,
        "stack bytes": taken.stack_bytes,
        "shared memory bytes, static": taken.shared_bytes,
        "shared memory bytes, dynamic": code.dynamic_shared_bytes,
        "barriers": taken.barriers,
    }
    if taken.instructions:
        facts["instructions"] = taken.instructions.get("total", 0)
        classes = sorted(taken.instructions.items(), key=lambda item: -item[1])
        facts |= {f"of these, {name.replace('_', ' ')}": n for name, n in classes if name != "total" and n}
        facts["global loads by width"] = _widths(taken.load_widths)
        facts["global stores by width"] = _widths(taken.store_widths)
        facts["tensor instructions"] = ", ".join(f"{n} {shape}" for shape, n in taken.tensor_shapes.items()) or "none"
    return facts


def _with_counts(taken: Resources, counts: Resources) -> Resources:
    """Who measures does not count instructions; the listing has them."""
    return replace(
        taken,
        instructions=counts.instructions,
        load_widths=counts.load_widths,
        store_widths=counts.store_widths,
        tensor_shapes=counts.tensor_shapes,
    )


def _widths(widths: Mapping[int, int]) -> str:
    return ", ".join(f"{n} of {8 * width} bit" for width, n in widths.items()) or "none"


def _spelt(name: str) -> str:
    """A fact's name without its unit run in: ``dram_us`` is "dram (µs)"."""
    units = {"us": "µs", "percent": "%", "mhz": "MHz", "c": "°C", "w": "W", "bytes": "bytes"}
    words, _, unit = name.rpartition("_")
    return f"{words.replace('_', ' ')} ({units[unit]})" if words and unit in units else name.replace("_", " ")


def _side_by_side(facts: Mapping[str, Mapping[str, float | str]], caption: str) -> TableBlock:
    names = list(dict.fromkeys(name for column in facts.values() for name in column))
    rows, marked = [], set()
    for i, name in enumerate(names):
        values = [column.get(name, 0 if name.startswith("of these") else "") for column in facts.values()]
        if len(set(values)) > 1:
            marked.add(i)
        rows.append([name, *(v if isinstance(v, str) else number(v) for v in values)])
    return TableBlock(["", *facts], rows, frozenset(marked), caption)
