"""Compile a tactic to PTX as TensorRT can launch it, and read what it takes.

A front end emits PTX; everything else is the same for all of them and happens here. The launch is
held against what CUDA takes, PTX newer than the driver or the assembler knows is lowered, parameters
that no launch passes are removed, the entry is held against the launch, and what remains is assembled
with the ptxas of Triton's wheel, so that everything reported is about the very text that is shipped.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from math import gcd, lcm, prod
from typing import cast

from tuner.compile import launch_rules, ptx
from tuner.compile.artifact import Artifact
from tuner.compile.assembler import Assembler, assemble, check_shared_memory, newest_ptx, ptxas
from tuner.compile.pointers import check_directions
from tuner.errors import ConfigError
from tuner.frontends.base import Emitted, Source
from tuner.frontends.dtypes import itemsize
from tuner.gpu.target import Dim3, Target
from tuner.kernel.kernel import Kernel
from tuner.kernel.launch import Launch
from tuner.kernel.problem import WHICH, Problem
from tuner.outcome import FailureClass, TacticError
from tuner.search.tactic import Config
from tuner.workers.environment import child_environment

_RECIPE = 6
"""Raised whenever what comes out changes though the source, its specialization and the tools do not."""

_MAX_INT32 = 2**31 - 1

_NEWER_PTXAS = "TRITON_PTXAS_PATH, or TRITON_PTXAS_BLACKWELL_PATH where Triton takes that, may name a newer ptxas"


def compile_key(problem: Problem, config: Config, target: Target) -> str:
    """The identity of the artifact that `compile_tactic` makes, as hexadecimal digits.

    It covers the source with everything it calls, all that a front end is told, the launch's block and dynamic
    shared memory, the target, and the compilers' versions and what environment reaches them: equal keys, equal PTX.

    Raises:
        TacticError: when a heuristic differs within the range of a dimension.
        ConfigError: when the source cannot be read or takes a dynamic dimension as a constant.
        UnavailableError: when the driver is too old for the device, or a compiler is not installed.
    """
    source = problem.source(config)
    parts = {
        "recipe": _RECIPE,
        "language": source.language,
        "source": source.text(),
        "arguments": source.arguments,
        "pointers": _pointers(problem.kernel.resolve(config)[0]),
        "specialization": asdict(problem.specialize(config, target.capability, newest_ptx(target))),
        "disassemble": target.disassemble,
        "scratch": _scratch(problem, config),
        "shared_bytes": problem.launch(config).shared_bytes,
        **_whole_clusters(problem, config),
        "tools": tools(source, target),
        "environment": child_environment(source.environment()),
    }
    # Constants that are no plain data, such as a data type that a heuristic chooses, say what they are.
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()


def compile_tactic(problem: Problem, config: Config, target: Target) -> Artifact:
    """Compile one tactic.

    Args:
        problem: the kernel with its dimensions, data types and attributes.
        config: values of all tuned parameters.
        target: the device to compile for; none needs to be present.

    Raises:
        TacticError: when the tactic cannot be compiled, needs more than a block may have, or could
            not be launched by TensorRT.
        ConfigError, UnavailableError: when no tactic of this problem could be compiled.
    """
    started = time.perf_counter()
    source, launch = problem.source(config), check_launch(problem, config)
    emitted = source.emit(problem.specialize(config, target.capability, newest_ptx(target)))
    _check_scratch(problem, config, emitted.scratch_bytes)
    shared_bytes = launch.shared_bytes if emitted.shared_bytes is None else emitted.shared_bytes
    check_shared_memory(shared_bytes, target.capability)
    module, block, lowered = _launchable(emitted, problem, config, launch, target)
    if module.dynamic_shared and not shared_bytes:
        raise ConfigError(
            f"kernel {problem.kernel.id!r}: the source uses dynamic shared memory; "
            "say how many bytes a block takes with shared_bytes=… in its Launch"
        )
    tool = ptxas(target)
    disassembler = tool.disassembler if target.disassemble else None
    try:
        cubin, resources = assemble(module, Assembler(tool.path, ("-v", *emitted.ptxas), disassembler))
    except TacticError as e:
        if not lowered:
            raise
        older_driver = module.version < tool.newest_ptx
        mend = "a newer driver takes more" if older_driver else _NEWER_PTXAS
        newest = "{}.{}".format(*module.version)
        raise TacticError(
            e.kind,
            f"the PTX was lowered to version {newest}, which it may be too new for ({mend}): {e}",
            e.failure.lasting,
        ) from e
    check_shared_memory(shared_bytes + resources.shared_bytes, target.capability)
    return Artifact(
        ptx=module.text,
        entry=module.entry.name,
        block=block,
        shared_bytes=shared_bytes,
        target=module.target,
        ptx_version=module.version,
        resources=resources,
        cubin=cubin,
        compiler=", ".join(f"{name} {version}" for name, version in tools(source, target).items()),
        seconds=time.perf_counter() - started,
        cluster=module.entry.cluster or (1, 1, 1),
    )


def _pointers(kernel: Kernel) -> list[list[bool]]:
    """Of each input, whether the code takes it; of each output, whether it is changed in place."""
    taken = set(kernel.passed[0].values())
    return [[name in taken for name in kernel.inputs], [name in kernel.aliases for name in kernel.outputs]]


def tools(source: Source, target: Target) -> Mapping[str, str]:
    """Names and versions of the tools that compile a source for a device.

    Raises:
        UnavailableError: when one is not installed.
    """
    return {**source.tools(), "ptxas": ptxas(target).version}


def tools_of(problem: Problem, config: Config, target: Target) -> dict[str, str]:
    """Names and versions of all that makes code of a configuration, of each of its launches."""
    found: dict[str, str] = {}
    for step in problem.steps(config):
        found |= tools(step.problem.source(step.config), target)
    return found


def check_launch(problem: Problem, config: Config) -> Launch:
    """Return the launch, whose grid and extra integers are what CUDA takes over the whole range of the dimensions.

    A refusal holds for these dimensions alone, and most compile keys are the same at others: it is not stored.

    Raises:
        TacticError: of class constraint, otherwise.
    """
    for which in WHICH if problem.dynamic else ("opt",):
        launch = problem.launch(config, which)
        for value in launch.args:
            assert isinstance(value, int)
            if not -_MAX_INT32 - 1 <= value <= _MAX_INT32:
                raise TacticError(
                    FailureClass.CONSTRAINT,
                    f"the launch passes {value}, which does not fit the 32-bit integers TensorRT passes",
                )
        for axis, blocks, limit in zip("xyz", launch.grid, (_MAX_INT32, 65535, 65535), strict=True):
            assert isinstance(blocks, int)
            if not 0 < blocks <= limit:
                raise TacticError(
                    FailureClass.CONSTRAINT, f"the grid has {blocks} blocks along {axis}; CUDA takes 1 to {limit}"
                )
    return problem.launch(config)


def _whole_clusters(problem: Problem, config: Config) -> dict[str, list[int]]:
    """What of the grid decides which clusters it is made of, where only the code knows that it has any."""
    if not problem.source(config).sized_by_launch:
        return {}
    axes = zip(*(cast(Dim3, problem.evaluate(config, sizes).grid) for sizes in problem.samples), strict=True)
    return {"clusters": [gcd(lcm(*range(1, launch_rules.MAX_CLUSTER + 1)), *blocks) for blocks in axes]}


def _scratch(problem: Problem, config: Config) -> list[tuple[int, int]]:
    """Over the whole range of the dimensions: how many blocks share the scratch memory, and its size in bytes."""
    tensor = problem.kernel.scratch
    if tensor is None:
        return []
    width = itemsize(problem.dtype(tensor))
    scope = problem.scope()
    room = [width * prod(tensor.numbers({**scope, **sizes})) for sizes in problem.samples]
    blocks = [prod(cast(tuple[int, int, int], problem.evaluate(config, sizes).grid)) for sizes in problem.samples]
    return list(zip(blocks, room, strict=True))


def _check_scratch(problem: Problem, config: Config, each: int) -> None:
    for blocks, room in _scratch(problem, config):
        if blocks * each > room:
            raise TacticError(
                FailureClass.CONSTRAINT,
                f"{blocks} blocks use {each} bytes of scratch memory each, {blocks * each} in all; "
                f"the scratch output has {room}",
            )


def _launchable(
    emitted: Emitted, problem: Problem, config: Config, launch: Launch, target: Target
) -> tuple[ptx.Module, Dim3, bool]:
    """The module as it can be launched, checked against the launch.

    Returns:
        The module, the block it is launched with, and whether its version of PTX was lowered.
    """
    kernel = problem.kernel.resolve(config)[0]
    inputs, integers, outputs = tuple(kernel.inputs), len(launch.args), tuple(kernel.outputs)
    try:
        module = ptx.parse(emitted.text)
        if emitted.entry is not None:
            module = ptx.rename_entry(module, emitted.entry)
        order = _order(emitted, kernel, len(module.entry.params))
        if order is not None:
            module = ptx.arrange_params(module, order, range(len(inputs)))
            module = ptx.drop_trailing_params(module, len(module.entry.params) - len(order))
        written = module.version
        module = ptx.lower_version(module, newest_ptx(target))
        entry = module.entry
        x_y_z = launch.block or emitted.block or entry.reqntid or entry.maxntid
        if x_y_z is None:
            raise launch_rules.LaunchRuleError(
                "block", f"neither the launch nor entry {entry.name} says how many threads a block has; add block=(…,)"
            )
        x, y, z = (*x_y_z, 1, 1)[:3]
        launch_rules.check_parameters(entry, len(inputs), integers, len(outputs))
        scratch, in_place = kernel.scratch is not None, frozenset(kernel.aliases)
        check_directions(module, inputs, integers, outputs, scratch=scratch, in_place=in_place)
        launch_rules.check_block(entry, (x, y, z))
        for sizes in problem.samples:
            launch_rules.check_cluster(entry, cast(Dim3, problem.evaluate(config, sizes).grid))
        launch_rules.check_target(module, target.capability)
    except ptx.PtxError as e:
        raise TacticError(FailureClass.COMPILE, str(e)) from e
    return module, (x, y, z), module.version != written


def _order(emitted: Emitted, kernel: Kernel, params: int) -> tuple[int | None, ...] | None:
    """Which parameter of the entry takes each argument of the launch, those among them that the code does not take."""
    taken = set(kernel.passed[0].values())
    if len(taken) == len(kernel.inputs):
        return emitted.order
    order = tuple(range(params)) if emitted.order is None else emitted.order
    given = iter(order)
    return (*(next(given, None) if name in taken else None for name in kernel.inputs), *given)
