"""Whatever a function reads is part of its hash, in full; what cannot be read is refused by name."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import ConfigError
from tuner.frontends.python_source import source_hash, source_text
from tuner.kernel.loader import import_file

Load = Callable[[str], Any]

CASES = r"""
# numpy table, beyond what its repr shows: '= 5' -> '= 7' in T[0]
T = np.zeros(2048, np.float32)
T[1000] = 5

# numpy table of objects: '(1, 2)' -> '(1, 3)' in T[0]
T = np.array([abs, (1, 2)], object)

# numpy table's type: 'int32' -> 'float32' in T[0]
T = np.zeros(4, np.int32)

# numpy table's shape: '(2, 6)' -> '(3, 4)' in T[0]
T = np.zeros((2, 6))

# numpy table's order in memory: '6))' -> "6), order='F')" in T[0]
T = np.zeros((2, 6))

# masked numpy table: '[0, 1]' -> '[1, 0]' in T[0]
T = np.ma.array([1, 2], mask=[0, 1])

# numpy scalar: '1.5' -> '2.5' in T
T = np.float32(1.5)

# numpy type: 'float32' -> 'float16' in T
T = np.dtype('float32')

# numpy record: "'b'" -> "'c'" in T
T = np.dtype([('a', 'f4'), ('b', 'i4')])

# type of another package: 'bfloat16' -> 'float8_e5m2' in T
import ml_dtypes
T = np.dtype(ml_dtypes.bfloat16)

# vectorized function: '+ 1' -> '+ 2' in f(1)
@np.vectorize
def f(x):
    return x + 1

# lru_cache: '+ 1' -> '+ 2' in f(1)
@functools.lru_cache
def f(x):
    return x + 1

# cache of a partial: 'pow, 2' -> 'pow, 3' in f(1)
f = functools.cache(functools.partial(pow, 2))

# partial: 'mod=5' -> 'mod=7' in f(1)
f = functools.partial(pow, 2, mod=5)

# partial of the user's: '+ 1' -> '+ 2' in f()
def g(x):
    return x + 1
f = functools.partial(g, 2)

# chain of wraps: 'x + 1' -> 'x + 2' in f(1)
def d(g):
    @functools.wraps(g)
    def w(*a):
        return g(*a)
    return w
@d
@d
def f(x):
    return x + 1

# what a decorator does: ') + 1' -> ') + 2' in f(1)
def d(g):
    @functools.wraps(g)
    def w(*a):
        return g(*a) + 1
    return w
@d
def f(x):
    return x

# context manager: 'yield 1' -> 'yield 2' in f()
@contextlib.contextmanager
def f():
    yield 1

# single dispatch: 'return 2' -> 'return 3' in f(1)
@functools.singledispatch
def f(x):
    return 1
@f.register
def _(x: int):
    return 2

# static method: '+ 1' -> '+ 2' in C.f(1)
class C:
    @staticmethod
    def f(x):
        return x + 1

# class method: '1' -> '2' in C.f()
class C:
    @classmethod
    def f(cls):
        return 1

# property: '1' -> '2' in c.f
class C:
    @property
    def f(self):
        return 1
c = C()

# setter: 'self.g' -> 'self.h' in C
class C:
    @property
    def f(self):
        return 1
    @f.setter
    def f(self, v):
        self.g = v

# cached property: '1' -> '2' in c.f
class C:
    @functools.cached_property
    def f(self):
        return 1
c = C()

# partial method: 'g, 1' -> 'g, 2' in C().f()
class C:
    def g(self, x):
        return x
    f = functools.partialmethod(g, 1)

# inherited method: '1' -> '2' in C().f()
class B:
    def f(self):
        return 1
class C(B):
    pass

# order of bases: '(A, B)' -> '(B, A)' in C.x
class A:
    x = 1
class B:
    x = 2
class C(A, B):
    pass

# metaclass: 'return 1' -> 'return 2' in C()
class M(type):
    def __call__(cls):
        return 1
class C(metaclass=M):
    pass

# attribute read through self: 'K = 1' -> 'K = 2' in c.f()
class C:
    K = 1
    def f(self):
        return self.K
c = C()

# bound method: 'K = 1' -> 'K = 2' in f()
class C:
    K = 1
    def f(self):
        return self.K
f = C().f

# callable instance: 'C(1)' -> 'C(2)' in f()
class C:
    def __init__(self, k):
        self.k = k
    def __call__(self):
        return self.k
f = C(1)

# code of a callable instance: '1' -> '2' in f()
class C:
    def __call__(self):
        return 1
f = C()

# instance that pickles less than it holds: 'k = 1' -> 'k = 2' in c.k
class C:
    def __init__(self):
        self.k = 1
    def __getstate__(self):
        return {}
c = C()

