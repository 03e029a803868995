"""Thousands of studies with known effects, through the functions that decide: how often they err, and what they find."""

import numpy as np
import pytest
from losspatterns.analysis.claims import OPEN, REFUTED, REPRODUCED, claims, decide
from losspatterns.analysis.statistics import LEVEL, interval
from simulated_studies import drawn, scores_of, study_of

STUDIES = 1000
SD = 0.07  # of the difference between plain and batch norm, from square to square, as it was measured
PUBLISHED = -0.05


def share_within(share: float, expected: float, count: int) -> bool:
    """Whether a share of `count` studies is as expected, within three standard errors."""
    return abs(share - expected) <= 3 * np.sqrt(expected * (1 - expected) / count)


def families(rng: np.random.Generator, effects: list[float], pairs: int, skewed: bool = False) -> list:
    """A family of claims: differences with these effects, the published sign and number."""
    noise = rng.exponential(SD, (len(effects), pairs)) - SD if skewed else rng.normal(0, SD, (len(effects), pairs))
    return [(effect + own, -1, PUBLISHED) for effect, own in zip(effects, noise, strict=True)]


@pytest.mark.parametrize("pairs", [8, 9])
def test_without_effects_a_family_errs_in_one_study_of_twenty_at_most(pairs: int) -> None:
    """Any wrong direction among four claims counts."""
    rng = np.random.default_rng(pairs)
    wrong = [any(found.direction != OPEN for found in decide(families(rng, [0.0] * 4, pairs))) for _ in range(STUDIES)]
    assert np.mean(wrong) <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / STUDIES) and any(wrong)


def test_with_one_true_effect_the_others_err_no_more() -> None:
    """A true, large effect among the claims makes Holm's other tests no laxer than the level."""
    rng = np.random.default_rng(1)
    found = [decide(families(rng, [-0.3, 0.0, 0.0], 8)) for _ in range(STUDIES)]
    assert np.mean([first.direction == REPRODUCED for first, *_ in found]) > 0.99
    wrong = np.mean([any(other.direction != OPEN for other in others) for _, *others in found])
    assert wrong <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / STUDIES)


@pytest.mark.parametrize("pairs", [5, 12])
def test_intervals_hold_the_true_difference_as_often_as_they_say(pairs: int) -> None:
    rng = np.random.default_rng(pairs)
    ends = [interval(rng.normal(-0.03, SD, pairs)) for _ in range(2 * STUDIES)]
    assert share_within(np.mean([low <= -0.03 <= high for _, low, high in ends]), 0.95, 2 * STUDIES)
    assert 0.94 <= np.mean([low <= -0.03 <= high for _, low, high in ends]) <= 0.96


def test_a_difference_of_the_paper_s_size_is_refuted_in_one_study_of_twenty_at_most() -> None:
    rng = np.random.default_rng(2)
    sizes = [decide(families(rng, [PUBLISHED], 8))[0].size for _ in range(STUDIES)]
    assert share_within(sizes.count(REFUTED) / STUDIES, LEVEL, STUDIES)


def test_skewed_differences_err_little_more() -> None:
    """Signs of skewed differences are not alike: the test of nine pairs may err in an eighth of the studies, no more."""
    rng = np.random.default_rng(3)
    wrong = np.mean([decide(families(rng, [0.0], 9, skewed=True))[0].direction != OPEN for _ in range(STUDIES)])
    assert wrong <= 2.5 * LEVEL


@pytest.mark.parametrize(("pairs", "power"), [(12, 0.6), (8, 0.4)])
def test_the_power_is_the_planned_one(pairs: int, power: float) -> None:
    """Of the one claim that is still open when the two others of a family are decided; docs/protocol.md plans with it."""
    rng = np.random.default_rng(pairs)
    count = 400
    found = [decide(families(rng, [PUBLISHED, -0.4, -0.4], pairs))[0].direction for _ in range(count)]
    assert REFUTED not in found and abs(found.count(REPRODUCED) / count - power) <= 0.1


@pytest.mark.parametrize("networks", [["plain", "bn", "res"], ["res", "bn", "plain"], ["bn", "plain", "res"]])
def test_whole_studies_err_as_rarely_whatever_their_networks_order(networks: list[str]) -> None:
    """From scores to the table of claims: a family of four without any effect, and the right networks under each claim."""
    rng = np.random.default_rng(4)
    study = study_of(networks, [("bn", "plain", "batch_norm"), ("res", "plain", "residual")], {0.5: 9})
    wrong = 0
    for _ in range(60):
        values = drawn(rng, 9, SD, {"plain": {}, "bn": {}, "res": {}})
        table = claims(scores_of(study, {"bn": ["batch"]}, values), [study])
        tested = table[table["measured"].str.contains("by Holm")]
        assert len(tested) == 4
        starts = tested["tested on"].str.split().str[0]
        assert (starts == np.where(tested["claim of the paper"].str.startswith("Residual"), "res", "bn")).all()
        wrong += bool(tested["direction"].isin([REPRODUCED, REFUTED]).any())
    assert wrong / 60 <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / 60)
