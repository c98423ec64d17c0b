"""Write what was found as a declaration, a config and a test."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuner.adopt.found import INPUT, OUTPUT, WORKSPACE, Found, FoundLaunch, FoundTensor
from tuner.adopt.sizes import FIXED, POWER

_WIDTH = 116
_WHOLE = "{dim}_steps"
_FLOATS = {"fp16": "2**-9", "bf16": "2**-6", "fp32": "2**-17", "fp64": "2**-40"}
_SMALL = 3
"""How many steps of a dimension the test takes, at least."""


def declaration(
    found: Found,
    kernel_id: str,
    function: str,
    call: str,
    imports: str,
    reference: str,
    host: tuple[str, str],
    missing: Sequence[str],
) -> str:
    """The text of the Python file that declares the operator.

    Args:
        found: what was found out.
        kernel_id: the plugin id.
        function: the host function, as `package.module:name`.
        call: what it was called with.
        imports: lines that make the module importable; may be empty.
        reference: the definition of the function `reference`.
        host: the module of the host function and what of it is imported, where the reference runs it.
        missing: packages that the module imports and that are not installed.
    """
    chain = len(found.launches) > 1
    body = _chain(found, kernel_id) if chain else _kernel(found, kernel_id)
    used = set(re.findall(r"[A-Za-z_]\w*", body))
    names = sorted({n for n in _API if n in used}, key=lambda n: (n.islower(), n))
    head = [f'"""{kernel_id}, declared by `tuner adopt` from what {function} launches."""', ""]
    runs_host = "on_interpreter" in reference
    sources = "\n".join(_imports(found.launches, host if runs_host else None, missing))
    parts = ["\n".join(head)]
    if "sys.path" in imports:
        parts.append("import sys\nfrom pathlib import Path\n")
    parts.append(f"from tuner import {', '.join(names)}" if len(names) < 9 else _long_import(names))
    if missing or runs_host:
        wanted = [n for n, use in (("on_interpreter", runs_host), ("stand_ins", bool(missing))) if use]
        parts.append(f"from tuner.adopt import {', '.join(wanted)}")
    parts.append("")
    if imports:
        parts += [imports, ""]
    parts += [sources, ""]
    parts += [*_comments("TODO: ", found.todo), *_comments("", found.notes)]
    parts.append(f"# Seen: {_one_line(call)}\n")
    parts.append(f"\n{reference}\n\n")
    return "\n".join(parts) + body


def config(found: Found, kernel: str) -> str:
    """The text of the config: the sizes that were given."""
    sizes = ", ".join(f"{dim} = {size}" for dim, size in found.sizes.items())
    types = ", ".join(f'{name} = "{dtype}"' for name, dtype in found.chosen.items())
    lines = ["version = 1", f'kernel = "{kernel}"', 'target = "h200"', "", "[problem]", f"dims = {{ {sizes} }}"]
    lines += [f"dtypes = {{ {types} }}"] if types else []
    return "\n".join([*lines, "", "[search]", "trials = 32", ""])


def test(found: Found, name: str, kernel: str) -> str:
    """The text of the test: some tactics, at small sizes."""
    small = {dim: _small(size, found.steps.get(dim, 1)) for dim, size in found.sizes.items()}
    types = f", {found.chosen!r}".replace("'", '"') if found.chosen else ""
    dims = f"{small!r}".replace("'", '"')
    return textwrap.dedent(
        f'''\
        """Tactics of {name} compile and are correct; needs no GPU."""

        from pathlib import Path

        from tuner import Problem, load_kernel, tune

        KERNEL = load_kernel("{kernel}", Path(__file__).parent)


        def test_every_tactic_tried_is_correct(tmp_path: Path) -> None:
            problem = Problem.of(KERNEL, {dims}{types})

            result = tune(problem, backend="model", trials=2, out=tmp_path, cache=tmp_path / "tactics.json")

            assert not result.failures
            assert all(timing.verified == "verified" for timing in result.confirmed.values())
        '''
    )


def _small(size: int, step: int) -> int:
    if step in (POWER, FIXED):
        return size
    return min(size, step * _SMALL if step > 1 else 2 * _SMALL + 1)


_API = (
    *("Alias", "Chain", "Constraint", "DType", "Kernel", "Launch", "Step", "Tensor", "Tolerance"),
    *("ascending", "below", "cdiv", "choice", "constant", "lengths", "maximum", "minimum", "next_power_of_2"),
    *("permutation", "powers_of_two"),
)


def _long_import(names: Iterable[str]) -> str:
    return "from tuner import (\n" + "".join(f"    {n},\n" for n in names) + ")"


def _imports(launches: Iterable[FoundLaunch], host: tuple[str, str] | None, missing: Sequence[str]) -> Iterator[str]:
    places: dict[str, set[str]] = {}
    for module, name in [*((launch.module, launch.attribute) for launch in launches), *([host] if host else [])]:
        places.setdefault(module, set()).add(name)
    lines = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(places.items())]
    if missing:
        yield f"with stand_ins({', '.join(map(_quoted, missing))}):  # which are not installed"
    for line in lines:
        yield f"    {line}" if missing else line


def _comments(mark: str, lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield "\n".join(textwrap.wrap(_one_line(mark + line), _WIDTH, initial_indent="# ", subsequent_indent="#   "))


def _one_line(text: str) -> str:
    return " ".join(text.split())


# -- one launch --------------------------------------------------------------------------------------


def _kernel(found: Found, kernel_id: str) -> str:
    launch = found.launches[0]
    made = "Kernel.from_autotune" if launch.tuned else "Kernel"
    lines = [f"kernel = {made}("]
    lines.append(f"    {launch.attribute}," if launch.tuned else f"    source={launch.attribute},")
    lines.insert(2, f'    id="{kernel_id}",')
    if not launch.tuned:
        lines[1], lines[2] = lines[2], lines[1]
    lines += _tensors(found)
    lines += _shared_lines(found)
    lines += _constant_lines(launch, "    ")
    if not launch.tuned:
        lines += ["    params=[", *(f"        {text}," for text in launch.params.values()), "    ],"]
        lines.append(f"    default={_dict(launch.default)},")
    lines += _constraints(found)
    lines.append(f"    launch={_launch(found, launch, set(launch.default) | _tuned_names(found))},")
    lines += ["    reference=reference,", *_tolerances(found), *_tiles(found, launch), ")", ""]
    return "\n".join(lines)


def _tensors(found: Found) -> list[str]:
    lines = ["    inputs={", *(f'        "{t.name}": {_tensor(t)},' for t in found.of(INPUT)), "    },"]
    if found.of(WORKSPACE):
        lines += ["    workspace={", *(f'        "{t.name}": {_tensor(t)},' for t in found.of(WORKSPACE)), "    },"]
    return [*lines, "    outputs={", *(f'        "{t.name}": {_tensor(t)},' for t in found.of(OUTPUT)), "    },"]


def _tensor(tensor: FoundTensor) -> str:
    if tensor.alias:
        return f'Alias("{tensor.alias}")'
    more = f", values={tensor.values}" if tensor.values else ""
    if tensor.start is not None:
        more += f", start={tensor.start:g}"
    return f'Tensor("{tensor.dtype}", "{tensor.shape}"{more})'


def _shared_lines(found: Found) -> list[str]:
    lines = []
    if found.dtypes:
        types = ", ".join(f'"{n}": ({", ".join(map(_quoted, t))},)' for n, t in found.dtypes.items())
        lines.append(f"    dtypes={{{types}}},")
    if found.attributes:
        lines.append(f"    attributes={_dict(found.attributes)},")
    return lines


def _constant_lines(launch: FoundLaunch, indent: str) -> list[str]:
    lines = []
    if launch.absent:
        lines.append(f"{indent}absent=({', '.join(map(_quoted, launch.absent))},),")
    if launch.constants:
        values = ", ".join(f'"{n}": {text}' for n, text in launch.constants.items())
        dims = _named(launch.constants.values(), _CALLABLES)
        lines.append(f"{indent}constants=lambda{_space(dims)}: {{{values}}},")
    return lines


_CALLABLES = {"cdiv", "maximum", "minimum", "next_power_of_2", "min", "max", "None", "True", "False", "DType"}


def _named(texts: Iterable[str], known: set[str]) -> list[str]:
    """The names that texts ask for, in order."""
    found: dict[str, None] = {}
    for text in texts:
        found.update(dict.fromkeys(w for w in re.findall(r"[A-Za-z_]\w*", re.sub(r'"[^"]*"|\'[^\']*\'', "", text))))
    return [n for n in found if n not in known]


def _space(names: list[str]) -> str:
    return f" {', '.join(names)}" if names else ""


def _launch(found: Found, launch: FoundLaunch, tuned: set[str]) -> str:
    texts = {axis: _pythonic(t) for axis, t in enumerate(launch.grid)}
    arguments = {p: _pythonic(t) for p, t in launch.arguments.items()}
    names = _named([*texts.values(), *arguments.values()], _CALLABLES)
    names = [n for n in names if n in found.sizes or n in tuned or n in found.attributes or n in launch.params]
    grid = ", ".join(texts.values()) + ("," if len(texts) == 1 else "")
    args = "".join(f'"{p}": {t}, ' for p, t in arguments.items()).removesuffix(", ")
    more = f", args={{{args}}}" if args else ""
    line = f"lambda{_space(names)}: Launch(grid=({grid}){more})"
    if len(line) + 12 <= _WIDTH or not args:
        return line
    rows = "".join(f'            "{p}": {t},\n' for p, t in arguments.items())
    return f"lambda{_space(names)}: Launch(\n        grid=({grid}),\n        args={{\n{rows}        }},\n    )"


def _pythonic(text: str) -> str:
    return text


def _tuned_names(found: Found) -> set[str]:
    return {*found.shared, *(n for launch in found.launches for n in launch.params)}


def _constraints(found: Found) -> list[str]:
    lines = []
    for dim, step in found.steps.items():
        if step > 1:
            why = f"the function takes multiples of {step} alone"
            lines.append(f'        Constraint("whole_{dim}", lambda {dim}: {dim} % {step} == 0, "{why}"),')
        elif step == POWER:
            lines.append(
                f'        Constraint("power_{dim}", lambda {dim}: {dim} & ({dim} - 1) == 0, '
                '"the function takes powers of two alone"),'
            )
    return ["    constraints=[", *lines, "    ],"] if lines else []


def _tolerances(found: Found) -> list[str]:
    types = {t for o in found.of(OUTPUT) for t in found.dtypes.get(_dtype_of(found, o), (_dtype_of(found, o),))}
    floats = [t for t in _FLOATS if t in types]
    if not floats:
        return []
    pairs = (f'        "{t}": Tolerance(rtol={_FLOATS[t]}, atol={_FLOATS[t]}),' for t in floats)
    return [
        "    # TODO: how exact it has to be: a few units in the last place here",
        "    tolerances={",
        *pairs,
        "    },",
    ]


def _dtype_of(found: Found, tensor: FoundTensor) -> str:
    return found.tensors[tensor.alias].dtype if tensor.alias else tensor.dtype


def _tiles(found: Found, launch: FoundLaunch) -> list[str]:
    """The parameter that each dimension is stepped over with, where the grid says."""
    pairs: dict[str, str] = {}
    for axis in launch.grid:
        for dim, by in re.findall(r"cdiv\((\w+), (\w+)\)", axis):
            if dim in found.sizes and by in launch.params:
                pairs.setdefault(dim, by)
    return [f"    tiles={_dict(pairs)},"] if pairs else []


# -- several launches --------------------------------------------------------------------------------


def _chain(found: Found, kernel_id: str) -> str:
    own = {n: (launch, text) for launch in found.launches for n, text in launch.params.items()}
    shared = [n for n in found.shared if n in own]
    lines = ["kernel = Chain(", f'    id="{kernel_id}",', *_tensors(found), *_shared_lines(found), "    steps=["]
    for launch in found.launches:
        lines += _step(found, launch, shared)
    lines.append("    ],")
    if shared:
        lines += ["    params=[", *(f"        {own[n][1]}," for n in shared), "    ],"]
    default = {n: own[n][0].default[n] for n in shared}
    for launch in found.launches:
        default |= {f"{launch.name}_{n}": v for n, v in launch.default.items() if n not in shared}
    lines += [f"    default={_dict(default)},", *_constraints(found), "    reference=reference,", *_tolerances(found)]
    return "\n".join([*lines, ")", ""])


def _step(found: Found, launch: FoundLaunch, shared: list[str]) -> list[str]:
    inputs = list(launch.inputs.values())
    outputs = [_written(found, t, launch) for t in launch.outputs.values()]
    own = [text for n, text in launch.params.items() if n not in shared]
    lines = [
        "        Step(",
        f'            "{launch.name}",',
        f"            {launch.attribute},",
        f"            inputs=({''.join(_quoted(t) + ', ' for t in inputs).strip()}),",
        f"            outputs=({''.join(t + ', ' for t in outputs).strip()}),",
        *_constant_lines(launch, "            "),
    ]
    if own:
        lines.append(f"            params=[{', '.join(own)}],")
    text = _launch(found, launch, _tuned_names(found)).replace("\n", "\n        ")
    return [*lines, f"            launch={text},", "        ),"]


def _written(found: Found, tensor: str, launch: FoundLaunch) -> str:
    changed = found.tensors[tensor]
    return f'Alias("{changed.alias}")' if changed.alias else _quoted(tensor)


def _quoted(text: str) -> str:
    return f'"{text}"'


def _dict(values: Mapping[str, Any]) -> str:
    pairs = (f'"{n}": ' + (_quoted(v) if isinstance(v, str) else repr(v)) for n, v in values.items())
    return "{" + ", ".join(pairs) + "}"


def places(out: Path) -> tuple[Path, Path, str]:
    """The config's and the test's place beside a declaration's, and the declaration's seen from there."""
    name = out.stem
    if out.parent.name == "kernels":
        project = out.parent.parent
        return project / "configs" / f"{name}.toml", project / "tests" / f"test_{name}.py", f"../kernels/{out.name}"
    return out.with_suffix(".toml"), out.with_name(f"test_{name}.py"), out.name
