"""How well a surface shows its picture: objective, gap, AUC, IoU, total variation, and null controls.

* Objective: mean loss of the white trained pixels minus mean of min(loss, tau) of the black ones, on the surface's images.
  Training lowers it, so it tells how far a training is.
* Gap: mean accuracy of the white trained pixels minus that of the black ones. The objective does not ask for it: once a black
  pixel's loss has passed tau, its accuracy is free to come back.
* AUC and IoU compare the whole picture (ignored pixels with their own colour) with the loss: AUC over all thresholds, IoU of
  the white area at Otsu's threshold of the log loss, which looks at the loss alone.
* IoU and total variation count a loss above tau as tau: beyond it, black is black.
* Null controls: the same scores for the untrained plane, and for a shuffled mask on the trained one.
"""

from __future__ import annotations

import numpy as np

SHUFFLE_SEED = 0


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve (Mann-Whitney, ties count half): how often a positive has the higher score than a negative."""
    from scipy.stats import mannwhitneyu  # its import takes more than a second

    ones, zeros = scores[positive], scores[~positive]
    return float(mannwhitneyu(ones, zeros, method="asymptotic").statistic / (ones.size * zeros.size))


def otsu(values: np.ndarray) -> float:
    """Otsu's threshold: the split of the values with the largest variance between the two sides (Otsu 1979)."""
    ordered = np.sort(values.ravel())
    count = np.arange(1, len(ordered))
    total = ordered.cumsum()
    low, high = total[:-1] / count, (total[-1] - total[:-1]) / (len(ordered) - count)
    split = int(np.argmax(count * (len(ordered) - count) * (high - low) ** 2))
    return float((ordered[split] + ordered[split + 1]) / 2)


def iou(loss: np.ndarray, picture: np.ndarray) -> float:
    """Intersection over union of the white area and the pixels whose log loss lies below Otsu's threshold."""
    logarithm = np.log(np.maximum(loss, 1e-12))
    found = logarithm <= otsu(logarithm)
    return float((found & picture).sum() / (found | picture).sum())


def total_variation(loss: np.ndarray) -> float:
    """Mean absolute difference of the log loss between neighbouring pixels, in standard deviations of it: 0 is flat."""
    logarithm = np.log(np.maximum(loss, 1e-12))
    steps = np.concatenate([np.abs(np.diff(logarithm, axis=axis)).ravel() for axis in range(loss.ndim)])
    return float(steps.mean() / max(logarithm.std(), 1e-12))


def score(loss: np.ndarray, accuracy: np.ndarray, mask: np.ndarray, picture: np.ndarray, tau: float) -> dict[str, float]:
    """Scores of loss and accuracy at the picture's pixels, (H, W); mask ternary and picture bool (H, W), tau in nats."""
    white, black, ignored = mask == 1, mask == -1, mask == 0

    def mean(values: np.ndarray, where: np.ndarray) -> float:
        return float(values[where].mean()) if where.any() else float("nan")

    return {
        "accuracy_white": mean(accuracy, white),
        "accuracy_black": mean(accuracy, black),
        "accuracy_ignored": mean(accuracy, ignored),
        "accuracy_gap": mean(accuracy, white) - mean(accuracy, black),
        "loss_white": mean(loss, white),
        "loss_black": mean(loss, black),
        "objective": mean(loss, white) - mean(np.minimum(loss, tau), black),
        "auc": auc(-loss, picture),
        "iou": iou(np.minimum(loss, tau), picture),
        "tv": total_variation(np.minimum(loss, tau)),
    }


def shuffled(mask: np.ndarray, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mask and picture with their pixels moved about by one fixed permutation: a null control with the same counts."""
    order = np.random.default_rng(SHUFFLE_SEED).permutation(mask.size)
    return mask.ravel()[order].reshape(mask.shape), picture.ravel()[order].reshape(mask.shape)
