"""From curves of the gap to what a gap costs, in image passes and seconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

GAPS = (0.2, 0.3, 0.4)
COSTS = ("image_passes", "seconds")


def crossing(cost: np.ndarray, gap: np.ndarray, target: float) -> float:
    """The cost at which the gap first reaches `target`, linear between checkpoints; NaN if it never does."""
    reached = np.flatnonzero(gap >= target)
    if not len(reached):
        return float("nan")
    k = int(reached[0])
    before = max(k - 1, 0)
    return float(np.interp(target, gap[before : k + 1], cost[before : k + 1]))


def passes_to_gap(curves: pd.DataFrame, gaps: Sequence[float] = GAPS) -> pd.DataFrame:
    """A row per mask, variant and gap: image passes and seconds to the gap, mean, min and max over the seeds that reach it.

    A mean over fewer seeds than were run flatters the variant, so it stands beside both numbers and says so in its name.
    """
    rows = []
    for (mask, variant, _), curve in curves.groupby(["mask", "variant", "seed"], sort=False):
        curve = curve.sort_values("image_passes")
        for gap in gaps:
            costs = {cost: crossing(curve[cost].to_numpy(), curve["gap"].to_numpy(), gap) for cost in COSTS}
            rows.append({"mask": mask, "variant": variant, "gap": gap, **costs})
    groups = pd.DataFrame(rows).groupby(["mask", "variant", "gap"], sort=False)
    table = groups.agg(seeds=("image_passes", "size"), seeds_reached=("image_passes", "count"))
    for cost in COSTS:
        for measure in ("mean", "min", "max"):
            table[f"{cost}_{measure}_of_reached"] = groups[cost].agg(measure)
    return table.reset_index()
