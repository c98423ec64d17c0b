"""What PTX has to meet so that TensorRT can launch it, each rule by name.

A plugin's `aot_impl` describes a grid, a block, shared memory and extra 32-bit integers, and no more than that.
"""

from __future__ import annotations

from tuner.compile.ptx import Module, PtxEntry, PtxError
from tuner.gpu.catalog import parse_architecture
from tuner.gpu.target import Dim3


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
    """Rules "block" and "cluster": the launch's block is what the code was compiled for, and no cluster.

    Raises:
        LaunchRuleError: when `.reqntid` differs from the block, `.maxntid` is below it, the block
            has more than 1024 threads, or a directive asks for a cluster launch.
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
    if entry.cluster:
        raise LaunchRuleError(
            "cluster", f"entry {entry.name} needs a cluster launch, which a TensorRT plugin cannot describe"
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
