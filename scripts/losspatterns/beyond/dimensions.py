"""More directions than two: lines, boxes of up to six axes, and a solid that reads as two letters.

The same number of trained points, half of them white at random, is laid out along one axis, two, three and so on, and trained
alike: does the gap depend on the number of directions? And one picture of three axes, to be looked at from its sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise, product
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from ..errors import InputError
from ..settings import Many, PartOptions, RandomPointsMask, Several
from . import Needs

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure

    from ..runs import Runs

CAPTION = """\
**More directions than two.** (a) Test accuracy gap of the same number of random points along one axis and more; one dot a seed,
mean and 95 % interval over seeds, and two controls: the untrained plane, and the mask shuffled. (b) A solid that reads as two
letters: its mask, and the least test loss along an axis, of the trained plane and of the untrained one.
"""
CHOICE, REPORTED = "validation", "test"
SIGHTS = (2, 1)  # the axes along which the solid is looked at, from the front and from the side
Sides = Annotated[Many[Annotated[int, Field(ge=2)]], Field(min_length=1, max_length=6)]


class Options(PartOptions):
    """Random points on boxes of several shapes, all of the same number of points, and a solid."""

    experiments: Several[str] = Field(
        description="Experiments that train the points, one for each step that is tried; the best on validation images counts."
    )
    sides: Several[Sides] = Field(description="The boxes: points along each axis.")
    solid_experiment: str = Field(description="The experiment that trains the solid.")
    solid: str = Field(description="The name of a mask of three axes.")


def needs(options: Options, key: str, runs: Runs) -> Needs:
    """Every box with every experiment and seed, points of its own for each seed; the solid with every seed."""
    if len(totals := sorted({math.prod(sides) for sides in options.sides})) > 1:
        raise InputError(f"{key}.sides: found boxes of {', '.join(map(str, totals))} points, expected equally many in all")
    if len({len(sides) for sides in options.sides}) < 2:
        raise InputError(f"{key}.sides: found boxes of one number of axes, expected two numbers or more")
    surfaces = []
    for number, experiment in enumerate(options.experiments):
        at = f"{key}.experiments[{number}]"
        runs.known(at, experiment, "experiments")
        for sides, seed in product(options.sides, runs.settings.experiments[experiment].seeds):
            points = RandomPointsMask(kind="random_points", sides=sides, seed=seed)
            mask = runs.add_mask(at, f"{experiment}_{'x'.join(map(str, sides))}_{seed}", points)
            surfaces += [run for run in runs.pictures(at, experiment, mask, any_axes=True, seeds=[seed])]
    solids = runs.pictures(f"{key}.solid", options.solid_experiment, options.solid, any_axes=True)
    if runs.masks[options.solid].axes != 3:
        raise InputError(f"{key}.solid: found {options.solid!r} of {runs.masks[options.solid].axes} axes, expected three")
    for run, splits in [*((run, (CHOICE, REPORTED)) for run in surfaces), *((run, (REPORTED,)) for run in solids)]:
        for split in splits:
            run.has(key, split, run.protocols[0])
    return Needs(surfaces=[*surfaces, *solids])


def numbers(loss: np.ndarray, accuracy: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Of arrays of one shape, at trained points alone: mean accuracies, gap, and AUC of the loss (white is low)."""
    from ..analysis.scores import auc

    white, black = accuracy[mask == 1].mean(), accuracy[mask == -1].mean()
    trained = mask != 0
    area = auc(-loss[trained], mask[trained] == 1)
    return {"accuracy_white": float(white), "accuracy_black": float(black), "gap": float(white - black), "auc": area}


def table(options: Options, measured: None, surfaces: Sequence[tuple[xr.Dataset, dict[str, Any]]]) -> pd.DataFrame:
    """A row for each plane, split and control: trained, untrained, shuffled (a trained plane, its mask's points moved about).

    `chosen`: of a number of axes, the step with the largest mean gap on validation images.
    """
    import pandas as pd

    from ..analysis.scores import shuffled

    rows = []
    for surface, made_by in surfaces:
        mask, solid = surface["mask"].values, made_by["mask"]["name"] == options.solid
        which = {
            "what": "solid" if solid else "points",
            "axes": mask.ndim,
            "sides": " x ".join(map(str, mask.shape)),
            "points": int((mask != 0).sum()),
            **{key: made_by["training"][key] for key in ("recipe", "tau", "images", "step")},
            "seed": made_by["seed"],
            "passes": made_by["image_passes"],
            "network": made_by["network"]["name"],
            "label": made_by["dataset"]["label"],
        }
        other, _ = shuffled(mask, mask == 1)
        for split in surface["split"].values.tolist():
            for control, stage, signs in (
                ("trained", "trained", mask),
                ("untrained", "untrained", mask),
                ("shuffled", "trained", other),
            ):
                values = surface.sel(stage=stage, split=split).isel(protocol=0)
                found = numbers(values["loss"].values, values["accuracy"].values, signs)
                rows.append({**which, "split": split, "control": control, **found})
    frame = pd.DataFrame(rows)
    trained = frame[(frame["control"] == "trained") & (frame["split"] == CHOICE) & (frame["what"] == "points")]
    best = trained.groupby(["axes", "step"])["gap"].mean().unstack().idxmax(axis=1)
    frame["chosen"] = (frame["what"] == "solid") | (frame["step"] == frame["axes"].map(best))
    return frame


