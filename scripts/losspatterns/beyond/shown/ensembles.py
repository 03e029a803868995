"""Ensembles of a plane's pixels: their scores beside those of independent networks, differences paired by seed."""

from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from ...analysis.report import markdown
from ...figures.style import SMALL, listed
from ..ensembles import CHOICES, CONTROLS, NETWORKS, PERTURBED, PLANE, QUANTITIES, SINGLE, Options
from . import Mean, Surfaces, draw_mean, legend, over_seeds, panels

TITLES = ("accuracy", "NLL (nats)", "calibration error", "disagreement")
FIRST = "the first network"
BETTER = ("better", "worse")  # what a difference in accuracy above 0 and below 0 is
LOOKS = {  # colour, marker, line
    "neighbours": ("tab:blue", "v", "-"),
    "spread far": ("tab:red", "D", "-"),
    "random": ("tab:orange", "o", "-"),
    NETWORKS: ("black", "s", "--"),
    PERTURBED: ("0.55", "x", ":"),
}


def table(options: Options, measured: pd.DataFrame, surfaces: Surfaces) -> pd.DataFrame:
    """Means and intervals over seeds of each kind of ensemble and size, and of differences that are paired by seed; the
    disagreement at each distance."""
    of_size = {
        group: rows.set_index(["mask", "network", "seed"])[list(QUANTITIES[:3])]
        for group, rows in measured.dropna(subset="size").groupby(["models", "size"])
    }
    largest, networks = max(options.sizes), sorted(options.networks)
    pairs = [(SINGLE, largest, (SINGLE, 1))]
    pairs += [(models, size, (models, size)) for size in networks for models in (NETWORKS, PERTURBED)]
    pairs += [(FIRST, largest, (NETWORKS, networks[0]))]
    differences = [
        (of_size[PLANE, size] - of_size[other]).reset_index().assign(models=f"{PLANE} minus {name}", size=size)
        for name, size, other in pairs
    ]
    return over_seeds(pd.concat([measured, *differences], ignore_index=True), ["models", "size", "distance"], QUANTITIES)


def _two(sizes: tuple[int, ...]) -> list[int]:
    """One in the middle and the largest, of those that are shown where there is no place for all."""
    return [sorted(sizes)[len(sizes) // 2], max(sizes)]


def verdict(options: Options, table: pd.DataFrame) -> str:
    """A table of ensembles, one of paired differences, and the answer."""
    of_size, largest, first = table.dropna(subset="size"), max(options.sizes), min(options.networks)
    shown = of_size["size"].isin({1, *_two(options.sizes)}) | (of_size["models"] == NETWORKS)
    order = (SINGLE, *CHOICES, NETWORKS, PERTURBED, *CONTROLS)
    chosen = pd.concat(of_size[shown & (of_size["models"] == models)] for models in order)
    minus = of_size[of_size["models"].str.contains(" minus ")]

    def page(rows: pd.DataFrame, text: Callable[[Mean, str], str]) -> str:
        lines = [
            [row["models"], f"{row['size']:.0f}", *(text(Mean.at(row, name), name) for name in QUANTITIES[:3])]
            for _, row in rows.iterrows()
        ]
        return markdown(["models", "m", *TITLES[:3]], lines, numbers=True)

    def difference(mean: Mean, quantity: str) -> str:
        return f"{mean.text(3, signed=True)}, {mean.says(*BETTER[:: 1 if quantity == 'accuracy' else -1])}"

    nll = {(row["models"].removeprefix(f"{PLANE} minus "), row["size"]): Mean.at(row, "nll") for _, row in minus.iterrows()}
    helps = nll[SINGLE, largest].says("harms", "helps", "is not told apart from a single pixel")
    text = f"By the NLL, averaging {largest} white pixels that lie far apart {helps}.\n"
    answers: dict[str, list[str]] = {}
    for size in sorted(set(options.networks) - {1}):
        word = nll[NETWORKS, size].says("worse than", "better than", "not told apart from")
        answers.setdefault(word, []).append(f"{size}")
    if answers:
        said = listed([f"{which} {listed(of)}" for which, of in answers.items()])
        text += f"At equal image passes, as many of them are {said} {NETWORKS}.\n"
    one = f"the first of {first} {NETWORKS}" if first > 1 else "one that gets all image passes"
    seeds = minus["seeds"].iloc[0]
    text += f"\nMean over {seeds} seeds (95 % interval); differences are paired by seed. The first network: {one}.\n"
    return f"{page(chosen, lambda mean, _: mean.text(3))}\n{page(minus, difference)}\n{text}"


def draw(options: Options, table: pd.DataFrame, surfaces: Surfaces) -> Figure:
    """Four panels side by side."""
    of_size, sizes = table.dropna(subset="size"), sorted(options.sizes)
    figure, [axes] = panels(2.5, 1, 4, [f"({letter}) {title}" for letter, title in zip("abcd", TITLES, strict=True)])
    for one, quantity in zip(axes, QUANTITIES[:3], strict=False):
        for models, (colour, marker, line) in LOOKS.items():
            look = {"color": colour, "marker": marker, "markersize": 3, "linewidth": 1.0, "linestyle": line, "label": models}
            draw_mean(one, of_size[of_size["models"] == models], "size", quantity, **look)
        one.set(xscale="log", xlabel="models m")
        one.set_xticks(sizes, labels=sizes)
        one.xaxis.set_minor_locator(NullLocator())
    last = axes[3]
    draw_mean(last, table.dropna(subset="distance").sort_values("distance"), "distance", "disagreement", color="tab:red")
    for models, shown in ((NETWORKS, _two(options.networks)), (PERTURBED, [max(sizes)])):
        of = of_size[(of_size["models"] == models) & of_size["size"].isin(shown)].dropna(subset="disagreement")
        for size, height in zip(of["size"], of["disagreement"], strict=True):
            last.axhline(height, color=LOOKS[models][0], linestyle=LOOKS[models][2], linewidth=0.9)
            last.text(
                0.3,
                height,
                f"m = {size:.0f}" if models == NETWORKS else "",
                color=LOOKS[models][0],
                fontsize=SMALL,
                va="bottom",
            )
    last.set(xlabel="distance of two pixels", ylim=(0, None))
    for one in axes:
        one.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    first = min(options.networks)
    base = f"the first of {first} {NETWORKS}" if first > 1 else "a network with all image passes"
    legend(figure, [axes[0]], f"perturbed: {base}; mean over {of_size['seeds'].iloc[0]} seeds and 95 % interval")
    return figure
