"""GPUs that can be named without one at hand, and all that is known of a compute capability.

Where the numbers come from, and which are not facts:

- `Architecture`: the table "Technical Specifications per Compute Capability" of NVIDIA's CUDA C++
  Programming Guide; tensor rates per SM are not used, see `Device.tensor_tflops`.
- SMs, clocks, L2 sizes, memory sizes, bus widths and peak rates: NVIDIA's data sheets and whitepapers (A100
  2020, GA102 2021, Ada 2022, H100 2022, B200 2024). Peaks are dense, with fp32 accumulation. The H200's L2
  is what its driver reports.
- `copy_gbps`: measured on an H200 (4302 GB/s read plus written, 0.896 of the data sheet). For every
  other device it is the data sheet times that same fraction.
- `l2_gbps`: 5120 bytes per clock for A100 (whitepaper). All others are estimates: the same per clock for H100
  and H200, twice that for the two dies of B200, and about 2000, 1300 and 1100 bytes per clock for
  RTX 4090, L4 and A10, in proportion to their SMs.
- Latencies: measured by Luo et al., "Benchmarking and Dissecting the Nvidia Hopper GPU Architecture via
  Microbenchmarking" (2024), for RTX 4090, A100 and H100; the others take those of their nearest relative.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from tuner.errors import ConfigError, did_you_mean
from tuner.gpu.target import Target

Capability: TypeAlias = tuple[int, int]
"""Compute capability: (major, minor)."""

COPY_FRACTION = 4302 / 4800
"""Share of the data sheet's memory bandwidth that a device copy reaches, measured on an H200."""


@dataclass(frozen=True)
class Architecture:
    """What all devices of one compute capability share.

    Attributes:
        capability: compute capability.
        max_warps: resident warps per SM.
        max_blocks: resident blocks per SM.
        l1_bytes: L1 cache and shared memory per SM together.
        shared_per_sm: bytes of it that can be shared memory.
        shared_per_block: bytes of shared memory one block may ask for (opt-in).
        fp32_lanes: fp32 operations an SM starts per clock.
        warp_group_mma: whether there are matrix instructions of warp groups, beside which those of one warp are slow.
    """

    capability: tuple[int, int]
    max_warps: int
    max_blocks: int
    l1_bytes: int
    shared_per_sm: int
    shared_per_block: int
    fp32_lanes: int
    warp_group_mma: bool


@dataclass(frozen=True)
class Device:
    """One GPU. The module's docstring says where the numbers come from.

    Attributes:
        name: as NVIDIA's driver reports it.
        short: a name to type.
        architecture: the limits of its compute capability.
        sms: streaming multiprocessors.
        boost_mhz: boost clock of the SMs.
        dram_gbps: memory bandwidth in the data sheet, 1e9 bytes per second.
        memory_gb: size of the memory in the data sheet, 1e9 bytes.
        memory_bus_bits: width of the path to it.
        copy_gbps: what a device-to-device copy reaches, bytes read plus bytes written.
        l2_bytes: size of the L2 cache.
        l2_gbps: bytes per second from L2 to all SMs.
        l2_latency_cycles: SM clocks from a load to its value when L2 has it.
        dram_latency_cycles: the same when memory has it and nothing else is going on.
        fp32_tflops: peak outside the tensor cores.
        tensor_tflops: dense tensor-core peak by operand type ("fp16", "bf16", "tf32", "fp8", "int8").
    """

    name: str
    short: str
    architecture: Architecture
    sms: int
    boost_mhz: int
    dram_gbps: float
    memory_gb: int
    memory_bus_bits: int
    copy_gbps: float
    l2_bytes: int
    l2_gbps: float
    l2_latency_cycles: int
    dram_latency_cycles: int
    fp32_tflops: float
    tensor_tflops: Mapping[str, float] = field(hash=False)

    @property
    def capability(self) -> tuple[int, int]:
        """Compute capability."""
        return self.architecture.capability

    @property
    def target(self) -> Target:
        """What to compile for."""
        return Target(self.capability)

    @property
    def memory_bytes(self) -> int:
        """Size of the memory."""
        return self.memory_gb * 10**9

    @property
    def clock_ghz(self) -> float:
        """Boost clock, in cycles per nanosecond."""
        return self.boost_mhz / 1000

    def __str__(self) -> str:
        return self.name


