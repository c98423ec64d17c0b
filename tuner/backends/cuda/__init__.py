"""Measure tactics through CUDA's driver API, launched as TensorRT launches them.

- `ahead`: PTX to machine code by the driver's own compiler, ahead of time and in parallel
- `backend`: the backend that times tactics on a GPU through CUDA's driver API, launched as TensorRT launches them
- `bench`: what the process that owns a GPU does: place tensors, check a tactic's outputs, time it
- `cases`: what to run on the device to see that a tactic is right, and what should come out of it
- `isolated`: a process that owns something fragile, and a warm spare to take its place when it breaks
- `measurer`: checks and times tactics on GPUs, however they get onto them
- `mixed`: a tactic at several sizes, timed as one: what a launch takes is the weighted mean over the sizes
- `prepared`: tactics compiled to PTX and, where wanted, by the driver too: begun early, each once
- `probes`: small kernels that look at device memory where it is, because copying outputs to the host is slow
- `station`: one GPU and the process that owns it: checks a tactic, times it, and outlives what it does
"""
