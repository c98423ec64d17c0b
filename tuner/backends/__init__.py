"""Who says how long a tactic takes: a small base class, and a package for each way to find out.

- `base`: what says how long a tactic takes
- `replay`: answer from a recorded table, so that a search can be tried without a GPU
- `select`: choose a backend that works here, and open it for a problem
- `setting`: what backends are opened with
- `table`: the backends there are: one entry each, from which every list, choice and text of them is made
- `cuda/`: measure tactics through CUDA's driver API, launched as TensorRT launches them
- `model/`: predict how long tactics take, without a GPU
- `tensorrt/`: time tactics inside TensorRT engines
- `timing/`: how samples are taken, when there are enough of them, and what they say
"""
