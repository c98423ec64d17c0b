"""Compile a tactic of a Triton kernel to PTX as TensorRT can launch it, and read what it takes.

Triton runs up to PTX only, without its cache on disk and without line numbers, so that the text
depends on nothing but the kernel and the options. The hidden parameters Triton adds are removed, and
the PTX that remains is assembled with Triton's own ptxas, so that everything reported is about the
very text that is shipped.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any, TextIO

from tuner.arith import divisibility
from tuner.compile import ptx
from tuner.compile.artifact import Artifact, CompileError, Target
from tuner.compile.assemble import Assembler, assemble, assembler_version, check_shared_memory
from tuner.errors import ConfigError, UnavailableError
from tuner.kernel import LAUNCH_OPTIONS
from tuner.problem import WHICH, Problem
from tuner.source import source_text
from tuner.tactic import Config, Value
from tuner.trial import FailureClass

_RECIPE = 1
"""Raised whenever this file or the reading of resources changes what comes out."""

_ALIGNMENT = 16
"""Bytes that every TensorRT buffer is aligned to, and the divisibility Triton asks about."""

_OLDEST_PTX = {(9, 0): (8, 0), (10, 0): (8, 6), (10, 3): (8, 8), (12, 0): (8, 7), (12, 1): (8, 8)}
"""The PTX version that the architecture Triton compiles for appeared in ("PTX ISA", "Release Notes").
LLVM ends the process when asked for an older one."""

_WARP = 32
_TENSOR_MEMORY_COLUMNS = 512
_MAX_INT32 = 2**31 - 1


@dataclass(frozen=True)
class _Request:
    """What is asked of Triton.

    Attributes:
        signature: the type of each parameter, in order.
        constants: the value of each compile-time parameter.
        aligned: positions of the parameters known to be multiples of 16.
        options: launch options, and the PTX version where the newest one is too new for the driver.
    """

    signature: Mapping[str, str]
    constants: Mapping[str, Value]
    aligned: tuple[int, ...]
    options: Mapping[str, Value]


def compile_key(problem: Problem, config: Config, target: Target) -> str:
    """The identity of the artifact that `compile_tactic` makes, as hexadecimal digits.

    It covers the source with everything it calls, constants, signature, divisibility, target, options
    and the versions of the compilers: equal keys, equal PTX.

    Raises:
        ConfigError: when the source cannot be read or takes a dynamic dimension as a constant.
        UnavailableError: when the driver is too old for the device.
    """
    from triton._C.libtriton import get_cache_invalidating_env_vars

    request = _request(problem, config, target)
    parts = {
        "recipe": _RECIPE,
        "source": source_text(problem.kernel.source),
        "signature": list(request.signature.items()),
        "constants": dict(request.constants),
        "aligned": request.aligned,
        "options": dict(request.options),
        "capability": target.capability,
        "disassemble": target.disassemble,
        "compiler": compiler(target),
        "environment": dict(get_cache_invalidating_env_vars()),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def compile_tactic(problem: Problem, config: Config, target: Target) -> Artifact:
    """Compile one tactic.

    Args:
        problem: the kernel with its dimensions, data types and attributes.
        config: values of all tuned parameters.
        target: the device to compile for; none needs to be present.

    Raises:
        CompileError: when the tactic cannot be compiled, needs more than a block may have, or could
            not be launched by TensorRT.
        ConfigError, UnavailableError: when no tactic of this problem could be compiled.
    """
    started = time.perf_counter()
    request = _request(problem, config, target)
    _check_launch(problem, config)
    if request.options.get("num_ctas", 1) != 1:
        raise CompileError(
            FailureClass.CONSTRAINT,
            f"num_ctas={request.options['num_ctas']} needs a cluster launch, which a TensorRT plugin cannot describe",
        )
    text, metadata, assembler = _run_triton(problem, request, target)
    block = (int(metadata["num_warps"]) * _WARP, 1, 1)
    check_shared_memory(int(metadata["shared"]), target.capability)
    if (columns := metadata.get("tmem_size") or 0) > _TENSOR_MEMORY_COLUMNS:
        raise CompileError(
            FailureClass.COMPILE, f"needs {columns} columns of tensor memory; there are {_TENSOR_MEMORY_COLUMNS}"
        )
    module = _launchable(text, metadata, problem, block, target)
    cubin, resources = assemble(module, assembler)
    return Artifact(
        ptx=module.text,
        entry=module.entry.name,
        block=block,
        shared_bytes=int(metadata["shared"]),
        target=module.target,
        ptx_version=module.version,
        resources=resources,
        cubin=cubin,
        compiler=compiler(target),
        seconds=time.perf_counter() - started,
    )


# -- what to compile -----------------------------------------------------------------------------


def _request(problem: Problem, config: Config, target: Target) -> _Request:
    kernel = problem.kernel
    pointers = {n: "*" + problem.dtype(t) for n, t in zip(_tensor_arguments(problem), _tensors(problem), strict=True)}
    parameters = list(inspect.signature(kernel.function).parameters)
    signature = {p: "constexpr" if p in kernel.constants else pointers.get(p, "i32") for p in parameters}
    integers = kernel.arguments[len(kernel.inputs) : len(kernel.arguments) - len(kernel.outputs)]
    multiples = dict(zip(integers, problem.argument_multiples(config), strict=True))
    aligned = tuple(
        i
        for i, p in enumerate(parameters)
        if p in pointers or (p in multiples and divisibility(multiples[p]) % _ALIGNMENT == 0)
    )
    values = {**_fixed_dims(problem), **problem.attributes, **config}
    constants = {name: values[name] for name in kernel.constants}
    # As Triton's own launcher does, a launch option that is also a constant of the source is both.
    options = {n: v for n, v in config.items() if n in LAUNCH_OPTIONS and not (n == "maxnreg" and v == 0)}
    return _Request(signature, constants, aligned, options | _version_option(target))


def _tensors(problem: Problem) -> list[Any]:
    return [*problem.kernel.inputs.values(), *problem.kernel.outputs.values()]


def _tensor_arguments(problem: Problem) -> list[str]:
    """The source's names for the pointers of inputs and outputs."""
    arguments, kernel = problem.kernel.arguments, problem.kernel
    return [*arguments[: len(kernel.inputs)], *arguments[len(arguments) - len(kernel.outputs) :]]


