"""PTX to machine code by the driver's own compiler, ahead of time and in parallel.

TensorRT hands PTX to the driver, so the code to time is what the driver makes of it on loading, not what
the compiler's own assembler did, and not what the driver's linker (`cuLinkAddData`) makes of the same
text: that was seen to take up to 16 registers more or fewer and 0.6 to 1.4 times as long. The driver
takes as long for compiling as everything else a trial does on the GPU, and does it for one process at a
time in one thread; so processes of their own do it, each with a context on which nothing is ever
launched. What they compile goes to the driver's cache on disk, where the process that times finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

from tuner.backends.cuda.bench import Bench
from tuner.backends.cuda.isolated import Factory, Isolated
from tuner.gpu.driver import REFUSALS, DriverError
from tuner.outcome import Failure, FailureClass
from tuner.workers.faults import WorkerError

LIMIT_S = 60.0
"""Longest time for one kernel."""


class AheadCompiler:
    """A pool of processes that have the driver compile.

    Attributes:
        processes: how many there are.
    """

    def __init__(self, factory: Factory, processes: int) -> None:
        """Start the processes; `factory` makes a `Bench`."""
        self.processes = processes
        self._idle: SimpleQueue[Isolated] = SimpleQueue()
        self._all = [Isolated(factory, spare=False) for _ in range(processes)]
        for process in self._all:
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="compile-ahead")

    def submit(self, ptx: str, then: Callable[[Future[Failure | None]], None]) -> None:
        """Compile, and call `then` with None or with why the driver refuses it."""
        self._threads.submit(self._compile, ptx).add_done_callback(then)

    def close(self) -> None:
        """End the processes; what was not begun is cancelled."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for process in self._all:
            process.stop()
        for process in self._all:
            process.close()

    def _compile(self, ptx: str) -> Failure | None:
        process = self._idle.get()
        try:
            process.call(LIMIT_S, Bench.compile, ptx)
            return None
        except (DriverError, WorkerError) as e:
            refused = isinstance(e, DriverError) and e.name in REFUSALS
            return Failure(FailureClass.COMPILE, f"the driver does not compile the PTX: {e}", lasting=refused)
        finally:
            self._idle.put(process)