SM_80 = Architecture((8, 0), 64, 32, 192 << 10, 164 << 10, 163 << 10, 64, False)
SM_86 = Architecture((8, 6), 48, 16, 128 << 10, 100 << 10, 99 << 10, 128, False)
SM_89 = Architecture((8, 9), 48, 24, 128 << 10, 100 << 10, 99 << 10, 128, False)
SM_90 = Architecture((9, 0), 64, 32, 256 << 10, 228 << 10, 227 << 10, 128, True)
SM_100 = Architecture((10, 0), 64, 32, 256 << 10, 228 << 10, 227 << 10, 128, True)

_HOPPER_TENSOR = {"fp16": 989.4, "bf16": 989.4, "tf32": 494.7, "fp8": 1978.9, "int8": 1978.9}

# The first device of each compute capability stands for the architecture.
DEVICES = (
    Device(
        name="NVIDIA H200",
        short="h200",
        architecture=SM_90,
        sms=132,
        boost_mhz=1980,
        dram_gbps=4800,
        memory_gb=141,
        memory_bus_bits=6144,
        copy_gbps=4302,
        l2_bytes=60 << 20,
        l2_gbps=10100,
        l2_latency_cycles=263,
        dram_latency_cycles=479,
        fp32_tflops=66.9,
        tensor_tflops=_HOPPER_TENSOR,
    ),
    Device(
        name="NVIDIA H100 80GB HBM3",
        short="h100",
        architecture=SM_90,
        sms=132,
        boost_mhz=1980,
        dram_gbps=3352,
        memory_gb=80,
        memory_bus_bits=5120,
        copy_gbps=3352 * COPY_FRACTION,
        l2_bytes=50 << 20,
        l2_gbps=10100,
        l2_latency_cycles=263,
        dram_latency_cycles=479,
        fp32_tflops=66.9,
        tensor_tflops=_HOPPER_TENSOR,
    ),
    Device(
        name="NVIDIA A100-SXM4-80GB",
        short="a100",
        architecture=SM_80,
        sms=108,
        boost_mhz=1410,
        dram_gbps=2039,
        memory_gb=80,
        memory_bus_bits=5120,
        copy_gbps=2039 * COPY_FRACTION,
        l2_bytes=40 << 20,
        l2_gbps=7200,
        l2_latency_cycles=262,
        dram_latency_cycles=466,
        fp32_tflops=19.5,
        tensor_tflops={"fp16": 312, "bf16": 312, "tf32": 156, "int8": 624},
    ),
    Device(
        name="NVIDIA L4",
        short="l4",
        architecture=SM_89,
        sms=58,
        boost_mhz=2040,
        dram_gbps=300,
        memory_gb=24,
        memory_bus_bits=192,
        copy_gbps=300 * COPY_FRACTION,
        l2_bytes=48 << 20,
        l2_gbps=2500,
        l2_latency_cycles=273,
        dram_latency_cycles=542,
        fp32_tflops=30.3,
        tensor_tflops={"fp16": 121, "bf16": 121, "tf32": 60.5, "fp8": 242, "int8": 242},
    ),
    Device(
        name="NVIDIA A10",
        short="a10",
        architecture=SM_86,
        sms=72,
        boost_mhz=1695,
        dram_gbps=600,
        memory_gb=24,
        memory_bus_bits=384,
        copy_gbps=600 * COPY_FRACTION,
        l2_bytes=6 << 20,
        l2_gbps=1900,
        l2_latency_cycles=262,
        dram_latency_cycles=466,
        fp32_tflops=31.2,
        tensor_tflops={"fp16": 125, "bf16": 125, "tf32": 62.5, "int8": 250},
    ),
    Device(
        name="NVIDIA GeForce RTX 4090",
        short="rtx4090",
        architecture=SM_89,
        sms=128,
        boost_mhz=2520,
        dram_gbps=1008,
        memory_gb=24,
        memory_bus_bits=384,
        copy_gbps=1008 * COPY_FRACTION,
        l2_bytes=72 << 20,
        l2_gbps=5000,
        l2_latency_cycles=273,
        dram_latency_cycles=542,
        fp32_tflops=82.6,
        tensor_tflops={"fp16": 165.2, "bf16": 165.2, "tf32": 82.6, "fp8": 330.3, "int8": 660.6},
    ),
    Device(
        name="NVIDIA B200",
        short="b200",
        architecture=SM_100,
        sms=148,
        boost_mhz=1965,
        dram_gbps=8000,
        memory_gb=180,
        memory_bus_bits=8192,
        copy_gbps=8000 * COPY_FRACTION,
        l2_bytes=126 << 20,
        l2_gbps=20100,
        l2_latency_cycles=263,
        dram_latency_cycles=479,
        fp32_tflops=75,
        tensor_tflops={"fp16": 2250, "bf16": 2250, "tf32": 1125, "fp8": 4500, "int8": 4500},
    ),
)


