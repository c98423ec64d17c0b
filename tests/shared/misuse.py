"""Uses TensorRT and the driver wrongly, one mistake at a time; prints what each one raises as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt as trt
from chained import TWO_POINTERS
from simulated import cuda

from tuner.backends.tensorrt.engine import Engine, build
from tuner.backends.tensorrt.log import Log, make_logger
from tuner.backends.tensorrt.network import add_alone
from tuner.backends.tensorrt.offer import CurrentOffer
from tuner.compile.artifact import Code
from tuner.gpu import driver
from tuner.kernel.loader import load_kernel
from tuner.qdp.plugin import register
from tuner.search.tactic import Config, Tactic

STRONG = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def main() -> None:
    from simulated.scenario import kernel

    from tuner import Problem, Range
    from tuner.compile.pipeline import compile_tactic
    from tuner.gpu.target import Target

    log = Log()
    logger = make_logger(log)
    problem = Problem.of(kernel(), {"N": Range(1, 64, 128)})
    offer = CurrentOffer(problem)
    default: Config = problem.kernel.default
    target = Target((9, 0), disassemble=False)
    offer.change([default], [(default, Code((compile_tactic(problem, default, target),)))])
    plugin = register(problem.kernel, offer)
    plan = build(logger, lambda network: add_alone(network, plugin, problem), plugin.configure, 1 << 20)

    def network() -> Any:
        return trt.Builder(logger).create_network(STRONG)

    def unprofiled() -> None:
        build(logger, lambda n: add_alone(n, plugin, problem) and {}, plugin.configure, 1 << 20)

    Path("turn.py").write_text(TWO_POINTERS)
    turned = Problem.of(load_kernel("turn.py", Path()), {"N": 64})
    in_place = CurrentOffer(turned)
    by_hand: Config = turned.kernel.default
    in_place.change([by_hand], [(by_hand, Code((compile_tactic(turned, by_hand, target),)))])
    turn = register(turned.kernel, in_place)

    def not_told() -> None:
        build(logger, lambda n: add_alone(n, turn, turned), lambda config: None, 1 << 20)

    def at_two_addresses() -> None:
        told = build(logger, lambda n: add_alone(n, turn, turned), turn.configure, 1 << 20)
        one = Engine(logger, told.data, ["x", "turned"])
        one.reshape([(64,)])
        one.enqueue([driver.alloc(256), driver.alloc(256)], int(driver.stream()))

    def from_another_builder() -> None:
        builder, other = trt.Builder(logger), trt.Builder(logger)
        builder.build_serialized_network(builder.create_network(STRONG), other.create_builder_config())

    def context() -> Any:
        engine = trt.Runtime(logger).deserialize_cuda_engine(plan.data)
        return engine.create_execution_context()

    def without_addresses() -> None:
        made = context()
        made.set_input_shape("x", (64,))
        made.execute_async_v3(int(driver.stream()))

    def without_shape() -> None:
        address = driver.alloc(1024)
        made = context()
        for name in ("x", "y"):
            made.set_tensor_address(name, address)
        made.execute_async_v3(int(driver.stream()))

    def outside_of_the_profile() -> None:
        Engine(logger, plan.data).reshape([(129,)])

    def freed_memory() -> None:
        engine, address = Engine(logger, plan.data), driver.alloc(1024)
        engine.reshape([(64,)])
        driver.free(address)
        engine.enqueue([address, address], int(driver.stream()))

    def destroyed_stream() -> None:
        engine, address, stream = Engine(logger, plan.data), driver.alloc(1024), driver.stream()
        engine.reshape([(64,)])
        driver.destroy_stream(stream)
        engine.enqueue([address, address], int(stream))

    def free_twice() -> None:
        address = driver.alloc(16)
        driver.free(address)
        driver.free(address)

    def close_twice() -> None:
        graph = driver.CapturedGraph(driver.stream(), lambda: None)
        graph.close()
        graph.close()

    def wait_while_captured() -> None:
        driver.CapturedGraph(driver.stream(), driver.synchronize)

    def copy_beyond_the_end() -> None:
        driver.upload(driver.alloc(16), np.zeros(32, np.uint8))

    mistakes: dict[str, Callable[[], object]] = {
        "a method that is not there": lambda: network().add_plugin_v9([]),
        "an attribute that cannot be set": lambda: setattr(network(), "num_inputs", 3),
        "an unknown attribute": lambda: setattr(network(), "nmae", "x"),
        "a wrong type": lambda: network().add_input("x", "float", (4,)),
        "a float for a dimension": lambda: network().add_input("x", trt.float32, (4.0,)),
        "too many arguments": lambda: trt.Builder(logger).create_network(STRONG, 1),
        "too few arguments": lambda: network().add_input("x", trt.float32),
        "an unknown keyword": lambda: network().add_input(name="x", dtype=trt.float32, dims=(4,)),
        "a number for a flag": lambda: setattr(trt.Builder(logger).create_builder_config(), "profiling_verbosity", 2),
        "no logger": lambda: trt.Builder(None),
        "a class without constructor": lambda: trt.ICudaEngine(),
        "a weakly typed network": lambda: trt.Builder(logger).create_network(),
        "one name for two inputs": lambda: [n.add_input("x", trt.float32, (4,)) for n in [network()] for _ in "ab"],
        "a plugin without aot": lambda: network().add_plugin(lambda request: ([], [], None)),
        "no optimization profile": unprofiled,
        "an output in place without the preview feature": not_told,
        "an output in place at another address": at_two_addresses,
        "a config of another builder": from_another_builder,
        "no addresses": without_addresses,
        "no shape": without_shape,
        "a shape outside of the profile": outside_of_the_profile,
        "an address that is not aligned": lambda: context().set_tensor_address("x", 100),
        "an unknown tensor": lambda: context().set_tensor_address("z", 256),
        "freed memory": freed_memory,
        "a destroyed stream": destroyed_stream,
        "memory freed twice": free_twice,
        "a graph closed twice": close_twice,
        "waiting while a stream is captured": wait_while_captured,
        "copying beyond the end": copy_beyond_the_end,
        "a tactic that is not offered": lambda: offer.artifact(problem, Tactic({**default, "num_warps": 1})),
    }
    raised = {}
    for name, mistake in mistakes.items():
        for thing in cuda.Object.live.values():
            if isinstance(thing, cuda.Stream):
                thing.captured = None
        try:
            mistake()
            raised[name] = "nothing"
        except Exception as e:
            raised[name] = f"{type(e).__name__}: {e} {log.take()}"
    print(json.dumps(raised))


if __name__ == "__main__":
    main()
