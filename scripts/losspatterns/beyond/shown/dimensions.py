"""More directions than two: gaps against the number of axes, and a solid seen from its sides."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ...analysis.report import markdown
from ...analysis.scores import auc, shuffled
from ...data.masks import fill
from ...figures.style import DOUBLE, NORMAL, SMALL, new_figure
from ..dimensions import CHOICE, REPORTED, Options
from . import CONTROLS, Mean, Surfaces, draw_mean, number, over_seeds

SIGHTS = {"front": 2, "side": 1}  # the axes along which the solid is looked at
LOOKS = {
    "trained": {"color": "#1f4e79", "marker": "o"},
    "untrained": {"color": "0.6", "marker": "s"},
    "shuffled": {"color": "#c98b3a", "marker": "^"},
}


def numbers(loss: np.ndarray, accuracy: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Of arrays of one shape, at trained points alone: mean accuracies, gap, and AUC of the loss (white is low)."""
    white, black, trained = accuracy[mask == 1].mean(), accuracy[mask == -1].mean(), mask != 0
    area = auc(-loss[trained], mask[trained] == 1)
    return {"accuracy_white": float(white), "accuracy_black": float(black), "gap": float(white - black), "auc": area}


def table(options: Options, measured: None, surfaces: Surfaces) -> pd.DataFrame:
    """A row for each plane, split and control: trained, untrained, shuffled (a trained plane, its mask's points moved about).

    `chosen`: of a number of axes, the step with the largest mean gap on validation images.
    """
    rows = []
    for surface, made_by in surfaces:
        mask = surface["mask"].values
        which = {
            "what": "solid" if made_by["mask"]["name"] == options.solid else "points",
            "axes": mask.ndim,
            "sides": " x ".join(map(str, mask.shape)),
            "points": int((mask != 0).sum()),
            **{key: made_by["training"][key] for key in ("recipe", "tau", "images", "step")},
            "seed": made_by["seed"],
            "passes": made_by["image_passes"],
            "network": made_by["network"]["name"],
            "label": made_by["dataset"]["label"],
        }
        for split in surface["split"].values.tolist():
            for control, stage in CONTROLS.items():
                values = surface.sel(stage=stage, split=split).isel(protocol=0)
                signs = shuffled(mask, mask == 1)[0] if control == "shuffled" else mask
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


def slope(frame: pd.DataFrame) -> Mean:
    """Change of the gap with each further axis, least squares for each seed."""
    fits = [np.polyfit(own["axes"], own["gap"], 1)[0] for _, own in reported(frame, "points").groupby("seed")]
    return Mean.of(pd.Series(fits))


def one_by_one(frame: pd.DataFrame) -> str:
    """In words: which numbers of axes differ from the next smaller one, paired by seed, and which are not told apart."""
    gaps = reported(frame, "points").pivot(index="seed", columns="axes", values="gap")
    found: dict[str, list[str]] = {"Differs": [], "Not told apart": []}
    for fewer, more in pairwise(gaps):
        difference = Mean.of(gaps[more] - gaps[fewer])
        found[difference.says("Differs", "Differs", "Not told apart")].append(f"{more} axes and {fewer}: {difference.text(3)}")
    return " ".join(f"{word}: {'; '.join(pairs) or 'none'}." for word, pairs in found.items())


