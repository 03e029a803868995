"""From curves of the gap to what a gap costs: image passes and seconds, by seed and over the seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

GAPS = (0.2, 0.3, 0.4)


def crossing(cost: np.ndarray, gap: np.ndarray, target: float) -> float:
    """The cost at which the gap first reaches `target`, linear between checkpoints; NaN if it never does."""
    reached = np.flatnonzero(gap >= target)
    if not len(reached):
        return float("nan")
    k = int(reached[0])
    if k == 0:
        return float(cost[0])
    return float(cost[k - 1] + (cost[k] - cost[k - 1]) * (target - gap[k - 1]) / (gap[k] - gap[k - 1]))


def passes_to_gap(curves: pd.DataFrame, gaps: Sequence[float] = GAPS) -> pd.DataFrame:
    """Image passes and seconds to each gap, a row per mask, variant, gap and seed; empty where the seed does not reach it."""
    rows = []
    for (mask, variant, seed), curve in curves.groupby(["mask", "variant", "seed"], sort=False):
        curve = curve.sort_values("image_passes")
        for gap in gaps:
            costs = {
                cost: crossing(curve[cost].to_numpy(), curve["gap"].to_numpy(), gap) for cost in ("image_passes", "seconds")
            }
            rows.append({"mask": mask, "variant": variant, "gap": gap, "seed": seed, **costs})
    return pd.DataFrame(rows)


def over_seeds(by_seed: pd.DataFrame) -> pd.DataFrame:
    """Mean, min and max over the seeds that reach each gap, with the number of seeds and of those that do.

    A mean over fewer seeds than were run flatters the variant, so it stands beside both numbers and says so in its name.
    """
    groups = by_seed.groupby(["mask", "variant", "gap"], sort=False)
    table = groups.agg(seeds=("seed", "count"), seeds_reached=("image_passes", "count"))
    for cost in ("image_passes", "seconds"):
        for measure in ("mean", "min", "max"):
            table[f"{cost}_{measure}_of_reached"] = groups[cost].agg(measure)
    return table.reset_index()
