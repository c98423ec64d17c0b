"""Hold the code of a rehearsed tactic against its launch."""

from __future__ import annotations

from collections.abc import Iterator

from tuner.compile import launch_rules, ptx
from tuner.gpu.target import Target
from tuner.qdp.rehearsal.bindings import RuleBroken
from tuner.qdp.rehearsal.builder import Broken, Played, Rehearsal


def examine(rehearsal: Rehearsal, target: Target | None) -> tuple[Broken, ...]:
    """All broken rules: those the builder found, and those of PTX against launch.

    Args:
        rehearsal: what was played.
        target: the device to run on; None leaves its architecture out of it.
    """
    outputs = len(rehearsal.outputs)
    return (*rehearsal.broken, *(b for p in rehearsal.played for b in _broken(p, rehearsal.inputs, outputs, target)))


def _broken(played: Played, inputs: int, outputs: int, target: Target | None) -> Iterator[Broken]:
    try:
        _check(played, inputs, outputs, target)
    except RuleBroken as e:
        yield Broken(played.tactic, e.rule, e.message)
    except launch_rules.LaunchRuleError as e:
        yield Broken(played.tactic, e.rule, str(e))
    except ptx.PtxError as e:
        yield Broken(played.tactic, "code", str(e))


def _check(played: Played, inputs: int, outputs: int, target: Target | None) -> None:
    module = ptx.parse(played.code)
    entry = next((e for e in module.entries if e.name == played.entry), None)
    if entry is None:
        found = ", ".join(e.name for e in module.entries) or "no entry"
        raise RuleBroken("entry", f"aot_impl names the kernel {played.entry!r}; the PTX has {found}")
    _check_parameters(entry, inputs, len(played.launches["opt"].extra), outputs)
    for launch in played.launches.values():
        launch_rules.check_block(entry, launch.block)
        launch_rules.check_cluster(entry, launch.grid)
    if target is not None:
        launch_rules.check_target(module, target.capability)


def _check_parameters(entry: ptx.PtxEntry, inputs: int, integers: int, outputs: int) -> None:
    """Say which mistake it is, where `check_parameters` could only say that there is one."""
    sizes = [p.size for p in entry.params]
    expected = [8] * inputs + [4] * integers + [8] * outputs
    counts = {"input pointer": inputs, "32-bit integer": integers, "output pointer": outputs}
    layout = ", ".join(f"{n} {what}{'s' * (n != 1)}" for what, n in counts.items())
    if sizes[: len(expected)] == expected and sizes[len(expected) :] == [8] * (len(sizes) - len(expected)) != []:
        raise RuleBroken(
            "hidden parameters",
            f"{entry.name} takes {len(sizes) - len(expected)} pointers after {layout}, which TensorRT does not pass; "
            "Triton adds two for scratch memory: remove them from the PTX when their sizes are 0",
        )
    if sorted(sizes) == sorted(expected) and sizes != expected:
        order = ", ".join(f".{p.type}" for p in entry.params)
        raise RuleBroken("argument order", f"{entry.name} takes {order}; TensorRT passes {layout}, in that order")
    for position, param in enumerate(entry.params[: len(expected)]):
        if param.type.startswith("f") and param.count is None:
            raise RuleBroken(
                "extra arguments",
                f"parameter {position} of {entry.name} is .{param.type}; extra arguments are 32-bit integers: compile "
                "a float in as a constant",
            )
    launch_rules.check_parameters(entry, inputs, integers, outputs)
