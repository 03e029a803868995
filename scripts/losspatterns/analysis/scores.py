"""How well a surface shows its picture: objective, gap, AUC, IoU, total variation, their errors and null controls.

* Objective: mean loss of the white trained pixels minus mean of min(loss, tau) of the black ones, on the surface's images.
  Training lowers it, so it tells how far a training is.
* Gap: mean accuracy of the white trained pixels minus that of the black ones. The objective does not ask for it: once a black
  pixel's loss has passed tau, its accuracy is free to come back. Its error is the standard error over images.
* AUC and IoU compare the whole picture (ignored pixels with their own colour) with the loss: AUC over all thresholds, IoU of
  the white area at Otsu's threshold of the log loss, which looks at the loss alone.
* IoU and total variation count a loss above tau as tau: beyond it, black is black.
* Null controls: the same scores for the untrained plane, and for shuffled masks on the trained one.
"""

import math
from collections.abc import Iterator

import numpy as np

SHUFFLE_SEED = 0
SHUFFLES = 999  # masks of the shuffled control
AT_ONCE = 4_000_000  # pixels of shuffled masks in memory


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


def log_loss(loss: np.ndarray) -> np.ndarray:
    """The logarithm of a loss; of one that is 0, that of a very small one."""
    return np.log(np.maximum(loss, 1e-12))


def white_area(loss: np.ndarray) -> np.ndarray:
    """Where the log loss lies below Otsu's threshold: bool, of the loss's shape."""
    return log_loss(loss) <= otsu(log_loss(loss))


def iou(loss: np.ndarray, picture: np.ndarray) -> float:
    """Intersection over union of the white area and the pixels whose log loss lies below Otsu's threshold."""
    found = white_area(loss)
    return float((found & picture).sum() / (found | picture).sum())


def total_variation(loss: np.ndarray) -> float:
    """Mean absolute difference of the log loss between neighbouring pixels, in standard deviations of it: 0 is flat."""
    logarithm = log_loss(loss)
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


def gap_error(white_correct: np.ndarray, black_correct: np.ndarray, mask: np.ndarray) -> float:
    """The gap's standard error over images. white_correct, black_correct (N,): how many white (black) pixels of the mask
    classify each image correctly; -1 beyond the last image. A gap is a mean over images of what each contributes.

    With batch norm's statistics of the batch, an image also counts in the others' statistics; that is left out.
    """
    used = white_correct >= 0
    of_image = white_correct[used] / (mask == 1).sum() - black_correct[used] / (mask == -1).sum()
    return float(of_image.std(ddof=1) / math.sqrt(len(of_image))) if len(of_image) > 1 else math.nan


def shuffled(mask: np.ndarray, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mask and picture with their pixels moved about by one fixed permutation: a null control with the same counts."""
    order = np.random.default_rng(SHUFFLE_SEED).permutation(mask.size)
    return mask.ravel()[order].reshape(mask.shape), picture.ravel()[order].reshape(mask.shape)


def shuffled_scores(
    loss: np.ndarray, accuracy: np.ndarray, mask: np.ndarray, picture: np.ndarray, tau: float, count: int = SHUFFLES
) -> tuple[dict[str, float], float]:
    """What `score` gives for `count` shuffled masks, on average, and the share of them whose gap is at least the mask's own
    (the mask itself counted among them, so never 0). Arguments as in `score`."""
    from scipy.stats import rankdata

    clamped = np.minimum(loss, tau)
    ranks, found = rankdata(-loss.ravel()), white_area(clamped).ravel().astype(float)
    whites = int(picture.sum())
    pairs = whites * (picture.size - whites)

    def of(masks: np.ndarray, pictures: np.ndarray) -> dict[str, np.ndarray]:
        parts = {name: (masks == colour).astype(float) for name, colour in (("white", 1), ("black", -1), ("ignored", 0))}
        counts = {name: part[0].sum() or math.nan for name, part in parts.items()}
        accuracies = {f"accuracy_{name}": part @ accuracy.ravel() / counts[name] for name, part in parts.items()}
        losses = {f"loss_{name}": parts[name] @ loss.ravel() / counts[name] for name in ("white", "black")}
        both = pictures @ found
        return {
            **accuracies,
            "accuracy_gap": accuracies["accuracy_white"] - accuracies["accuracy_black"],
            **losses,
            "objective": losses["loss_white"] - parts["black"] @ clamped.ravel() / counts["black"],
            "auc": (pictures @ ranks - whites * (whites + 1) / 2) / pairs,
            "iou": both / (whites + found.sum() - both),
        }

    tables = [of(*part) for part in _shuffles(mask.ravel(), picture.ravel(), count)]
    values = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    own = of(mask.reshape(1, -1), picture.reshape(1, -1))["accuracy_gap"][0]
    beyond = int((values["accuracy_gap"] >= own - 1e-12).sum())
    means = {name: float(value.mean()) for name, value in values.items()}
    return {**means, "tv": total_variation(clamped)}, (1 + beyond) / (1 + count)


def _shuffles(mask: np.ndarray, picture: np.ndarray, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`count` shuffled masks and pictures, (k, pixels) at once."""
    rng, size = np.random.default_rng(SHUFFLE_SEED), max(1, AT_ONCE // mask.size)
    for start in range(0, count, size):
        orders = np.stack([rng.permutation(mask.size) for _ in range(min(size, count - start))])
        yield mask[orders], picture[orders]
