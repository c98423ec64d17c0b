"""`tuner rehearse`: play TensorRT's engine builder over plugins, without TensorRT."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.cli.common import Several, common_options, print_json
from tuner.errors import ConfigError, UnavailableError
from tuner.outcome import caution

if TYPE_CHECKING:
    from tuner.gpu.catalog import Device
    from tuner.kernel.problem import Problem
    from tuner.qdp.rehearsal.builder import Rehearsal
    from tuner.qdp.rehearsal.chains import PlayedSteps
    from tuner.store.cache import Cache


@click.command()
@click.argument("configs", nargs=-1, type=click.Path(path_type=Path), metavar="[CONFIG|BUNDLE]...")
@click.option("--module", type=click.Path(path_type=Path), help="A Python file that registers plugins of its own.")
@click.option(
    "--call", "calls", multiple=True, metavar="CALL", help="With --module: e.g. 'my::add(fp32[1:8:64, 128], size=256)'."
)
@click.option("--tactics", type=click.IntRange(1), default=16, show_default=True, help="How many to play per problem.")
@click.option("--all", "everything", is_flag=True, help="Play every tactic.")
@click.option("--target", help="GPU to play for: h200, sm_90, …  [default: the config's; with --module h200, if asked]")
@click.option("--workers", type=int, default=0, help="Compile processes; 0 for one per core.")
@common_options
def rehearse(
    configs: tuple[Path, ...],
    module: Path | None,
    calls: tuple[str, ...],
    tactics: int,
    everything: bool,
    target: str | None,
    workers: int,
    as_json: bool,
) -> None:
    """Play the engine builder over the plugin of each CONFIG's kernel, on NVIDIA's own Python layer.

    Needs no GPU and no TensorRT. What TensorRT would refuse is refused here, with the name of the rule. In the
    place of a CONFIG, the folder of a bundle stands for its plugins. A module's calls come from --call, or from
    a list called REHEARSAL in it.
    """
    from tuner.qdp.preview import ALIASES
    from tuner.qdp.rehearsal.bindings import BindingsError, load

    if bool(configs) == (module is not None):
        raise click.UsageError("name either configs or --module FILE")
    if calls and module is None:
        raise click.UsageError("--call goes with --module; a config's problems are its calls")
    count = None if everything else tactics
    try:
        version = load().__version__
        several = Several(len(configs) or 1)
        played = []
        with ExitStack() as stack:
            stage = _Stage(stack, count, target, workers)
            for path in configs or (module,):
                assert path is not None
                with several.each(path):
                    for line in _module(path, calls, stage) if module is not None else _config(path, stage):
                        played.append(line)
                        if not as_json:
                            _show(line)
    except BindingsError as e:
        raise UnavailableError(str(e)) from e
    if as_json and played:
        print_json({"tensorrt": version, "rehearsals": played})
    elif any(line["played"] for line in played):
        if any(line["aliases"] for line in played):
            click.echo(f"Outputs in the place of inputs need the preview feature {ALIASES} in the builder's config.")
        click.echo(f"Played on the Python layer of TensorRT {version}; no engine was built.")
    several.end()
    if any(line["broken"] for line in played):
        sys.exit(1)
    if not all(line["played"] or "impl" in line for line in played):
        sys.exit(3)


@dataclass(frozen=True)
class _Stage:
    """What all rehearsals of a command share.

    Attributes:
        stack: what is to be closed at the end.
        count: how many tactics to play per problem; None: all.
        target: the GPU to play for, where the command names one.
        workers: compile processes; 0 for one per core.
        offers: each kernel that was registered, with its device and its offer, by id.
    """

    stack: ExitStack
    count: int | None
    target: str | None
    workers: int
    offers: dict[str, tuple[Any, Any, Any]] = field(default_factory=dict)


def _config(path: Path, stage: _Stage) -> Iterator[dict[str, Any]]:
    from tuner.compile.blobs import Store, default_folder
    from tuner.compile.compiler import Compiler
    from tuner.gpu.catalog import find_device
    from tuner.qdp import plugin
    from tuner.qdp.bundle.place import PLUGIN
    from tuner.qdp.offers import CompilingOffer, legal
    from tuner.qdp.rehearsal.chains import RehearsedChain
    from tuner.qdp.rehearsal.kernels import Sample, rehearse
    from tuner.store.cache import Cache, default_path
    from tuner.tuning.config import load_config, with_overrides

    if path.is_dir():
        if not (path / PLUGIN).is_file():
            raise ConfigError(f"{path} is a folder without a {PLUGIN}; name a config, a bundle, or --module FILE.py")
        yield from _module(path / PLUGIN, (), stage)
        return
    job = with_overrides(load_config(path, stage.target), workers=stage.workers or None)
    device = find_device(job.target).target
    cache = Cache.open(default_path())
    for problem in job.problems:
        kernel = problem.kernel
        if stage.count is None:
            legal(problem, {})  # too many are no fault of the plugin
        choose = legal if stage.count is None else Sample(stage.count)
        if kernel.id not in stage.offers:
            compiler = Compiler.of(device, job.compile, Store(default_folder()))
            stage.stack.callback(compiler.close)
            offer: Any = RehearsedChain(kernel, compiler) if kernel.parts else CompilingOffer(choose, compiler)
            if not kernel.parts:
                plugin.register(kernel, offer)
            stage.offers[kernel.id] = kernel, device, offer
        known, for_device, offer = stage.offers[kernel.id]
        if (known, for_device) != (kernel, device):
            raise ConfigError(f"{kernel.id!r} is another kernel or target in each config; rehearse them apart")
        if kernel.parts:
            line = _chain_line(problem, offer.rehearse(problem, choose(problem, {}), device))
        else:
            rehearsal, broken = rehearse(problem, offer, device)
            names = tuple(kernel.inputs), tuple(kernel.outputs)
            line = _line(str(problem), rehearsal, broken, problem.space.size, problem.space.counted, names)
        verified = _verified(cache, problem, job.target)
        yield line if verified is None else line | {"verified": verified}


def _verified(cache: Cache, problem: Problem, target: str) -> str | None:
    """What the cache says of the winner that a build would be served; None where it holds none."""
    from tuner.gpu.catalog import find_device
    from tuner.kernel.identity import kernel_hash
    from tuner.store.cache import LOOKUP_ORDER, lookup

    gpu = find_device(target)
    hit = lookup(cache, problem, kernel_hash(problem.kernel), LOOKUP_ORDER, gpu.name, gpu.capability)
    return None if hit.entry is None else hit.entry.verified


def _module(module: Path, calls: tuple[str, ...], stage: _Stage) -> Iterator[dict[str, Any]]:
    from tuner.gpu.catalog import DEFAULT, find_device
    from tuner.gpu.stand_in_driver import StandInDriver
    from tuner.qdp.rehearsal.modules import at_home

    driver = StandInDriver(find_device(stage.target or DEFAULT))
    with at_home(module, driver, stage.target is not None):
        for line in _plugins(module, calls, stage, driver.device):
            told = {"device": driver.device.name} if driver.asked and stage.target is None else {}
            yield line | told


def _plugins(module: Path, calls: tuple[str, ...], stage: _Stage, device: Device) -> Iterator[dict[str, Any]]:
    from tuner.qdp.rehearsal.builder import Rehearsal
    from tuner.qdp.rehearsal.modules import load_module, rehearse_call, rehearse_operator

    loaded = load_module(module, device)
    if loaded.broken is not None:
        yield _line(str(module), Rehearsal(0), (loaded.broken,), 0)
        return
    if not loaded.plugins:
        raise ConfigError(f"{module} registers no plugin with tensorrt.plugin.register")
    texts = calls or loaded.calls
    for_device, layers = None if stage.target is None else device, set()
    for text in texts:
        operator = text.partition("(")[0].strip()
        if operator in loaded.operators:
            for plugin, rehearsal, broken in rehearse_operator(
                text, loaded.operators[operator], stage.count, for_device
            ):
                layers.add(plugin)
                yield _line(f"{text}, layer {plugin}", rehearsal, broken, len(rehearsal.offered) or 1)
            continue
        rehearsal, broken = rehearse_call(text, stage.count, for_device)
        yield _line(text, rehearsal, broken, len(rehearsal.offered) or 1)
    for plugin, call in loaded.plugins.items():
        if plugin not in layers and not any(text.lstrip().startswith(f"{plugin}(") for text in texts):
            yield _line(plugin, Rehearsal(0), (), 0) | {"mend": f"to play it, name its tensors: --call '{call}'"}


def _line(
    what: str,
    rehearsal: Any,
    broken: Any,
    tactics: int,
    counted: bool = True,
    names: tuple[tuple[str, ...], tuple[str, ...]] | None = None,
) -> dict[str, Any]:
    """What is said of one rehearsal; unless they were counted there are more tactics than `tactics`.

    Tensors go by the names of inputs and outputs, and by their numbers where they have none.
    """
    return {
        "what": what,
        "tactics": tactics,
        "counted": counted,
        "played": [p.tactic for p in rehearsal.played],
        "aliases": _aliases(rehearsal, names or (range(rehearsal.inputs), range(len(rehearsal.outputs)))),
        "broken": [asdict(b) for b in broken],
    } | ({} if rehearsal.ahead or broken else {"impl": "compiled when it runs"})


def _chain_line(problem: Problem, played: PlayedSteps) -> dict[str, Any]:
    """What is said of an operator of several launches."""
    kernels = {part.kernel.id: part.kernel for part in problem.kernel.parts}
    names = {step: (tuple(kernels[step].inputs), tuple(kernels[step].outputs)) for step, _ in played.steps}
    return {
        "what": str(problem),
        "tactics": problem.space.size,
        "counted": problem.space.counted,
        "played": list(played.played),
        "steps": [step for step, _ in played.steps],
        "aliases": [
            {"step": step, **alias} for step, rehearsal in played.steps for alias in _aliases(rehearsal, names[step])
        ],
        "broken": [asdict(b) for b in played.broken],
    }


def _aliases(rehearsal: Rehearsal, names: tuple[Sequence[Any], Sequence[Any]]) -> list[dict[str, Any]]:
    from tuner.qdp.rehearsal.aliases import in_place

    return [
        {"output": names[1][a.output], "input": names[0][a.input], "depends": a.depends} for a in in_place(rehearsal)
    ]


def _show(line: dict[str, Any]) -> None:
    from tuner.qdp.rehearsal.aliases import explain

    if "mend" in line:
        click.echo(f"{line['what']}: registered, and not played; {line['mend']}")
        return
    broken: dict[tuple[str, str], list[str]] = {}  # many tactics tend to break a rule in the same way
    for b in line["broken"]:
        broken.setdefault((b["rule"], b["message"]), []).extend([] if b["tactic"] is None else [str(b["tactic"])])
    verdict = f"{len(broken) or 'no'} rule{'s' * (len(broken) > 1)} broken"
    total = f"{'' if line['counted'] else 'more than '}{line['tactics']}"
    click.echo(f"{line['what']}: {len(line['played'])} of {total} tactics played, {verdict}")
    if "impl" in line:
        click.echo("  register and autotune were played; it has an impl alone, which only an engine can run")
    if "device" in line:
        click.echo(f"  it asked for the GPU and was told of {line['device']}; name another with --target")
    if "verified" in line and (doubtful := caution(line["verified"])):
        click.echo(f"  the winner in the cache is {doubtful}")
    if "steps" in line:
        click.echo(f"  a network of {len(line['steps'])} layers: {', '.join(line['steps'])}")
    for alias in line["aliases"]:
        told = {name: value for name, value in alias.items() if name != "step"}
        click.echo(f"  {alias['step']}: {explain(**told)}" if "step" in alias else f"  {explain(**told)}")
    for (rule, message), tactics in broken.items():
        by = f" (tactic{'s' * (len(tactics) > 1)} {', '.join(tactics)})" if tactics else ""
        click.echo(f"  {rule}{by}: {message}")
