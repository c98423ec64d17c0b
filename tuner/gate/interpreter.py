"""Run a Triton kernel on the CPU: Triton's interpreter on numpy arrays, each access checked.

The interpreter asks for torch tensors but uses little of them; `_Pointer` has that little. No load, store or
atomic reaches memory without its addresses being checked first (`tuner.gate.memory`), so a kernel that leaves its
tensors is told where instead of ending the process.

Operations are counted, and a launch that takes more than it may is ended: a count is the same on a
busy machine as on an idle one, which a limit of time is not.

Triton 3.6 reads bfloat16 and float8 as plain integers, truncates where the hardware rounds to nearest
even, and cannot count loops with numpy 2.4. `_patched` mends these three for the length of a run: the
element types come from ml_dtypes, which calculates and rounds as the hardware does.
"""

from __future__ import annotations

import inspect
import io
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import triton.language as tl

from tuner.errors import UnavailableError
from tuner.frontends.dtypes import DTYPES
from tuner.frontends.triton import TritonSource
from tuner.frontends.triton_arguments import long_name
from tuner.frontends.triton_entry import extent_names, scalar_types
from tuner.gate.inputs import Array
from tuner.gate.internals import interpreter
from tuner.gate.memory import AccessError, AddressSpace, Memory, Regions
from tuner.gate.rewriting import replacements
from tuner.kernel.problem import Problem
from tuner.search.tactic import Config

_EXTENDED = tuple(name for name, dtype in DTYPES.items() if dtype.extended)
"""The element types that come from ml_dtypes."""

_GOLDEN = 0.6180339887498949
"""Its multiples, without their whole parts, spread evenly and fall in step with no power of two."""
_SPREAD = 5

# What `_patched` replaces and still needs.
_np_dtype, _patch_tensor = interpreter._get_np_dtype, interpreter._patch_lang_tensor


class InterpretationError(Exception):
    """The interpreter cannot run the kernel, which says nothing about its results."""


class KernelRaisedError(Exception):
    """The kernel itself raises: an assertion of its own fails, or it divides by zero."""


class TooLongError(Exception):
    """A launch takes more operations than it may."""


def run(problem: Problem, config: Config, inputs: Mapping[str, Array], outputs: Mapping[str, Array], limit: int) -> int:
    """Launch a tactic on the CPU, block by block. What the kernel prints is dropped.

    Args:
        problem: fixed sizes; its kernel must have been loaded with TRITON_INTERPRET=1.
        config: the tactic's configuration.
        inputs: contiguous arrays in the declared shapes and data types; left as they are.
        outputs: likewise; overwritten with what the kernel leaves in them. Those that are inputs begin as these.
        limit: how many operations that may take, whatever the size of their blocks.

    Returns:
        How many operations that took.

    Raises:
        AccessError: the kernel accesses memory that is not its own.
        KernelRaisedError: the kernel raises an exception of its own.
        TooLongError: it takes more operations than the limit.
        MemoryError: as Python raises it.
        InterpretationError: anything else that the kernel or the interpreter raises.
        UnavailableError: the environment variable was not set when triton was imported.
    """
    memory, operations = Memory(inputs, outputs, problem.kernel.aliases), _Operations(limit)
    with _arguments(problem, config, memory, operations) as (jit, named, grid):
        jit[grid](**named)
    for name, array in outputs.items():
        np.copyto(array, memory.read(name, array))
    return operations.count


