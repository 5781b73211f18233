"""Risk-coverage curves and areas, against closed forms, plain loops and all orders of ties."""

from itertools import permutations

import numpy as np
import pytest

from gexsent.evaluation import selective


def plain_area(loss, order):
    return np.mean([loss[order[:k]].mean() for k in range(1, len(loss) + 1)])


def test_curve_and_area_by_hand():
    loss, signal = np.array([1.0, 0.0, 0.0, 1.0]), np.array([0.3, 0.9, 0.8, 0.7])
    coverage, risk = selective.curve(loss, signal)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert selective.area(loss, signal) == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)


def test_the_oracle_has_its_closed_form():
    """N rows of which m are wrong, those last: the risk is 0 up to N - m, then (k - N + m) / k."""
    count, wrong = 1000, 300
    loss = np.random.default_rng(0).permutation(np.arange(count) < wrong).astype(float)
    expected = sum((k - count + wrong) / k for k in range(count - wrong + 1, count + 1)) / count
    assert selective.area(loss, -loss) == pytest.approx(expected)
    rate = wrong / count
    assert selective.area(loss, -loss) == pytest.approx(rate + (1 - rate) * np.log(1 - rate), abs=1e-3)


def test_ties_are_the_mean_over_their_orders():
    loss, signal = np.array([1.0, 0.0, 3.0, 0.5, 2.0]), np.array([2, 1, 1, 1, 0])
    orders = [[0, *middle, 4] for middle in permutations([1, 2, 3])]
    assert selective.area(loss, signal) == pytest.approx(np.mean([plain_area(loss, order) for order in orders]))
    _, risk = selective.curve(loss, signal)
    expected = [[loss[order[:k]].mean() for k in range(1, 6)] for order in orders]
    assert risk == pytest.approx(np.mean(expected, 0))


def test_a_constant_signal_is_random_order():
    loss = np.random.default_rng(1).random(50)
    assert selective.area(loss, np.zeros(50)) == pytest.approx(loss.mean())
    assert selective.curve(loss, np.zeros(50))[1] == pytest.approx(np.full(50, loss.mean()))


@pytest.mark.parametrize("values", [12, 10**6])  # with ties, and without
def test_counts_are_rows_repeated(values):
    rng = np.random.default_rng(2)
    loss, signal = rng.random(30), rng.integers(0, values, 30).astype(float)
    counts = rng.multinomial(30, np.full(30, 1 / 30), size=5).T
    counts[:, 0] = 1
    areas = selective.area(loss, signal, counts)
    assert areas[0] == pytest.approx(selective.area(loss, signal))
    for drawn, area in zip(counts.T, areas, strict=True):
        rows = np.repeat(np.arange(30), drawn)
        assert area == pytest.approx(selective.area(loss[rows], signal[rows]))


def test_gain_is_the_share_of_the_way_from_random_to_the_oracle():
    gains = selective.gain(np.array([0.2, 0.5, 0.35, 0.6]), np.full(4, 0.5), np.full(4, 0.2))
    assert gains == pytest.approx([1, 0, 0.5, -1 / 3])
    assert np.isnan(selective.gain(np.array(1.0), np.array(1.0), np.array(1.0)))


def test_direction_and_ranks():
    loss = np.array([0.1, 0.5, 0.2, 0.9])
    assert selective.direction(loss, -loss) == 1
    assert selective.direction(loss, loss) == -1
    assert selective.ranks(np.array([10.0, -5.0, 10.0, 99.0])).tolist() == [0.5, 0.0, 0.5, 1.0]
    assert selective.ranks(np.array([7.0])).tolist() == [0.0]
