"""Which GPUs are here and what they are, without taking a context on any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.errors import ConfigError, UnavailableError
from tuner.gpu import driver
from tuner.gpu.catalog import newest_ptx
from tuner.gpu.target import Target


@dataclass(frozen=True)
class DeviceInfo:
    """One GPU, as its driver describes it.

    Attributes:
        ordinal: its number among the visible devices.
        name: the model.
        uuid: this very device, as NVML spells it.
        capability: compute capability.
        sms: streaming multiprocessors.
        l2_bytes: size of the L2 cache.
        cuda: the newest CUDA version that the driver supports.
    """

    ordinal: int
    name: str
    uuid: str
    capability: tuple[int, int]
    sms: int
    l2_bytes: int
    cuda: tuple[int, int]

    @property
    def target(self) -> Target:
        """What to compile for."""
        return Target(self.capability, newest_ptx(self.cuda))


def available() -> str | None:
    """None where a GPU can be used, otherwise one line that says why not and what to do."""
    try:
        import cuda.bindings.driver  # noqa: F401
    except ImportError:
        return "the package cuda-bindings is not installed; install qdp-tuner[cuda]"
    try:
        driver.init()
        count = driver.device_count()
    except RuntimeError:
        return "there is no NVIDIA driver (libcuda.so.1) on this machine"
    except driver.DriverError as e:
        return f"the NVIDIA driver does not start: {e.name}"
    return None if count else "the NVIDIA driver sees no GPU"


def describe(ordinals: Sequence[int]) -> list[DeviceInfo]:
    """Describe GPUs of one model.

    Raises:
        UnavailableError: when no GPU can be used here.
        ConfigError: when there is none with such a number, or the models differ.
    """
    reason = available()
    if reason is not None:
        raise UnavailableError(f"the cuda backend does not work here: {reason}")
    count = driver.device_count()
    for ordinal in ordinals:
        if not 0 <= ordinal < count:
            raise ConfigError(f"devices: there is no GPU {ordinal}; the driver sees {count}, numbered from 0")
    infos = [_describe(o) for o in ordinals]
    require_one_model(infos)
    return infos


def require_one_model(devices: Sequence[DeviceInfo]) -> None:
    """Raise `ConfigError` unless all devices are of one model: their times belong to one study."""
    first = devices[0]
    for d in devices[1:]:
        if (d.name, d.sms) != (first.name, first.sms):
            raise ConfigError(
                f"devices: GPU {first.ordinal} is a {first.name} and GPU {d.ordinal} a {d.name}; tune each on its own"
            )


def _describe(ordinal: int) -> DeviceInfo:
    device = driver.device(ordinal)

    def read(name: str) -> int:
        return driver.attribute(device, name)

    return DeviceInfo(
        ordinal=ordinal,
        name=driver.device_name(device),
        uuid=driver.device_uuid(device),
        capability=(read("COMPUTE_CAPABILITY_MAJOR"), read("COMPUTE_CAPABILITY_MINOR")),
        sms=read("MULTIPROCESSOR_COUNT"),
        l2_bytes=read("L2_CACHE_SIZE"),
        cuda=driver.driver_version(),
    )
