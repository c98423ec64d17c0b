"""What heuristics and pruning hooks see in place of the arguments of a launch.

They were written for torch tensors. Asked for what TensorRT settles, such as the alignment of a buffer, the
stand-in answers; asked for anything else, it says so instead of guessing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from tuner.frontends.dtypes import dtype
from tuner.search.tactic import Config, Value

ALIGNMENT = 256
"""Bytes that every buffer of TensorRT is aligned to."""


@dataclass(frozen=True)
class DeviceArgument:
    """The GPU that a tensor lies on, as far as it is known: no other is visible to a launch."""

    type: str = "cuda"
    index: int = 0

    def __str__(self) -> str:
        return f"{self.type}:{self.index}"


class DTypeArgument(str):
    """The name of a data type, such as "fp16", that is equal to torch's type of that name, too."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str(other) in (str(self), f"torch.{dtype(str(self)).numpy.name}")

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return dtype(str(self)).itemsize

    @property
    def is_floating_point(self) -> bool:
        return dtype(str(self)).kind == "f"


@dataclass(frozen=True)
class TensorArgument:
    """What stands for a tensor: contiguous, on the GPU, and aligned as TensorRT's buffers are.

    Attributes:
        dtype: the data type's name, for example "fp16".
        shape: extents; a variadic dimension is one.
        position: of the tensor among a kernel's tensors.
    """

    dtype: str
    shape: tuple[int, ...]
    position: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", DTypeArgument(self.dtype))

    device = DeviceArgument()
    is_cuda = True
    requires_grad = False

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def itemsize(self) -> int:
        return dtype(self.dtype).itemsize

    @property
    def nbytes(self) -> int:
        return self.numel() * self.itemsize

    def element_size(self) -> int:
        return self.itemsize

    def numel(self) -> int:
        return prod(self.shape)

    def dim(self) -> int:
        return self.ndim

    def size(self, dim: int | None = None) -> int | tuple[int, ...]:
        return self.shape if dim is None else self.shape[dim]

    def stride(self, dim: int | None = None) -> int | tuple[int, ...]:
        strides = tuple(prod(self.shape[axis + 1 :]) for axis in range(self.ndim))
        return strides if dim is None else strides[dim]

    def is_contiguous(self) -> bool:
        return True

    def storage_offset(self) -> int:
        return 0

    def get_device(self) -> int:
        return self.device.index

    def is_floating_point(self) -> bool:
        return dtype(self.dtype).kind == "f"

    def data_ptr(self) -> int:
        """An address that is aligned as TensorRT's are, and otherwise means nothing: no two tensors share memory."""
        return (self.position + 1) << 40 | ALIGNMENT

    def __len__(self) -> int:
        return self.shape[0]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        known = sorted({"dtype", "shape", *(n for n in dir(type(self)) if not n.startswith("_"))} - {"position"})
        raise AttributeError(
            f"{name!r} of a tensor is not known before it runs in TensorRT; known are {', '.join(known)}"
        )


def launch_options(config: Config) -> dict[str, Value]:
    """The launch options of a tactic as Triton hands them to heuristics: those that are set."""
    names = ("num_warps", "num_stages", "num_ctas", "maxnreg")
    return {"num_ctas": 1, **{name: config[name] for name in names if config.get(name)}}
