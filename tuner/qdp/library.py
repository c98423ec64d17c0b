"""Whether TensorRT can build engines here, and what to install where it cannot."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass

from tuner.errors import UnavailableError

OLDEST = (10, 9)
"""The first version whose plugins can be compiled ahead of time (`tensorrt.plugin.aot_impl`)."""

_MAJORS = (11, 12, 13)
"""CUDA versions that TensorRT's packages are named after, as in tensorrt-cu13."""


@dataclass(frozen=True)
class Lack:
    """What is missing, and the command or action that mends it."""

    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.what}; {self.mend}"


def lack(driver_cuda: tuple[int, int] | None = None) -> Lack | None:
    """What keeps TensorRT from building engines with plugins here; None when nothing does.

    Args:
        driver_cuda: the newest CUDA version that the driver supports, where there is a driver.
    """
    install = "pip install 'qdp-tuner[tensorrt]'"
    if driver_cuda is not None and driver_cuda < (13, 0):
        install = "pip install 'qdp-tuner[cuda]' tensorrt-cu12"
    return (
        _not_installed(install)
        or _two_builds()
        or _too_new_for(driver_cuda)
        or _not_loading(install)
        or _too_old(install)
        or _no_plugins(install)
        or _attributes_lost()
    )


def require(driver_cuda: tuple[int, int] | None = None) -> None:
    """Raise `UnavailableError` where TensorRT cannot build engines with plugins."""
    found = lack(driver_cuda)
    if found is not None:
        raise UnavailableError(f"the tensorrt backend does not work here: {found}")


def require_plugins() -> None:
    """Refuse to go on where plugins cannot be registered.

    Raises:
        UnavailableError: when TensorRT's Python layer cannot be imported or is too old.
    """
    try:
        import tensorrt as trt
    except ImportError as e:
        raise UnavailableError(
            f"TensorRT's Python package cannot be imported ({e}); pip install tensorrt-cu13, or check without it "
            "what a plugin does: tuner rehearse CONFIG"
        ) from e
    version = tuple(int(part) for part in trt.__version__.split(".")[:2])
    if version < OLDEST:
        raise UnavailableError(
            f"TensorRT {trt.__version__} has no plugins compiled ahead of time; "
            f"{OLDEST[0]}.{OLDEST[1]} or newer is needed: pip install --upgrade tensorrt-cu13"
        )


def version() -> str:
    """The version of the TensorRT that is imported."""
    import tensorrt as trt

    return str(getattr(trt, "__version__", "of no known version"))


def builds() -> list[int]:
    """The CUDA major versions of the TensorRT packages that are installed."""
    return [
        major for major in _MAJORS if any(map(_installed, (f"tensorrt-cu{major}-libs", f"tensorrt-cu{major}-bindings")))
    ]


def _not_installed(install: str) -> Lack | None:
    if importlib.util.find_spec("tensorrt") is not None:
        return None
    if importlib.util.find_spec("tensorrt_bindings") is not None:
        return Lack("only TensorRT's Python layer is installed (the bindings package), without its libraries", install)
    if importlib.util.find_spec("tensorrt_rtx") is not None:
        return Lack(
            "tensorrt-rtx is installed, which builds no engines with plugins; TensorRT itself is needed", install
        )
    return Lack("TensorRT is not installed", install)


def _two_builds() -> Lack | None:
    found = builds()
    if len(found) < 2:
        return None
    names = " and ".join(f"tensorrt-cu{major}" for major in found)
    others = " ".join(f"tensorrt-cu{major}{part}" for major in found[:-1] for part in ("", "-bindings", "-libs"))
    again = f"pip install --force-reinstall tensorrt-cu{found[-1]}"
    return Lack(f"{names} are installed over one another", f"pip uninstall {others} && {again}")


def _too_new_for(driver_cuda: tuple[int, int] | None) -> Lack | None:
    """A driver runs what was built for its CUDA version or an older one."""
    found = builds()
    if driver_cuda is None or not found or found[0] <= driver_cuda[0]:
        return None
    supports = ".".join(map(str, driver_cuda))
    return Lack(
        f"TensorRT is installed for CUDA {found[0]} and the NVIDIA driver supports {supports} at most",
        f"update the driver, or pip uninstall tensorrt-cu{found[0]} && pip install tensorrt-cu{driver_cuda[0]}",
    )


def _not_loading(install: str) -> Lack | None:
    try:
        importlib.import_module("tensorrt")
    except Exception as e:
        why = " ".join(str(e).split())
        missing = re.search(r"libnv\w+\.so\S*(?=:)|tensorrt_(libs|bindings)", why)
        if missing is None:
            return Lack(f"TensorRT cannot be imported ({type(e).__name__}: {why})", f"{install} --force-reinstall")
        major = builds()[0] if builds() else 13
        return Lack(
            f"TensorRT is installed without {missing[0]}",
            f"pip install --force-reinstall tensorrt-cu{major} tensorrt-cu{major}-libs",
        )
    return None


def _too_old(install: str) -> Lack | None:
    found = re.match(r"(\d+)\.(\d+)", version())
    if found is None or (int(found[1]), int(found[2])) >= OLDEST:
        return None
    needed = ".".join(map(str, OLDEST))
    return Lack(
        f"TensorRT {version()} has no plugins compiled ahead of time; {needed} or newer is needed",
        f"{install} --upgrade",
    )


def _no_plugins(install: str) -> Lack | None:
    """What calls itself tensorrt may be another library, or one without its Python plugins."""
    import tensorrt as trt

    absent = [name for name in ("Builder", "Runtime", "INetworkDefinition") if not hasattr(trt, name)]
    try:
        plugin = importlib.import_module("tensorrt.plugin")
        absent += [f"plugin.{name}" for name in ("register", "autotune", "aot_impl") if not hasattr(plugin, name)]
    except ImportError as e:
        absent.append(f"plugin ({e})")
    if not absent:
        return None
    return Lack(f"the installed tensorrt lacks {', '.join(absent)}", f"{install} --force-reinstall")


def _attributes_lost() -> Lack | None:
    """Up to 11.1, a plugin's int and float attributes raise TypeError with numpy 2.4."""
    import numpy as np

    numpy = tuple(int(part) for part in np.__version__.split(".")[:2])
    found = re.match(r"(\d+)\.(\d+)", version())
    if numpy < (2, 4) or found is None or (int(found[1]), int(found[2])) > (11, 1):
        return None
    return Lack(
        f"TensorRT {version()} loses plugins' attributes with numpy {np.__version__}", "pip install 'numpy<2.4'"
    )


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