DEFAULT = "h200"
"""The device that is meant where none is named."""


def find_device(name: str) -> Device:
    """The device of that name.

    Args:
        name: a short name ("h200"), the driver's name with or without "NVIDIA", or an architecture
            ("sm_90", "sm_90a"), in any case. An architecture gives the first device listed of its
            compute capability: sm_80 the A100, sm_86 the A10, sm_89 the L4, sm_90 the H200, sm_100
            the B200.

    Raises:
        ConfigError: for a name that is none of these, with the nearest that is.
    """
    known: dict[str, Device] = {}
    for device in DEVICES:
        architecture = "sm_{}{}".format(*device.capability)
        for alias in (device.short, device.name, device.name.removeprefix("NVIDIA "), architecture):
            known.setdefault(alias.lower(), device)
    wanted = " ".join(name.lower().split())
    if named := parse_architecture(wanted):
        wanted = "sm_{}{}".format(*named.capability)
    try:
        return known[wanted]
    except KeyError:
        raise ConfigError(f"unknown device {name!r}{did_you_mean(wanted, known)}") from None


@dataclass(frozen=True)
class ArchitectureName:
    """What the name of a compiler's target says, such as "sm_90a".

    Attributes:
        capability: compute capability.
        features: "a" for features of this compute capability alone, "f" for those of its family, or "".
    """

    capability: Capability
    features: str

    def runs_on(self, capability: Capability) -> bool:
        """Whether code for this target runs on a device of a compute capability.

        ``sm_XY`` runs on every device from X.Y on; ``sm_XYf`` on X.Y and later minor versions of the same
        X; ``sm_XYa`` on X.Y alone.
        """
        if self.features == "a":
            return capability == self.capability
        newer = capability >= self.capability
        return newer and (self.features == "" or capability[0] == self.capability[0])

    @property
    def number(self) -> int:
        """The compute capability as one number: 90 for 9.0."""
        return self.capability[0] * 10 + self.capability[1]

    def __str__(self) -> str:
        return f"sm_{self.number}{self.features}"


def parse_architecture(name: str) -> ArchitectureName | None:
    """Read the name of a compiler's target; None where it is no such name."""
    match = re.fullmatch(r"sm_(\d+)(\d)([af]?)", name)
    return None if match is None else ArchitectureName((int(match[1]), int(match[2])), match[3])


def is_portable(name: str) -> bool:
    """Whether code for a target of this name runs on every newer device too."""
    named = parse_architecture(name)
    return named is not None and not named.features


def architecture_name(capability: Capability) -> ArchitectureName:
    """The target with all features that a compute capability has: from 9.0 on some are only its own."""
    return ArchitectureName(capability, "a" if capability >= (9, 0) else "")


_PTX_OF_CUDA = {(12, 5): (8, 5), (12, 6): (8, 5), (12, 7): (8, 6), (12, 8): (8, 7), (12, 9): (8, 8)}
"""Newest PTX version by CUDA version, where they do not follow the rule (PTX ISA, "Release Notes")."""


def newest_ptx(cuda: tuple[int, int]) -> tuple[int, int]:
    """The newest PTX version that a driver for this CUDA version accepts."""
    major, minor = cuda
    if cuda in _PTX_OF_CUDA:
        return _PTX_OF_CUDA[cuda]
    return major - 4, minor


SHARED_LIMIT_KIB = {
    (7, 5): 64,
    (8, 0): 163,
    (8, 6): 99,
    (8, 7): 163,
    (8, 9): 99,
    (9, 0): 227,
    (10, 0): 227,
    (10, 3): 227,
    (12, 0): 99,
    (12, 1): 99,
}
"""Shared memory one block may use, in KiB, by compute capability ("CUDA C++ Programming Guide",
chapter "Compute Capabilities")."""


OLDEST_PTX = {(9, 0): (8, 0), (10, 0): (8, 6), (10, 3): (8, 8), (12, 0): (8, 7), (12, 1): (8, 8)}
"""The PTX version that an architecture with its own features, as "sm_90a", appeared in ("PTX ISA", "Release Notes").
LLVM ends the process when asked for an older one."""
