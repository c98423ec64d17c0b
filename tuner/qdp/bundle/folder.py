"""What the files of a bundle hold: PTX, plugin.py, manifest.json. Equal contents give equal bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from tuner.errors import ConfigError
from tuner.kernel.kernel import Kernel
from tuner.kernel.problem import WHICH, Problem
from tuner.qdp.bundle.contents import Held, bundled_kernel, file_name
from tuner.qdp.bundle.manifest import Manifest
from tuner.qdp.bundle.place import PLUGIN, put_bundle
from tuner.qdp.tables import call_values, served, tables
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
        for tactic, artifact in held.code:
            files[file_name(held.problem, tactic, artifact)] = artifact.ptx.encode()
    files[PLUGIN] = _plugin(kernels, [h.problem for h in contents]).encode()
    manifest = Manifest(
        made_by=f"qdp-tuner {__version__}",
        kernels={
            name: bundled_kernel(kernel, [h for h in contents if h.problem.kernel is kernel])
            for name, kernel in kernels.items()
        },
        files={name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
    )
    return files, manifest


def _plugin(kernels: Mapping[str, Kernel], problems: Sequence[Problem]) -> str:
    """The module that registers the plugins: what serves them, and a declaration of each."""
    _, _, serving = Path(__file__).with_name("serving.py").read_text().partition('"""\n')
    calls = dict.fromkeys(call_of(p) for p in problems)
    return (
        f'"""TensorRT plugins {", ".join(kernels)}, with frozen tactics. Generated; needs `tensorrt` alone.\n\n'
        "Import this module before a network uses the plugins, or an engine is built from one that does.\n"
        'What it serves, with times and where they come from, is in manifest.json.\n"""\n'
        + serving
        + "".join(_declaration(k) for k in kernels.values())
        + "\n\n# One call for each problem, for those who want to play the builder over this module.\nREHEARSAL = [\n"
        + "".join(f"    {call!r},\n".replace("'", '"') for call in calls)
        + "]\n"
    )


def _declaration(kernel: Kernel) -> str:
    """The three functions of a plugin, which TensorRT reads the signatures of."""
    name = kernel.id.replace("::", "_")
    inputs = "".join(f"{n}: trtp.TensorDesc, " for n in kernel.inputs)
    words = tables(kernel)
    types = {n: int if n in words else type(kernel.attributes[n]) for n in served(kernel)}
    given = inputs + "".join(f"{n}: {t.__name__}, " for n, t in types.items())
    outputs = f"tuple[{', '.join(['trtp.TensorDesc'] * len(kernel.outputs))}]"
    tensors = f"[{', '.join(kernel.inputs)}]"
    attributes = "{" + ", ".join(f'"{n}": {n}' for n in types) + "}"
    described = "trtp.TensorDesc" if len(kernel.outputs) == 1 else outputs
    return f'''

# -- {kernel.id} {"-" * (95 - len(kernel.id))}


@trtp.register("{kernel.id}")
def {name}({given.removesuffix(", ")}) -> {described}:
    return describe("{kernel.id}", {tensors}, {attributes})


@trtp.autotune("{kernel.id}")
def {name}_tactics(
    {given}outputs: {outputs}
) -> list[trtp.AutoTuneCombination]:
    return autotune("{kernel.id}", {tensors}, outputs, {attributes})


@trtp.aot_impl("{kernel.id}")
def {name}_launch(
    {given}outputs: {outputs}, tactic: int
) -> tuple[str, str, trtp.KernelLaunchParams, trtp.SymIntExprs]:
    return launch("{kernel.id}", {tensors}, {attributes}, tactic)
'''


def call_of(problem: Problem) -> str:
    """A call of the plugin that poses this problem."""
    tensors = []
    for tensor in problem.kernel.inputs.values():
        extents = zip(*(problem.shape(tensor, which) for which in WHICH), strict=True)
        texts = [str(e[0]) if len(set(e)) == 1 else ":".join(map(str, e)) for e in extents]
        tensors.append(f"{problem.dtype(tensor)}[{', '.join(texts) or '()'}]")
    attributes = [f"{name}={value!r}" for name, value in call_values(problem).items()]
    return f"{problem.kernel.id}({', '.join(tensors + attributes)})"
