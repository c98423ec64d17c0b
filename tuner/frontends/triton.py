"""Triton: `@triton.jit` functions.

Triton runs up to PTX only, without its cache on disk and without line numbers, so that the text
depends on nothing but the kernel and the options. It appends parameters for scratch memory, which
TensorRT does not pass. Where a kernel needs such memory, for tensor descriptors, it lies in an output
that the kernel declares as scratch; a kernel without one is refused.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TextIO

from tuner.errors import ConfigError, did_you_mean
from tuner.frontends.base import ALIGNMENT, Emitted, Heuristic, Source, Specialization
from tuner.frontends.binding import Declared, Order, arrange
from tuner.frontends.python_source import source_text
from tuner.frontends.triton_arguments import annotated, asked_for_none, check_scalars, long_name, unspecialized
from tuner.frontends.triton_descriptors import DESCRIPTOR_BYTES, count_descriptors
from tuner.frontends.triton_entry import extent_names, make_entry, scalar_types
from tuner.frontends.words import DType
from tuner.gpu.catalog import architecture_name
from tuner.gpu.stand_in_driver import compiling_for
from tuner.outcome import FailureClass, TacticError
from tuner.search.tactic import Value

LAUNCH_OPTIONS = MappingProxyType({"num_warps": 4, "num_stages": 3, "num_ctas": 1, "maxnreg": 0})
"""Parameters that belong to the launch, not to the kernel's code, and Triton's values for them
(`maxnreg` 0: no cap)."""

_SCRATCH_ALIGNMENT = 128
"""Bytes that scratch memory may ask to be aligned to, as a tensor descriptor does; device allocators give 256."""

_WARP = 32
_TENSOR_MEMORY_COLUMNS = 512


@dataclass(frozen=True, eq=False)
class TritonSource(Source):
    """A function under `@triton.jit` alone.

    Attributes:
        jit: the function.
        order: its run-time parameters as a launch passes them; None: all that are not annotated `tl.constexpr`,
            as they stand. All others are constants.
        fixed: constants that are left at a value.
        heuristics: constants that `@triton.heuristics` computes.
        blocks: the block shape of each parameter that is a descriptor made by the host.
    """

    jit: Any
    order: Order | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    heuristics: Mapping[str, Heuristic] = field(default_factory=dict)
    blocks: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)

    language = "Triton"
    options = LAUNCH_OPTIONS
    interpreted = True
    sized_by_launch = False

    def __post_init__(self) -> None:
        if not inspect.isfunction(getattr(self.jit, "fn", None)):
            raise ConfigError(f"source must be a function under @triton.jit alone, not {self.jit!r}")

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(n for n, constant in _parameters(self.jit.fn) if not constant)

    @property
    def arguments(self) -> tuple[str, ...]:
        return self.parameters if self.order is None else self.order.names

    @property
    def scratch_bytes(self) -> int:
        return DESCRIPTOR_BYTES * (count_descriptors(self.jit) + len(self.blocks))

    def bind(self, declared: Declared) -> TritonSource:
        signature = inspect.signature(self.jit.fn).parameters
        for name in declared.absent:
            if name not in signature:
                raise ConfigError(f"absent names {name!r}, which is no parameter{did_you_mean(name, signature)}")
        defaults = {n: _unwrapped(p.default) for n, p in signature.items() if p.default is not p.empty}
        valued = {**defaults, **declared.attributes}
        order = arrange(self.parameters, declared, valued, {*declared.params, *self.heuristics})
        if none := _given_by_nothing(order, declared, asked_for_none(self.jit, self.heuristics)):
            return self.bind(replace(declared, absent=(*declared.absent, *none)))
        tensors = dict(zip((*declared.inputs, *declared.outputs), (*order.inputs, *order.outputs), strict=True))
        blocks = {tensors[t]: block for t, block in declared.blocks.items()}
        for word in (w for block in blocks.values() for w in block if isinstance(w, str)):
            if word not in signature or word in order.names:
                raise ConfigError(f"descriptors name {word!r}, which is no constant of the source")
        order = replace(order, extents=tuple(e for p, block in blocks.items() for e in extent_names(p, len(block))))
        known = {*order.names, *declared.params, *declared.attributes, *declared.dims, *self.heuristics}
        left = {n: v for n, v in defaults.items() if n not in known}
        return replace(self, order=order, fixed={**left, **dict.fromkeys(declared.absent)}, blocks=blocks)

    def constants(self, declared: Sequence[str]) -> tuple[str, ...]:
        others = {*self.arguments, *self.fixed, *self.heuristics}
        return tuple(n for n, _ in _parameters(self.jit.fn) if n not in others)

    def spell(self, value: Any) -> Any:
        import triton.language as tl

        return tl.dtype(long_name(value)) if isinstance(value, DType) else value

    def check_parameters(self, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Any]) -> None:
        check_scalars(self.jit, self.arguments[len(inputs) : len(self.arguments) - len(outputs)])

    def text(self) -> str:
        code = source_text(self.jit)
        if self.blocks:
            code = json.dumps([code, self.blocks])
        if not self.heuristics and not self.fixed:
            return code
        heuristics = {name: source_text(function) for name, function in sorted(self.heuristics.items())}
        return json.dumps([code, heuristics, {n: source_text(v) for n, v in self.fixed.items()}])

    def tools(self) -> Mapping[str, str]:
        import triton

        return {"triton": triton.__version__}

    def environment(self) -> Mapping[str, str]:
        from triton._C.libtriton import get_cache_invalidating_env_vars

        return dict(get_cache_invalidating_env_vars())

    def emit(self, specialization: Specialization) -> Emitted:
        if (ctas := specialization.options["num_ctas"]) != 1:
            raise TacticError(
                FailureClass.CONSTRAINT,
                f"num_ctas={ctas} needs a cluster launch, which a TensorRT plugin cannot describe",
            )
        request = _request(self, specialization)
        own = request.scalars or self.blocks
        jit = make_entry(self.jit, request.constants, request.scalars, self.blocks) if own else self.jit
        text, metadata, arguments = _run(jit, request, specialization.capability)
        scratch_bytes = _scratch_bytes(metadata, specialization.scratch)
        if (columns := metadata.get("tmem_size") or 0) > _TENSOR_MEMORY_COLUMNS:
            raise TacticError(
                FailureClass.COMPILE, f"needs {columns} columns of tensor memory; there are {_TENSOR_MEMORY_COLUMNS}"
            )
        compiled = [p for p, kind in request.signature.items() if kind != "constexpr"]
        order = [compiled.index(a) if a in compiled else None for a in self.arguments]
        # The first parameter that Triton appends takes scratch memory.
        if specialization.appended:
            order.append(len(compiled))
        elif scratch_bytes:
            order[-1] = len(compiled)
        return Emitted(
            text,
            order=tuple(order),
            block=(int(metadata["num_warps"]) * _WARP, 1, 1),
            shared_bytes=int(metadata["shared"]),
            scratch_bytes=scratch_bytes,
            ptxas=arguments,
        )


def _scratch_bytes(metadata: Mapping[str, Any], declared: bool) -> int:
    """What each block uses of the scratch memory that Triton has the launcher allocate.

    Raises:
        TacticError: when the kernel has no output for it, or it would have to be aligned better than outputs are.
    """
    if metadata.get("profile_scratch_size"):
        raise TacticError(FailureClass.COMPILE, "the kernel is instrumented for profiling, which TensorRT cannot serve")
    size = int(metadata.get("global_scratch_size") or 0)
    if size and not declared:
        raise TacticError(
            FailureClass.COMPILE,
            f"the kernel needs {size} bytes of scratch memory for each block, as for tensor descriptors, which "
            "TensorRT does not pass; declare a last output Tensor('i8', '…', scratch=True)",
        )
    if size and (align := int(metadata["global_scratch_align"])) > _SCRATCH_ALIGNMENT:
        raise TacticError(FailureClass.COMPILE, f"the kernel needs scratch memory aligned to {align} bytes")
    return size


def _parameters(function: Callable[..., Any]) -> list[tuple[str, bool]]:
    """Each parameter of a Triton function and whether it is a compile-time constant."""
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, "constexpr" in str(getattr(p.annotation, "__name__", p.annotation))) for p in parameters]


def _given_by_nothing(order: Order, declared: Declared, optional: Collection[str]) -> list[str]:
    """The optional pointers that neither a tensor nor the launch gives: they are None."""
    left = [name for name in order.integers if name in optional]
    if isinstance(declared.passed, int):
        return left if len(order.integers) - len(left) == declared.passed else []
    return [] if declared.passed is None else [name for name in left if name not in declared.passed]


def _unwrapped(value: Any) -> Any:
    """What a `tl.constexpr` object holds; all else as it is."""
    while type(value).__name__ == "constexpr":
        value = value.value
    return value


# -- what to compile -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _TritonRequest:
    """What is asked of Triton.

    Attributes:
        signature: the type of each parameter, in order.
        constants: the value of each parameter that is compiled in.
        scalars: the types of parameters that arrive as scalars of a type of their own.
        aligned: positions of the parameters known to be multiples of 16.
        options: launch options, and the PTX version.
    """

    signature: Mapping[str, str]
    constants: Mapping[str, Any]
    scalars: Mapping[str, str]
    aligned: tuple[int, ...]
    options: Mapping[str, Value]


def _request(source: TritonSource, specialization: Specialization) -> _TritonRequest:
    arguments = source.arguments
    inputs, outputs = specialization.inputs, specialization.outputs
    first_output = len(arguments) - len(outputs)
    names = (*arguments[: len(inputs)], *arguments[first_output:])
    pointers = {n: "*" + dtype for n, dtype in zip(names, (*inputs, *outputs), strict=True)}
    integers = dict(zip(arguments[len(inputs) : first_output], specialization.integers, strict=True))
    # As Triton's own launcher does, an argument that is always 1 is compiled in: strides make loads wide that way.
    variable, unaligned = unspecialized(source.jit)
    wide = {p.name for p in source.jit.params if annotated(p) not in ("", "i32")}
    fixed = {*variable, *wide, *(source.order.extents if source.order else ())}
    ones = {name: 1 for name, facts in integers.items() if facts.one and name not in fixed}
    types = {n: source.spell(DType(str(specialization.constants[n]))) for n in specialization.types}
    constants = {**specialization.constants, **types, **ones}
    parameters = [*inspect.signature(source.jit.fn).parameters, *(source.order.extents if source.order else ())]
    signature = {p: "constexpr" if p in constants else pointers.get(p, "i32") for p in parameters}
    multiples = {*pointers, *(name for name, facts in integers.items() if facts.aligned)} - unaligned
    aligned = tuple(i for i, p in enumerate(parameters) if p in multiples)
    options = {n: v for n, v in specialization.options.items() if not (n == "maxnreg" and v == 0)}
    major, minor = specialization.newest_ptx
    scalars = scalar_types(source.jit, constants, [n for n in integers if n not in ones])
    return _TritonRequest(signature, constants, scalars, aligned, {**options, "ptx_version": major * 10 + minor})


# -- Triton's stages -----------------------------------------------------------------------------


def _run(jit: Any, request: _TritonRequest, capability: tuple[int, int]) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """Run the stages up to PTX; returns its text, Triton's metadata, and what ptxas is called with."""
    from triton import knobs
    from triton._C.libtriton import ir
    from triton.backends.compiler import GPUTarget
    from triton.compiler.compiler import ASTSource, make_backend

    gpu = GPUTarget("cuda", architecture_name(capability).number, _WARP)
    source = ASTSource(
        jit,
        dict(request.signature),
        dict(request.constants),
        {(i,): [["tt.divisibility", ALIGNMENT]] for i in request.aligned},
    )
    # Line information would put the path of the source file into the PTX.
    with tempfile.TemporaryFile("w+", errors="replace") as noise, knobs.compilation.scope():
        knobs.compilation.disable_line_info = True
        try:
            with _output_to(noise), compiling_for(capability):
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
            raise TacticError(FailureClass.COMPILE, _explain(e, noise.read())) from e
    arguments = ["-lineinfo", "-suppress-debug-info"]
    if not options.enable_fp_fusion:
        arguments.append("--fmad=false")
    return str(module), metadata, (*arguments, *(options.ptx_options or "").split())


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