# instance without __dict__: 'k = 1' -> 'k = 2' in c.k
class C:
    __slots__ = ('k',)
    def __init__(self):
        self.k = 1
c = C()

# instance of a subclass of int: 'C(1)' -> 'C(2)' in c
class C(int):
    pass
c = C(1)

# instance of a subclass of dict: 'a=1' -> 'a=2' in c['a']
class C(dict):
    pass
c = C(a=1)

# instance of a subclass of an array: 'ones' -> 'zeros' in c[0]
class C(np.ndarray):
    pass
c = np.ones(3).view(C)

# dataclass with slots: '1' -> '2' in c.k
@dataclass(frozen=True, slots=True)
class C:
    k: int = 1
c = C()

# default factory of a dataclass: '=dict)' -> '=Counter)' in C().k
@dataclass
class C:
    k: dict = field(default_factory=dict)

# method of a dataclass: 'self.k' -> '-self.k' in C().f()
@dataclass
class C:
    k: int = 1
    def f(self):
        return self.k

# comparison of a dataclass: 'eq=True' -> 'eq=False' in C() == C()
@dataclass(eq=True)
class C:
    k: int = 1

# dataclass made at run time: 'int, 1' -> 'int, 2' in C().k
C = make_dataclass('C', [('k', int, 1)])

# msgspec.Struct: '1' -> '2' in c.k
class C(msgspec.Struct):
    k: int = 1
c = C()

# attrs: '1' -> '2' in c.k
@attr.frozen
class C:
    k: int = 1
c = C()

# named tuple: '(1,)' -> '(2,)' in c.b
C = namedtuple('C', 'a b', defaults=(1,))
c = C(0)

# default of a named tuple: '(1,)' -> '(2,)' in C(0).b
C = namedtuple('C', 'a b', defaults=(1,))

# typed named tuple: 'return 1' -> 'return 2' in C().f()
class C(NamedTuple):
    k: int = 1
    def f(self):
        return 1

# enum: 'X = 1' -> 'X = 2' in E.X
class E(Enum):
    X = 1
    Y = 3

# method of an enum: '5' -> '6' in E.X.f()
class E(Enum):
    X = 1
    def f(self):
        return 5

# flags: 'E.X | E.Y' -> 'E.X' in e
class E(IntFlag):
    X = 1
    Y = 2
e = E.X | E.Y

# triton constexpr: '(1)' -> '(2)' in C
C = tl.constexpr(1)

# triton type: 'float16' -> 'float32' in C
C = tl.float16

# jit function: '+ 1' -> '+ 2' in f
@triton.jit
def f(x):
    return x + 1

# how a jit function is compiled: 'True' -> 'False' in f
def g(x):
    return x
f = triton.jit(g, noinline=True)

# constexpr function: '+ 1' -> '+ 2' in f
@triton.constexpr_function
def f(x):
    return x + 1

# heuristics: '64' -> '32' in f
@triton.heuristics({'B': lambda args: 64})
@triton.jit
def f(x, B: tl.constexpr):
    pass

# configs of an autotuner: '64' -> '32' in f
@triton.autotune([triton.Config({'B': 64})], key=[])
@triton.jit
def f(x, B: tl.constexpr):
    pass

# default argument: 'K = 1' -> 'K = 2' in f()
K = 1
def f(x=K):
    return x
K = 0

# keyword default: 'K = 1' -> 'K = 2' in f()
K = 1
def f(*, x=K):
    return x
K = 0

# default of a loop: '(1, 2)' -> '(3, 2)' in f()
f = [lambda i=i: i for i in (1, 2)][0]

# closure: 'g(1)' -> 'g(2)' in f()
def g(k):
    return lambda: k
f = g(1)

# attribute of a function: 'k = 1' -> 'k = 2' in f()
def f():
    return f.k
f.k = 1

# private attribute of a function: 'k = 1' -> 'k = 2' in f()
def f():
    return f._k
f._k = 1

# nested function: 'K = 1' -> 'K = 2' in f()
K = 1
def f():
    def g():
        return K
    return g()

# body of a nested class: 'K = 1' -> 'K = 2' in f()
K = 1
def f():
    class C:
        K = K
    return C.K

# comprehension: 'K = 1' -> 'K = 2' in f()
K = 1
def f():
    return [K for _ in (1,)]

# method of a container: '1: 2' -> '1: 3' in f(1)
f = {1: 2}.get

# ordered containers: 'a=1' -> 'a=2' in T
T = OrderedDict(a=1)

# queue: '3)' -> '4)' in T
T = deque([1], 3)

# counter: 'aab' -> 'abb' in T
T = Counter('aab')

# default dictionary: '1)' -> '2)' in T[0]
T = defaultdict(lambda: 1)

# set: '{1, 2}' -> '{1, 3}' in T
T = {1, 2}

# set of functions: '+ 1' -> '+ 2' in T
def f(x):
    return x + 1
