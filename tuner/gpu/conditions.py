"""Clocks, temperature, power and throttling of one GPU, through NVIDIA's management library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

_THROTTLE = {
    "SwPowerCap": "power cap",
    "HwSlowdown": "hardware slowdown",
    "SwThermalSlowdown": "software thermal slowdown",
    "HwThermalSlowdown": "hardware thermal slowdown",
    "HwPowerBrakeSlowdown": "power brake",
    "SyncBoost": "sync boost",
}
"""The reasons for lower clocks that are not the user's own settings or an idle GPU."""


class Nvml:
    """Reads one GPU's conditions. Where the library is missing or does not tell, so does this."""

    def __init__(self, uuid: str) -> None:
        self._nvml: Any = None
        try:
            import pynvml

            pynvml.nvmlInit()
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        except Exception:  # the package, the library, or this GPU in it may be missing: all mean "unknown"
            return
        self._nvml = pynvml

    def read(self) -> Conditions | None:
        """The state right now; None where it is not known."""
        n, h = self._nvml, getattr(self, "_handle", None)
        if n is None:
            return None
        reasons = int(self._ask(lambda: n.nvmlDeviceGetCurrentClocksThrottleReasons(h), 0))
        return Conditions(
            sm_mhz=self._ask(lambda: n.nvmlDeviceGetClockInfo(h, n.NVML_CLOCK_SM)),
            memory_mhz=self._ask(lambda: n.nvmlDeviceGetClockInfo(h, n.NVML_CLOCK_MEM)),
            temperature_c=self._ask(lambda: n.nvmlDeviceGetTemperature(h, n.NVML_TEMPERATURE_GPU)),
            power_w=self._ask(lambda: n.nvmlDeviceGetPowerUsage(h) / 1000),
            throttle=tuple(
                text for name, text in _THROTTLE.items() if reasons & getattr(n, f"nvmlClocksThrottleReason{name}")
            ),
        )

    def driver(self) -> str:
        """The version of the driver package, or "unknown"."""
        if self._nvml is None:
            return "unknown"
        return str(self._nvml.nvmlSystemGetDriverVersion())

    def _ask(self, question: Callable[[], float], otherwise: float = float("nan")) -> float:
        try:
            return float(question())
        except self._nvml.NVMLError:
            return otherwise


@dataclass(frozen=True)
class Conditions:
    """The state of the device during a round.

    Attributes:
        sm_mhz, memory_mhz: current clocks.
        temperature_c: of the GPU, in degrees Celsius.
        power_w: drawn by the board.
        throttle: why clocks are lower than they could be; empty when they are not.
    """

    sm_mhz: float
    memory_mhz: float
    temperature_c: float
    power_w: float
    throttle: tuple[str, ...] = ()


Probe: TypeAlias = Callable[[], Conditions | None]
"""Reads the conditions; None where the machine does not tell."""


def unknown() -> None:
    """The probe of a machine that does not tell its conditions."""