def follow(problem: Problem, config: Config, seed: int, limit: int, made: Collection[str] = ()) -> int:
    """Run single programs of a launch at full size, for the addresses alone: nothing is allocated.

    Those at the corners of the grid come first. An offset that does not fit 32 bits turns up negative in every second
    stretch of 2**31 elements, and within the tensor again in the others, so that the corners alone would not always
    show it: some between them follow, until they have taken as many operations together as one may.

    Args:
        problem: fixed sizes, as large as they are; its kernel must have been loaded with TRITON_INTERPRET=1.
        config: the tactic's configuration.
        seed: of what is loaded.
        limit: how many operations one program may take.
        made: the inputs that an earlier launch makes.

    Returns:
        How many programs were followed.

    Raises:
        Exception: as from `run`.
    """
    operations = _Operations(limit)
    taken = followed = 0
    with _arguments(problem, config, AddressSpace(problem, seed, made), operations) as (jit, named, grid):
        function = jit.rewrite()
        constants = interpreter.GridExecutor(function, jit.arg_names, grid).constexprs
        corners, between = _spread(grid)
        scope = interpreter._patch_lang(function)
        scope.set_attr(interpreter.InterpreterBuilder, "create_dot", lambda _self, _a, _b, sum_, *_: sum_)
        try:
            given = {n: v if n in constants else interpreter._implicit_cvt(v) for n, v in named.items()}
            interpreter.interpreter_builder.set_grid_dim(*grid)
            for program in (*corners, *between):
                if taken > limit and followed >= len(corners):
                    break
                operations.count = 0
                interpreter.interpreter_builder.set_grid_idx(*program)
                function(**given)
                taken, followed = taken + operations.count, followed + 1
        finally:
            scope.restore()
    return followed


def _spread(grid: tuple[int, int, int]) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """The programs at a grid's corners, and some between them along each axis."""
    x, y, z = grid
    corners = sorted((i, j, k) for i in {0, x - 1} for j in {0, y - 1} for k in {0, z - 1})
    between: dict[tuple[int, int, int], None] = {}
    for i, j, k in (corners[-1], corners[0]):
        for share in (n * _GOLDEN % 1 for n in range(1, _SPREAD + 1)):
            between |= dict.fromkeys([(int(share * x), j, k), (i, int(share * y), k), (i, j, int(share * z))])
    return corners, [program for program in between if program not in corners]


@contextmanager
def _arguments(
    problem: Problem, config: Config, memory: Memory | AddressSpace, operations: _Operations
) -> Iterator[tuple[Any, dict[str, Any], tuple[int, int, int]]]:
    """What to launch, with which arguments by name, on which grid, inside of an interpreter that is put right."""
    kernel = problem.kernel
    code = problem.source(config)
    if not isinstance(code, TritonSource) or not isinstance(code.jit, interpreter.InterpretedFunction):
        raise UnavailableError(f"kernel {kernel.id!r} is compiled, not interpreted: set TRITON_INTERPRET=1 first")
    launch = problem.launch(config)
    inputs, outputs = kernel.resolve(config)[0].passed
    tensors = {**kernel.inputs, **kernel.outputs}
    pointers = {name: _Pointer(problem.dtype(t), memory.regions[name].start) for name, t in tensors.items()}
    first, last = ([pointers[name] for name in group.values()] for group in (inputs, outputs))
    arguments: tuple[Any, ...] = (*first, *launch.args, *last)
    with _patched(memory, operations), _silent():
        try:
            named = dict(zip(code.arguments, arguments, strict=True))
            constants = {name: code.spell(value) for name, value in problem.constants(config).items()}
            named |= constants
            for name, block in code.blocks.items():
                extents = [named.pop(extent) for extent in extent_names(name, len(block))]
                sizes = [constants[b] if isinstance(b, str) else b for b in block]
                named[name] = _descriptor(named[name], extents, sizes)
            for name, kind in scalar_types(code.jit, constants, code.order.integers if code.order else ()).items():
                named[name] = make_scalar(named[name], tl.dtype(long_name(kind)))
            yield code.jit, named, problem.programs(config)
        except Exception as e:
            cause = _root(e)
            if isinstance(cause, (AccessError, MemoryError, TooLongError)):
                raise cause from None
            said = f"{type(cause).__name__}: {cause}"
            raise (KernelRaisedError if _kernels_own(cause) else InterpretationError)(said) from e


def _descriptor(pointer: Any, extents: list[int], block: list[int]) -> Any:
    """The descriptor of a row-major tensor, as the host would pass it."""
    strides = [prod(extents[axis + 1 :]) for axis in range(len(extents) - 1)]
    return interpreter.TritonSemantic(interpreter.InterpreterBuilder()).make_tensor_descriptor(
        interpreter._implicit_cvt(pointer),
        [interpreter._implicit_cvt(e) for e in extents],
        [*(interpreter._implicit_cvt(s) for s in strides), tl.constexpr(1)],
        [tl.constexpr(b) for b in block],
    )


