"""A plane as an ensemble: averaged predictions of its white pixels, beside independent networks at equal image passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ..errors import InputError
from ..settings import Count, PartOptions, Positive, Several
from . import Needs
from .measuring.ensembles import CHOICES, CONTROLS, NETWORKS, PERTURBED, PLANE, QUANTITIES, SINGLE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ..runs import Runs

CAPTION = """\
**A plane as an ensemble.** Averaged predicted probabilities of m models; mean over seeds and its 95 % interval. Of the plane:
white pixels that are neighbours, spread far, or random. Independent networks: m networks that share the plane's image passes.
Perturbed network: one of these networks with Gaussian noise on its weights. (a) Accuracy. (b) Negative log-likelihood. (c)
Calibration error. (d) Share of test images on which two white pixels predict different classes, against their distance; lines
across: the same of two independent networks, and of two perturbed ones.
"""


class Options(PartOptions):
    """Pictures of one experiment, and the ensembles that are made of their white pixels."""

    experiment: str = Field(description="The experiment's name.")
    masks: Several[str] = Field(description="Names of masks.")
    images: Count = Field(2000, description="Test images.")
    sizes: Several[Count] = Field((1, 2, 4, 8, 16, 32), description="Models of an ensemble.")
    draws: Count = Field(10, description="Ensembles of each size whose scores are averaged.")
    networks: Several[Count] = Field(
        (1, 2, 4, 8, 16, 32), description="Independent networks: the sizes for which they are trained."
    )
    batch: Count = Field(32, description="Images of one of their Adam updates.")
    learning_rates: Several[Positive] = Field((0.003, 0.01), description="Of their Adam: chosen on validation images.")
    trial: Count = Field(8, description="It is chosen by networks that get one of so many parts of the image passes.")
    noise: Several[Positive] = Field(
        (0.02, 0.05, 0.1, 0.2, 0.4),
        description="On the perturbed network, in units of a layer's RMS: chosen on validation.",
    )


def needs(options: Options, key: str, runs: Runs) -> Needs:
    """Every seed of every picture. InputError for networks that no ensemble of the plane is compared with."""
    if strange := sorted(set(options.networks) - set(options.sizes)):
        raise InputError(f"{key}: networks: found {strange[0]}, expected some of the sizes {list(options.sizes)}")
    return Needs(planes=[run for mask in options.masks for run in runs.pictures(key, options.experiment, mask)])


def table(options: Options, measured: pd.DataFrame, surfaces: Sequence[Any]) -> pd.DataFrame:
    """Means and intervals over seeds of each kind of ensemble and size, and of differences that are paired by seed; the
    disagreement at each distance."""
    import pandas as pd

    from .seeds import over_seeds

    of_size = measured.dropna(subset=["size"]).set_index(["mask", "network", "seed"])
    differences = []

    def compare(name: str, first: tuple[str, int], second: tuple[str, int]) -> None:
        one, other = (
            of_size[(of_size["models"] == models) & (of_size["size"] == size)][list(QUANTITIES[:3])]
            for models, size in (first, second)
        )
        differences.append((one - other).reset_index().assign(models=name, size=first[1]))

    largest = max(options.sizes)
    compare(f"{PLANE} minus {SINGLE}", (PLANE, largest), (SINGLE, 1))
    for size in sorted(options.networks):
        compare(f"{PLANE} minus {NETWORKS}", (PLANE, size), (NETWORKS, size))
        compare(f"{PLANE} minus {PERTURBED}", (PLANE, size), (PERTURBED, size))
    compare(f"{PLANE} minus the first network", (PLANE, largest), (NETWORKS, min(options.networks)))
    return over_seeds(pd.concat([measured, *differences], ignore_index=True), ["models", "size", "distance"], QUANTITIES)


def _two(sizes: Sequence[int]) -> list[int]:
    """One in the middle and the largest, of those that are shown where there is no place for all."""
    return [sorted(sizes)[len(sizes) // 2], max(sizes)]


def verdict(options: Options, table: pd.DataFrame) -> str:
    """A table of ensembles and of paired differences, and the answer."""
    from ..figures.style import listed
    from .seeds import markdown, side_of, written

    of_size = table.dropna(subset=["size"])
    largest, shown = max(options.sizes), {1, *_two(options.sizes)}
    lines = []
    for models in (SINGLE, *CHOICES, NETWORKS, PERTURBED, *CONTROLS):
        rows = of_size[(of_size["models"] == models) & (of_size["size"].isin(shown) | (models == NETWORKS))]
        for _, row in rows.iterrows():
            lines.append([models, f"{row['size']:.0f}", *(written(row, name, 3) for name in QUANTITIES[:3])])
    head = ["models", "m", "accuracy", "NLL (nats)", "calibration error"]
    minus = [
        [row["models"], f"{row['size']:.0f}", *(written(row, name, 3, signed=True) for name in QUANTITIES[:3])]
        for _, row in of_size[of_size["models"].str.contains(" minus ")].iterrows()
    ]

    def found(models: str, size: int) -> Any:
        return of_size[(of_size["models"] == models) & (of_size["size"] == size)].iloc[0]

    def differs(row: Any) -> str:
        """Differences in NLL and accuracy, each with what it says."""
        parts = [
            f"{title} {written(row, name, 3, signed=True)}, {better[sign * side_of(row, name)]}"
            for name, title, sign in (("nll", "NLL", -1), ("accuracy", "accuracy", 1))
        ]
        return "; ".join(parts)

    better = {1: "better", -1: "worse", 0: "not told apart"}
    helps = {1: "helps", -1: "harms", 0: "is not told apart from a single pixel"}
    than = {1: "better than", -1: "worse than", 0: "not told apart from"}
    averaged = found(f"{PLANE} minus {SINGLE}", largest)
    compared = {size: found(f"{PLANE} minus {NETWORKS}", size) for size in sorted(options.networks) if size > 1}
    answers: dict[str, list[str]] = {}
    for size, row in compared.items():
        answers.setdefault(than[-side_of(row, "nll")], []).append(f"{size}")
    text = [f"By the NLL, averaging {largest} white pixels that lie far apart {helps[-side_of(averaged, 'nll')]}."]
    if answers:
        said = listed([f"{which} {listed(of)}" for which, of in answers.items()])
        text.append(f"At equal image passes, as many of them are {said} {NETWORKS}.")
    text += ["", f"Mean over {averaged['seeds']} seeds (95 % interval); differences are paired by seed:", ""]
    text.append(f"* {largest} pixels minus {SINGLE} by itself, on average: {differs(averaged)}")
    text += [f"* {size} pixels minus {size} {NETWORKS}: {differs(row)}" for size, row in compared.items()]
    first = min(options.networks)
    one = f"the first of {first} {NETWORKS} alone" if first > 1 else "one network with all image passes"
    text.append(f"* {largest} pixels minus {one}: {differs(found(f'{PLANE} minus the first network', largest))}")
    return f"{markdown(head, lines)}\n{markdown(head, minus)}\n" + "\n".join(text) + "\n"


def draw(options: Options, table: pd.DataFrame, surfaces: Sequence[Any]) -> Figure:
    """Four panels side by side."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    from ..figures.style import DOUBLE, SMALL, new_figure, place, small

    figure = new_figure(DOUBLE, 2.5)
    looks = {
        "neighbours": ("tab:blue", "v", "-"),
        "spread far": ("tab:red", "D", "-"),
        "random": ("tab:orange", "o", "-"),
        NETWORKS: ("black", "s", "--"),
        PERTURBED: ("0.55", "x", ":"),
    }
    of_size = table.dropna(subset=["size"])
    titles = ("(a) accuracy", "(b) NLL (nats)", "(c) calibration error", "(d) disagreement")
    for number, (quantity, title) in enumerate(zip(QUANTITIES, titles, strict=True)):
        axes = place(figure, 0.35 + 1.7 * number, 0.28, 1.3, 1.45)
        for models, (colour, marker, line) in looks.items() if number < 3 else ():
            of = of_size[of_size["models"] == models]
            style = {"color": colour, "marker": marker, "markersize": 3, "linewidth": 1.0, "label": models}
            axes.plot(of["size"], of[quantity], line, zorder=3, **style)
            axes.fill_between(of["size"], of[f"{quantity}_low"], of[f"{quantity}_high"], color=colour, alpha=0.12, lw=0)
        if number < 3:
            axes.set(xscale="log", xlabel="models m")
            axes.set_xticks(sorted(options.sizes), labels=[f"{size}" for size in sorted(options.sizes)])
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            of = table.dropna(subset=["distance"]).sort_values("distance")
            axes.plot(of["distance"], of[quantity], color="tab:red")
            axes.fill_between(of["distance"], of[f"{quantity}_low"], of[f"{quantity}_high"], color="tab:red", alpha=0.15, lw=0)
            for models in (NETWORKS, PERTURBED):
                for _, row in of_size[(of_size["models"] == models) & of_size[quantity].notna()].iterrows():
                    if row["size"] in (_two(options.networks) if models == NETWORKS else [max(options.sizes)]):
                        axes.axhline(row[quantity], color=looks[models][0], linestyle=looks[models][2], linewidth=0.9)
                        mark = f"m = {row['size']:.0f}" if models == NETWORKS else ""
                        axes.text(0.3, row[quantity], mark, color=looks[models][0], fontsize=SMALL, va="bottom")
            axes.set(xlabel="distance of two pixels", ylim=(0, None))
        axes.set_title(title, loc="left")
        axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
        axes.spines[["top", "right"]].set_visible(False)
        if number == 0:
            handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="center", bbox_to_anchor=(0.5, 1 - 2.2 / 2.5), ncols=5, columnspacing=1.4)
    first = min(options.networks)
    base = f"the first of {first} {NETWORKS}" if first > 1 else "a network with all image passes"
    note = f"perturbed: {base}; mean over {of_size['seeds'].iloc[0]} seeds and 95 % interval"
    small(figure, 0.1, 2.32, note, ha="left")
    return figure
