"""Scores as a scale writes them, of studies whose true effects are known."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

WHITE, BLACK = 0.77, 0.33  # the paper's plain network


def study_of(
    networks: Sequence[str],
    comparisons: Sequence[tuple[str, str, str | None]],
    squares: Mapping[float, int],
    name: str = "s",
    protocol: str = "batch",
) -> dict[str, Any]:
    """A study as the planner tells the analysis of it: comparisons are (network, against, claims); squares by probability."""
    runs = [[f"{name}_p{100 * p:g}_{k}", round(1e5 * p) + k] for p, count in squares.items() for k in range(count)]
    pairs = [dict(zip(("network", "against", "claims"), pair, strict=True)) | {"bn_protocol": protocol} for pair in comparisons]
    fixed = {"name": name, "dataset": "d", "planned": len(runs)}
    return {**fixed, "networks": list(networks), "comparisons": pairs, "runs": runs}


def scores_of(
    study: Mapping[str, Any],
    normed: Mapping[str, Sequence[str]],
    values: Mapping[str, Mapping[str, np.ndarray]],
    stages: Sequence[tuple[str, int]] = (("trained", 1000),),
    splits: Sequence[str] = ("test",),
) -> pd.DataFrame:
    """Rows of every run of a study. normed: the protocols of the networks with batch norm; values: of each network, arrays
    (runs,), or (stages, runs), of accuracy_white, accuracy_black, tv and objective."""
    rows = []
    for network in study["networks"]:
        for protocol in normed.get(network, ["none"]):
            for split in splits:
                for number, (control, passes) in enumerate(stages):
                    of = {
                        key: np.atleast_2d(value)[number % len(np.atleast_2d(value))] for key, value in values[network].items()
                    }
                    frame = pd.DataFrame(
                        {"mask": [mask for mask, _ in study["runs"]], "seed": [seed for _, seed in study["runs"]]}
                    )
                    facts = {"network": network, "bn_protocol": protocol, "split": split, "control": control}
                    rows.append(frame.assign(**of, **facts, image_passes=passes))
    table = pd.concat(rows, ignore_index=True)
    probability = table["seed"] // 1000 / 100
    table = table.assign(accuracy_gap=table["accuracy_white"] - table["accuracy_black"], probability=probability)
    constants = {"dataset": "d", "dataset_label": "D", "study": study["name"], "recipe": "settled", "auc": 0.9, "iou": 0.8}
    sizes = {"trained_pixels": 90, "weights": 1000, "plane_bytes": 12_004, "training_bytes": 48_000}
    return table.assign(**constants, **sizes, gap_error=0.01, shuffled_p=0.001, train_correlation=np.nan)


def drawn(rng: np.random.Generator, squares: int, sd: float, effects: Mapping[str, Mapping[str, float]]) -> dict[str, dict]:
    """Values of networks on `squares` squares: `effects` says by how much a network's gap, mean accuracy and tv differ from the
    first one's, on average; a difference varies from square to square by `sd`, tv's by ten times less."""
    gap, mean, tv = 0.44 + rng.normal(0, 0.1, squares), 0.55 + rng.normal(0, 0.05, squares), 0.8 + rng.normal(0, 0.05, squares)
    found = {}
    for number, (network, effect) in enumerate(effects.items()):
        noise = rng.normal(0, sd, (3, squares)) * (number > 0) * np.array([[1], [1], [0.1]])
        own = [
            values + effect.get(key, 0) + more
            for values, key, more in zip((gap, mean, tv), ("gap", "mean", "tv"), noise, strict=True)
        ]
        white, black = own[1] + own[0] / 2, own[1] - own[0] / 2
        found[network] = {"accuracy_white": white, "accuracy_black": black, "tv": own[2], "objective": np.full(squares, -4.0)}
    return found
