"""Parts of `snakemake beyond`: what they ask for is planned, what is wrong ends in one line; numbers over seeds."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from configs import layered, runs_of
from losspatterns.beyond import kind_module, kinds, shades
from losspatterns.beyond.planning import parts_of
from losspatterns.beyond.shown import Mean, number, over_seeds
from losspatterns.errors import InputError


def part(name: str, **options: Any) -> dict[str, Any]:
    """Options of a part, over those of the default scale."""
    return {"beyond": {name: options}}


def experiment(**settings: Any) -> dict[str, Any]:
    """Settings of the experiment of `capacity`."""
    return {"experiments": {"capacity": settings}}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (part("capacity", network="conv"), r"capacity\.network: network: 'conv' is not in experiments\.capacity\.networks"),
        (part("capacity", weights=["nobody"]), r"capacity\.weights: mask: 'nobody' is not in masks"),
        (
            part("capacity", pixels=[["random5_1", "random5_2"], ["random6_1"]]),
            r"capacity\.pixels\[0\]: found 2 masks, .* 1, or 3",
        ),
        (
            part("capacity", frequency=[["board8_2"], ["knight"]]),
            r"capacity\.frequency\[1\]: found 'knight', expected kind: grid",
        ),
        (
            part("capacity", order=[["board8_2"], ["board8_4"]]),
            r"capacity\.order\[1\]: found 'board8_4', expected .* not permuted",
        ),
        (
            part("capacity", order=[["knight8_1"], ["knight8_2"]]),
            r"capacity\.order\[0\]: found 'knight8_1', expected a picture",
        ),
        (
            part("capacity", order=[["knight8"], ["random8_1"]]),
            r"capacity\.order\[1\]: found 'random8_1', .* the same `permuted`",
        ),
        (part("capacity", order=[["board8_2"]]), r"capacity\.order: found .*; tuple should have at least 2 items"),
        (part("capacity", gap=2), r"capacity\.gap: found 2; input should be less"),
        (part("dimensions", sides=[[8], [3, 3]]), r"dimensions\.sides: found boxes of 8, 9 points"),
        (part("dimensions", sides=[[4, 2], [2, 4]]), r"dimensions\.sides: found boxes of one number of axes"),
        (part("dimensions", solid="heart"), r"dimensions\.solid: found 'heart' of 2 axes, expected three"),
        (part("dimensions", solid="no"), r"dimensions\.solid: mask: 'no' is not in masks"),
        (part("dimensions", experiments=["no"]), r"dimensions\.experiments\[0\]: 'no' is not in experiments"),
        (part("ensembles", networks=[3]), r"ensembles: networks: found 3, expected some of the sizes \[1, 2, 4, 8, 16, 32\]"),
        (part("ensembles", sizes=[0]), r"ensembles\.sizes\[0\]: found 0; input should be greater than or equal to 1"),
        (
            part("ensembles", learning_rates=[-1.0]),
            r"ensembles\.learning_rates\[0\]: found -1\.0; input should be greater than 0",
        ),
        (part("ensembles", experiment="x"), r"ensembles: experiment: 'x' is not in experiments"),
        (part("other_data", datasets=["mnits"]), r"other_data: datasets: 'mnits' is not in datasets; known are .*mnist"),
        (
            part("other_data", datasets=["cifar10"]),
            r"other_data: datasets: cifar10 has images of 32 x 32 x 3, fashion_mnist of 28",
        ),
        (part("other_data", masks=["nothing"]), r"other_data: mask: 'nothing' is not in masks"),
        (part("other_data", images=0), r"other_data\.images: found 0; input should be greater than or equal to 1"),
        (part("shades", grey="portrait_two"), r"shades: mask: found 'portrait_two', expected a photograph in grey or colour"),
        (part("shades", grey="nix"), r"shades: mask: 'nix' is not in masks"),
        (part("shades", experiment="nix"), r"shades: experiment: 'nix' is not in experiments"),
        (part("shades", grau="portrait_grey"), r"shades\.grau: unknown key"),
        (
            experiment(surface={"snapshots": False}),
            r"^experiments\.capacity: found snapshots: 8, surface\.snapshots: false, but",
        ),
        (experiment(snapshots=0), r"^experiments\.capacity: found snapshots: 0, .* but beyond\.capacity needs"),
        (
            experiment(surface={"splits": ["test"]}),
            r"^experiments\.capacity\.surface\.splits: found \['test'\], but .* 'validation'",
        ),
    ],
)
def test_wrong_options_end_in_one_line(layer: dict[str, Any], message: str) -> None:
    runs = runs_of(layered("default", layer))
    with pytest.raises(InputError, match=message if message.startswith("^") else rf"^beyond\.{message}") as caught:
        parts_of(runs)
    assert "\n" not in str(caught.value)


def test_the_kind_is_found_by_its_name() -> None:
    assert kind_module("shades") is shades and kinds() == ["capacity", "dimensions", "ensembles", "other_data", "shades"]
    with pytest.raises(InputError, match="kind: found 'nix', expected one of .*shades"):
        kind_module("nix")


@pytest.mark.parametrize("scale", ["default", "hour", "smoke"])
def test_capacity_has_random_pictures_for_each_seed(scale: str) -> None:
    planes = parts_of(runs_of(layered(scale)))["capacity"].needs.surfaces
    assert len({run.path for run in planes}) == len(planes) > 0
    if scale != "smoke":
        assert all(run.mask.endswith(f"_{run.seed}") for run in planes if run.mask.startswith("random"))
        assert {run.seed for run in planes} == {1, 2, 3}


def test_dimensions_has_points_of_its_own_for_each_seed() -> None:
    seeds = {name: {"seeds": [0, 1]} for name in ("dimensions_015", "dimensions_05")}
    runs = runs_of(layered("smoke", {"experiments": seeds, **part("dimensions", experiments=list(seeds))}))
    boxes = [run for run in parts_of(runs)["dimensions"].needs.surfaces if run.mask != "solid"]
    assert len(boxes) == 8 and len({run.mask for run in boxes}) == 8
    assert all(runs.masks[run.mask].seed == run.seed for run in boxes)


def test_shades_trains_its_three_pictures_and_all_trains_none_of_them() -> None:
    runs = runs_of(layered("default"))
    shown = set(runs.every("{mask}"))
    needs = parts_of(runs)["shades"].needs
    assert {run.mask for run in needs.surfaces} == {"portrait_grey", "portrait_colour", "portrait_two"}
    assert set(runs.every("{mask}")) == shown and not any("portrait" in mask for mask in shown)


def test_a_figure_of_a_picture_of_three_axes_is_refused() -> None:
    with pytest.raises(InputError, match=r"figures\.fig2_method.*'solid' has 3 axes; expected a picture of rows and columns"):
        runs_of(layered("smoke", {"figures": {"fig2_method": {"mask": "solid"}}}))


def test_numbers_over_seeds() -> None:
    """Pictures of a seed count as one; three values of 1, 2, 3 have t(2) = 4.303 standard errors on each side."""
    rows = pd.DataFrame({"a": ["x"] * 4 + ["y"], "seed": [1, 1, 2, 3, 1], "q": [0.5, 1.5, 2.0, 3.0, 7.0]})
    first, second = over_seeds(rows, ["a"], ["q"]).to_dict("records")
    mean, single = Mean.at(first, "q"), Mean.at(second, "q")
    assert (first["a"], first["seeds"], second["a"], second["seeds"]) == ("x", 3, "y", 1)
    assert mean == pytest.approx((2, 2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5)) == Mean.of(np.array([1.0, 2.0, 3.0]))
    assert mean.text(1) == "2.0 [\N{MINUS SIGN}0.5, 4.5]" and mean.text(1, signed=True).startswith("+2.0 [")
    assert mean.says("above", "below") == "not told apart" and mean.says("above", "below", value=-1) == "above"
    assert mean.says("above", "below", "neither", value=5) == "below"
    assert single.text() == "7.00" and single.says("above", "below", "neither") == "neither" and math.isnan(single.low)
    assert number(-math.inf) == "\N{MINUS SIGN}\N{INFINITY}" and number(math.nan) == "unknown"
