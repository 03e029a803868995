"""The paper's claims against a scale's scores: a row for each, with what was tested, on what, and the verdicts.

A claim about two networks has two verdicts, side by side:

    direction   against 0: does the difference have the paper's sign? By an exact test that flips the signs of the paired
                differences. The p-values of a study's claims are corrected together (Holm); below 0.05 the claim is reproduced
                or refuted, else it is open.
    size        against the paper's number: refuted if the 95 % interval excludes it, reproduced if the interval contains it
                and excludes 0, else open. Intervals are not corrected.

Both at the probability that the paper's number is for. All else is descriptive: an interval, no p-value.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .report import in_words
from .statistics import LEVEL, holm, interval, least_pairs, sign_flip_p
from .study import RUN, equally_far, paired, select_runs

HEAD = ("study", "claim of the paper", "published", "tested on", "measured", "direction", "size")
REPRODUCED, REFUTED, OPEN, NOT_TESTED = "reproduced", "refuted", "open", "not tested"
LEAST_AUC, LEAST_GAP, MOST_P = 0.95, 0.3, 0.01  # of a picture that is there; of its gap among shuffled masks
ALIKE = 0.1  # gaps on training and test images that differ by less are alike
PAPER_P = 0.5  # the probability that the published numbers are for
AT_PAPER_P = f"p = {PAPER_P:g}"
PAPER = pd.DataFrame(  # read off the published curves at p = 0.5, test
    {"accuracy_gap": (0.44, 0.39, 0.47), "accuracy_white": (0.77, 0.81, 0.78), "accuracy_black": (0.33, 0.42, 0.31)},
    index=["plain", "batch norm", "residual"],
)


class Claim(NamedTuple):
    """What the paper says of two networks. `of`: which comparisons test it (`claims` of a comparison); `sign`: of the published
    difference `published`, which is None where the paper has no number; `tested`: whether it is one of the tested family."""

    text: str
    of: str
    quantity: str
    sign: int
    published: float | None
    tested: bool = True


def _published(network: str, quantity: str) -> float:
    values = PAPER.assign(accuracy_mean=(PAPER["accuracy_white"] + PAPER["accuracy_black"]) / 2)[quantity]
    return round(float(values[network] - values["plain"]), 4)


CLAIMS = (
    Claim("Batch norm narrows the gap", "batch_norm", "accuracy_gap", -1, _published("batch norm", "accuracy_gap")),
    Claim(
        "Batch norm raises the mean accuracy of all pixels",
        *("batch_norm", "accuracy_mean", +1, _published("batch norm", "accuracy_mean")),
    ),
    Claim("Batch norm makes the surface smoother (total variation)", "batch_norm", "tv", -1, None),
    Claim(
        "Residual connections do not narrow the gap",
        *("residual", "accuracy_gap", +1, _published("residual", "accuracy_gap")),
    ),
    Claim(
        "Batch norm raises the accuracy of white pixels",
        *("batch_norm", "accuracy_white", +1, _published("batch norm", "accuracy_white"), False),
    ),
    Claim(
        "Batch norm raises the accuracy of black pixels",
        *("batch_norm", "accuracy_black", +1, _published("batch norm", "accuracy_black"), False),
    ),
)
NOT_HERE = {  # what no scale's scores test
    "The training costs less than that of K models": "no scale trains K models to the pixels' losses",
    "Planes give decorrelated ensembles (outlook)": "`snakemake beyond` compares planes as ensembles with ordinary networks",
}


class Decision(NamedTuple):
    """On paired differences: p (sign flips, corrected; NaN for a single pair), and the two verdicts."""

    p: float
    direction: str
    size: str


def decide(families: Sequence[tuple[np.ndarray, int, float | None]]) -> list[Decision]:
    """The verdicts on a family of claims, corrected together: of each the paired differences (n,), the published sign, and the
    published difference or None."""
    corrected = holm([sign_flip_p(differences) for differences, _, _ in families])
    return [
        Decision(p, _direction(differences, sign, p), size_of(differences, published))
        for (differences, sign, published), p in zip(families, corrected, strict=True)
    ]


def _direction(differences: np.ndarray, sign: int, p: float) -> str:
    if not p < LEVEL:
        return OPEN
    return REPRODUCED if np.mean(differences) * sign > 0 else REFUTED


def size_of(differences: np.ndarray, published: float | None) -> str:
    """The verdict on the size of a difference, against the published one."""
    _, low, high = interval(differences)
    if published is None:
        return "no number"
    if math.isnan(low):
        return OPEN
    if not low <= published <= high:
        return REFUTED
    return OPEN if low <= 0 <= high else REPRODUCED


def claims(scores: pd.DataFrame, studies: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The claims of the paper, columns HEAD. `scores`: the table of `snakemake all`; `studies` as `study.study_table` has them,
    each with `planned`, its number of squares."""
    rows = [*_pictures(scores), *_memory(scores)]
    for study in studies:
        if study["runs"]:
            rows += _differences(scores, study)
    tested = {pair["claims"] for study in studies if study["runs"] for pair in study["comparisons"]}
    missing = [claim for claim in CLAIMS if claim.of not in tested]
    left_out = {claim.text: f"no study compares networks for it (comparisons: claims: {claim.of})" for claim in missing}
    if not (scores["recipe"] == "paper").any():
        left_out["All of it by the published procedure, 604 million image passes a picture"] = "no plane here is trained by it"
    rows += [("", text, "", "", why, NOT_TESTED, "") for text, why in {**left_out, **NOT_HERE}.items()]
    return pd.DataFrame(rows, columns=HEAD)


