"""Which rule an exception speaks of that comes out of a call to a plugin."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .bindings import RuleBroken

_HINTS = {
    "Float symbolic": "extra arguments are 32-bit integers: compile a float in as a constant",
    "Value should be int or SymIntExpr": "extra arguments are 32-bit integers: compile a float in as a constant",
    "Extra args must be": "wrap every extra argument in SymInt32(…), as other expressions and constants have no width",
}
"""What to do about an extra argument, by what NVIDIA's layer says of it."""


@contextmanager
def calling(stage: str, rule: str = "") -> Iterator[None]:
    """Name the rule, the stage and the place in what comes out of a call to the plugin."""
    try:
        yield
    except RuleBroken:
        raise
    except (Exception, SystemExit) as e:
        frames = traceback.extract_tb(e.__traceback__)
        own = [f for f in frames if not in_layer(f) and not _is_ours(f)]
        # A class of a package's own is no slip of the pen, and its message says what it is about.
        slip = own and type(e).__module__ == "builtins"
        place = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if slip else ""
        text = f"{stage} raised {type(e).__name__}{place}" + (f": {e}" if str(e) else "")
        if isinstance(e, KeyError) and frames[-1].line is not None and "get_aliased" in frames[-1].line:
            raise RuleBroken(
                "aliases",
                f"{stage} returns an output that is aliased to a copy of an input; TensorRT knows an input by its own "
                "descriptor: return x.aliased() of the argument x itself",
            ) from e
        for said, hint in _HINTS.items():
            if said in str(e):
                raise RuleBroken("extra arguments", f"{text}; {hint}") from e
        if stage == "autotune" and in_layer(frames[-1]):
            raise RuleBroken(
                "combinations",
                f"{text}; autotune returns a list of combinations, each with one type for every input and output, "
                'such as AutoTuneCombination("FP32|FP16, FP32|FP16", "LINEAR", [1, 2])',
            ) from e
        raise RuleBroken(rule or stage, text) from e


def in_layer(frame: traceback.FrameSummary) -> bool:
    """Whether a frame is one of NVIDIA's Python layer."""
    return Path(frame.filename).parts[-3:-1] == ("tensorrt_bindings", "plugin")


def _is_ours(frame: traceback.FrameSummary) -> bool:
    return Path(frame.filename).parent == Path(__file__).parent
