"""What the analysis infers with: a mean's interval, an exact test of paired differences, and how many pairs it needs.

The one idea: a verdict's p-value comes from flipping the signs of paired differences, which assumes nothing but that without an
effect either sign is as likely. n pairs have 2^n signs, so no p lies below 2 / 2^n: with few pairs nothing can be decided, and
`least_pairs` says how many could.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

LEVEL = 0.05  # of a test, and of what an interval leaves out
EXACT = 20  # pairs up to which all signs are tried
RANDOM_SIGNS = 99_999  # of more pairs so many draws


def interval(values: pd.Series | np.ndarray, left_out: float = LEVEL) -> tuple[float, float, float]:
    """Mean and the ends of its interval by Student's t, 95 % unless `left_out` says otherwise; NaN ends for a single value."""
    from scipy.stats import t  # its import takes more than a second

    values = np.asarray(values, dtype=float)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = float(t.ppf(1 - left_out / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, mean - half, mean + half


def sign_flip_p(differences: pd.Series | np.ndarray) -> float:
    """Two-sided p-value of a mean difference of zero: the share of signs with a mean as far from it. NaN for fewer than two."""
    from scipy.stats import permutation_test

    differences = np.asarray(differences, dtype=float)
    if len(differences) < 2:
        return math.nan
    if not differences.any():
        return 1.0
    count = 2 ** len(differences) if len(differences) <= EXACT else RANDOM_SIGNS
    options = {"permutation_type": "samples", "vectorized": True, "n_resamples": count, "batch": 20_000, "rng": 0}
    return float(permutation_test((differences,), np.mean, **options).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """The p-values of a family, corrected together (Holm 1979). NaN stay NaN, but count among the tests."""
    values = np.array([1.0 if math.isnan(value) else value for value in p])
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)).clip(max=1.0)
    corrected = stepped[np.argsort(order)]
    return [math.nan if math.isnan(value) else float(other) for value, other in zip(p, corrected, strict=True)]


def least_pairs(tests: int) -> int:
    """The smallest number of pairs with which one of so many tests, corrected together, can have a p below LEVEL."""
    pairs = 2
    while tests * 2.0 ** (1 - pairs) >= LEVEL:
        pairs += 1
    return pairs
