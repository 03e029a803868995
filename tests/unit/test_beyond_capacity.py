"""Capacity: what is read off a training, and words that follow from the numbers."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from figure_checks import check_layout, check_texts
from losspatterns.beyond.capacity import AGAINST, Options
from losspatterns.beyond.shown import capacity
from losspatterns.figures.style import styled

PASSES = np.array([0, 100, 200, 400, 800])
TWO = [["s"], ["m"]]
OPTIONS = Options(kind="capacity", experiment="e", network="a", pixels=TWO, weights=["s"], frequency=TWO, order=TWO)


def surface(
    gaps: Any, validation: Any = None, mask: str = "s", network: str = "a", side: int = 2, **entry: Any
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Surfaces of a training whose white pixels have these accuracies, its black ones none, and whose padding has others."""
    picture = np.where(np.arange(side * side).reshape(side, side) % 2, -1, 1).astype(np.int8)
    places = np.arange(-1, side + 1)
    accuracy = np.full((5, 2, 1, side + 2, side + 2), 9.0)
    for number, values in enumerate((gaps if validation is None else validation, gaps)):
        accuracy[:, number, 0, 1:-1, 1:-1] = np.asarray(values)[:, None, None] * (picture == 1)
    variables = {
        "accuracy": (("stage", "split", "protocol", "row", "column"), accuracy),
        "mask": (("mask_row", "mask_column"), picture),
        "image_passes": (("stage",), PASSES),
    }
    axes = {"split": ["validation", "test"], "protocol": ["none"], "row": places, "column": places}
    channels, dense = ([1], [2]) if network == "a" else ([2], [8])
    made_by = {
        "mask": {"name": mask, "kind": "grid", "cells": [side, side], **entry},
        "network": {"name": network, "kind": "conv", "channels": channels, "dense": dense},
    }
    return xr.Dataset(variables, axes), {**made_by, "seed": 0, "image_shape": [1, 28, 28], "classes": 10}


@pytest.mark.parametrize(
    ("gaps", "passes", "side"),
    [
        ([0, 0.1, 0.3, 0.5, 0.2], 200 * 2**0.5, "reached"),  # half way between two looks, in the logarithm
        ([0, 0.1, 0.4, 0.5, 0.6], 200, "reached"),
        ([0, 0.1, 0.2, 0.3, 0.39], 800, "not reached"),
        ([0, 0.5, 0.2, 0.3, 0.3], 100, "at most"),
        ([0.4, 0.5, 0.2, 0.3, 0.3], 100, "at most"),
    ],
)
def test_passes_to_a_gap(gaps: list[float], passes: float, side: str) -> None:
    found, which = capacity.passes_to(0.4, PASSES, np.array(gaps, dtype=float))
    assert (found, which) == (pytest.approx(passes), side)


def test_a_training_s_row_by_hand() -> None:
    row = capacity.look_at(OPTIONS, *surface([0.1, 0.2, 0.5, 0.6, 0.7], validation=[0.9, 0.1, 0.3, 0.8, 0.7]))
    assert row["largest_gap"] == pytest.approx(0.6)  # the state is validation's best but the untrained, its gap test's
    assert row["untrained_gap"] == pytest.approx(0.1) and row["trained_pixels"] == 4 and row["cells"] == 2
    assert row["passes"] == pytest.approx(100 * 2 ** (2 / 3)) and row["side"] == "reached" and row["all_passes"] == 800
    assert row["weights"] == (9 + 1) + (16 * 2 + 2) + (2 * 10 + 10)
    assert row["shuffled_gap"] in (pytest.approx(-0.6), pytest.approx(0.0), pytest.approx(0.6))


def test_the_table_has_each_training_where_it_is_compared() -> None:
    growing = 0.1 * np.arange(5)
    planes = [surface(growing), surface(growing, network="b"), surface(PASSES, mask="m", side=3, permuted=1)]
    table = capacity.table(OPTIONS, None, planes)
    groups = table.groupby("comparison")
    found = {name: list(zip(of["against"], of["mask"], of["network"], strict=True)) for name, of in groups}
    assert found["pixels"] == [(4, "s", "a"), (9, "m", "a")] and found["frequency"] == [(2, "s", "a"), (3, "m", "a")]
    assert found["order"] == [(0, "s", "a"), (1, "m", "a")]
    assert [(mask, network) for _, mask, network in found["weights"]] == [("s", "a"), ("s", "b")]


