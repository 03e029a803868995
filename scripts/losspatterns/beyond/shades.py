"""Grey and colour: a photograph as a loss surface, each pixel with a target of its log loss, beside the same in two tones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from ..settings import PartOptions
from . import Needs

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure

    from ..runs import Runs

CAPTION = """\
**A photograph in a plane.** Test images, first seed. Shades are log losses: light is low. Upper row: the photograph in grey;
the loss of the untrained plane; of a plane trained with the two-tone picture; of a plane trained with a target for each grey
level. Lower row: the photograph in colour, red, green and blue being the losses of three groups of classes; the untrained and
the trained plane; the losses of the grey plane's pixels against their targets.
"""
COLUMNS = (("Spearman", "spearman", 2), ("PSNR (dB)", "psnr", 1))
CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}


class Options(PartOptions):
    """Three pictures of one photograph, of the same size."""

    experiment: str = Field(description="The experiment that trains them.")
    grey: str = Field(description="A mask of kind photograph, tones: grey.")
    colour: str = Field(description="A mask of kind photograph, tones: colour.")
    two: str = Field(description="A mask of kind photograph, tones: two.")


def needs(options: Options, key: str, runs: Runs) -> Needs:
    """Every seed of the three pictures: grey, colour, two tones."""
    grey, colour = (runs.pictures(key, options.experiment, mask, shades=True) for mask in (options.grey, options.colour))
    return Needs(surfaces=[*grey, *colour, *runs.pictures(key, options.experiment, options.two)])


def levels(losses: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Losses (nats) as shades: 0 at the darkest of the `targets` (log losses), 1 at the lightest, clipped beyond."""
    lightest, darkest = targets.min(), targets.max()
    return np.clip((darkest - np.log(np.maximum(losses, 1e-12))) / (darkest - lightest), 0.0, 1.0)


