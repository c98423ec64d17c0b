"""Triton's compiler, up to PTX: without its cache on disk, and without line numbers, which would hold paths.

Triton has no documented way to stop before it assembles. This is the one place that calls its stages by itself
(Triton 3.6 to 3.9).
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

from tuner.gpu.catalog import architecture_name
from tuner.gpu.stand_in_driver import compiling_for
from tuner.outcome import FailureClass, TacticError

WARP = 32


def run_stages(
    source: Any, options: Mapping[str, Any], capability: tuple[int, int]
) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """Compile a function up to PTX.

    Args:
        source: the function with its signature, as Triton's `ASTSource`, or Gluon's, holds it.
        options: launch options, and the PTX version.
        capability: compute capability to compile for.

    Returns:
        The PTX, Triton's metadata, and what ptxas is called with.

    Raises:
        TacticError: when the function does not compile.
    """
    from triton import knobs
    from triton._C.libtriton import ir
    from triton.backends.compiler import GPUTarget
    from triton.compiler.compiler import make_backend

    gpu = GPUTarget("cuda", architecture_name(capability).number, WARP)
    # Line information would put the path of the source file into the PTX.
    with tempfile.TemporaryFile("w+", errors="replace") as noise, knobs.compilation.scope():
        knobs.compilation.disable_line_info = True
        try:
            with _output_to(noise), compiling_for(capability):
                backend = make_backend(gpu)
                parsed = backend.parse_options(dict(options))
                stages: dict[str, Any] = {}
                backend.add_stages(stages, parsed, source.language)
                context = ir.context()
                ir.load_dialects(context)
                backend.load_dialects(context)
                metadata: dict[str, Any] = {"target": gpu, **parsed.__dict__}
                module: Any = source.make_ir(
                    gpu, parsed, backend.get_codegen_implementation(parsed), backend.get_module_map(), context
                )
                for name, stage in stages.items():
                    if name == "cubin":
                        break
                    module = stage(module, metadata)
        except Exception as e:
            noise.seek(0)
            raise TacticError(FailureClass.COMPILE, _explain(e, noise.read())) from e
    arguments = ["-lineinfo", "-suppress-debug-info"]
    if not parsed.enable_fp_fusion:
        arguments.append("--fmad=false")
    return str(module), metadata, (*arguments, *(parsed.ptx_options or "").split())


@contextmanager
def _output_to(file: TextIO) -> Iterator[None]:
    """Send what Python and native code print to a file."""
    with redirect_stdout(file), redirect_stderr(file):
        saved = [os.dup(fd) for fd in (1, 2)]
        for fd in (1, 2):
            os.dup2(file.fileno(), fd)
        try:
            yield
        finally:
            file.flush()
            for fd, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, fd)
                os.close(copy)


def _explain(error: Exception, printed: str) -> str:
    """The innermost cause on the first line; then where in the source, and what the compiler printed."""
    cause: BaseException = error
    where = ""
    while True:
        # Triton points at a line of the source, counted from its first line, and at the cause below.
        source, line = getattr(cause, "src", None), getattr(getattr(cause, "node", None), "lineno", None)
        if isinstance(source, str) and isinstance(line, int):
            where = "".join(source.splitlines()[line - 1 : line]).strip()
        if cause.__cause__ is None:
            break
        cause = cause.__cause__
    text = str(getattr(cause, "error_message", None) or cause).strip() or type(cause).__name__
    diagnostic = re.search(r"error: (.*)", printed)
    if isinstance(cause, RuntimeError) and diagnostic:  # "PassManager::run failed" says nothing
        text = diagnostic[1]
    first, *more = text.splitlines()
    headline = f"{first} (in: {where})" if where else first
    return "\n".join([headline, *more, *printed.strip().splitlines()[:40]])
