import math

import numpy as np
import pytest

from tuner.search.bayes import expected_improvement
from tuner.search.gp import JITTER, Features, Hyperparameters, Posterior, covariance
from tuner.search.params import choice, integers, powers_of_two
from tuner.search.space import Space

OWNERS = np.array([0, 1])
HYPER = Hyperparameters(np.log([0.5, 0.8]), math.log(1e-3))


def observations(count: int = 30) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).random((count, 2))
    y = np.sin(3 * x[:, 0]) + x[:, 1] ** 2
    return x, y - y.mean()


def test_posterior_agrees_with_the_textbook() -> None:
    x, y = observations()
    rows = np.random.default_rng(1).random((7, 2))
    scales = np.exp(HYPER.scales)
    noisy = covariance(x, x, scales) + (math.exp(HYPER.noise) + JITTER) * np.eye(len(y))
    across = covariance(rows, x, scales)
    variance = y @ np.linalg.solve(noisy, y) / len(y)
    posterior = Posterior(x, y, OWNERS, HYPER)
    mean, deviation = posterior.predict(rows)
    np.testing.assert_allclose(mean, across @ np.linalg.solve(noisy, y), rtol=1e-6, atol=1e-8)
    explained = np.sum(across * np.linalg.solve(noisy, across.T).T, axis=1)
    np.testing.assert_allclose(deviation, np.sqrt(variance * (1 - explained)), rtol=1e-4)
    evidence = -0.5 * len(y) * math.log(variance) - 0.5 * np.linalg.slogdet(noisy)[1]
    assert posterior.evidence == pytest.approx(evidence, rel=1e-6)


def test_it_learns_what_it_sees_and_doubts_what_it_does_not() -> None:
    x, y = observations()
    posterior = Posterior(x, y, OWNERS, HYPER)
    mean, near = posterior.predict(x)
    assert np.max(np.abs(mean - y)) < 0.05
    _, far = posterior.predict(np.array([[9.0, 9.0]]))
    assert far[0] > 10 * near.max()


def test_believing_a_running_point_removes_its_doubt_and_keeps_the_mean() -> None:
    x, y = observations(8)
    rows = np.array([[0.9, 0.1], [0.2, 0.7]])
    before, doubt = Posterior(x, y, OWNERS, HYPER).predict(rows)
    after, certain = Posterior(x, y, OWNERS, HYPER).believing(rows).predict(rows)
    np.testing.assert_allclose(after, before, atol=1e-2)
    assert np.all(certain < 0.5 * doubt)


def test_features_measure_ratios_and_leave_out_what_never_changes() -> None:
    features = Features(
        Space((powers_of_two("a", 1, 16), choice("b", "x", "y", "z"), integers("c", 0, 2), choice("d", 5)))
    )
    rows = features([(i, j, k, 0) for i, j, k in [(0, 0, 0), (1, 1, 1), (2, 2, 2), (4, 0, 0)]])
    np.testing.assert_allclose(rows[:, 0], [0, 0.25, 0.5, 1])
    apart = np.sum((rows[:3, None, 1:4] - rows[None, :3, 1:4]) ** 2, axis=2)
    np.testing.assert_allclose(apart, 1 - np.eye(3))
    np.testing.assert_allclose(rows[:, 4], [0, 0.5, 1, 0])
    assert list(features.owners) == [0, 1, 1, 1, 2]


def test_features_tell_how_often_two_divides_a_size() -> None:
    features = Features(Space((integers("block", 16, 64, 16),)))
    np.testing.assert_allclose(features([(0,), (1,), (2,), (3,)])[:, 1], [0, 0.5, 0, 1])
    assert list(features.owners) == [0, 1]


def test_expected_improvement_prefers_a_lower_mean_then_more_doubt() -> None:
    one, three, doubtful, hopeless = expected_improvement(
        np.array([-1.0, -3.0, -1.0, 50.0]), np.array([0.1, 0.1, 2.0, 0.1]), best=0.0
    )
    assert one == pytest.approx(1.0, abs=1e-6)
    assert three > doubtful > one > hopeless >= 0