def reported(frame: pd.DataFrame, what: str, control: str = "trained") -> pd.DataFrame:
    """The chosen rows of the reported split."""
    kept = (frame["what"] == what) & (frame["split"] == REPORTED) & (frame["control"] == control)
    return frame[kept & frame["chosen"].astype(bool)]


def slope(frame: pd.DataFrame) -> tuple[float, float, float]:
    """Change of the gap with each further axis, least squares for each seed: mean over seeds and its 95 % interval."""
    import pandas as pd

    from ..analysis.study import interval

    fits = [np.polyfit(own["axes"], own["gap"], 1)[0] for _, own in reported(frame, "points").groupby("seed")]
    return interval(pd.Series(fits))


def one_by_one(frame: pd.DataFrame) -> str:
    """In words: which numbers of axes differ from the next smaller one, paired by seed, and which are not told apart."""
    from ..analysis.study import interval
    from .seeds import told

    gaps = reported(frame, "points").pivot(index="seed", columns="axes", values="gap")
    differs, rest = [], []
    for fewer, more in pairwise(gaps):
        found = interval(gaps[more] - gaps[fewer])
        (differs if found[1] * found[2] > 0 else rest).append(f"{more} axes and {fewer}: {told(found, 3)}")
    return f"Differs: {'; '.join(differs) or 'none'}. Not told apart: {'; '.join(rest) or 'none'}."


def over(control: str, frame: pd.DataFrame) -> tuple[float, float, float]:
    """The solid's gap minus a control's, mean over seeds and its 95 % interval."""
    from ..analysis.study import interval

    own, other = (reported(frame, "solid", name).set_index("seed")["gap"] for name in ("trained", control))
    return interval(own - other)


def verdict(options: Options, frame: pd.DataFrame) -> str:
    """A table and two answers."""
    from ..analysis.claims import markdown
    from ..analysis.study import interval
    from .seeds import told

    points, solid = reported(frame, "points"), reported(frame, "solid")
    head = ["axes", "points", "step", "gap", "AUC", "accuracy white", "accuracy black", "gap, untrained", "gap, shuffled"]
    rows = []
    for what, group in [*points.groupby("axes"), ("solid", solid)]:
        first = group.iloc[0]
        kind = "points" if what != "solid" else "solid"
        controls = (reported(frame, kind, name) for name in ("untrained", "shuffled"))
        means = [rows.loc[rows["axes"] == first["axes"], "gap"].mean() for rows in controls]
        name = first["axes"] if kind == "points" else "3, solid"
        kinds = [told(np.minimum(interval(group[value]), 1)) for value in ("gap", "auc")]
        accuracies = [f"{group[value].mean():.2f}" for value in ("accuracy_white", "accuracy_black")]
        sizes = [str(name), f"{first['sides']} ({first['points']} trained)", f"{first['step']:g}"]
        rows.append([*sizes, *kinds, *accuracies, *(f"{mean:.2f}" for mean in means)])
    seeds = points["seed"].nunique()
    change = slope(frame)
    changes = f"with each further axis it changes by {told(change, 3)}"
    if not change[1] * change[2] > 0:
        answer = f"**Gap and number of axes are not told apart**: {changes}."
    else:
        word = "falls" if change[0] < 0 else "grows"
        answer = f"**The gap {word} with the number of axes**: {changes}."
    area, above = interval(solid["auc"]), {name: over(name, frame) for name in ("untrained", "shuffled")}
    there = area[1] > 0.5 and all(difference[1] > 0 for difference in above.values())
    answers = {True: "**The solid is there**", False: "**The solid is not told apart from its controls**"}[there]
    rest = "; ".join(f"its gap is {told(difference, 3)} above that of the {name} control" for name, difference in above.items())
    label, passes = points["label"].iloc[0], " or ".join(f"{count:,}" for count in sorted(points["passes"].unique()))
    network = " and ".join(sorted({*points["network"], *solid["network"]}))
    used = points.iloc[0]
    how = (
        f"{label}, test images, network {network}, {seeds} seeds (95 % intervals), each with points and "
        f"initialisations of its own; "
        f"{passes} image passes for each box, {solid['passes'].iloc[0]:,} for the solid. The step was chosen for each number "
        f"of axes on validation images. Not the paper's setting: recipe {used['recipe']} with tau {used['tau']:g} nats and "
        f"{used['images']} images for a point and update (solid: {solid['images'].iloc[0]}), where the paper has 2.5 and 512; "
        "a small network; other pictures than those of two axes."
    )
    last = f"{answers}: AUC {told(np.minimum(area, 1), 3)}; {rest}."
    return "\n".join([how, "", markdown(head, rows), answer, "", one_by_one(frame), "", last, ""])


