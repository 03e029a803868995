"""A straight line through values of which some are only bounded: a training that stopped before it reached its mark."""

from typing import Any, NamedTuple

import numpy as np

WIDEST = 1e4  # of an interval's half, in errors per standard deviation of x: a slope beyond has no bound


class Line(NamedTuple):
    """value = intercept + slope * x; low and high: the slope's 95 % interval. All NaN where no line can be told."""

    slope: float
    low: float
    high: float
    intercept: float


def fit_line(x: Any, values: Any, side: Any) -> Line:
    """The line of largest likelihood, errors being normal and of one size.

    x, values, side: (N,); side 0: the value is known, 1: it lies above `values`, -1: below. Slopes whose profile likelihood is
    within n/2 log(1 + t^2 / (n - 2)) of the best are in the interval, t the 97.5 % quantile of n - 2 degrees of freedom: where
    all values are known, that is the interval of ordinary regression. NaN unless values are known at two x, and at least three
    in all.
    """
    from scipy.optimize import brentq, minimize
    from scipy.special import log_ndtr
    from scipy.stats import linregress, t

    x, values, side = (np.asarray(array, dtype=float) for array in (x, values, side))
    known = side == 0
    if len(set(x[known])) < 2 or known.sum() < 3:
        return Line(*[float("nan")] * 4)
    count, centre, spread = len(x), x.mean(), x.std()
    at = (x - centre) / spread  # in units of its own, as the values' errors are: the search converges better
    start = linregress(at, values)
    unit = max(float(np.std(values - start.intercept - start.slope * at)), 1e-6)

    def cost(level: float, slope: float, log_size: float) -> float:
        log_size = max(log_size, -12.0)
        errors = (values / unit - level - slope * at) / np.exp(log_size)
        return float(np.where(known, errors**2 / 2 + log_size, -log_ndtr(-side * errors)).sum())

    def least(function: Any, start: list[float]) -> Any:
        return minimize(function, start, method="BFGS", options={"gtol": 1e-5})

    best = least(lambda p: cost(*p), [start.intercept / unit, start.slope / unit, 0.0])
    level, slope, size = map(float, best.x)
    allowed = best.fun + count / 2 * np.log1p(t.ppf(0.975, count - 2) ** 2 / (count - 2))

    def excess(other: float) -> float:
        return float(least(lambda p: cost(p[0], other, p[1]), [level, size]).fun - allowed)

    def end(direction: int) -> float:
        width = 1.0
        while excess(slope + direction * width) < 0:
            width *= 2
            if width > WIDEST:
                return direction * float("inf")
        return float(brentq(excess, slope, slope + direction * width, xtol=1e-5))

    slope, low, high = (unit / spread * value for value in (slope, end(-1), end(1)))
    return Line(slope, low, high, unit * level - slope * float(centre))
