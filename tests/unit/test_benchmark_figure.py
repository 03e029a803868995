"""The figure of the benchmarks: means over seeds in their band, and text that can be read."""

import pandas as pd
import pytest
from figure_checks import check_layout, check_texts
from losspatterns.figures.style import PAGE
from summarise import draw


def curves(masks: tuple[str, ...], seeds: tuple[int, ...] = (0, 1), variants: int = 3) -> pd.DataFrame:
    """Made-up curves; the gap of `fast` at its last checkpoint is 0.5 for seed 0 and 0.6 for seed 1."""
    bests = {"fast": 0.5} | {f"a_variant_{k}": 0.3 - k / 50 for k in range(1, variants)}
    rows = [
        {"mask": mask, "variant": variant, "seed": seed, "network": "study_batchnorm"}
        | {"image_passes": passes, "gap": best * passes / 400_000 + seed / 10}
        for mask in masks
        for variant, best in bests.items()
        for seed in seeds
        for passes in (0, 25_000, 100_000, 400_000)
    ]
    return pd.DataFrame(rows)


MANY = tuple(f"m{k}" for k in range(12))


@pytest.mark.parametrize(
    "table", [curves(("heart", "knight", "skull50"), variants=9), curves(("heart",), (0,), 1), curves(MANY)]
)
def test_the_benchmarks_can_be_read(table: pd.DataFrame) -> None:
    figure = draw(table)
    check_layout(figure)
    assert figure.get_size_inches()[1] <= PAGE
    check_texts(figure, *(f"{mask}, network study batchnorm" for mask in table["mask"].unique()), "image passes", "fast")


def test_a_panel_draws_means_over_seeds_in_their_band() -> None:
    table = curves(("heart", "knight"))
    only_heart = table[(table["mask"] == "heart") | (table["variant"] == "fast")]
    figure = draw(only_heart)
    heart, knight = figure.axes
    assert [len(axes.collections) for axes in (heart, knight)] == [3, 1]
    fast = heart.lines[0]
    assert fast.get_xdata().tolist() == [25_000, 100_000, 400_000]  # no zero on a logarithmic axis
    assert fast.get_ydata() == pytest.approx([0.5 / 16 + 0.05, 0.5 / 4 + 0.05, 0.55])
    band = heart.collections[0].get_paths()[0].get_extents()
    assert (band.ymin, band.ymax) == pytest.approx((0.5 / 16, 0.6))
    assert len({line.get_color() for line in heart.lines[:3]}) == 3 and knight.lines[0].get_color() == fast.get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["fast", "a variant 1", "a variant 2"]
