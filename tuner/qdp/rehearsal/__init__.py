"""Play TensorRT's engine builder over a plugin on NVIDIA's own Python layer, with no GPU and no TensorRT runtime.

`bindings`, `calling` and `builder` need the bindings and the standard library alone, so that they can be
used where neither this package nor Triton is installed.
"""
