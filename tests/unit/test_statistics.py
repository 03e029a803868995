"""What the analysis infers with, by hand and against brute force."""

import itertools
import math

import numpy as np
import pytest
from losspatterns.analysis.statistics import EXACT, LEVEL, holm, interval, least_pairs, sign_flip_p


def test_an_interval_is_student_s() -> None:
    mean, low, high = interval(np.array([-0.10, -0.06]))
    half = 12.706204736432095 * math.sqrt(0.0008) / math.sqrt(2)  # t(0.975, 1)
    assert (mean, low, high) == (pytest.approx(-0.08), pytest.approx(-0.08 - half), pytest.approx(-0.08 + half))
    _, wider, _ = interval(np.array([-0.10, -0.06]), LEVEL / 2)
    assert wider == pytest.approx(-0.08 - half * 25.451699579357 / 12.706204736432095)  # t(0.9875, 1)
    assert interval(np.array([0.3]))[0] == 0.3 and np.isnan(interval(np.array([0.3]))[1:]).all()


@pytest.mark.parametrize("count", [2, 5, 9])
def test_a_sign_flip_test_tries_all_signs(count: int) -> None:
    values = np.random.default_rng(count).normal(0.4, 1, count)
    means = [abs(np.dot(signs, values)) for signs in itertools.product((1, -1), repeat=count)]
    expected = np.mean([mean >= abs(values.sum()) - 1e-12 for mean in means])
    assert sign_flip_p(values) == pytest.approx(expected) and sign_flip_p(-values) == pytest.approx(expected)


def test_a_sign_flip_test_of_many_pairs_is_exact_or_draws() -> None:
    """With one sign for all, 20 pairs have the smallest p there is; 40 pairs have one near 0, and never 0."""
    assert sign_flip_p(np.ones(EXACT - 4)) == 2 / 2 ** (EXACT - 4)
    assert 0 < sign_flip_p(np.linspace(1, 2, 40)) <= 2e-5
    values = np.random.default_rng(1).normal(0.35, 1, 30)
    assert sign_flip_p(values) == sign_flip_p(values)


def test_pairs_that_say_nothing() -> None:
    assert math.isnan(sign_flip_p(np.array([0.1])))
    assert sign_flip_p(np.zeros(6)) == 1.0
    assert sign_flip_p(np.array([0.1, -0.1])) == 1.0


def test_holm_by_hand() -> None:
    """Sorted 0.01, 0.02, 0.03, 0.2 times 4, 3, 2, 1; none smaller than the one before, none above 1."""
    assert holm([0.02, 0.2, 0.01, 0.03]) == pytest.approx([0.06, 0.2, 0.04, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_a_claim_that_cannot_be_tested_counts_among_the_tests() -> None:
    corrected = holm([0.01, math.nan, 0.04])
    assert corrected[0] == pytest.approx(0.03) and math.isnan(corrected[1]) and corrected[2] == pytest.approx(0.08)


@pytest.mark.parametrize(("tests", "pairs"), [(1, 6), (3, 7), (4, 8)])
def test_the_least_pairs_that_can_decide(tests: int, pairs: int) -> None:
    """With all differences of one sign, so many pairs have a corrected p below the level, and one fewer have not."""
    assert least_pairs(tests) == pairs
    smallest = [holm([sign_flip_p(np.ones(count)), *[1.0] * (tests - 1)])[0] for count in (pairs, pairs - 1)]
    assert smallest[0] < LEVEL <= smallest[1]
