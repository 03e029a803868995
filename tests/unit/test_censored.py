"""Lines through values of which some are only bounded."""

import math

import numpy as np
import pytest
from losspatterns.analysis.censored import fit_line
from scipy.stats import linregress, t

X = np.repeat([1.0, 1.5, 2.0, 2.5], 3)
Y = 3 + 1.3 * X + 0.1 * np.random.default_rng(0).normal(size=12)


def test_with_all_values_known_it_is_ordinary_regression() -> None:
    line, ordinary = fit_line(X, Y, np.zeros(12)), linregress(X, Y)
    half = t.ppf(0.975, 10) * ordinary.stderr
    wanted = (ordinary.slope, ordinary.slope - half, ordinary.slope + half, ordinary.intercept)
    assert (line.slope, line.low, line.high, line.intercept) == pytest.approx(wanted, abs=1e-5)


def test_bounds_that_say_nothing_change_nothing_but_what_is_dropped_would() -> None:
    whole = fit_line(X, Y, np.zeros(12))
    more = fit_line([*X, 2.5, 1.0], [*Y, 0.0, 90.0], [*np.zeros(12), 1, -1])  # above 0, and below 90
    assert (more.slope, more.intercept) == pytest.approx((whole.slope, whole.intercept), abs=1e-4)


def test_values_beyond_a_bound_still_count() -> None:
    bound = 5.8
    beyond = bound < Y
    assert 2 < beyond.sum() < 8
    censored, dropped = fit_line(X, np.minimum(Y, bound), beyond), fit_line(X[~beyond], Y[~beyond], np.zeros((~beyond).sum()))
    cut = linregress(X, np.minimum(Y, bound)).slope
    assert abs(censored.slope - 1.3) < 0.15 and cut < 1.1  # to take the bound for the value would flatten the line
    assert censored.low < 1.3 < censored.high and censored.high - censored.low < dropped.high - dropped.low


def test_no_line_through_values_known_at_one_place() -> None:
    line = fit_line(X, Y, X > 1)
    assert all(map(math.isnan, (line.slope, line.low, line.high, line.intercept)))