def projections(loss: np.ndarray) -> list[np.ndarray]:
    """The least loss along the last axis and along the second of three: where the front and the side letter are to be seen."""
    return [loss.min(axis=axis) for axis in SIGHTS]


def draw(options: Options, frame: pd.DataFrame, surfaces: Sequence[tuple[xr.Dataset, dict[str, Any]]]) -> Figure:
    """The gap against the number of axes; the solid's mask, trained and untrained projections from both sides."""
    from matplotlib.colors import LogNorm

    from ..analysis.study import interval
    from ..data.masks import fill
    from ..figures.style import DOUBLE, SMALL, new_figure, place, small, write

    figure = new_figure(DOUBLE, 2.8)
    axes = place(figure, 0.55, 0.3, 2.3, 1.95)
    looks = {  # colour, marker, label
        "trained": ("#1f4e79", "o", "trained"),
        "untrained": ("0.6", "s", "untrained"),
        "shuffled": ("#c98b3a", "^", "shuffled mask"),
    }
    for control, (colour, marker, label) in looks.items():
        points = reported(frame, "points", control)
        groups = points.groupby("axes")["gap"]
        mean, low, high = np.array([interval(group) for _, group in groups]).T
        at = list(groups.groups)
        axes.plot(at, mean, color=colour, marker=marker, markersize=3, label=label, zorder=3)
        if control == "trained":
            axes.scatter(points["axes"], points["gap"], s=5, color=colour, alpha=0.5, lw=0)
            if np.isfinite(low).all():
                axes.fill_between(at, low, high, color=colour, alpha=0.15, lw=0)
    axes.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    axes.set(xlabel="axes of the box", ylabel="accuracy gap")
    axes.set_xticks(at)
    axes.set_title(f"(a) {points['points'].iloc[0]} points, test images", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="best")
    surface, made_by = next(pair for pair in surfaces if pair[1]["mask"]["name"] == options.solid)
    loss = surface["loss"].sel(split=REPORTED).isel(protocol=0)
    picture = fill(surface["mask"].values)
    letters = [picture.any(axis=axis) for axis in SIGHTS]
    shown = {stage: projections(loss.sel(stage=stage).values) for stage in ("trained", "untrained")}
    pairs = list(zip(shown["trained"], letters, strict=True))
    ends = [np.median(np.concatenate([image[letter == inside] for image, letter in pairs])) for inside in (True, False)]
    norm = LogNorm(max(min(ends), 1e-3), max(*ends, 1.5 * min(ends), 2e-3))
    side, left, top = 0.88, 3.55, 0.42
    write(figure, left - 0.3, 0.1, f"(b) a solid, {' × '.join(map(str, picture.shape))}, seed {made_by['seed']}", ha="left")
    for column, (title, images) in enumerate(({"mask": letters} | shown).items()):
        for row, (image, word) in enumerate(zip(images, ("front", "side"), strict=True)):
            panel = place(figure, left + column * (side + 0.07), top + row * (side + 0.07), side, side)
            panel.set(xticks=[], yticks=[])
            if title == "mask":
                panel.imshow(image, cmap="gray", vmin=0, vmax=1)
                panel.set_ylabel(word, fontsize=SMALL, labelpad=2)
            else:
                drawn = panel.imshow(image, cmap="RdBu_r", norm=norm)
        small(figure, left + column * (side + 0.07) + side / 2, top - 0.13, title)
    below = place(figure, left + side + 0.07, top + 2 * side + 0.17, 2 * side + 0.07, 0.08)
    bar = figure.colorbar(drawn, cax=below, orientation="horizontal")
    ticks = [norm.vmin, math.sqrt(norm.vmin * norm.vmax), norm.vmax]
    bar.set_ticks(ticks, labels=[f"{sign}{tick:.2g}" for sign, tick in zip(("≤ ", "", "≥ "), ticks, strict=True)])
    bar.minorticks_off()
    bar.set_label("least test loss along the line of sight (nats)", fontsize=SMALL, labelpad=1)
    return figure
