"""What PTX has to meet so that TensorRT can launch it, each rule by name.

A plugin's `aot_impl` describes a grid, a block, shared memory and extra 32-bit integers, and no more than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from tuner.compile.ptx import Module, PtxEntry, PtxError
from tuner.gpu.catalog import parse_architecture
from tuner.gpu.target import Dim3

MAX_CLUSTER = 8
"""Blocks of a cluster that every GPU with clusters runs; a function needs an attribute to have more."""


class LaunchRuleError(PtxError):
    """PTX that TensorRT could not launch.

    Attributes:
        rule: what it breaks: "parameters", "direction", "block", "cluster" or "target".
    """

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(rule, message)
        self.rule = rule

    def __str__(self) -> str:
        return str(self.args[1])


def check_parameters(entry: PtxEntry, inputs: int, integers: int, outputs: int) -> None:
    """Rule "parameters": input pointers, extra 32-bit integers, output pointers, and nothing else.

    Raises:
        LaunchRuleError: for another number of parameters, or one of another size.
    """
    expected = [8] * inputs + [4] * integers + [8] * outputs
    layout = f"{inputs} inputs, {integers} extra integers, {outputs} outputs"
    if len(entry.params) != len(expected):
        raise LaunchRuleError(
            "parameters",
            f"entry {entry.name} takes {len(entry.params)} parameters; TensorRT passes {len(expected)}: {layout}",
        )
    for position, (param, size) in enumerate(zip(entry.params, expected, strict=True)):
        if param.size != size or param.count is not None:
            what = "32-bit integer" if size == 4 else "64-bit pointer"
            array = "" if param.count is None else f"[{param.count}]"
            raise LaunchRuleError(
                "parameters",
                f"entry {entry.name}: parameter {position} is .{param.type}{array}; TensorRT passes a {what} "
                f"there ({layout})",
            )


def check_block(entry: PtxEntry, block: Dim3) -> None:
    """Rule "block": the launch's block is what the code was compiled for.

    Raises:
        LaunchRuleError: when `.reqntid` differs from the block, `.maxntid` is below it, or the block
            has more than 1024 threads.
    """
    threads = block[0] * block[1] * block[2]
    if entry.reqntid is not None and entry.reqntid != block:
        raise LaunchRuleError(
            "block", f"entry {entry.name} requires a block of {entry.reqntid}; the launch has {block}"
        )
    limit = 1024
    if entry.maxntid is not None:
        limit = min(limit, entry.maxntid[0] * entry.maxntid[1] * entry.maxntid[2])
    if threads > limit:
        raise LaunchRuleError("block", f"the launch has {threads} threads per block; {entry.name} allows {limit}")


def check_cluster(entry: PtxEntry, grid: Sequence[int]) -> None:
    """Rule "cluster": the code itself says how large its clusters are, and the grid is made of whole ones.

    `.reqnctapercluster` is honoured by an ordinary launch, which is all that TensorRT makes.

    Raises:
        LaunchRuleError: when the launch would have to describe the clusters, they have more than 8 blocks, or the
            grid has a part of one.
    """
    if entry.launched_cluster:
        raise LaunchRuleError(
            "cluster",
            f"entry {entry.name} needs a launch that describes its clusters, which a TensorRT plugin cannot make; "
            "state their shape in the code, as __cluster_dims__ and .reqnctapercluster do",
        )
    if entry.cluster is None:
        return
    if prod(entry.cluster) > MAX_CLUSTER:
        raise LaunchRuleError(
            "cluster",
            f"entry {entry.name} has clusters of {prod(entry.cluster)} blocks; without an attribute that TensorRT does "
            f"not set, a cluster has at most {MAX_CLUSTER}",
        )
    for axis, blocks, size in zip("xyz", grid, entry.cluster, strict=True):
        if blocks % size:
            raise LaunchRuleError(
                "cluster",
                f"the grid has {blocks} blocks along {axis}, which are no whole clusters of {size}; round it up, as in "
                f"cdiv(…, {size}) * {size}",
            )


def check_target(module: Module, capability: tuple[int, int]) -> None:
    """Rule "target": the driver can build the module for a device of this compute capability.

    What runs where is said by `ArchitectureName.runs_on`. Addresses are 64-bit.

    Raises:
        LaunchRuleError: otherwise.
    """
    built = parse_architecture(module.target)
    if built is None:
        raise LaunchRuleError("target", f"target {module.target!r} is not an architecture (sm_90, sm_90a, …)")
    where = {
        "a": "only on {}.{}",
        "f": "on {}.{} and later of its family",
        "": "on {}.{} and later",
    }
    if not built.runs_on(capability):
        raise LaunchRuleError(
            "target",
            f"target {module.target} runs {where[built.features].format(*built.capability)}; "
            f"the device has {capability[0]}.{capability[1]}",
        )
    if module.address_size != 64:
        raise LaunchRuleError("target", f"addresses have {module.address_size} bits; TensorRT passes 64-bit pointers")