def scores(losses: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """How well losses (H, W) show targets (H, W): Spearman's correlation with the log losses that are wanted; PSNR (dB) of the
    shades; root mean square error of the log loss (nats)."""
    from scipy.stats import spearmanr

    error = float(np.mean((levels(losses, targets) - levels(np.exp(targets), targets)) ** 2))
    logarithms = np.log(np.maximum(losses, 1e-12))
    return {
        "spearman": float(spearmanr(losses.ravel(), targets.ravel()).statistic),
        "psnr": float(-10 * np.log10(max(error, 1e-12))),
        "rmse": float(np.sqrt(np.mean((logarithms - targets) ** 2))),
    }


def losses_of(data: xr.Dataset, stage: str, channels: int) -> np.ndarray:
    """The test losses (H, W, channels) of a stage; those of a picture of two tones serve every channel."""
    chosen = data.isel(protocol=0).sel(stage=stage, split="test")
    if "channel_loss" in chosen:
        return chosen["channel_loss"].transpose("row", "column", "channel").values
    return np.repeat(chosen["loss"].values[..., None], channels, axis=-1)


def pictures(options: Options, surfaces: Sequence[tuple[xr.Dataset, dict[str, Any]]]) -> Iterator[tuple[str, int, xr.Dataset]]:
    """(tones, seed, surfaces) of each."""
    tones = {options.grey: "grey", options.colour: "colour", options.two: "two tones"}
    for data, made_by in surfaces:
        yield tones[made_by["mask"]["name"]], made_by["seed"], data


def table(options: Options, measured: None, surfaces: Sequence[tuple[xr.Dataset, dict[str, Any]]]) -> pd.DataFrame:
    """A row for each picture, seed, channel and control: trained, untrained, shuffled (the targets moved about)."""
    import pandas as pd

    from ..analysis.scores import shuffled

    found = list(pictures(options, surfaces))
    grey = next(data["target"].values for tones, _, data in found if tones == "grey")
    rows = []
    for tones, seed, data in found:
        targets = data["target"].values if "target" in data else grey
        moved = np.stack([shuffled(channel, channel)[0] for channel in np.moveaxis(targets, -1, 0)], axis=-1)
        for control, stage, wanted in (
            ("trained", "trained", targets),
            ("untrained", "untrained", targets),
            ("shuffled", "trained", moved),
        ):
            shown = losses_of(data, stage, targets.shape[-1])
            for channel, name in enumerate(CHANNELS[targets.shape[-1]]):
                names = {"picture": tones, "seed": seed, "channel": name, "control": control}
                passes = int(data["image_passes"].sel(stage=stage))
                rows.append({**names, "image_passes": passes, **scores(shown[..., channel], wanted[..., channel])})
    return pd.DataFrame(rows)


def verdict(options: Options, table: pd.DataFrame) -> str:
    """A table of means over channels, with their intervals over seeds, and what follows."""
    from ..analysis.claims import markdown
    from ..analysis.study import interval
    from .seeds import told

    means = table.groupby(["picture", "control", "seed"])[["spearman", "psnr"]].mean()
    seeds = table["seed"].nunique()
    rows = []
    for picture, control in table[["picture", "control"]].drop_duplicates().itertuples(index=False):
        group = means.loc[(picture, control)]
        rows.append([picture, control, *(told(interval(group[key]), digits) for _, key, digits in COLUMNS)])
    lines = [markdown(["picture", "plane", *(name for name, _, _ in COLUMNS)], rows, numbers=True)]
    for picture in ("grey", "colour"):
        gains = [means.loc[(picture, "trained")] - means.loc[(picture, other)] for other in ("untrained", "shuffled")]
        there = all(interval(gain["spearman"])[1] > 0 for gain in gains) if seeds > 1 else None
        value = told(interval(means.loc[(picture, "trained"), "spearman"]))
        said = {True: "is there", False: "is not told apart from the controls", None: "has one seed, so no interval"}[there]
        lines.append(f"* The {picture} photograph {said}: Spearman correlation {value} with its targets on test images.")
    gain = means.loc[("grey", "trained")] - means.loc[("two tones", "trained")]
    for name, key, digits in COLUMNS:
        middle, low, high = interval(gain[key])
        side = "higher" if low > 0 else "lower" if high < 0 else "not told apart"
        lines.append(f"* Grey targets against two tones, {name}: {side}, {told((middle, low, high), digits)}, paired by seed.")
    passes = table[table["control"] == "trained"].groupby("picture", sort=False)["image_passes"].max()
    spent = ", ".join(f"{picture} {count:,}" for picture, count in passes.items())
    lines.append(f"\n{seeds} seeds, 95 % intervals. Image passes of a plane: {spent}. The paper has no such pictures.\n")
    return "\n".join(lines)


def draw(options: Options, table: pd.DataFrame, surfaces: Sequence[tuple[xr.Dataset, dict[str, Any]]]) -> Figure:
    """Two rows of four panels, of the first seed."""
    from matplotlib.ticker import LogLocator, NullLocator

    from ..figures.style import DOUBLE, new_figure, panel_height, place, small

    first: dict[str, xr.Dataset] = {}
    for tones, _, data in pictures(options, surfaces):
        first.setdefault(tones, data)
    targets = {tones: first[tones]["target"].values for tones in ("grey", "colour")}
    targets["two tones"] = targets["grey"]
    side, apart = 1.5, 1.7
    rows, columns, _ = targets["grey"].shape
    height = panel_height([rows / columns], side, 2, 1.1)
    figure = new_figure(DOUBLE, 2 * height + 1.1)

    def shown(tones: str, stage: str | None) -> np.ndarray:
        wanted = targets[tones]
        return levels(losses_of(first[tones], stage, wanted.shape[-1]) if stage else np.exp(wanted), wanted)

    def scored(tones: str, control: str) -> str:
        own = table[(table["picture"] == tones) & (table["control"] == control)]
        own = own[own["seed"] == own["seed"].iloc[0]]
        return f"Spearman {own['spearman'].mean():.2f}, PSNR {own['psnr'].mean():.1f} dB"

    panels = [
        [("photograph, grey", "grey", None), ("untrained", "grey", "untrained"), ("two tones", "two tones", "trained")],
        [("photograph, colour", "colour", None), ("untrained", "colour", "untrained"), ("colour targets", "colour", "trained")],
    ]
    panels[0].append(("grey targets", "grey", "trained"))
    for row, line in enumerate(panels):
        for column, (title, tones, stage) in enumerate(line):
            left, top = 0.1 + apart * column, 0.28 + row * (height + 0.55)
            axes = place(figure, left, top, side, height)
            axes.imshow(np.repeat(shown(tones, stage), 3 // targets[tones].shape[-1], axis=-1), interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"({'abcdefgh'[4 * row + column]}) {title}", loc="left")
            if stage:
                small(figure, left + side / 2, top + height + 0.05, scored(tones, stage))
    axes = place(figure, 0.1 + 3 * apart + 0.3, 0.28 + height + 0.55, side - 0.3, height - 0.1)
    wanted, found = np.exp(targets["grey"]).ravel(), losses_of(first["grey"], "trained", 1).ravel()
    axes.plot(wanted, found, ".", markersize=1.5, alpha=0.5)
    ends = [wanted.min(), wanted.max()]
    axes.plot(ends, ends, color="0.2", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="target (nats)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(2))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    axes.set_title("(h) loss of grey", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
