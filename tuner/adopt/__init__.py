"""Declare a kernel by watching what launches it.

- `call`: the arguments of the host function, as text
- `watching`: run it at several sizes on tensors that hold no data; `recording`: the driver that takes launches down;
  `fake_tensors` with torch, `torch_module` without; `tape`: what was seen
- `fitting`: the arithmetic behind integers; `reading`: what to declare; `found`: all that was found out
- `writing`, `references`: the files
- `missing`: stand-ins for packages that are not installed
- `interpreting`: the host function as a reference
"""

from tuner.adopt.interpreting import on_interpreter
from tuner.adopt.missing import stand_ins

__all__ = ["on_interpreter", "stand_ins"]