def _fixed_dims(problem: Problem) -> dict[str, int]:
    """The dimensions the source takes as constants."""
    sizes = problem.sizes()
    for dim in problem.kernel.constants:
        if dim in sizes and not all(r.fixed for r in problem.dims[dim]):
            raise ConfigError(
                f"{problem}: the source takes dimension {dim!r} as a tl.constexpr, so it needs one size, not a range; "
                "pass it as an extra integer of the launch to keep it dynamic"
            )
    return sizes


def _version_option(target: Target) -> dict[str, Value]:
    """Triton's option for an older PTX version than its own newest, where the driver asks for one."""
    from triton.backends.nvidia.compiler import get_ptxas, ptx_get_version

    limit = target.max_ptx
    if limit is None or limit >= divmod(ptx_get_version(get_ptxas(_architecture(target)).version), 10):
        return {}
    oldest = _OLDEST_PTX.get(target.capability)
    if oldest is not None and limit < oldest:
        raise UnavailableError(
            f"compute capability {_dotted(target.capability)} needs PTX {_dotted(oldest)}, and the driver takes "
            f"{_dotted(limit)} at most; update the driver"
        )
    return {"ptx_version": limit[0] * 10 + limit[1]}


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _architecture(target: Target) -> int:
    """How Triton writes a compute capability: 90 for 9.0."""
    return target.capability[0] * 10 + target.capability[1]