def numbers(pixels: float = 1.0, cells: float = 1.0, order: float = 0.3, gap: float = -0.1, missed: int = 0) -> pd.DataFrame:
    """Passes that grow by these exponents, largest gaps by `gap` a tenfold; `missed` of each comparison miss the gap."""
    draw, rows = np.random.default_rng(0), []
    exponents = {"pixels": pixels, "weights": -pixels, "frequency": cells, "order": order}
    places = {"pixels": (10, 30, 100), "weights": (10, 30, 100), "frequency": (2, 4, 8), "order": (0, 1)}
    for comparison, exponent in exponents.items():
        for against in places[comparison]:
            for seed in range(4):
                x = against if comparison == "order" else np.log10(against)
                side = "not reached" if against == places[comparison][-1] and seed < missed else "reached"
                row = {"comparison": comparison, "mask": "m", "network": "a", "seed": seed, "trained_pixels": 64, "side": side}
                row |= {"passes": 10 ** (3 + exponent * x + 0.02 * draw.normal()), "against": against, "all_passes": 10_000}
                row |= {"largest_gap": 0.6 + gap * x + 0.01 * draw.normal(), "untrained_gap": 0.0, "shuffled_gap": 0.01}
                rows.append(row)
    return pd.DataFrame(rows)


def test_the_words_follow_from_the_numbers() -> None:
    words, fit = capacity.verdict(OPTIONS, numbers()), capacity.fits(numbers())["pixels"]
    assert fit.slopes[0].value == pytest.approx(1, abs=0.05)
    assert f"trained pixels: exponent {fit.texts[0]} (more passes)" in words
    assert words.count("(more passes)") == 3 and words.count("(fewer passes)") == 1
    assert words.count("all trainings reached the gap") == 4 and words.count("(a smaller gap)") == 4
    opposite = capacity.verdict(OPTIONS, numbers(pixels=-1.0, cells=-1.0, order=-0.3, gap=0.1))
    assert opposite.count("(fewer passes)") == 3 and opposite.count("(more passes)") == 1
    assert opposite.count("(a larger gap)") == 4
    assert "not told apart from no change" in capacity.sentences(numbers(cells=0.0))[2]
    assert "more than in proportion" in capacity.sentences(numbers(pixels=2.0))[0]


@pytest.mark.parametrize("cells", [1.0, 0.0])
@pytest.mark.parametrize("order", [0.3, -0.3])
def test_which_pictures_of_many_edges_take_longer(cells: float, order: float) -> None:
    boards, permuted = ("take longer" if slope > 0 else "are not seen to take longer" for slope in (cells, order))
    last = capacity.sentences(numbers(cells=cells, order=order))[-1]
    assert last.endswith(f"many edges: finer chessboards {boards}, and permuted pixels {permuted}.**")


def test_what_did_not_reach_the_gap_is_told_and_counted() -> None:
    words = capacity.verdict(OPTIONS, numbers(missed=3))
    assert "3 of 12 trainings did not reach the gap" in words and "| 4 | 1 | > 10,000 |" in words
    steeper, plain = (capacity.fits(numbers(missed=missed))["pixels"].slopes[0] for missed in (3, 0))
    assert steeper.value > plain.value
    said = capacity.sentences(numbers().assign(side="not reached"))
    assert "exponent unknown (not told apart" in said[0] and said[-1].count("are not seen to take longer") == 2


@pytest.mark.parametrize("missed", [0, 4])
def test_the_figure_shows_the_fits(missed: int) -> None:
    table = numbers(missed=missed)
    figure = styled(capacity.draw)(OPTIONS, table, [])
    check_texts(figure, "passes to a gap of 0.4", "largest gap", *(fit.texts[0] for fit in capacity.fits(table).values()))
    check_layout(figure)
    assert len(figure.axes) == 2 * len(AGAINST)
