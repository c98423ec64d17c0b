"""Serve frozen tactics to TensorRT: the fixed half of a bundle's plugin.py, which names the plugins after it.

Needs `tensorrt` and the standard library. Importing the bundle checks its files against their hashes and
registers its plugins.
"""

import builtins
import ctypes
import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tensorrt as trt
import tensorrt.plugin as trtp

FOLDER = Path(__file__).parent


class BundleError(Exception):
    """The bundle is damaged, or does not hold what a network or a device asks for."""


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The manifest, and the PTX by name, after every file it lists was found to be as it was written."""
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
        own = hashlib.sha256((folder / "plugin.py").read_bytes()).hexdigest()
        # An export that was killed halfway left two bundles: this file belongs to the one that lists it.
        halves = [manifest, manifest.get("next", manifest)]
        manifest = next((half for half in halves if half["files"].get("plugin.py") == own), manifest)
        files = dict(manifest["files"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as e:
        why = f"{type(e).__name__}: {e}"
        raise BundleError(f"{folder / 'manifest.json'} cannot be read ({why}); export the bundle again") from e
    contents: dict[str, str] = {}
    for name, expected in files.items():
        path = _inside(folder, name)
        try:
            content = path.read_bytes()
        except OSError as e:
            raise BundleError(f"{path} cannot be read ({e.strerror}); export the bundle again") from e
        if hashlib.sha256(content).hexdigest() != expected:
            raise BundleError(f"{path} is not the file that was exported; export the bundle again")
        if path.suffix == ".ptx":
            contents[name] = content.decode()
    return manifest, contents


def _inside(folder: Path, name: str) -> Path:
    """The file that the manifest names; it lies in the bundle's folder."""
    plain = name.isprintable() and "\\" not in name and not any(part in ("", ".", "..") for part in name.split("/"))
    if not plain or not Path(os.path.realpath(folder / name)).is_relative_to(os.path.realpath(folder)):
        raise BundleError(f"{folder / 'manifest.json'}: {name!r} is not the name of a file in {folder}")
    return folder / name


def _require_free(plugins: Iterable[str]) -> None:
    """Refuse before the first of them is registered, so that it is all of them or none."""
    for plugin in plugins:
        namespace, name = plugin.split("::")
        if hasattr(getattr(trtp.op, namespace, None), name):
            raise BundleError(f"the plugin id {plugin!r} is already registered in this process; import one of the two")


MANIFEST, PTX = _read(FOLDER)
_require_free(MANIFEST["kernels"])