def g(x):
    return x
def h(x):
    return -x
T = {f, g, h, (f, 1), int}

# fraction: '1, 3' -> '1, 4' in T
T = Fraction(1, 3)

# pattern: "'a'" -> "'b'" in T
T = re.compile('a')

# range: '(3)' -> '(4)' in T
T = range(3)

# truth and one: '= 1' -> '= True' in T
T = 1

# list that holds itself: '[1]' -> '[2]' in T
T = [1]
T.append(T)

# objects that hold each other: 'k = 1' -> 'k = 2' in a
class C:
    pass
a, b = C(), C()
a.o, b.o = b, a
a.k = 1

# file: "('1')" -> "('2')" in P.read_text()
P = Path(__file__).with_name('table.txt')
P.write_text('1')
"""
"""For each: an edit, the expression in which a function reads it, and what is declared."""


def cases() -> dict[str, tuple[str, str, str, str]]:
    """The declarations, what is replaced in them by what, and the expression, by the title."""
    found = {}
    for block in CASES.strip().split("\n\n"):
        title, declared = block.split("\n", 1)
        parts = re.fullmatch(r"# (.*): (['\"].*['\"]) -> (['\"].*['\"]) in (.*)", title)
        assert parts is not None, title
        name, old, new, expression = parts.groups()
        found[name] = (declared, ast.literal_eval(old), ast.literal_eval(new), expression)
    return found


READ = cases()

IMPORTS = """\
import attr, contextlib, functools, msgspec, re, threading, os
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field, make_dataclass
from enum import Enum, IntFlag
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple
import numpy as np
import triton, triton.language as tl
"""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write a file into a folder of its own and return its function `read`."""

    def make(text: str) -> Any:
        folder = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / "reads.py").write_text(text)
        return import_file(folder / "reads.py").read

    return make


def reading(declared: str, expression: str) -> str:
    return f"{IMPORTS}\n{declared}\n\ndef read():\n    return {expression}\n"


@pytest.mark.parametrize(("declared", "old", "new", "expression"), READ.values(), ids=READ)
def test_what_a_function_reads_is_part_of_its_hash(
    load: Load, declared: str, old: str, new: str, expression: str
) -> None:
    assert declared.count(old) >= 1
    first, same, other = (
        load(reading(text, expression)) for text in (declared, declared, declared.replace(old, new, 1))
    )
    before = source_hash(first)
    first()  # what a call leaves behind, in a cache or a cached property, is no change
    assert source_hash(same) == before
    assert source_hash(other) != before


