"""The C++ standard library for NVRTC, which has none: libcu++, under the names that code written for nvcc includes.

What libcu++ has of a header is found in namespace `std`; what it has not, as `<iostream>`, is for host code, and empty.
`<cub/cub.cuh>`, which NVRTC is not offered as a whole, stands for all of its blocks and warps.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

_C = (
    "assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "limits", "locale", "math", "setjmp", "signal",
    "stdarg", "stddef", "stdint", "stdio", "stdlib", "string", "time", "uchar", "wchar", "wctype",
)  # fmt: skip
_CPP = (
    "algorithm", "any", "array", "atomic", "barrier", "bit", "bitset", "charconv", "chrono", "compare", "complex",
    "concepts", "condition_variable", "deque", "exception", "execution", "filesystem", "format", "forward_list",
    "fstream", "functional", "future", "initializer_list", "iomanip", "ios", "iosfwd", "iostream", "istream",
    "iterator", "latch", "limits", "list", "locale", "map", "memory", "memory_resource", "mutex", "new", "numbers",
    "numeric", "optional", "ostream", "queue", "random", "ranges", "ratio", "regex", "scoped_allocator", "semaphore",
    "set", "shared_mutex", "source_location", "span", "sstream", "stack", "stdexcept", "streambuf", "string",
    "string_view", "system_error", "thread", "tuple", "type_traits", "typeindex", "typeinfo", "unordered_map",
    "unordered_set", "utility", "valarray", "variant", "vector", "version",
)  # fmt: skip
_CUB = "cub/cub.cuh"
_AS_STD = "namespace cuda { namespace std {} }\nnamespace std { using namespace cuda::std; }\n"


_OF_THE_TOOLKIT = {"cuda.h": ("stdlib.h", "stdint.h")}
"""What headers of the toolkit include of the standard library."""


def standard_headers(wanted: Collection[str], libraries: Path | None) -> Mapping[str, str]:
    """The text of headers of the C and C++ standard library, and of `<cub/cub.cuh>`, by name.

    Args:
        wanted: what is included; headers of other libraries stay away.
        libraries: the folder with libcu++ and CUB; None where they are not installed.
    """

    def header(name: str) -> str:
        twin = libraries is not None and (libraries / "cuda" / "std" / name).is_file()
        return f"#pragma once\n#include <cuda/std/{name}>\n{_AS_STD}" if twin else ""

    known = {name: name for name in _CPP}
    for name in _C:
        known |= {f"c{name}": f"c{name}", f"{name}.h": f"c{name}"}
    asked = {*wanted, *(name for of in wanted for name in _OF_THE_TOOLKIT.get(of, ()))}
    found = {name: header(known[name]) for name in sorted(asked & known.keys())}
    if libraries is not None and _CUB in wanted:
        parts = sorted(p for kind in ("block", "warp") for p in (libraries / "cub" / kind).glob("*.cuh"))
        found[_CUB] = "".join(f"#include <{p.relative_to(libraries)}>\n" for p in parts)
    return found
