"""The scratch memory that code needs and no parameter of it takes: an output of the plugin that is added to it.

TensorRT asks for the size of an output before it knows a tactic, in terms of the inputs' dimensions. So the size is an
upper bound, told by the declaration: what the code says each block uses, times the largest grid that any values of
the parameters give, written as an expression.
"""

from __future__ import annotations

from functools import reduce
from itertools import islice, product
from typing import TYPE_CHECKING, Any

from tuner.errors import ConfigError
from tuner.kernel.arith import Expr, Int, Operator
from tuner.kernel.expressions import Formula, Node
from tuner.kernel.tensor import AddedScratch, Tensor
from tuner.search.call_by_name import call, names_of

if TYPE_CHECKING:
    from tuner.kernel.kernel import Kernel

_LAUNCHES = 4096
_DISTINCT = 32
"""How many grids the size may be the largest of, along each axis: TensorRT evaluates that expression."""


class Written(Expr):
    """A size by name, and what arithmetic makes of it, as a formula."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def apply(self, operator: Operator, left: Int, right: Int) -> Written:
        return Written((operator, _node(left), _node(right)))


def added_scratch(kernel: Kernel) -> dict[str, Tensor]:
    """The output by name that is to be added; none where the code needs none, or the kernel declares it.

    Raises:
        ConfigError: when its size cannot be told.
    """
    each = kernel.code.scratch_bytes
    if not each or kernel.scratch is not None:
        return {}
    taken = {*kernel.inputs, *kernel.outputs, *kernel.dims, *kernel.attributes, *kernel.dtypes, *kernel.space.names}
    name = next(n for n in ("scratch", *(f"scratch_{i}" for i in range(len(taken)))) if n not in taken)
    blocks = reduce(lambda a, b: ("*", a, b), (_largest(axis) for axis in zip(*_grids(kernel), strict=True)))
    return {name: AddedScratch("i8", str(Formula(("*", blocks, each))), scratch=True)}


def _grids(kernel: Kernel) -> list[tuple[Node, Node, Node]]:
    """The grid in terms of dimensions and attributes, for all values of what else the launch names."""
    asked = names_of(kernel.launch)
    varied: dict[str, tuple[Any, ...]] = {p.name: p.values for p in kernel.params if p.name in asked}
    varied |= {variable: tuple(types) for variable, types in kernel.dtypes.items() if variable in asked}
    sizes = {name: Written(name) for name in (*kernel.dims, *kernel.attributes) if name in asked}
    numbers = {n: v for n, v in kernel.attributes.items() if type(v) is not int}
    found: dict[tuple[Node, Node, Node], None] = {}
    try:
        for values in islice(product(*varied.values()), _LAUNCHES + 1):
            launch = call(kernel.launch, {**sizes, **numbers, **dict(zip(varied, values, strict=True))})
            x, y, z = (_node(n) for n in (*launch.grid, 1, 1)[:3])
            found[x, y, z] = None
    except Exception as e:
        raise ConfigError(f"{_UNTOLD} (the launch raised {type(e).__name__}: {e}){_MEND}") from e
    if len(list(islice(product(*varied.values()), _LAUNCHES + 1))) > _LAUNCHES:
        raise ConfigError(f"{_UNTOLD} from more than {_LAUNCHES} launches{_MEND}")
    return list(found)


def _largest(nodes: tuple[Node, ...]) -> Node:
    distinct = list(dict.fromkeys(nodes))
    if len(distinct) > _DISTINCT:
        raise ConfigError(f"{_UNTOLD} from {len(distinct)} grids{_MEND}")
    return reduce(lambda a, b: ("max", a, b), distinct)


def _node(value: Int) -> Node:
    return value.node if isinstance(value, Written) else value  # type: ignore[return-value]


_UNTOLD = "the code makes tensor descriptors, which lie in scratch memory, whose size cannot be told"
_MEND = (
    "; declare it: a last output \"scratch\": Tensor('i8', '…', scratch=True) of 128 bytes for each descriptor and "
    "block; the code needs no parameter for it"
)
