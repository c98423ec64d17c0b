"""Play TensorRT's engine builder over a plugin on NVIDIA's own Python layer, with no GPU and no TensorRT runtime.

- `aliases`: what a rehearsed plugin does in place, and whether its code is right where TensorRT puts a copy in between
- `bindings`: make `tensorrt` and `tensorrt.plugin` importable from the bindings wheel alone
- `builder`: the part of the engine builder: the calls it makes to a plugin, in order, and what it refuses
- `call`: a call of a plugin as text: ``example::increment(fp32[1:64:1024, 1024], block_size=256)``
- `calling`: which rule an exception speaks of that comes out of a call to a plugin
- `chains`: rehearse an operator of several launches: a network of its steps is played for each of some tactics
- `kernels`: rehearse a kernel: its plugin is played for a problem, and compared with what is timed for that problem
- `modules`: rehearse a Python file that registers plugins of its own
- `network`: a network whose layers are played one after another as they are added
- `rules`: hold the code of a rehearsed tactic against its launch
"""
