"""Work that is captured from a stream, on a real GPU."""

from __future__ import annotations

import pytest

from tuner.gpu import driver
from tuner.gpu.present import available

REASON = available()
SIZE = 1 << 26

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(REASON is not None, reason=str(REASON))]


def test_a_captured_graph_does_the_work_and_times_it() -> None:
    from cuda.bindings import driver as cuda

    driver.init()
    driver.retain_context(0)
    stream, address = driver.stream(), driver.alloc(SIZE)

    def fill(times: int) -> driver.CapturedGraph:
        def enqueue() -> None:
            for _ in range(times):
                cuda.cuMemsetD8Async(address, 7, SIZE, stream)

        return driver.CapturedGraph(stream, enqueue)

    driver.fill(address, 0, SIZE)
    one, many = fill(1), fill(20)
    assert driver.download(address, 4) == bytes(4), "capturing does not run"
    assert 0 < one.run() < many.run()
    assert driver.download(address, 4) == bytes([7] * 4)
    for graph in (one, many):
        graph.close()
    driver.free(address)
    driver.destroy_stream(stream)


def test_waiting_for_the_device_cannot_be_captured_and_the_stream_survives() -> None:
    driver.init()
    driver.retain_context(0)
    stream = driver.stream()
    with pytest.raises(driver.DriverError):
        driver.CapturedGraph(stream, driver.synchronize)
    driver.CapturedGraph(stream, lambda: None).close()
    driver.destroy_stream(stream)