def verdict(options: Options, frame: pd.DataFrame) -> str:
    """A table and two answers."""
    points, solid = reported(frame, "points"), reported(frame, "solid")
    head = ["axes", "points", "step", "gap", "AUC", "accuracy white", "accuracy black", "gap, untrained", "gap, shuffled"]
    rows = []
    for name, group in [*points.groupby("axes"), ("3, solid", solid)]:
        first = group.iloc[0]
        sizes = [name, f"{first['sides']} ({first['points']} trained)", f"{first['step']:g}"]
        means = [Mean(*np.minimum(Mean.of(group[value]), 1)).text() for value in ("gap", "auc")]
        controls = (reported(frame, first["what"], control) for control in ("untrained", "shuffled"))
        others = [group["accuracy_white"], group["accuracy_black"]]
        others += [of.loc[of["axes"] == first["axes"], "gap"] for of in controls]
        rows.append([*sizes, *means, *(number(values.mean()) for values in others)])
    change, passes = slope(frame), " or ".join(f"{count:,}" for count in sorted(points["passes"].unique()))
    answer = change.says("The gap grows with", "The gap falls with", "Not told apart: gap and")
    of_solid = solid.set_index("seed")["gap"]
    above = {
        control: Mean.of(of_solid - reported(frame, "solid", control).set_index("seed")["gap"])
        for control in ("untrained", "shuffled")
    }
    area = Mean.of(solid["auc"])
    there = area.low > 0.5 and all(difference.low > 0 for difference in above.values())
    rest = "; ".join(f"its gap is {difference.text(3)} above that of the {name} control" for name, difference in above.items())
    used = points.iloc[0]
    how = (
        f"{used['label']}, test images, network {' and '.join(sorted({*points['network'], *solid['network']}))}, "
        f"{points['seed'].nunique()} seeds (95 % intervals), each with points and initialisations of its own; "
        f"{passes} image passes for each box, {solid['passes'].iloc[0]:,} for the solid. The step was chosen for each number "
        f"of axes on validation images. Not the paper's setting: recipe {used['recipe']} with tau {used['tau']:g} nats and "
        f"{used['images']} images for a point and update (solid: {solid['images'].iloc[0]}), where the paper has 2.5 and 512; "
        "a small network; other pictures than those of two axes."
    )
    answers = (
        f"**{answer} the number of axes**: with each further axis it changes by {change.text(3)}.",
        one_by_one(frame),
        f"**The solid is {'there' if there else 'not told apart from its controls'}**: "
        f"AUC {Mean(*np.minimum(area, 1)).text(3)}; {rest}.",
    )
    return "\n\n".join([how, markdown(head, rows).rstrip(), *answers]) + "\n"


def draw(options: Options, frame: pd.DataFrame, surfaces: Surfaces) -> Figure:
    """The gap against the number of axes; the solid's mask, trained and untrained projections from both sides."""
    figure = new_figure(DOUBLE, 2.8)
    figure.set_layout_engine("constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[3, 4])
    axes = left.subplots()
    for control, look in LOOKS.items():
        points = reported(frame, "points", control)
        of_axes = over_seeds(points, ["axes"], ["gap"])
        axes.plot(of_axes["axes"], of_axes["gap"], markersize=3, label=control, zorder=3, **look)
    trained = reported(frame, "points")
    draw_mean(axes, over_seeds(trained, ["axes"], ["gap"]), "axes", "gap", color=LOOKS["trained"]["color"])
    axes.scatter(trained["axes"], trained["gap"], s=5, color=LOOKS["trained"]["color"], alpha=0.5, lw=0)
    axes.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    axes.set(xlabel="axes of the box", ylabel="accuracy gap", xticks=of_axes["axes"])
    axes.set_title(f"(a) {points['points'].iloc[0]} points, test images", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend()
    surface, made_by = next(pair for pair in surfaces if pair[1]["mask"]["name"] == options.solid)
    loss, picture = surface["loss"].sel(split=REPORTED).isel(protocol=0), fill(surface["mask"].values)
    letters = [picture.any(axis=axis) for axis in SIGHTS.values()]
    losses = {stage: loss.sel(stage=stage).values for stage in ("trained", "untrained")}
    shown = {stage: [values.min(axis=axis) for axis in SIGHTS.values()] for stage, values in losses.items()}
    pairs = list(zip(shown["trained"], letters, strict=True))
    ends = [np.median(np.concatenate([image[letter == inside] for image, letter in pairs])) for inside in (True, False)]
    norm = LogNorm(max(min(ends), 1e-3), max(*ends, 1.5 * min(ends), 2e-3))
    right.suptitle(f"(b) a solid, {' × '.join(map(str, picture.shape))}, seed {made_by['seed']}", fontsize=NORMAL)
    grid = right.subplots(2, 3)
    for column, (title, images) in zip(grid.T, ({"mask": letters} | shown).items(), strict=True):
        for panel, image in zip(column, images, strict=True):
            look = {"cmap": "gray"} if title == "mask" else {"cmap": "RdBu_r", "norm": norm}
            drawn = panel.imshow(image, **look)
            panel.set(xticks=[], yticks=[])
        column[0].set_title(title, fontsize=SMALL)
    for panel, word in zip(grid[:, 0], SIGHTS, strict=True):
        panel.set_ylabel(word, fontsize=SMALL)
    bar = right.colorbar(drawn, ax=grid[:, 1:], location="bottom", aspect=25)
    ticks = [norm.vmin, math.sqrt(norm.vmin * norm.vmax), norm.vmax]
    bar.set_ticks(ticks, labels=[f"{sign}{tick:.2g}" for sign, tick in zip(("≤ ", "", "≥ "), ticks, strict=True)])
    bar.minorticks_off()
    bar.set_label("least test loss along the line of sight (nats)", fontsize=SMALL)
    return figure
