from pathlib import Path
from statistics import median

import pytest

from tuner.backends.base import Backend
from tuner.backends.replay import ReplayBackend
from tuner.errors import ConfigError
from tuner.outcome import Failure, FailureClass, Timing
from tuner.search import DEFAULT_SAMPLER
from tuner.store.tables.table import Table, read_table
from tuner.tuning.replay import Replay, replay

DATA = Path(__file__).parents[1] / "data" / "tables"


@pytest.fixture(scope="module")
def convolution() -> Table:
    return read_table(DATA / "convolution_A4000.json.gz")


def ratio(result: Replay, trials: int) -> float:
    return median(r for r in result.ratios[trials] if r is not None)


@pytest.mark.parametrize("batch", [1, 8])
def test_the_default_sampler_comes_much_closer_than_random_search(convolution: Table, batch: int) -> None:
    seeds = range(9)
    ours = replay(convolution, DEFAULT_SAMPLER, seeds=seeds, trials=(64,), batch=batch)
    random = replay(convolution, "random", seeds=seeds, trials=(64,))
    assert ratio(ours, 64) - 1 < 0.6 * (ratio(random, 64) - 1)


def test_ratios_are_to_the_optimum_never_rise_and_repeat(convolution: Table) -> None:
    result = replay(convolution, "random", seeds=range(3), trials=(8, 32, 128))
    assert result.optimum_us == convolution.optimum_us
    assert result == replay(convolution, "random", seeds=range(3), trials=(8, 32, 128))
    for few, some, many in zip(*result.ratios.values(), strict=True):
        assert few is not None and some is not None and many is not None
        assert few >= some >= many >= 1.0
    assert len(set(result.ratios[8])) == 3


def test_a_table_no_larger_than_the_budget_is_solved(tmp_path: Path) -> None:
    path = tmp_path / "small.csv"
    path.write_text("a,time_us\n" + "".join(f"{i},{5 + i if i % 2 else 'runtime'}\n" for i in range(20)))
    result = replay(read_table(path), DEFAULT_SAMPLER, seeds=range(4), trials=(1, 20, 64))
    assert result.ratios[20] == result.ratios[64] == (1.0, 1.0, 1.0, 1.0)
    assert None in replay(read_table(path), "random", seeds=range(12), trials=(1,)).ratios[1]


def test_unknown_sampler(convolution: Table) -> None:
    with pytest.raises(ConfigError, match="unknown sampler"):
        replay(convolution, "oracle", seeds=(0,))


def test_backend_answers_from_the_table(convolution: Table) -> None:
    backend: Backend = ReplayBackend(convolution)
    assert (backend.origin.kind, backend.origin.device) == ("measurement", "NVIDIA RTX A4000")
    legal = convolution.space.point(0)
    outside = {**legal, "block_size_x": 48, "use_padding": 1, "use_shmem": 0}
    outcomes = dict(backend.evaluate([legal, outside]))
    assert outcomes[0] == convolution.outcome(legal) == backend.confirm([legal])[0]
    assert isinstance(outcomes[1], Failure) and outcomes[1].kind == FailureClass.CONSTRAINT
    first = outcomes[0]
    assert isinstance(first, Timing)
    assert backend.tied(first, first)
    assert not backend.tied(first, Timing(first.time_us * 1.0001, "measurement", "mean"))
    assert backend.origin.environment["table"] == "convolution_A4000"
    backend.close()