def make_scalar(value: Any, dtype: Any) -> Any:
    """A number of a given type of `triton.language`, as the kernel would be passed it."""
    array = np.array([value], DTYPES[dtype.name].numpy if dtype.name in _EXTENDED else _np_dtype(dtype))
    return tl.tensor(interpreter.TensorHandle(array, dtype), dtype)


def patch_tensor_to_count(tensor: Any, scope: Any) -> None:
    """Have tensors bound loops: Triton's own patch of them, and what numpy 2.4 took away."""
    _patch_tensor(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))


class _Operations:
    """Counts what the interpreter does, and ends what does not end."""

    def __init__(self, limit: int) -> None:
        self.count, self._limit = 0, limit

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count > self._limit:
                raise TooLongError(f"takes more than {self._limit:,} operations")
            return function(*args, **kwargs)

        return call


@dataclass(frozen=True)
class _Pointer:
    """What the interpreter uses of a torch tensor. It lies on the host, so nothing is ever copied."""

    dtype: str
    address: int

    def data_ptr(self) -> int:
        return self.address

    def untyped_storage(self) -> _Pointer:
        return self

    def cpu(self) -> _Pointer:
        return self

    def new_empty(self, _: int, device: str) -> _Pointer:
        return self

    def set_(self, *_: Any) -> None: ...

    def copy_(self, _: Any) -> None: ...

    def storage_offset(self) -> int:
        return 0

    def size(self) -> tuple[int, ...]:
        return ()

    def stride(self) -> tuple[int, ...]:
        return ()


@contextmanager
def _patched(memory: Regions, operations: _Operations) -> Iterator[None]:
    """Give the interpreter checked memory, the element types it lacks, and loops it can count; count operations."""

    def np_dtype(dtype: Any) -> np.dtype[Any]:
        element = dtype.element_ty if isinstance(dtype, tl.block_type) else dtype
        return DTYPES[element.name].numpy if element.name in _EXTENDED else _np_dtype(dtype)

    def convert_float(data: Array, _: Any, dtype: Any, _rounding: Any) -> Array:
        return data.astype(np_dtype(dtype))

    def get_bf16(_: Any, value: float) -> interpreter.TensorHandle:
        return interpreter.TensorHandle(np.array([value], DTYPES["bf16"].numpy), tl.bfloat16)

    def patch_tensor(tensor: Any, scope: Any) -> None:
        patch_tensor_to_count(tensor, scope)
        scope.set_attr(tensor, "__bool__", operations.counted(tensor.__bool__))  # each turn of a while loop

    patches = interpreter._LangPatchScope()
    try:
        patches.set_attr(interpreter, "_interpreter", memory)
        patches.set_attr(interpreter, "_get_np_dtype", np_dtype)
        patches.set_attr(interpreter, "_convert_float", convert_float)
        patches.set_attr(interpreter, "_patch_lang_tensor", patch_tensor)
        patches.set_attr(interpreter.InterpreterBuilder, "get_bf16", get_bf16)
        for name, method in list(vars(interpreter.InterpreterBuilder).items()):
            if name.startswith("create_") and inspect.isfunction(method):
                patches.set_attr(interpreter.InterpreterBuilder, name, operations.counted(method))
        for owner, name, value in replacements(np_dtype):
            patches.set_attr(owner, name, value)
        yield
    finally:
        patches.restore()


@contextmanager
def _silent() -> Iterator[None]:
    """No output and no warnings: numbers overflow on purpose in masked elements."""
    with redirect_stdout(io.StringIO()), np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        yield


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


_PACKAGES = tuple(str(Path(str(module.__file__)).parents[depth]) for module, depth in ((np, 0), (tl, 1)))
_LOOKUPS = (AttributeError, ImportError, NameError, NotImplementedError, TypeError)
"""What Python raises in the kernel's own lines when the interpreter has not what they name."""


def _kernels_own(error: BaseException) -> bool:
    """Whether the kernel raised an error, and not the interpreter for what it cannot do.

    The kernel's are failed assertions, on the device (`tl.device_assert`) or of Python, arithmetic that has no result,
    and what its own lines raise.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or isinstance(error, _LOOKUPS):
        return False
    if isinstance(error, ArithmeticError | RecursionError) or frames[-1].name == "create_assert":
        return True
    return not frames[-1].filename.startswith(_PACKAGES)
