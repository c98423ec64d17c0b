"""An engine around a tuned kernel, with TensorRT's Python API alone.

    pip install 'qdp-tuner[tensorrt,cuda]'
    tuner tune configs/increment.toml                     # leaves the winner in the tactic cache
    python kernels/examples/plain_tensorrt.py engine.plan

Runs in the tests against a simulated builder that is strict about the API; not yet run against a live one.
"""

import logging
import sys
from pathlib import Path

import tensorrt as trt

from tuner import load_kernel
from tuner.qdp import register

kernel = load_kernel("../increment.py", Path(__file__).parent)


def build() -> bytes:
    increment = register(kernel)  # serves what the cache holds for this GPU, and tunes nothing
    builder = trt.Builder(trt.Logger(trt.Logger.WARNING))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    x = network.add_input("x", trt.float32, (-1, 1024))
    # The same as network.add_plugin(tensorrt.plugin.op.example.increment(x, amount=1), aot=True).get_output(0).
    y = increment.add(network, x, amount=1)
    y.name = "y"
    network.mark_output(y)
    config = builder.create_builder_config()
    increment.configure(config)  # what its layers need of the builder: nothing here, a preview feature for an alias
    profile = builder.create_optimization_profile()
    profile.set_shape("x", (1, 1024), (4096, 1024), (65536, 1024))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:  # TensorRT prints what a plugin raises, and goes on to build nothing
        raise SystemExit(f"no engine: {increment.errors or 'see the log'}")
    return bytes(plan)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # says which cached tactic is served, and why
    Path(sys.argv[1]).write_bytes(build())
