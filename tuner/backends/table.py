"""The backends there are: one entry each, from which every list, choice and text of them is made.

Imports nothing but what asking whether a backend works here needs, when it is asked: the command line reads this table
at every start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class BackendInfo:
    """What there is to say of a backend before it is opened.

    Attributes:
        name: what it is asked for by.
        module: where its `open_backend` is, a function of an `Opening`.
        extra: what to install besides the package itself: ``qdp-tuner[extra]``; "" for nothing.
        needs: what of that which `tuner doctor` looks at has to be in order.
        missing: says why it does not work here, and what to do; None where it works.
        numbers: what its numbers are.
        measures: whether it measures on GPUs at hand, so that there are devices to choose and caches to keep warm.
        prepares: whether the backend of the next problem may be opened while one is timed.
        checks: whether `tuner check` can hold code against a baseline with it.
        present: says what it works with here, "" where that needs no mention.
        auto: whether `auto` may take it.
        without: what cannot be done where it does not work, when `auto` takes another; "" for nothing.
    """

    name: str
    module: str
    extra: str
    needs: tuple[str, ...]
    missing: Callable[[], str | None]
    numbers: str
    measures: bool
    prepares: bool
    checks: bool
    present: Callable[[], str]
    auto: bool
    without: str


def _no_gpu() -> str | None:
    from tuner.gpu.present import available

    return available()


def _no_engines() -> str | None:
    from tuner.gpu.driver import driver_version
    from tuner.qdp.library import lack

    no_gpu = _no_gpu()
    no_engines = lack(None if no_gpu else driver_version())
    return no_gpu if no_engines is None else str(no_engines)


def _tensorrt_present() -> str:
    from tuner.qdp.library import version

    return f"a GPU and TensorRT {version()} are present"


_BASE = ("platform", "packages")

BACKENDS: Mapping[str, BackendInfo] = {
    info.name: info
    for info in (
        BackendInfo(
            name="tensorrt",
            module="tuner.backends.tensorrt.backend",
            extra="tensorrt",
            needs=(*_BASE, "triton", "cuda", "tensorrt"),
            missing=_no_engines,
            numbers="measured inside TensorRT engines",
            measures=True,
            prepares=False,
            checks=False,
            present=_tensorrt_present,
            auto=True,
            without="no engines here",
        ),
        BackendInfo(
            name="cuda",
            module="tuner.backends.cuda.backend",
            extra="cuda",
            needs=(*_BASE, "triton", "cuda"),
            missing=_no_gpu,
            numbers="measured with the CUDA driver",
            measures=True,
            prepares=True,
            checks=True,
            present=lambda: "a GPU is present",
            auto=True,
            without="no measuring here",
        ),
        BackendInfo(
            name="model",
            module="tuner.backends.model.backend",
            extra="",
            needs=(*_BASE, "triton"),
            missing=lambda: None,
            numbers="predicted from compiled code",
            measures=False,
            prepares=True,
            checks=True,
            present=lambda: "",
            auto=True,
            without="",
        ),
        BackendInfo(
            name="replay",
            module="tuner.backends.replay",
            extra="",
            needs=_BASE,
            missing=lambda: None,
            numbers="as a recorded table says",
            measures=False,
            prepares=False,
            checks=False,
            present=lambda: "",
            auto=False,
            without="",
        ),
    )
}
"""Those whose times are taken nearest to where a plugin will run come first; `auto` takes the first that works here."""

AUTO = "auto"
"""Stands for the first of `auto_names` that works here."""


def auto_names() -> tuple[str, ...]:
    """The backends that `auto` chooses from, first choice first."""
    return tuple(info.name for info in BACKENDS.values() if info.auto)


def first_present() -> tuple[str, str]:
    """The first of `auto_names` that works here, and a clause for the user that says why it was taken."""
    skipped = ""
    for name in auto_names():
        info = BACKENDS[name]
        missing = info.missing()
        if missing is None:
            return name, "; ".join(filter(None, (info.present(), skipped)))
        skipped = f"{info.without}: {missing}"
    raise AssertionError("the model works everywhere")


def check_names() -> tuple[str, ...]:
    """What `tuner check --backend` takes."""
    return (AUTO, *(info.name for info in BACKENDS.values() if info.checks))


def recorded_names() -> tuple[str, ...]:
    """What backends call themselves in a cache, the nearest to where a plugin will run first; warm times go last."""
    names = auto_names()
    return tuple(recorded for name in names for recorded in (name, *([warm(name)] if BACKENDS[name].measures else [])))


def warm(name: str) -> str:
    """What a backend calls itself when its launches find their tensors in the L2."""
    return f"{name}-warm"


def named(names: tuple[str, ...]) -> str:
    """Names as a sentence lists them: ``a, b or c``."""
    return f"{', '.join(names[:-1])} or {names[-1]}"