def _pictures(scores: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Whether pictures are there, by data set, and whether training and test images show the same one."""
    pictures = scores[scores["study"].isna() & scores["objective"].notna()]
    for label, group in pictures.groupby("dataset_label", sort=False):
        test = group[group["split"] == "test"]
        trained, untrained = (test[test["control"] == control] for control in ("trained", "untrained"))
        if trained.empty:
            continue
        there = (trained["auc"] >= LEAST_AUC) & (trained["accuracy_gap"] >= LEAST_GAP) & (trained["shuffled_p"] <= MOST_P)
        found = f"AUC {_range(trained['auc'])}, gap {_range(trained['accuracy_gap'])}, largest standard error over images "
        found += f"{trained['gap_error'].max():.3f}; untrained planes: gap {_range(untrained['accuracy_gap'])}; "
        found += f"shuffled masks with as large a gap: at most {trained['shuffled_p'].max():.1%}"
        names = in_words(trained["mask"])
        rule = f"a picture is there if its AUC is at least {LEAST_AUC}, its gap at least {LEAST_GAP}, and at most {MOST_P:.0%} "
        rule += "of 999 shuffled masks have as large a gap"
        on = f"{int(there.sum())} of {len(trained)} planes have their picture ({names}): {rule}"
        verdict = f"{REPRODUCED} for these pictures" if there.all() else REFUTED
        yield "", f"Loss surfaces contain any picture: {label}", "shown, no number", on, found, verdict, ""
        key = ["mask", "network", "seed", "bn_protocol"]
        train = group[(group["split"] == "train") & (group["control"] == "trained")].set_index(key)
        ours = ["accuracy_gap", "gap_error"]
        both = trained.set_index(key).join(train[ours].add_suffix("_train"), how="inner")
        if len(both):
            yield _alike(label, both, untrained)


def _alike(label: str, both: pd.DataFrame, untrained: pd.DataFrame) -> tuple[str, ...]:
    """Whether the planes' pictures are as strong on test images as on training images: untrained planes have none on either."""
    differences = both["accuracy_gap_train"] - both["accuracy_gap"]
    half = 1.96 * np.hypot(both["gap_error_train"], both["gap_error"])
    there = (both[["accuracy_gap", "accuracy_gap_train"]] >= LEAST_GAP).all(axis=1)
    if (there & (differences.abs() + half <= ALIKE)).all():
        verdict = REPRODUCED
    else:
        verdict = REFUTED if (~there | (differences.abs() - half > ALIKE)).any() else OPEN
    found = f"gap on training minus gap on test images {_range(differences)}, half a 95 % interval over images at most "
    found += f"{half.max():.3f}; correlation of the log loss {_range(both['train_correlation'])}, which says little: on "
    found += f"untrained planes, which have no picture, it is {_range(untrained['train_correlation'])}"
    on = f"{len(both)} planes: gaps of at least {LEAST_GAP} on both that differ by less than {ALIKE}"
    return "", f"Train and test surfaces show the same picture: {label}", "shown, no number", on, found, verdict, ""


class _Tested(NamedTuple):
    claim: Claim
    pair: Mapping[str, Any]
    runs: pd.DataFrame  # at the probability that is tested
    at: str
    differences: pd.Series


def _differences(scores: pd.DataFrame, study: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """What a study says of the paper's claims: those tested, then what is descriptive."""
    tables = []
    for pair in study["comparisons"]:
        if pair["claims"]:
            names = pair["network"], pair["against"]
            asked = study["dataset"], names, study["runs"], pair["bn_protocol"]
            curves = select_runs(scores, *asked, curves=True)
            tables.append((pair, curves[curves["control"] == "trained"], curves))
    asked = []
    for pair, runs, _ in tables:
        at, label = _at_paper_p(runs)
        differences = paired(at, pair["network"], pair["against"])
        asked += [_Tested(c, pair, at, label, differences[c.quantity]) for c in CLAIMS if c.of == pair["claims"]]
    asked.sort(key=lambda one: CLAIMS.index(one.claim))
    family = [one for one in asked if one.claim.tested]
    decisions = decide([(one.differences.to_numpy(), one.claim.sign, one.claim.published) for one in family])
    least = least_pairs(len(family))
    for one, decision in zip(family, decisions, strict=True):
        p = f"p = {decision.p:.2g} (sign flips, {len(family)} tests by Holm)"
        if len(one.differences) < least:
            p = f"too few pairs for any p below {LEVEL:g} ({least} would do)"
        yield _row(study, one, f"{_interval(one.differences)}; {p}", decision.direction, _told_size(one, decision.size))
    for one in asked:
        if not one.claim.tested:
            size = _told_size(one, size_of(one.differences, one.claim.published))
            yield _row(study, one, _interval(one.differences), "descriptive", size)
    for pair, runs, curves in tables:
        claim = next(claim for claim in CLAIMS if claim.of == pair["claims"])
        yield from _descriptive(study, claim, pair, runs, curves)


def _at_paper_p(runs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows at the probability that the paper's numbers are for, or all where the study lacks it; and which these are."""
    at = runs[np.isclose(runs["probability"], PAPER_P)]
    return (at, AT_PAPER_P) if len(at) else (runs, "all p pooled")


def _descriptive(
    study: Mapping[str, Any], claim: Claim, pair: Mapping[str, Any], runs: pd.DataFrame, curves: pd.DataFrame
) -> Iterator[tuple[str, ...]]:
    """The gap pooled over p, at each p, and where both networks are equally far in training."""
    names = pair["network"], pair["against"]
    at, label = _at_paper_p(curves)
    far = equally_far(at, *names)
    if len(far):
        ends = at.groupby(["network", *RUN]).last()["validation"].groupby("network").mean()
        ended = ", ".join(f"{name.replace('_', ' ')} {ends[name]:.2f}" for name in names)
        measured = f"{_interval(far[claim.quantity])}; validation objectives at the end: {ended} nats"
        one = _Tested(claim, pair, at, label, far[claim.quantity])
        yield _row(study, one, measured, "descriptive", "", ", where both are equally far in training (sensitivity)")
    each = {p: paired(group, *names)[claim.quantity] for p, group in runs.groupby("probability")}
    if len(each) > 1:
        differences = pd.concat(each.values())
        one = _Tested(claim, pair, runs, "all p pooled", differences)
        yield _row(study, one, _interval(differences), "descriptive", "", ", pooled over p")
        ends = {p: interval(values, LEVEL / len(each)) for p, values in each.items()}
        measured = "; ".join(f"p = {p:g}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]" for p, (mean, low, high) in ends.items())
        one = _Tested(claim, pair, runs, "each p", differences)
        yield _row(study, one, f"{measured} (95 % together)", "descriptive", "", ", at every p")


def _row(study: Mapping[str, Any], one: _Tested, measured: str, direction: str, size: str, more: str = "") -> tuple[str, ...]:
    number = "no number" if one.claim.published is None else f"{one.claim.published:+.3g} ({AT_PAPER_P})"
    network, against, protocol = (one.pair[key] for key in ("network", "against", "bn_protocol"))
    passes = one.runs.groupby("network")["image_passes"].max().mean() / 1e6
    on = f"{network} minus {against}, statistics: {protocol}; {one.at}, {len(one.differences)} pairs, {passes:.3g} M passes"
    if len(study["runs"]) < study["planned"]:
        on += f"; {len(study['runs'])} of the study's {study['planned']} squares are there"
    return study["name"], one.claim.text + more, number, on, measured, direction, size


def _told_size(one: _Tested, size: str) -> str:
    """The verdict on the size, or why there is none: the published numbers are for one probability."""
    if one.claim.published is None or one.at == AT_PAPER_P:
        return size
    return f"not tested: no squares with {AT_PAPER_P}"


def _interval(differences: pd.Series) -> str:
    mean, low, high = interval(differences)
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def _memory(scores: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """What a plane and its training take, against K trained models, each with Adam's two moments while it is trained."""
    trained = scores[(scores["split"] == "test") & (scores["control"] == "trained")]
    trained = trained.drop_duplicates(["dataset", "mask", "network", "seed"]).dropna(subset="weights")
    if trained.empty:
        return
    models = trained["trained_pixels"] * trained["weights"] * 4  # bytes of float32
    kept, training = models / trained["plane_bytes"], 3 * models / trained["training_bytes"]
    there = trained["accuracy_gap"] >= LEAST_GAP
    on = f"{len(trained)} planes, {int(there.sum())} of them with a gap of at least {LEAST_GAP}; bytes of parameters, and in "
    on += "training with the optimizer's state, against K models with Adam's"
    pixels = _range(trained["trained_pixels"], "{:,}".format)
    found = f"K = {pixels} trained pixels; K models take {_range(kept, _factor)} times the memory of the plane, "
    found += f"and {_range(training, _factor)} times that of its training"
    verdict = REPRODUCED if ((kept > 1) & (training > 1))[there].all() else REFUTED
    verdict = verdict if there.any() else OPEN
    yield "", "A plane holds K models in less memory than K models take", "1,150 in three vectors", on, found, verdict, ""


def _range(values: pd.Series, form: Callable[[float], str] = "{:.2f}".format) -> str:
    """The smallest and the largest value; one of them if they are written alike."""
    return " to ".join(dict.fromkeys(map(form, (values.min(), values.max()))))


def _factor(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{value:,.0f}"
