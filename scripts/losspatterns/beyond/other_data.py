"""Planes on other data: do black and white stay when images or labels are not those that the plane was trained for?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from ..data.dataset_file import TRY_AGAIN
from ..errors import InputError
from ..settings import NO_BATCH_NORM, Many, PartOptions, Several
from . import Needs

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from matplotlib.figure import Figure

    from ..data.dataset_file import Dataset
    from ..method.plane import Plane
    from ..method.plane_file import TrainedPlane
    from ..runs import Runs

CAPTION = """\
**Planes on other data.** Trained planes on images and labels that they were not trained for, at the trained pixels; mean over
seeds and its 95 % interval. (a) Mean loss of the white and of the black pixels; dashed: the loss of guessing. (b) AUC of the
loss, black above white; dashed: chance. (c) Mean accuracy of the white and of the black pixels; dashed: guessing.
"""
LOSS_TICKS = (0.3, 1, 3, 10, 30, 100, 300, 1000)
QUANTITIES = ("accuracy_white", "accuracy_black", "accuracy_gap", "loss_white", "loss_black", "auc")
DIFFERENCE = "trained minus untrained"
CONTROLS = ("trained", "untrained", "shuffled mask")


class Options(PartOptions):
    """Pictures of one experiment, on their own test images, permuted and shuffled labels, noise and other data sets."""

    experiment: str = Field(description="The experiment's name.")
    masks: Several[str] = Field(description="Names of masks.")
    images: int = Field(500, ge=1, description="Test images of each data set.")
    datasets: Many[str] = Field((), description="Names of other data sets, with images of the same shape and as many classes.")


def needs(options: Options, key: str, runs: Runs) -> Needs:
    """Every seed of every picture, and the other data sets. InputError for one whose images have another shape."""
    planes = [run for mask in options.masks for run in runs.pictures(key, options.experiment, mask)]
    own = runs.settings.datasets[planes[0].dataset].image_shape
    for name in options.datasets:
        runs.known(f"{key}: datasets", name, "datasets")
        if (found := runs.settings.datasets[name].image_shape) != own:
            sizes = [" x ".join(map(str, shape)) for shape in (found, own)]
            raise InputError(f"{key}: datasets: {name} has images of {sizes[0]}, {planes[0].dataset} of {sizes[1]}")
    return Needs(planes=planes, datasets=list(options.datasets))


def variants(
    own: Dataset, others: Sequence[Dataset], count: int, seed: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray, str]]:
    """Of each data that a plane is looked at on: name, at most `count` images (N, H, W, C), labels (N,), why there are none.

    Class names are permuted by a random cycle, so that each class gets another's name. Noise: the pixels of all images
    exchanged at random, so that it has their values and nothing else of them.
    """
    from ..method.surface import choose_images

    def chosen(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
        index = choose_images(len(data.x_test), count, 0)
        return data.x_test[index], data.y_test[index]

    images, labels = chosen(own)
    rng = np.random.default_rng(seed)
    cycle, renamed = rng.permutation(len(own.class_names)), np.empty(len(own.class_names), np.int64)
    renamed[cycle] = np.roll(cycle, 1)
    yield own.label, images, labels, ""
    yield "class names permuted", images, renamed[labels], ""
    yield "labels shuffled", images, rng.permutation(labels), ""
    yield "noise", rng.permutation(images.ravel()).reshape(images.shape), labels, ""
    for other in others:
        yield (other.label, *chosen(other), other.source if other.absent else "")


def measure(
    options: Options,
    trained: TrainedPlane,
    untrained: Plane,
    mask: np.ndarray,
    datasets: Sequence[Dataset],
    device: torch.device,
) -> list[dict[str, Any]]:
    """A row for each data and control. InputError for a data set with another number of classes."""
    import torch

    from ..analysis.scores import auc, shuffled
    from ..method.images import labels_on
    from ..method.surface import evaluate_points

    own, *others = datasets
    classes = len(own.class_names)
    for other in others:
        if not other.absent and len(other.class_names) != classes:
            raise InputError(f"datasets: {other.label} has {len(other.class_names)} classes, the planes tell {classes} apart")
    coordinates = torch.from_numpy(np.argwhere(mask != 0)).to(device)
    white = mask[mask != 0] == 1
    protocol = "batch" if trained.network.norms else NO_BATCH_NORM
    rows = []
    for data, images, labels, missing in variants(own, others, options.images, trained.provenance["seed"]):
        about = {"data": data, "images": len(images), "guess": math.log(classes), "missing": missing}
        if missing:
            rows.append({**about, "control": "trained", **dict.fromkeys(QUANTITIES, math.nan)})
            continue
        given = trained.scaling.inputs(images), labels_on(device, labels), protocol
        found = {
            name: evaluate_points(trained.network, plane, coordinates, *given)
            for name, plane in (("trained", trained.plane), ("untrained", untrained))
        }
        found["shuffled mask"] = found["trained"]
        for control, (loss, accuracy) in found.items():
            of = shuffled(white, white)[0] if control == "shuffled mask" else white
            row = {
                f"{name}_{colour}": values[pixels].mean()
                for name, values in (("accuracy", accuracy), ("loss", loss))
                for colour, pixels in (("white", of), ("black", ~of))
            }
            row["accuracy_gap"] = row["accuracy_white"] - row["accuracy_black"]
            rows.append({**about, "control": control, **row, "auc": auc(-loss, of)})
    return rows


def table(options: Options, measured: pd.DataFrame, surfaces: Sequence[Any]) -> pd.DataFrame:
    """Means and intervals over seeds of each data and control, and of trained minus untrained planes, paired."""
    import pandas as pd

    from .seeds import over_seeds

    about = ["data", "images", "guess", "missing"]
    rows = measured.fillna({"missing": ""})
    planes = [
        rows[(rows["control"] == control) & (rows["missing"] == "")].set_index([*about, "mask", "network", "seed"])
        for control in CONTROLS[:2]
    ]
    minus = (planes[0][list(QUANTITIES)] - planes[1][list(QUANTITIES)]).reset_index().assign(control=DIFFERENCE)
    return over_seeds(pd.concat([rows, minus], ignore_index=True), [*about, "control"], QUANTITIES)


def verdict(options: Options, table: pd.DataFrame) -> str:
    """A table, and whether white and black pixels are on their side of guessing, and in order."""
    from ..analysis.claims import markdown
    from ..figures.style import listed
    from .seeds import side_of, written

    missing = table["missing"].fillna("") != ""
    here = table[~missing & (table["control"] == "trained")]
    others = {control: table[table["control"] == control].set_index("data") for control in CONTROLS[1:]}
    head = ["data", "AUC", "gap", "loss, white", "loss, black", "accuracy, white", "accuracy, black"]
    lines = []
    for _, row in here.iterrows():
        numbers = [written(row, "auc"), written(row, "accuracy_gap")]
        numbers += [f"{row[name]:.2f}" for name in ("loss_white", "loss_black", "accuracy_white", "accuracy_black")]
        lines.append([row["data"], *numbers, *(f"{of.loc[row['data'], 'auc']:.2f}" for of in others.values())])
    gone = table[missing]
    lines += [[name, "not available here", *[""] * (len(head) - 2 + len(others))] for name in gone["data"]]

    def data_where(rows: pd.DataFrame, quantity: str, value: float, words: dict[int, str]) -> str:
        sides = [side_of(row, quantity, value) for _, row in rows.iterrows()]
        groups = {side: [n for n, s in zip(rows["data"], sides, strict=True) if s == side] for side in words}
        return "; ".join(f"{words[side]} on {listed(names)}" for side, names in groups.items() if names)

    guess = here["guess"].iloc[0]
    white = {-1: "stay white", 1: "turn black", 0: "are not told apart from guessing"}
    black = {1: "stay black", -1: "turn white", 0: "are not told apart from guessing"}
    zero = {1: "above 0", -1: "below 0", 0: "not told apart from 0"}
    order = {1: "is still there", -1: "is turned over", 0: "is not told apart from chance"}
    more = {1: "higher", -1: "lower", 0: "not told apart"}
    minus = table[table["control"] == DIFFERENCE]
    text = [
        f"Mean over {here['seeds'].iloc[0]} seeds (95 % interval); {here['images'].iloc[0]:,} test images; trained pixels.",
        f"A pixel counts as white if its loss is below that of guessing ({guess:.2f} nats), as black if above.",
        f"White pixels {data_where(here, 'loss_white', guess, white)}.",
        f"Black pixels {data_where(here, 'loss_black', guess, black)}.",
        f"The accuracy gap is {data_where(here, 'accuracy_gap', 0.0, zero)}.",
        f"The order of the colours (AUC against 0.5) {data_where(here, 'auc', 0.5, order)}.",
        f"Against the untrained plane, the AUC is {data_where(minus, 'auc', 0.0, more)}.",
    ]
    text += [f"Not available here: {row['missing']}; {TRY_AGAIN}." for _, row in gone.iterrows()]
    return markdown([*head, *(f"AUC, {name}" for name in others)], lines, numbers=True) + "\n" + "\n".join(text) + "\n"


def draw(options: Options, table: pd.DataFrame, surfaces: Sequence[Any]) -> Figure:
    """Three panels side by side, a line per data."""
    from matplotlib.ticker import NullLocator

    from ..figures.style import DOUBLE, SMALL, new_figure, place, small, wrap

    missing = table["missing"].fillna("") != ""
    rows = table[~missing & (table["control"] != DIFFERENCE)]
    names = list(dict.fromkeys(rows["data"]))
    height = 0.26 * len(names) + 0.1
    first = rows.iloc[0]
    text = f"{first['images']:,} test images; mean over {first['seeds']} seeds and 95 % interval"
    gone = table[missing]["data"]
    text += f"; not available here: {', '.join(gone)}" if len(gone) else ""
    note = wrap(text, DOUBLE - 0.2, SMALL)
    figure = new_figure(DOUBLE, height + 0.98 + 0.125 * len(note))
    looks = {
        ("trained", "white"): ("white pixels", "o", "white", "0.25"),
        ("trained", "black"): ("black pixels", "o", "black", "black"),
        ("trained", "auc"): ("trained", "D", "tab:red", "tab:red"),
        ("untrained", "auc"): ("untrained", "s", "0.6", "0.6"),
        ("shuffled mask", "auc"): ("shuffled mask", "x", "tab:blue", "tab:blue"),
    }
    panels = (
        ("(a) loss (nats)", [("trained", "loss_white"), ("trained", "loss_black")], first["guess"]),
        ("(b) AUC of the loss", [(control, "auc") for control in reversed(CONTROLS)], 0.5),
        ("(c) accuracy", [("trained", "accuracy_white"), ("trained", "accuracy_black")], math.exp(-first["guess"])),
    )
    for number, (title, shown, chance) in enumerate(panels):
        axes = place(figure, 1.72 + 1.72 * number, 0.28, 1.52, height)
        axes.axvline(chance, color="0.5", linewidth=0.7, linestyle=(0, (3, 3)), zorder=1)
        for control, quantity in shown:
            of = rows[rows["control"] == control].set_index("data").loc[names]
            label, marker, face, edge = looks[control, quantity.rpartition("_")[2]]
            places = np.arange(len(names))
            ends = of[f"{quantity}_low"], of[f"{quantity}_high"]
            low, high = (np.maximum(end, 1e-2) if number == 0 else end for end in ends)
            axes.hlines(places, low, high, color=edge, linewidth=1.0, zorder=2)
            colours = {"color": face} if marker == "x" else {"facecolor": face, "edgecolor": edge}
            axes.scatter(of[quantity], places, 16, marker=marker, linewidth=0.9, label=label, zorder=3, **colours)
        axes.set(ylim=(len(names) - 0.5, -0.5), xscale="log" if number == 0 else "linear")
        if number:
            axes.set_xlim(-0.03, 1.03)
            axes.set_xticks([0, 0.5, 1], labels=["0", "0.5", "1"])
        else:
            low, high = axes.get_xlim()
            ticks = [tick for tick in LOSS_TICKS if low < tick < high]
            axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_yticks(range(len(names)), labels=[] if number else names)
        axes.set_title(title, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        if number < 2:
            middle = 1.72 + 1.72 * number + (0.76, 1.62)[number]
            box = middle / DOUBLE, 1 - (height + 0.68) / figure.get_size_inches()[1]
            figure.legend(
                *axes.get_legend_handles_labels(),
                loc="center",
                bbox_to_anchor=box,
                ncols=3,
                columnspacing=0.8,
                handletextpad=0.2,
            )
    small(figure, 0.1, height + 0.92, "\n".join(note), ha="left")
    return figure