def describe(plugin: str, inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    """What `register` returns: the outputs' shapes and types."""
    kernel = MANIFEST["kernels"][plugin]
    attributes = _meant(kernel, attributes)
    types, shapes = _types(kernel, inputs, attributes), [list(desc.shape_expr) for desc in inputs]
    sizes, leading = _sizes(kernel, shapes, attributes), _leading(kernel, shapes)
    outputs = []
    for tensor in kernel["outputs"].values():
        if tensor["alias"]:  # of the descriptor itself: TensorRT knows no copy of it
            outputs.append(dict(zip(kernel["inputs"], inputs, strict=True))[tensor["alias"]].aliased())
            continue
        rest = [_evaluate(term, sizes) for term in tensor["extents"][_variadic(tensor) :]]
        shape = [*leading[tensor["extents"][0]], *rest] if _variadic(tensor) else rest
        outputs.append(trtp.from_shape_expr(tuple(shape), types[tensor["dtype"]]))
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def autotune(plugin: str, inputs: Sequence[Any], outputs: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    """What `autotune` returns: the frozen tactics for these tensors on this device."""
    problem = _find(plugin, inputs, attributes)
    types = ", ".join(_spelling(desc.dtype) for desc in (*inputs, *outputs))
    return [trtp.AutoTuneCombination(types, "LINEAR", [tactic["id"] for tactic in problem["tactics"]])]


def launch(plugin: str, inputs: Sequence[Any], attributes: Mapping[str, Any], tactic: int) -> Any:
    """What `aot_impl` returns: entry, PTX, launch parameters, extra arguments."""
    problem = _find(plugin, inputs, attributes)
    tactics = {t["id"]: t for t in problem["tactics"]}
    chosen = problem["default"] if tactic == 0 else tactics.get(tactic)  # 0: asked for when none is offered
    if chosen is None:
        raise BundleError(f"{plugin}: tactic {tactic} is not in this bundle for {problem['problem']}")
    shapes = [list(desc.shape_expr) for desc in inputs]
    sizes = _sizes(MANIFEST["kernels"][plugin], shapes, attributes)
    grid = [_symbolic(_evaluate(term, sizes)) for term in chosen["grid"]]
    params = trtp.KernelLaunchParams(*grid, *chosen["block"], chosen["shared_bytes"])
    extra = trtp.SymIntExprs(len(chosen["args"]))
    for i, term in enumerate(chosen["args"]):
        extra[i] = trtp.SymInt32(_symbolic(_evaluate(term, sizes)))
    if chosen["ptx"] not in PTX:
        raise BundleError(f"{FOLDER / 'manifest.json'} names {chosen['ptx']!r} and does not list it; export it again")
    return chosen["entry"], PTX[chosen["ptx"]], params, extra


def add(operator: str, network: Any, tensors: Sequence[Any], attributes: Mapping[str, Any], problem: str = "") -> Any:
    """Add the layers of an operator to a network; returns its output tensor, or a tuple of several."""
    chain = MANIFEST["chains"].get(operator)
    whole = chain or MANIFEST["kernels"][operator]
    if len(tensors) != len(whole["inputs"]):
        raise BundleError(f"{operator} takes {len(whole['inputs'])} tensors: {', '.join(whole['inputs'])}")
    known = whole["attributes"] | {n: w[0] for n, w in whole["tables"].items() if n not in whole["attributes"]}
    for name in attributes:
        if name not in known:
            raise BundleError(f"{operator} has no attribute {name!r}; it has {', '.join(known) or 'none'}")
    given = {n: _position(whole["tables"].get(n), n, attributes.get(n, v)) for n, v in known.items()}
    steps: list[dict[str, Any]] = [
        {"plugin": operator, "inputs": list(whole["inputs"]), "outputs": list(whole["outputs"])}
    ]
    values = [given]
    if chain is not None:
        steps, values = chain["steps"], _choose(operator, chain, tensors, given, problem)["steps"]
    found = dict(zip(whole["inputs"], tensors, strict=True))
    for step, chosen in zip(steps, values, strict=True):
        namespace, name = step["plugin"].split("::")
        make = getattr(getattr(trtp.op, namespace), name)
        layer = network.add_plugin(make(*(found[n] for n in step["inputs"]), **chosen), aot=True)
        if layer is None:
            raise BundleError(f"{step['plugin']}: TensorRT does not add the layer; its log says why")
        found |= {n: layer.get_output(i) for i, n in enumerate(step["outputs"])}
    results = tuple(found[n] for n, tensor in whole["outputs"].items() if not tensor["scratch"])
    return results[0] if len(results) == 1 else results


def configure(config: Any) -> None:
    """Have a builder take what the plugins need: outputs in the place of inputs are a preview feature."""
    if any(tensor["alias"] for kernel in MANIFEST["kernels"].values() for tensor in kernel["outputs"].values()):
        config.set_preview_feature(trt.PreviewFeature.ALIASED_PLUGIN_IO_10_03, True)


def _position(words: Sequence[str] | None, name: str, value: Any) -> Any:
    """What an attribute is passed as: a word as its position."""
    if words is None or not isinstance(value, str):
        return value
    if value not in words:
        raise BundleError(f"{name}={value!r} is none of {', '.join(words)}")
    return words.index(value)


def _choose(
    operator: str, chain: dict[str, Any], tensors: Sequence[Any], attributes: Mapping[str, Any], problem: str
) -> dict[str, Any]:
    """What the layers of an operator are given: TensorRT asks for shapes before it chooses tactics, so it is now."""
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if not problem and all(-1 not in shape for shape in shapes):
        fixed = [SimpleNamespace(dtype=t.dtype, shape=_Fixed(s)) for t, s in zip(tensors, shapes, strict=True)]
        return _fitting(operator, chain, fixed, attributes)
    types = {t["dtype"]: tensor.dtype.name for t, tensor in zip(chain["inputs"].values(), tensors, strict=True)}
    meant = {n: v for n, v in _meant(chain, attributes).items() if n in chain["attributes"]}
    fitting = [
        held
        for held in chain["problems"]
        if problem in ("", held["problem"])
        and types.items() <= held["types"].items()
        and {n: repr(v) for n, v in held["attributes"].items()} == {n: repr(v) for n, v in meant.items()}
        and all(_covers(ends, shape) for ends, shape in zip(held["shapes"].values(), shapes, strict=True))
    ]
    labels = dict.fromkeys(held["problem"] for held in fitting)
    if len(labels) != 1:
        known = "; ".join(labels or dict.fromkeys(held["problem"] for held in chain["problems"]))
        asked = ", ".join(map(str, shapes))
        what = "several problems fit" if labels else "no problem fits"
        raise BundleError(f"{operator}: {what} {asked}; say which as problem=…: {known}")
    return _on_device(operator, fitting)[0]


def _covers(ends: Sequence[Sequence[int]], shape: Sequence[int]) -> bool:
    """Whether a tensor of a network, of which some extents are unknown (-1), may have the extents of a problem."""
    return len(ends) == len(shape) and all(
        a < b if d == -1 else a <= d <= b for (a, b), d in zip(ends, shape, strict=True)
    )


class _Fixed(tuple[int, ...]):
    """A shape that is known."""

    is_dynamic = False


def _find(plugin: str, inputs: Sequence[Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The problem of the manifest that these tensors are an instance of, for this device."""
    return _fitting(plugin, MANIFEST["kernels"][plugin], inputs, attributes)


def _fitting(
    plugin: str, kernel: dict[str, Any], inputs: Sequence[Any], attributes: Mapping[str, Any]
) -> dict[str, Any]:
    """The problem of a kernel or a chain that these tensors are an instance of, for this device."""
    meant = _meant(kernel, attributes)
    types = {name: dtype.name for name, dtype in _types(kernel, inputs, meant).items()}
    attributes = {name: value for name, value in meant.items() if name in kernel["attributes"]}
    dims = _dims(kernel, inputs, attributes)
    held = kernel["problems"]
    fitting = [
        problem
        for problem in held
        if problem["types"] == types
        and {n: repr(v) for n, v in problem["attributes"].items()} == {n: repr(v) for n, v in attributes.items()}
        and all(_within(dims[dim], extent) for dim, extent in problem["dims"].items())
    ]
    if not fitting:
        asked = " ".join(f"{dim}={a}" if a == b else f"{dim}={a}:{b}" for dim, (a, b, _) in dims.items())
        variables = {name: dtype for name, dtype in types.items() if name != dtype}
        values = " ".join(f"{n}={v}" for n, v in (variables | dict(attributes)).items())
        known = "; ".join(dict.fromkeys(problem["problem"] for problem in held))
        raise BundleError(f"{plugin}: the network asks for {asked} {values}; this bundle holds {known}")
    # The narrowest range: a tactic for exactly these sizes rather than one for many.
    return min(_on_device(plugin, fitting), key=lambda p: math.prod(b - a + 1 for a, b, _ in p["dims"].values()))


def _within(asked: Sequence[int], held: Sequence[int]) -> bool:
    """Whether a tactic made for one range of a dimension is right for all of another."""
    return held[0] <= asked[0] and asked[1] <= held[1] and asked[2] % held[2] == 0


def _on_device(plugin: str, problems: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those for the device at hand: tuned on it, or on one of its compute capability, or else portable to it."""
    device = _device()
    if device is None:  # no driver, so nothing will be launched here
        return problems
    name, capability = device

    def distance(problem: dict[str, Any]) -> tuple[int, ...] | None:
        built = tuple(problem["capability"])
        if built == capability:
            return (0, problem["device"] != name)
        if problem["portable"] and built < capability:
            return (1, capability[0] - built[0], capability[1] - built[1])
        return None

    distances = [(distance(problem), problem) for problem in problems]
    usable = [d for d, _ in distances if d is not None]
    if not usable:
        built = ", ".join(sorted({f"{p['device']} ({'.'.join(map(str, p['capability']))})" for p in problems}))
        raise BundleError(
            f"{plugin}: this device is a {name} of compute capability {capability[0]}.{capability[1]}; the bundle is "
            f"for {built}: tune and export on such a device"
        )
    return [problem for d, problem in distances if d == min(usable)]


def _device() -> tuple[str, tuple[int, int]] | None:
    """Name and compute capability of the current CUDA device; None without a driver."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, major, minor, name = ctypes.c_int(), ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    if cuda.cuInit(0) or (cuda.cuCtxGetDevice(ctypes.byref(device)) and cuda.cuDeviceGet(ctypes.byref(device), 0)):
        return None
    cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)
    cuda.cuDeviceGetName(name, len(name), device)
    return name.value.decode(), (major.value, minor.value)


# -- tensors ---------------------------------------------------------------------------------------


def _meant(kernel: dict[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes with the words that their positions stand for."""
    meant = dict(attributes)
    for name, words in kernel["tables"].items():
        if not 0 <= meant[name] < len(words):
            known = ", ".join(f"{i} for {word}" for i, word in enumerate(words))
            raise BundleError(f"{name}={meant[name]} is none of {known}")
        meant[name] = words[meant[name]]
    return meant


def _types(kernel: dict[str, Any], inputs: Sequence[Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The data type behind each name in the kernel's tensors."""
    names = [t["dtype"] for t in kernel["outputs"].values()]
    types = {name: getattr(trt.DataType, str(attributes.get(name, name)), None) for name in names}
    seen: dict[str, Any] = {}
    for (name, tensor), desc in zip(kernel["inputs"].items(), inputs, strict=True):
        if seen.setdefault(tensor["dtype"], desc.dtype) != desc.dtype:
            raise BundleError(f"input {name!r} is {desc.dtype.name}; an earlier one is {seen[tensor['dtype']].name}")
    return types | seen


def _spelling(dtype: Any) -> str:
    """A data type as a combination spells it."""
    return {"FLOAT": "FP32", "HALF": "FP16"}.get(dtype.name) or str(dtype.name)


def _split(kernel: dict[str, Any], shapes: Iterable[Sequence[Any]]) -> dict[str, tuple[list[Any], list[Any]]]:
    """Each input's extents: those of a first dimension that stands for any number of them, and the others."""
    parts: dict[str, tuple[list[Any], list[Any]]] = {}
    for (name, tensor), extents in zip(kernel["inputs"].items(), shapes, strict=True):
        count = len(extents) - len(tensor["extents"]) + _variadic(tensor)
        if count < 0 or (count and not _variadic(tensor)):
            raise BundleError(f"input {name!r} has rank {len(extents)}; its shape is {tensor['shape']!r}")
        parts[name] = list(extents[:count]), list(extents[count:])
    return parts


def _variadic(tensor: dict[str, Any]) -> bool:
    return str(tensor["shape"]).startswith("*")


def _leading(kernel: dict[str, Any], shapes: Iterable[Sequence[Any]]) -> dict[str, list[Any]]:
    """The extents of each dimension that stands for any number of them, which is called ``*name``."""
    leading: dict[str, list[Any]] = {}
    for name, (extents, _) in _split(kernel, shapes).items():
        if _variadic(kernel["inputs"][name]):
            leading.setdefault(kernel["inputs"][name]["extents"][0], extents)
    return leading


def _sizes(kernel: dict[str, Any], shapes: Sequence[Sequence[Any]], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Each dimension's number of elements, from numbers or TensorRT's expressions, and the attributes' values."""
    parts = _split(kernel, shapes)
    sizes = {**attributes, **{dim[1:]: _product(extents) for dim, extents in _leading(kernel, shapes).items()}}
    for dim, name, axis, term in kernel["solutions"]:
        sizes[dim] = _evaluate(term, {**sizes, "": parts[name][1][axis]})
    return sizes


def _dims(
    kernel: dict[str, Any], inputs: Sequence[Any], attributes: Mapping[str, Any]
) -> dict[str, tuple[int, int, int]]:
    """Each dimension's smallest and largest size, and what certainly divides it."""
    shapes = [desc.shape for desc in inputs]
    ends = [[list(s.min) if s.is_dynamic else list(s) for s in shapes]]
    ends += [[list(s.max) if s.is_dynamic else list(s) for s in shapes]]
    low, high = (_sizes(kernel, end, attributes) for end in ends)
    for end, sizes in zip(ends, (low, high), strict=True):
        leading = _leading(kernel, end)
        for (name, (first, extents)), tensor in zip(
            _split(kernel, end).items(), kernel["inputs"].values(), strict=True
        ):
            terms = tensor["extents"][_variadic(tensor) :]
            needed = [_evaluate(term, sizes) for term in terms]
            if extents != needed or (_variadic(tensor) and first != leading[tensor["extents"][0]]):
                shape = [*leading[tensor["extents"][0]], *needed] if _variadic(tensor) else needed
                raise BundleError(f"input {name!r}, {tensor['shape']!r}, is {[*first, *extents]}; it has to be {shape}")
    dims: dict[str, tuple[int, int, int]] = {}
    for dim, pairs in _leading(kernel, [list(zip(*both, strict=True)) for both in zip(*ends, strict=True)]).items():
        dims[dim[1:]] = low[dim[1:]], high[dim[1:]], math.prod(a for a, b in pairs if a == b)
    for dim, *_ in kernel["solutions"]:
        dims[dim] = low[dim], high[dim], low[dim] if low[dim] == high[dim] else 1
    return dims


def _product(extents: Sequence[Any]) -> Any:
    product, *others = extents or [1]
    for other in others:
        product = product * other
    return product


def _symbolic(value: Any) -> Any:
    return trtp.ShapeExpr(value) if isinstance(value, int) else value


def _evaluate(term: Any, sizes: Mapping[str, Any]) -> Any:
    """A term of a shape or a launch, ``["cdiv", "N", 256]``, on numbers and TensorRT's expressions."""
    if isinstance(term, int):
        return term
    if isinstance(term, str):
        return sizes[term]
    operator, left, right = term[0], _evaluate(term[1], sizes), _evaluate(term[2], sizes)
    symbolic = not (isinstance(left, int) and isinstance(right, int))
    if symbolic and isinstance(left, int):
        left = right * 0 + left  # bindings before 10.15 cannot start from a constant
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "//":
            return left // right
        case "cdiv":
            return trtp.cdiv(left, right) if symbolic else -(-left // right)
        case _:
            return getattr(trtp if symbolic else builtins, operator)(left, right)
