"""GPUs by name, and those at hand.

- `catalog`: GPUs that can be named without one at hand, and all that is known of a compute capability
- `conditions`: clocks, temperature, power and throttling of one GPU, through NVIDIA's management library
- `driver`: the part of CUDA's driver API that timing needs, typed, with errors as exceptions
- `occupancy`: how many blocks of a kernel fit on a multiprocessor, by the rules of NVIDIA's occupancy calculator
- `present`: which GPUs are here and what they are, without taking a context on any
- `stand_in_driver`: answers for a GPU that is not here, to files that ask Triton for it while they are imported
- `target`: what code is compiled for, and extents along three axes
- `torch_cuda`: the same answers, as torch gives them
"""
