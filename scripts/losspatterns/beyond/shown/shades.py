"""Grey and colour: how well losses show the shades of a photograph."""

from collections.abc import Iterator
from string import ascii_lowercase

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from ...analysis.report import markdown
from ...analysis.scores import log_loss, shuffled
from ...figures.style import SMALL, panel_height
from ..shades import Options
from . import CONTROLS, Mean, Surfaces, log_ticks, panels

COLUMNS = (("Spearman", "spearman", 2), ("PSNR (dB)", "psnr", 1))
CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}
PANELS = (  # title, picture, stage that is shown: None for the photograph itself
    ("photograph, grey", "grey", None),
    ("untrained", "grey", "untrained"),
    ("two tones", "two tones", "trained"),
    ("grey targets", "grey", "trained"),
    ("photograph, colour", "colour", None),
    ("untrained", "colour", "untrained"),
    ("colour targets", "colour", "trained"),
)


def levels(losses: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Losses (nats) as shades: 0 at the darkest of the `targets` (log losses), 1 at the lightest, clipped beyond."""
    lightest, darkest = targets.min(), targets.max()
    return np.clip((darkest - log_loss(losses)) / (darkest - lightest), 0.0, 1.0)


def scores(losses: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """How well losses (H, W) show targets (H, W): Spearman's correlation with the log losses that are wanted; PSNR (dB) of the
    shades; root mean square error of the log loss (nats)."""
    error = float(np.mean((levels(losses, targets) - levels(np.exp(targets), targets)) ** 2))
    return {
        "spearman": float(spearmanr(losses.ravel(), targets.ravel()).statistic),
        "psnr": float(-10 * np.log10(max(error, 1e-12))),
        "rmse": float(np.sqrt(np.mean((log_loss(losses) - targets) ** 2))),
    }


def losses_of(data: xr.Dataset, stage: str, channels: int) -> np.ndarray:
    """The test losses (H, W, channels) of a stage; those of a picture of two tones serve every channel."""
    chosen = data.isel(protocol=0).sel(stage=stage, split="test")
    if "channel_loss" in chosen:
        return chosen["channel_loss"].transpose("row", "column", "channel").values
    return np.repeat(chosen["loss"].values[..., None], channels, axis=-1)


def pictures(options: Options, surfaces: Surfaces) -> Iterator[tuple[str, int, xr.Dataset]]:
    """(tones, seed, surfaces) of each."""
    tones = {options.grey: "grey", options.colour: "colour", options.two: "two tones"}
    for data, made_by in surfaces:
        yield tones[made_by["mask"]["name"]], made_by["seed"], data


def table(options: Options, measured: None, surfaces: Surfaces) -> pd.DataFrame:
    """A row for each picture, seed, channel and control: trained, untrained, shuffled (the targets moved about)."""
    found = list(pictures(options, surfaces))
    grey = next(data["target"].values for tones, _, data in found if tones == "grey")
    rows = []
    for tones, seed, data in found:
        targets = data["target"].values if "target" in data else grey
        for control, stage in CONTROLS.items():
            shown = losses_of(data, stage, targets.shape[-1])
            passes = int(data["image_passes"].sel(stage=stage))
            for channel, name in enumerate(CHANNELS[targets.shape[-1]]):
                wanted = targets[..., channel]
                wanted = shuffled(wanted, wanted)[0] if control == "shuffled" else wanted
                names = {"picture": tones, "seed": seed, "channel": name, "control": control, "image_passes": passes}
                rows.append(names | scores(shown[..., channel], wanted))
    return pd.DataFrame(rows)


def verdict(options: Options, table: pd.DataFrame) -> str:
    """A table of means over channels, with their intervals over seeds, and what follows."""
    means = table.groupby(["picture", "control", "seed"])[["spearman", "psnr"]].mean()
    seeds = table["seed"].nunique()
    rows = [
        [*names, *(Mean.of(means.loc[names, key]).text(digits) for _, key, digits in COLUMNS)]
        for names in table[["picture", "control"]].drop_duplicates().itertuples(index=False, name=None)
    ]
    lines = [markdown(["picture", "plane", *(name for name, _, _ in COLUMNS)], rows, numbers=True)]
    for picture in ("grey", "colour"):
        own = means.loc[picture, "spearman"]
        there = all(Mean.of(own["trained"] - own[other]).low > 0 for other in ("untrained", "shuffled"))
        said = "is there" if there else "is not told apart from the controls" if seeds > 1 else "has one seed, so no interval"
        value = Mean.of(own["trained"]).text()
        lines.append(f"* The {picture} photograph {said}: Spearman correlation {value} with its targets on test images.")
    gain = means.loc["grey", "trained"] - means.loc["two tones", "trained"]
    for name, key, digits in COLUMNS:
        mean = Mean.of(gain[key])
        side = mean.says("higher", "lower")
        lines.append(f"* Grey targets against two tones, {name}: {side}, {mean.text(digits)}, paired by seed.")
    passes = table[table["control"] == "trained"].groupby("picture", sort=False)["image_passes"].max()
    spent = ", ".join(f"{picture} {count:,}" for picture, count in passes.items())
    lines.append(f"\n{seeds} seeds, 95 % intervals. Image passes of a plane: {spent}. The paper has no such pictures.\n")
    return "\n".join(lines)


def draw(options: Options, table: pd.DataFrame, surfaces: Surfaces) -> Figure:
    """Two rows of four panels, of the first seed."""
    first: dict[str, xr.Dataset] = {}
    for tones, _, data in pictures(options, surfaces):
        first.setdefault(tones, data)
    targets = {tones: first["grey" if tones == "two tones" else tones]["target"].values for tones in first}
    rows, columns, _ = targets["grey"].shape
    titles = [f"({letter}) {title}" for letter, (title, *_) in zip(ascii_lowercase, PANELS, strict=False)]
    height = panel_height([rows / columns], 1.5, 2, 1.1)
    figure, axes = panels(2 * height + 1.1, 2, 4, [*titles, "(h) loss of grey"])
    of_seed = table[table["seed"] == table["seed"].iloc[0]].groupby(["picture", "control"])[["spearman", "psnr"]].mean()
    for one, (_, tones, stage) in zip(axes.flat, PANELS, strict=False):
        wanted = targets[tones]
        losses = losses_of(first[tones], stage, wanted.shape[-1]) if stage else np.exp(wanted)
        one.imshow(np.repeat(levels(losses, wanted), 3 // wanted.shape[-1], axis=-1))
        one.set(xticks=[], yticks=[])
        one.spines[["top", "right"]].set_visible(True)
        if stage:
            found = of_seed.loc[tones, stage]
            one.set_xlabel(f"Spearman {found['spearman']:.2f}, PSNR {found['psnr']:.1f} dB", fontsize=SMALL)
    last = axes[1, 3]
    wanted, found = np.exp(targets["grey"]).ravel(), losses_of(first["grey"], "trained", 1).ravel()
    last.plot(wanted, found, ".", markersize=1.5, alpha=0.5)
    last.plot([wanted.min(), wanted.max()], [wanted.min(), wanted.max()], color="0.2", linewidth=0.8)
    last.set(xscale="log", yscale="log", xlabel="target (nats)", box_aspect=height / 1.5)
    for axis in (last.xaxis, last.yaxis):
        log_ticks(axis, 2, (1,))
    return figure
