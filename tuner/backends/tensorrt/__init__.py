"""Time tactics inside TensorRT engines.

- `backend`: the backend that times tactics inside TensorRT engines
- `bench`: what the process that owns a GPU does with engines: build, check, time
- `engine`: a TensorRT engine: built from a network, then run on a stream
- `inspection`: which tactic a builder chose, read from the engine it made
- `loader`: how tactics get into engines, and engines onto a device
- `log`: what TensorRT says. It reports errors to a logger, and answers with None where Python would raise
- `network`: the networks that engines are built from: the plugin alone, or a network of the user's around it
- `offer`: what the plugin offers while engines are built one after another, each with tactics of its own
- `options`: how the tensorrt backend builds engines
- `order`: what crosses the border of the process that builds and runs engines: orders in, reports out
- `runner`: engines on a station: built there, checked and timed like any other tactic
"""
