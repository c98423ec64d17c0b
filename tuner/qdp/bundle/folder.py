"""What the files of a bundle hold: PTX, plugin.py, manifest.json. Equal contents give equal bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tuner.errors import ConfigError
from tuner.kernel.kernel import Kernel
from tuner.kernel.problem import WHICH, Problem
from tuner.qdp.bundle.chains import bundled_chain, bundled_steps
from tuner.qdp.bundle.contents import Held, bundled_kernel, file_name
from tuner.qdp.bundle.manifest import BundledChain, BundledKernel, Manifest
from tuner.qdp.bundle.place import PLUGIN, put_bundle
from tuner.qdp.tables import call_values, served, tables
from tuner.search.tactic import Tactic
from tuner.store.keys import key_of
from tuner.version import __version__


def write_bundle(out: Path, contents: Sequence[Held]) -> list[Path]:
    """Write a bundle, in the place of an earlier one if there is one.

    Args:
        out: its folder.
        contents: at least one problem.

    Returns:
        The files written.

    Raises:
        ConfigError: when two different kernels have one id.
        StorageError: when the folder holds something else, or cannot be written.
    """
    files, manifest = _contents(sorted(contents, key=lambda h: key_of(h.entry)))
    return put_bundle(out, files, manifest)


def _contents(contents: Sequence[Held]) -> tuple[dict[str, bytes], Manifest]:
    """The files by name, and the manifest that lists them."""
    kernels: dict[str, Kernel] = {}
    files: dict[str, bytes] = {}
    for held in contents:
        kernel = held.problem.kernel
        if kernels.setdefault(kernel.id, kernel) is not kernel:
            raise ConfigError(f"two kernels have the id {kernel.id!r}; export them to bundles of their own")
        for step, artifact in held.code:
            files[file_name(step.problem, Tactic(step.config), artifact)] = artifact.ptx.encode()
    plugins: dict[str, BundledKernel] = {}
    chains: dict[str, BundledChain] = {}
    for name, kernel in kernels.items():
        of_kernel = [h for h in contents if h.problem.kernel is kernel]
        if kernel.parts:
            chains[name] = bundled_chain(kernel, of_kernel)
        for plugin, described in (
            bundled_steps(kernel, of_kernel) if kernel.parts else {name: bundled_kernel(kernel, of_kernel)}
        ).items():
            if plugin in plugins:
                raise ConfigError(f"two plugins have the id {plugin!r}; export them to bundles of their own")
            plugins[plugin] = described
    files[PLUGIN] = _plugin(kernels, plugins, [h.problem for h in contents]).encode()
    manifest = Manifest(
        made_by=f"qdp-tuner {__version__}",
        kernels=plugins,
        chains=chains,
        files={name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
    )
    return files, manifest


def _plugin(kernels: Mapping[str, Kernel], plugins: Mapping[str, BundledKernel], problems: Sequence[Problem]) -> str:
    """The module that registers the plugins: what serves them, a declaration of each, and what adds the operators."""
    _, _, serving = Path(__file__).with_name("serving.py").read_text().partition('"""\n')
    calls = dict.fromkeys(call_of(p) for p in problems)
    names = _function_names(list(kernels))
    return (
        f'"""TensorRT plugins {", ".join(kernels)}, with frozen tactics. Generated; needs `tensorrt` alone.\n\n'
        "Import this module before a network uses the plugins, or an engine is built from one that does.\n"
        f"{', '.join(names.values())} add an operator to a network, and `configure` tells the builder's config what\n"
        'they need. What is served, with times and where they come from, is in manifest.json.\n"""\n'
        + serving
        + "".join(_declaration(name, plugin) for name, plugin in plugins.items())
        + "".join(_adding(names[name], kernel) for name, kernel in kernels.items())
        + "\n\nOPERATORS = {\n"
        + "".join(f'    "{name}": {function},\n' for name, function in names.items())
        + "}\n\n# One call for each problem, for those who want to play the builder over this module.\nREHEARSAL = [\n"
        + "".join(f"    {json.dumps(call)},\n" for call in calls)
        + "]\n"
    )


def _function_names(ids: Sequence[str]) -> dict[str, str]:
    """What the function is called that adds each operator."""
    short = [name.split("::")[1] for name in ids]
    return {
        name: f"add_{s if short.count(s) == 1 else name.replace('::', '_')}" for name, s in zip(ids, short, strict=True)
    }


def _adding(name: str, kernel: Kernel) -> str:
    """The function that adds an operator to a network."""
    known = tables(kernel)
    defaults = {n: known[n][0] if n in kernel.chosen_dtypes else kernel.attributes[n] for n in served(kernel)}
    given = ", ".join(f"{n}={str(v)!r}" if isinstance(v, str) else f"{n}={v!r}" for n, v in defaults.items())
    attributes = f" Attributes, and their defaults:\n    {given}." if given else ""
    problem = " `problem` says which sizes, as in the manifest, where the network does not." if kernel.parts else ""
    return f'''

def {name}(network: Any, *tensors: Any, problem: str = "", **attributes: Any) -> Any:
    """Add {kernel.id} to a network: tensors {", ".join(kernel.inputs)}.{attributes}

    Returns {", ".join(kernel.results)}.{problem}
    """
    return add("{kernel.id}", network, tensors, attributes, problem)
'''


def _declaration(plugin: str, kernel: BundledKernel) -> str:
    """The three functions of a plugin, which TensorRT reads the signatures of."""
    name = plugin.replace("::", "_")
    inputs = "".join(f"{n}: trtp.TensorDesc, " for n in kernel.inputs)
    types = {n: type(v) for n, v in kernel.attributes.items()} | dict.fromkeys(kernel.tables, int)
    given = inputs + "".join(f"{n}: {t.__name__}, " for n, t in types.items())
    outputs = f"tuple[{', '.join(['trtp.TensorDesc'] * len(kernel.outputs))}]"
    tensors = f"[{', '.join(kernel.inputs)}]"
    attributes = "{" + ", ".join(f'"{n}": {n}' for n in types) + "}"
    described = "trtp.TensorDesc" if len(kernel.outputs) == 1 else outputs
    return f'''

# -- {plugin} {"-" * (95 - len(plugin))}


@trtp.register("{plugin}")
def {name}({given.removesuffix(", ")}) -> {described}:
    return describe("{plugin}", {tensors}, {attributes})


@trtp.autotune("{plugin}")
def {name}_tactics(
    {given}outputs: {outputs}
) -> list[trtp.AutoTuneCombination]:
    return autotune("{plugin}", {tensors}, outputs, {attributes})


@trtp.aot_impl("{plugin}")
def {name}_launch(
    {given}outputs: {outputs}, tactic: int
) -> tuple[str, str, trtp.KernelLaunchParams, trtp.SymIntExprs]:
    return launch("{plugin}", {tensors}, {attributes}, tactic)
'''


def call_of(problem: Problem) -> str:
    """A call of the plugin, or of what adds the layers of an operator, that poses this problem."""
    tensors = []
    for tensor in problem.kernel.inputs.values():
        extents = zip(*(problem.shape(tensor, which) for which in WHICH), strict=True)
        texts = [str(e[0]) if len(set(e)) == 1 else ":".join(map(str, e)) for e in extents]
        tensors.append(f"{problem.dtype(tensor)}[{', '.join(texts) or '()'}]")
    attributes = [f"{name}={value!r}" for name, value in call_values(problem).items()]
    if problem.kernel.parts and problem.dynamic:
        attributes.append(f"problem={problem.label!r}")
    return f"{problem.kernel.id}({', '.join(tensors + attributes)})"
