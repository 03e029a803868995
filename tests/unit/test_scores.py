"""Scores: against plain definitions and cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from losspatterns.analysis.scores import at_pixels, auc, iou, otsu, score, shuffled, total_variation
from losspatterns.data.masks import ternary
from losspatterns.errors import InputError

PICTURE = np.zeros((12, 9), bool)
PICTURE[2:9, 1:6] = True
MASK = ternary(PICTURE)


def test_auc_equals_counting_all_pairs() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, 60).astype(float)  # with ties
    positive = rng.random(60) < 0.4
    pairs = scores[positive][:, None] - scores[~positive][None]
    assert auc(scores, positive) == pytest.approx((pairs > 0).mean() + 0.5 * (pairs == 0).mean())


def test_otsu_equals_exhaustive_search() -> None:
    values = np.random.default_rng(1).gamma(2, size=80)

    def within(threshold: float) -> float:
        low, high = values[values <= threshold], values[values > threshold]
        return len(low) * low.var() + len(high) * high.var()

    best = min(np.sort(values)[:-1], key=within)
    assert within(otsu(values)) == pytest.approx(within(best))


def test_a_perfect_surface_scores_perfectly() -> None:
    loss, accuracy = np.where(PICTURE, 0.4, 4.0), np.where(PICTURE, 0.9, 0.1)
    found = score(loss, accuracy, MASK, PICTURE, 10.0)
    assert (found["auc"], found["iou"]) == (1.0, 1.0)
    assert found["accuracy_gap"] == pytest.approx(0.8)
    assert (found["loss_white"], found["loss_black"]) == (pytest.approx(0.4), pytest.approx(4.0))
    assert total_variation(np.full((4, 4), 2.0)) == 0


def test_beyond_tau_black_is_black() -> None:
    """A surface that is right everywhere keeps its IoU and its variation, however far black losses run away."""
    near = np.where(PICTURE, 0.4, 12.0)
    far = np.where(PICTURE, 0.4, np.linspace(12, 1e6, PICTURE.size).reshape(PICTURE.shape))
    assert iou(far, PICTURE) < 1
    first, second = (score(loss, np.ones_like(loss), MASK, PICTURE, 10.0) for loss in (near, far))
    assert first["iou"] == second["iou"] == 1.0
    assert first["tv"] == second["tv"] > 0


def test_ignored_pixels_count_only_where_they_are_named() -> None:
    accuracy = np.where(PICTURE, 0.9, 0.1)
    accuracy[MASK == 0] = 0.5
    found = score(np.ones_like(accuracy), accuracy, MASK, PICTURE, 10.0)
    assert found["accuracy_ignored"] == pytest.approx(0.5)
    assert found["accuracy_gap"] == pytest.approx(0.8)
    everywhere = np.where(PICTURE, 1, -1)
    assert np.isnan(score(np.ones_like(accuracy), accuracy, everywhere, PICTURE, 10.0)["accuracy_ignored"])


def test_the_shuffled_control_destroys_the_picture_and_keeps_the_counts() -> None:
    mask, picture = shuffled(MASK, PICTURE)
    assert [(mask == v).sum() for v in (-1, 0, 1)] == [(MASK == v).sum() for v in (-1, 0, 1)]
    assert (ternary(picture) != mask).any()
    loss = np.where(PICTURE, 0.4, 4.0)
    assert iou(loss, PICTURE) == 1.0 > 0.6 > iou(loss, picture)
    assert abs(auc(-loss, picture) - 0.5) < 0.2


def test_pixels_are_picked_out_of_a_padded_oversampled_grid() -> None:
    rows, columns = np.arange(-4, 12) / 2, np.arange(-3, 13) / 3
    values = rows[:, None] * 100 + columns[None]
    np.testing.assert_allclose(at_pixels(values, rows, columns, (4, 3)), np.arange(4)[:, None] * 100 + np.arange(3))
    with pytest.raises(InputError, match="rows do not contain"):
        at_pixels(values, rows, columns, (9, 3))
    with pytest.raises(InputError, match="columns do not contain"):
        at_pixels(values, rows, columns + 0.01, (4, 3))