def _check_launch(problem: Problem, config: Config) -> None:
    """Grids and extra integers over the whole range of the dimensions are what a launch can carry."""
    for which in WHICH if problem.dynamic else ("opt",):
        launch = problem.launch(config, which)
        for value in launch.args:
            assert isinstance(value, int)
            if not -_MAX_INT32 - 1 <= value <= _MAX_INT32:
                raise CompileError(
                    FailureClass.CONSTRAINT,
                    f"the launch passes {value}, which does not fit the 32-bit integers TensorRT passes",
                )
        for axis, blocks, limit in zip("xyz", launch.grid, (_MAX_INT32, 65535, 65535), strict=True):
            assert isinstance(blocks, int)
            if not 0 < blocks <= limit:
                raise CompileError(
                    FailureClass.CONSTRAINT, f"the grid has {blocks} blocks along {axis}; CUDA takes 1 to {limit}"
                )


# -- Triton's stages -----------------------------------------------------------------------------


def _run_triton(problem: Problem, request: _Request, target: Target) -> tuple[str, dict[str, Any], Assembler]:
    """Run the stages up to PTX; returns its text, Triton's metadata, and what assembles it."""
    from triton import knobs
    from triton._C.libtriton import ir
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia.compiler import get_ptxas
    from triton.compiler.compiler import ASTSource, make_backend

    gpu = GPUTarget("cuda", _architecture(target), _WARP)
    source = ASTSource(
        problem.kernel.source,
        dict(request.signature),
        dict(request.constants),
        {(i,): [["tt.divisibility", _ALIGNMENT]] for i in request.aligned},
    )
    # Line information would put the path of the source file into the PTX.
    with tempfile.TemporaryFile("w+", errors="replace") as noise, knobs.compilation.scope():
        knobs.compilation.disable_line_info = True
        try:
            with _output_to(noise):
                backend = make_backend(gpu)
                options = backend.parse_options(dict(request.options))
                stages: dict[str, Any] = {}
                backend.add_stages(stages, options, source.language)
                context = ir.context()
                ir.load_dialects(context)
                backend.load_dialects(context)
                metadata: dict[str, Any] = {"target": gpu, **options.__dict__}
                module: Any = source.make_ir(
                    gpu, options, backend.get_codegen_implementation(options), backend.get_module_map(), context
                )
                for name, stage in stages.items():
                    if name == "cubin":
                        break
                    module = stage(module, metadata)
        except Exception as e:
            noise.seek(0)
            raise CompileError(FailureClass.COMPILE, _explain(e, noise.read())) from e
    arguments = ["-lineinfo", "-suppress-debug-info", "-v"]
    if not options.enable_fp_fusion:
        arguments.append("--fmad=false")
    arguments += (options.ptx_options or "").split()
    disassembler = knobs.nvidia.nvdisasm.path if target.disassemble else None
    return str(module), metadata, Assembler(get_ptxas(_architecture(target)).path, tuple(arguments), disassembler)


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


# -- what comes out ------------------------------------------------------------------------------


def _launchable(
    text: str, metadata: Mapping[str, Any], problem: Problem, block: tuple[int, int, int], target: Target
) -> ptx.Module:
    """The module without Triton's hidden parameters, checked against the launch."""
    kernel = problem.kernel
    inputs, outputs = len(kernel.inputs), len(kernel.outputs)
    integers = len(kernel.arguments) - inputs - outputs
    try:
        module = ptx.parse(text)
        hidden = len(module.entry.params) - inputs - integers - outputs
        for scratch in ("global_scratch_size", "profile_scratch_size"):
            if hidden > 0 and metadata.get(scratch):
                raise ptx.LaunchRuleError(
                    "parameters",
                    f"the kernel needs a scratch buffer ({scratch} is {metadata[scratch]} bytes), "
                    "which TensorRT does not pass",
                )
        module = ptx.drop_trailing_params(module, max(hidden, 0))
        ptx.check_parameters(module.entry, inputs, integers, outputs)
        ptx.check_block(module.entry, block)
        ptx.check_target(module, target.capability)
        ptx.check_version(module, target.max_ptx)
    except ptx.PtxError as e:
        raise CompileError(FailureClass.COMPILE, str(e)) from e
    return module


@functools.cache
def compiler(target: Target) -> str:
    """Names and versions of the tools that compile for a device."""
    import triton
    from triton.backends.nvidia.compiler import get_ptxas

    return f"triton {triton.__version__}, ptxas {assembler_version(get_ptxas(_architecture(target)).path)}"
