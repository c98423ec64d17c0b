"""A kernel as a plugin on NVIDIA's own Python layer: what it describes, offers and launches."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest
from plugin_kernels import EXTENTS, NORM, SCALE, write

from tuner.compile.artifact import Artifact
from tuner.compile.compiler import Compiler
from tuner.errors import ConfigError, UnavailableError
from tuner.gpu.target import Target
from tuner.kernel.problem import Dims, Problem, Range
from tuner.outcome import Failure
from tuner.qdp.offers import CompilingOffer, given, legal
from tuner.qdp.plugin import register
from tuner.qdp.rehearsal.builder import PlayedLaunch, PlayedTensor, Rehearsal, play
from tuner.qdp.rehearsal.kernels import rehearse
from tuner.search.tactic import Config, Tactic

TARGET = Target((9, 0), disassemble=False)


@pytest.fixture(scope="module")
def compiler() -> Iterator[Compiler]:
    made = Compiler(TARGET, store=None, workers=1, timeout_s=60, memory_bytes=4 << 30)
    yield made
    made.close()


@pytest.fixture
def offer(compiler: Compiler) -> CompilingOffer:
    """Every legal tactic."""
    return CompilingOffer(legal, compiler)


def fixed(dtype: str, *shape: int) -> PlayedTensor:
    return PlayedTensor(dtype, shape, shape, shape)


def ids(problem: Problem, **pinned: int) -> list[int]:
    """The ids of the legal tactics with these values, as TensorRT sees them."""
    return sorted(Tactic(c).id for c in problem.space if all(c[n] == v for n, v in pinned.items()))


def said(rehearsal: Rehearsal) -> str:
    """The only rule that was broken, with what was said."""
    (broken,) = {(b.rule, b.message) for b in rehearsal.broken}
    return ": ".join(broken)


def test_inputs_outputs_attributes_and_dynamic_dimensions(
    layer: ModuleType, tmp_path: Path, offer: CompilingOffer
) -> None:
    kernel = write(tmp_path, "several", NORM)
    register(kernel, offer)
    rows, columns = Range(1, 6, 50), Range(32, 64, 128)
    attributes = {"count": 5, "eps": 0.5, "flip": True}
    problem = Problem.of(kernel, {"M": (rows, 2), "N": columns}, {"T": "fp16"}, attributes)
    rehearsal, broken = rehearse(problem, offer, TARGET)
    assert not broken
    assert rehearsal.offered == tuple(ids(problem))
    assert rehearsal.outputs == (
        ("HALF", {"min": (1, 2, 32), "opt": (6, 2, 64), "max": (50, 2, 128)}),
        ("FLOAT", {"min": (1, 2), "opt": (6, 2), "max": (50, 2)}),
        ("INT32", {"min": (2, 2), "opt": (12, 2), "max": (100, 2)}),
    )
    played = {p.tactic: p for p in rehearsal.played}[Tactic({"BLOCK": 64, "ROWS": 4}).id]
    assert dict(played.launches) == {
        "min": PlayedLaunch((1, 1, 1), (64, 2, 1), 256, (2, 32)),
        "opt": PlayedLaunch((3, 1, 1), (64, 2, 1), 256, (12, 704)),
        "max": PlayedLaunch((25, 2, 1), (64, 2, 1), 256, (100, 12672)),
    }


def test_a_launch_that_differs_from_the_timed_one_is_refused(
    layer: ModuleType, tmp_path: Path, offer: CompilingOffer
) -> None:
    text = SCALE.replace("grid=(cdiv(N, BLOCK),)", "grid=(N if isinstance(N, int) else cdiv(N, BLOCK),)")
    kernel = write(tmp_path, "differs", text)
    register(kernel, offer)
    _, broken = rehearse(Problem.of(kernel, {"N": Range(1, 600, 2000)}), offer, TARGET)
    assert {b.rule for b in broken} == {"agreement"}
    assert len(broken) >= 8


@pytest.mark.parametrize(("ours", "theirs"), [("fp32", "FLOAT"), ("fp16", "HALF"), ("bf16", "BF16")])
def test_one_plugin_takes_several_data_types(
    layer: ModuleType, tmp_path: Path, offer: CompilingOffer, ours: str, theirs: str
) -> None:
    kernel = write(tmp_path, f"takes_{ours}", NORM)
    register(kernel, offer)
    for dtype in (theirs, "HALF"):
        rehearsal = play(kernel.id, [fixed(dtype, 8, 64), fixed("FLOAT", 64)], kernel.attributes)
        assert not rehearsal.broken
        assert [name for name, _ in rehearsal.outputs] == [dtype, "FLOAT", "INT32"]
        assert len(rehearsal.played) == 4


@pytest.mark.parametrize("shape", [(600,), (2, 300), (5, 4, 30)])
def test_a_variadic_dimension_takes_any_rank(
    layer: ModuleType, tmp_path: Path, offer: CompilingOffer, shape: tuple[int, ...]
) -> None:
    kernel = write(tmp_path, f"rank_{len(shape)}", SCALE)
    register(kernel, offer)
    rehearsal = play(kernel.id, [fixed("FLOAT", *shape)], kernel.attributes)
    assert not rehearsal.broken
    assert rehearsal.outputs[0][1]["opt"] == shape
    grids = {p.launches["opt"].grid[0] for p in rehearsal.played}
    assert grids == {5, 3, 2, 1}
    assert {p.launches["opt"].extra for p in rehearsal.played} == {(600,)}


def test_a_scalar_is_one_element_of_a_variadic_dimension(
    layer: ModuleType, tmp_path: Path, offer: CompilingOffer
) -> None:
    kernel = write(tmp_path, "scalar", SCALE.replace('"y": Tensor("T", "*N")', '"y": Tensor("T", "N")'))
    register(kernel, offer)
    rehearsal, broken = rehearse(Problem.of(kernel, {"N": ()}), offer, TARGET)
    assert not broken
    assert rehearsal.outputs[0][1]["opt"] == (1,)
    assert {p.launches["opt"].extra for p in rehearsal.played} == {(1,)}


class Nothing:
    """Offers no tactics, as a plugin without autotune."""

    def __init__(self, offer: CompilingOffer) -> None:
        self.offer = offer

    def tactics(self, problem: Problem, pinned: Config) -> Sequence[Tactic]:
        return []

    def artifact(self, problem: Problem, tactic: Tactic) -> Artifact:
        return self.offer.artifact(problem, tactic)


def test_tactic_0_is_the_default(layer: ModuleType, tmp_path: Path, offer: CompilingOffer) -> None:
    kernel = write(tmp_path, "zero", SCALE)
    register(kernel, Nothing(offer))
    (played,) = play(kernel.id, [fixed("FLOAT", 600)], kernel.attributes).played
    assert played.tactic == 0
    assert played.launches["opt"] == PlayedLaunch((3, 1, 1), (128, 1, 1), 0, (600,))
    assert "mov.u32 %r1, 256;" in played.code


def test_an_attribute_pins_a_parameter_and_the_others_are_tuned(
    layer: ModuleType, tmp_path: Path, offer: CompilingOffer
) -> None:
    kernel = write(tmp_path, "pinned", SCALE)
    plugin = register(kernel, offer, {"block_size": "BLOCK"})
    problem = Problem.of(kernel, {"N": 600})
    rehearsal = play(kernel.id, [fixed("FLOAT", 600)], {"block_size": 128})
    assert rehearsal.offered == tuple(ids(problem, BLOCK=128))
    assert {p.launches["opt"].grid for p in rehearsal.played} == {(5, 1, 1)}
    message = said(play(kernel.id, [fixed("FLOAT", 600)], {"block_size": 100}))
    assert "BLOCK" in message and "128, 256, 512, 1024" in message
    assert str(plugin.errors[-1]) in message


def test_the_default_has_the_pinned_value(layer: ModuleType, tmp_path: Path, offer: CompilingOffer) -> None:
    kernel = write(tmp_path, "pinned_zero", SCALE)
    register(kernel, Nothing(offer), {"amount": "amount", "block_size": "BLOCK"})
    (played,) = play(kernel.id, [fixed("FLOAT", 600)], {"amount": 2, "block_size": 512}).played
    assert "mov.u32 %r1, 512;" in played.code
    assert played.launches["opt"].grid == (2, 1, 1)


REFUSED = {
    "data type": ([fixed("INT32", 8, 64), fixed("FLOAT", 64)], "input 'x' is i32; it takes fp32, fp16, bf16"),
    "data type that we do not have": ([fixed("FP4", 8, 64), fixed("FLOAT", 64)], "FP4 are not supported"),
    "extent": ([fixed("FLOAT", 8, 64), fixed("FLOAT", 65)], "N is 64 in input 'x' and 65 in input 'weight'"),
    "rank": ([fixed("FLOAT", 8, 64), fixed("FLOAT", 1, 64)], "input 'weight' has rank 2; its shape is 'N'"),
    "dynamic against fixed": (
        [PlayedTensor("FLOAT", (8, 1), (8, 64), (8, 99)), fixed("FLOAT", 64)],
        "N is 1:64:99 in input 'x' and 64 in input 'weight'",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_tensors_that_the_kernel_does_not_take_are_refused(
    layer: ModuleType, tmp_path: Path, offer: CompilingOffer, what: str
) -> None:
    tensors, message = REFUSED[what]
    kernel = write(tmp_path, "refuses_" + what.replace(" ", "_"), NORM)
    plugin = register(kernel, offer)
    assert plugin.errors == []
    found = said(play(kernel.id, tensors, kernel.attributes))
    assert kernel.id in found and message in found
    assert all(isinstance(e, ConfigError) for e in plugin.errors)
    assert message in str(plugin.errors[0])


def test_an_id_is_taken_once(layer: ModuleType, tmp_path: Path, offer: CompilingOffer) -> None:
    kernel = write(tmp_path, "taken", SCALE)
    register(kernel, offer)
    with pytest.raises(ConfigError, match="plugin id 'test::taken' is already registered in this process"):
        register(kernel, offer)


def test_an_id_that_another_package_took_is_taken(layer: ModuleType, tmp_path: Path, offer: CompilingOffer) -> None:
    import tensorrt.plugin as trtp

    def describe(x: trtp.TensorDesc) -> trtp.TensorDesc:
        return x.like()

    describe.__annotations__ = {"x": trtp.TensorDesc, "return": trtp.TensorDesc}
    trtp.register("test::foreign", lazy_register=True)(describe)
    with pytest.raises(ConfigError, match="already registered"):
        register(write(tmp_path, "foreign", SCALE), offer)


SCHEMAS = {
    "unknown": ({"block": "BLOK"}, "would set 'BLOK', which is neither .*did you mean 'BLOCK'"),
    "twice": ({"a": "BLOCK", "b": "BLOCK"}, "two attributes set the same value"),
    "reserved": ({"tactic": "BLOCK"}, "does not allow an attribute called 'tactic'"),
    "an input": ({"x": "BLOCK"}, "does not allow an attribute called 'x'"),
    "no name": ({"block size": "BLOCK"}, "called 'block size'"),
    "a word of Python": ({"if": "BLOCK"}, "called 'if'"),
}


@pytest.mark.parametrize(("schema", "message"), SCHEMAS.values(), ids=SCHEMAS)
def test_attributes_that_set_nothing_are_refused(
    layer: ModuleType, tmp_path: Path, offer: CompilingOffer, schema: dict[str, str], message: str
) -> None:
    kernel = write(tmp_path, "schema", SCALE)
    with pytest.raises(ConfigError, match=message):
        register(kernel, offer, schema)
    assert not hasattr(layer.plugin.op, "test") or not hasattr(layer.plugin.op.test, "schema")


def test_a_tactic_that_does_not_compile_is_left_out(
    layer: ModuleType, tmp_path: Path, offer: CompilingOffer, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = write(tmp_path, "partial", SCALE, files="128 256")
    register(kernel, offer)
    rehearsal = play(kernel.id, [fixed("FLOAT", 600)], kernel.attributes)
    problem = Problem.of(kernel, {"N": 600})
    assert rehearsal.offered == tuple(sorted(ids(problem, BLOCK=128) + ids(problem, BLOCK=256)))
    messages = [r.getMessage() for r in caplog.records]
    assert len(messages) == len(set(messages)) == 4  # each once, however often TensorRT asks
    assert all("leaving out (BLOCK=" in m and ".ptx does not exist" in m for m in messages)


def test_a_default_that_does_not_compile_gives_way_to_what_does(
    layer: ModuleType, tmp_path: Path, compiler: Compiler, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = write(tmp_path, "larger", SCALE, files="512 1024")
    problem = Problem.of(kernel, {"N": 600})
    (served,) = CompilingOffer(given([Tactic(kernel.default)]), compiler).tactics(problem, {})
    assert served != kernel.default_tactic
    assert not isinstance(compiler.submit(problem, served.config).result(), Failure)
    assert f"serving ({served}), the first that compiles" in caplog.text


def test_nothing_is_compiled_twice(layer: ModuleType, tmp_path: Path) -> None:
    counting = Compiler(TARGET, store=None, workers=1, timeout_s=60, memory_bytes=4 << 30)
    try:
        kernel = write(tmp_path, "once", SCALE)
        register(kernel, CompilingOffer(legal, counting))
        for _ in range(2):
            assert len(play(kernel.id, [fixed("FLOAT", 600)], kernel.attributes).played) == 8
        assert (counting.counts.compiled, counting.counts.stored) == (8, 0)
    finally:
        counting.close()


def test_the_plugin_makes_the_layer(layer: ModuleType, tmp_path: Path, offer: CompilingOffer) -> None:
    kernel = write(tmp_path, "made", SCALE)
    plugin = register(kernel, offer)
    tensor = layer.ITensor()
    inputs, _, made = plugin(tensor, amount=2)()
    assert inputs == [tensor]
    assert made.get_num_outputs() == 1
    with pytest.raises(ValueError, match="Unexpected type"):
        plugin(tensor, amount=2.0)


@pytest.mark.parametrize("attributes", [{}, {"block_size": 256}, {"block_size": 256, "amount": 2}])
def test_a_call_as_nvtripy_makes_it(
    layer: ModuleType, tmp_path: Path, offer: CompilingOffer, attributes: dict[str, int]
) -> None:
    """The steps of `nvtripy.plugin` 0.1.7 (nvtripy/frontend/ops/plugin_qdp.py) up to its own trace."""
    import tensorrt.plugin as trtp

    kernel = write(tmp_path, f"tripy_{len(attributes)}", SCALE)
    register(kernel, offer, {n: {"block_size": "BLOCK"}.get(n, n) for n in attributes})
    namespace, name = kernel.id.split("::")
    definition = getattr(getattr(trtp.op, namespace), name)
    for attribute, value in attributes.items():
        assert definition.input_attrs[attribute] is type(value)
    desc = trtp.TensorDesc()
    desc.dtype = layer.float16
    desc.shape_expr = trtp.ShapeExprs(3, _is_dummy=True)
    described = definition.register_func(desc, attributes)  # all attributes as one dictionary
    assert (len(described.shape_expr), described.dtype) == (3, layer.float16)
    creator = layer.get_plugin_registry().get_creator(name, "1", namespace)
    assert [f.name for f in creator.field_names] == list(attributes)


def test_without_tensorrt_the_error_says_what_to_install(
    tmp_path: Path, offer: CompilingOffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(UnavailableError, match=r"pip install tensorrt-cu13, or .*tuner rehearse CONFIG"):
        register(write(tmp_path, "absent", SCALE), offer)


def test_a_tensorrt_that_is_too_old_is_refused(
    tmp_path: Path, offer: CompilingOffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = ModuleType("tensorrt")
    old.__version__ = "10.8.0.43"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", old)
    with pytest.raises(UnavailableError, match=r"TensorRT 10\.8\.0\.43 has no plugins compiled ahead of time; 10\.9"):
        register(write(tmp_path, "old", SCALE), offer)


def test_computed_extents(layer: ModuleType, tmp_path: Path, offer: CompilingOffer) -> None:
    kernel = write(tmp_path, "extents", EXTENTS)
    register(kernel, offer)
    dims: Dims = {"M": (2, Range(1, 3, 5)), "N": Range(100, 300, 900), "B": Range(1, 4, 9), "P": Range(8, 20, 60)}
    problem = Problem.of(kernel, dims, attributes={"pad": 5})
    rehearsal, broken = rehearse(problem, offer, TARGET)
    assert not broken
    assert rehearsal.outputs == (
        ("FLOAT", {"min": (2, 1, 1), "opt": (2, 3, 3), "max": (2, 5, 8)}),
        ("FLOAT", {"min": (110,), "opt": (310,), "max": (910,)}),
        ("FLOAT", {"min": (92, 3), "opt": (80, 6), "max": (40, 11)}),
        (
            "FLOAT",
            {"min": (10, 8, 9, 100, 8), "opt": (4, 20, 36, 900, 3), "max": (2, 60, 81, 4500, 1)},
        ),
    )
    (played,) = (p for p in rehearsal.played if p.tactic == Tactic({"BLOCK": 64}).id)
    assert played.launches["opt"] == PlayedLaunch((29, 4, 1), (64, 1, 1), 0, (80, 1800))


def test_extents_that_no_size_leads_to_are_refused(layer: ModuleType, tmp_path: Path, offer: CompilingOffer) -> None:
    kernel = write(tmp_path, "strict", EXTENTS)
    plugin = register(kernel, offer)
    for shapes, said in (
        (((2, 8), (1,), (5,)), "input 'offsets' needs 'B + 1', not 1: B: expected 0 < min"),
        (((2, 8), (4,), (6,)), "input 'packed' needs '2*P - pad', where 2*P - pad is 5, not 6"),
        (((2, 8), (4,), (501,)), "output 2 has shape (-152, 7)"),
        (((2, 8), (4, 1), (5,)), "input 'offsets' has rank 2"),
    ):
        plugin.errors.clear()
        tensors = [fixed(dtype, *shape) for dtype, shape in zip(("FLOAT", "INT32", "INT8"), shapes, strict=True)]
        broken = play(kernel.id, tensors, {"pad": 3}).broken
        messages = [str(e) for e in plugin.errors] or [b.message for b in broken]
        assert any(said in message for message in messages), messages