@pytest.mark.parametrize("interpreting", ["0", "1"])
def test_hashes_are_the_same_in_another_process(load: Load, interpreting: str) -> None:
    functions = [load(reading(declared, expression)) for declared, _, _, expression in READ.values()]
    files = [f.__code__.co_filename for f in functions]
    code = (
        "import sys\nfrom pathlib import Path\nfrom tuner.frontends.python_source import source_hash\n"
        "from tuner.kernel.loader import import_file\n"
        "for file in sys.argv[1:]: print(source_hash(import_file(Path(file)).read))"
    )
    environment = {**os.environ, "TRITON_INTERPRET": interpreting}
    command = [sys.executable, "-c", code, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == [source_hash(f) for f in functions]


@pytest.mark.parametrize(
    ("declared", "expression", "said"),
    [
        ("LOCK = threading.Lock()", "LOCK", r"read \(.*reads\.py:\d+\) reads LOCK, a _thread\.lock that does not say"),
        ("class C:\n    pass\nc = C()\nc.k = [threading.Lock()]", "c.k", r"reads c\.k\[0\], a _thread\.lock that"),
        ("class C:\n    k = (i for i in ())", "C.k", r"reads C\.k, a builtins\.generator that does not say"),
        ("T = {'a': open(os.devnull)}", "T", r"reads T\['a'\], a _io\.TextIOWrapper that does not say"),
        ("f = np.frompyfunc(lambda x: x, 1, 1)", "f(1)", r"reads f, a numpy\.ufunc that does not say"),
        ("exec('def f(): return 1')", "f()", "the source of f .* cannot be read; put it into a file"),
        ("", "os.environ['K']", r"read .* reads os\.environ, which gives it more than is written in code"),
        ("from os import environ", "environ['K']", "reads environ, which gives it more"),
        ("from os import getenv", "getenv('K')", "reads getenv, which gives it more"),
        ("", "open('table.txt').read()", "reads open, which gives it more"),
        ("", "np.load('table.npy')", r"reads np\.load, which gives it more"),
        ("", "Path('table.txt').read_text()", "reads Path, which gives it more"),
        ("", "Path(__file__)", "reads Path, which gives it more"),
        ("", "globals()['K']", "reads globals, which gives it more"),
        ("", "eval('K')", "reads eval, which gives it more"),
        ("", "(lambda o: o.environ)(os)", "reads os, which gives it more"),
        ("T = []\nfor _ in range(10**5):\n    T = [T]", "T", "reads what is nested too deeply to be hashed"),
        ("HERE = Path(__file__).parent", "HERE / 'a'", r"reads HERE, a pathlib\.\w+ of a folder, whose files are not"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(load: Load, declared: str, expression: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        source_text(load(reading(declared, expression)))


def test_an_import_inside_a_function_is_followed(tmp_path: Path) -> None:
    hashes = []
    for number, value in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "values.py").write_text(f"K = {value}\n")
        (folder / "reads.py").write_text(
            "def one():\n    import values\n    return values.K\n\n\n"
            "def two():\n    from values import K as k\n    return k\n\n\n"
            "def three():\n    from . import values\n    return values.K\n\n\n"
            "def four():\n    import nowhere\n    return nowhere.K\n"
        )
        module = import_file(folder / "reads.py")
        hashes.append([source_hash(f) for f in (module.one, module.two, module.three)])
        assert "missing" in source_text(module.four)
    assert hashes[0] == hashes[1]
    assert all(a != b for a, b in zip(hashes[0], hashes[2], strict=True))


def test_an_import_inside_a_function_is_no_way_around(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"reads os\.environ, which gives it more"):
        source_text(load("def read():\n    import os\n    return os.environ['K']\n"))
    with pytest.raises(ConfigError, match=r"reads os\.getenv, which gives it more"):
        source_text(load("def read():\n    from os import getenv\n    return getenv('K')\n"))


def test_a_module_of_the_users_counts_as_far_as_it_is_read(load: Load, tmp_path: Path) -> None:
    def text(module: str, expression: str) -> str:
        folder = tmp_path / f"m{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / "values.py").write_text(module)
        (folder / "reads.py").write_text(f"import values\n\n\ndef read():\n    return {expression}\n")
        return source_text(import_file(folder / "reads.py").read)

    assert text("K = 1\nL = 1\n", "values.K") == text("K = 1\nL = 2\n", "values.K")
    assert text("K = 1\nL = 1\n", "getattr(values, 'L')") != text("K = 1\nL = 2\n", "getattr(values, 'L')")


NUMBA = "from numba import cuda, float32, float64, njit\n"
DEVICE = "@cuda.jit(device=True)\n"


NUMBA = "from numba import cuda, float32, float64, njit\n"
DEVICE = "@cuda.jit(device=True)\n"


@pytest.mark.parametrize(
    ("declared", "old", "new"),
    [
        (f"{DEVICE}def f(x):\n    return x + 1", "+ 1", "+ 2"),
        (f"{DEVICE}def f(x):\n    return x + 1", "device=True", "device=True, fastmath=True"),
        (
            "@cuda.jit(device=True)\ndef g(x):\n    return x\n@cuda.jit(device=True)\ndef f(x):\n    return g(x)",
            "x\n",
            "-x\n",
        ),
        ("def g(x):\n    return x + 1\nf = cuda.jit(g, device=True)", "+ 1", "+ 2"),
        ("@njit\ndef f(x):\n    return x + 1", "+ 1", "+ 2"),
        ("f = float32", "float32", "float64"),
        ("from numba.cuda import grid as f", "grid", "gridsize"),
    ],
)
def test_what_a_numba_kernel_reads_is_part_of_its_hash(load: Load, declared: str, old: str, new: str) -> None:
    pytest.importorskip("numba_cuda")

    def text(declared: str) -> str:
        return source_text(
            load(f"from numba import cuda, float32, float64, njit\n{declared}\n\ndef read():\n    return f\n")
        )

    assert text(declared) == text(declared) != text(declared.replace(old, new, 1))


CUTE = """\
from cutlass import cute
import cutlass


class Scale:
    FACTOR = 2

    @staticmethod
    @cute.jit
    def of(x):
        return x * Scale.FACTOR

    @cute.jit
    def __call__(self, x: cute.Pointer):
        return self.of(x)


@cute.jit
def read(x: cute.Pointer):
    Scale.of(x)
"""


@pytest.mark.parametrize(("old", "new"), [("FACTOR = 2", "FACTOR = 3"), ("x * Scale", "x + Scale")])
def test_what_a_cute_function_reads_is_part_of_its_hash(load: Load, old: str, new: str) -> None:
    pytest.importorskip("cutlass")
    first, same, other = (load(text) for text in (CUTE, CUTE, CUTE.replace(old, new)))
    assert source_hash(first) == source_hash(same) != source_hash(other)
    scales = [inspect.unwrap(f).__globals__["Scale"]() for f in (first, same, other)]
    assert source_hash(scales[0]) == source_hash(scales[1]) != source_hash(scales[2])
