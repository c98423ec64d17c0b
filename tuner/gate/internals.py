"""Triton's interpreter, as the correctness gate takes it apart. It has no interface for that.

Used of it, the same from Triton 3.6 to 3.9: `InterpretedFunction` with `rewrite`, `FunctionRewriter` with
`_compile_and_exec`, `GridExecutor` with `constexprs`, `InterpreterBuilder` with its `create_…` functions and
`get_bf16`, `TensorHandle`, `interpreter_builder`, `interpreter_semantic`, `_interpreter` (its native half),
`_LangPatchScope`, `_patch_lang`, `_patch_lang_tensor`, `_get_np_dtype`, `_convert_float` and `_implicit_cvt`. Where
versions differ, what replaces them here takes all that any of them passes.
"""

from triton.runtime import interpreter

__all__ = ["interpreter"]
