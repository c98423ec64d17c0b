"""Outputs that are inputs, changed in place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tuner.errors import ConfigError, did_you_mean
from tuner.frontends.binding import spellings
from tuner.kernel.tensor import AddedScratch, Tensor


@dataclass(frozen=True, init=False)
class Alias(Tensor):
    """An output that is an input of the kernel, changed in place: ``outputs={"turned": Alias("x")}``.

    It has the data type and the shape of that input, and begins with its values. The code takes one pointer for
    both, in the parameter named as the output or else in that named as the input; where it has both parameters, they
    are equal.

    Attributes:
        input: the name of the input.
    """

    input: str = ""

    def __init__(self, input: str) -> None:  # noqa: A002
        super().__init__("", "")
        object.__setattr__(self, "input", input)

    def of(self, tensor: Tensor) -> Alias:
        """The same alias with the data type and the shape of its input."""
        found = Alias(self.input)
        object.__setattr__(found, "dtype", tensor.dtype)
        object.__setattr__(found, "shape", tensor.shape)
        return found


def resolve_aliases(inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The outputs, each alias with the data type and the shape of its input.

    Raises:
        ConfigError: for an alias of something else, or of an input that another output aliases.
    """
    found: dict[str, Tensor] = {}
    taken: dict[str, str] = {}
    for name, tensor in outputs.items():
        if not isinstance(tensor, Alias):
            found[name] = tensor
            continue
        of = tensor.input
        if of not in inputs:
            raise ConfigError(f"output {name!r} is an alias of {of!r}, which is no input{did_you_mean(of, inputs)}")
        if of in taken:
            raise ConfigError(
                f"outputs {taken[of]!r} and {name!r} are aliases of {of!r}; TensorRT takes one for each input"
            )
        taken[of] = name
        found[name] = tensor.of(inputs[of])
    return found


def code_tensors(
    inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], parameters: Collection[str] | None
) -> tuple[dict[str, str], dict[str, str]]:
    """The tensors that code has a parameter for: inputs, and outputs, by the names that it takes them under.

    Scratch memory needs none where those of the other tensors are told by their names.

    Args:
        inputs, outputs: all tensors of a kernel.
        parameters: the names of the code's parameters; None where it does not tell them.

    Returns:
        For each name that the code knows, the tensor's own, which differs where an output is taken in the parameter
        of the input that it aliases.
    """
    taken = {name: name for name, tensor in inputs.items() if not tensor.unused}
    written: dict[str, str] = {}
    told = (n for n, t in (*inputs.items(), *outputs.items()) if not t.scratch and not isinstance(t, Alias))
    by_name = parameters is not None and all(_spelt(n, parameters) for n in told)
    for name, tensor in outputs.items():
        if isinstance(tensor, AddedScratch) or (tensor.scratch and by_name and not _spelt(name, parameters)):
            continue
        spelt = name
        if isinstance(tensor, Alias) and parameters is not None:
            own, of = (_spelt(n, parameters) for n in (name, tensor.input))
            if own != of:
                taken.pop(tensor.input, None)
                spelt = name if own else tensor.input
        written[spelt] = name
    return taken, written


def _spelt(name: str, parameters: Collection[str] | None) -> bool:
    return parameters is not None and any(s in parameters for s in spellings(name))
