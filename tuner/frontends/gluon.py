"""Gluon: `@gluon.jit` functions, the level below Triton at which the code itself places tiles, barriers and warps.

A function is declared as one of Triton's is, and compiled by Triton's stages from Gluon's own intermediate form. Two
things differ: code that chooses layouts and warps is not interpreted, so that only a GPU can say whether it is right;
and `num_warps` is that of the first partition of `gl.warp_specialize`, while a block has the warps of all of them.

All that is private to Gluon is named here: `GluonASTSource` of `triton.experimental.gluon._runtime`, with the same
constructor in Triton 3.6 to 3.9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.errors import UnavailableError
from tuner.frontends.triton import TritonSource


@dataclass(frozen=True, eq=False)
class GluonSource(TritonSource):
    """A function under `@gluon.jit`; its attributes are those of a Triton source."""

    language = "Gluon"
    interpreted = False

    def syntax(
        self, jit: Any, signature: Mapping[str, str], constants: Mapping[str, Any], attributes: Mapping[Any, Any]
    ) -> Any:
        try:
            from triton.experimental.gluon._runtime import GluonASTSource
        except ImportError as e:
            import triton

            raise UnavailableError(
                f"Triton {triton.__version__} keeps Gluon elsewhere than 3.6 to 3.9 do ({e}); install one of those"
            ) from e
        return GluonASTSource(jit, dict(signature), dict(constants), dict(attributes))
