"""A study against its budget: gap, accuracies, objective and total variation as training goes on."""

from string import ascii_lowercase

import numpy as np
from pydantic import Field

from ..config.fields import Shown
from . import Facts, Figure, FigureOptions, Needs, Scores, ShownProtocol, Surfaces
from .study import curves, legend_handles, looks_of, objective_note, protocol_note
from .style import DOUBLE, LINE, SMALL, listed, new_figure, place, small, wrap

CAPTION = """\
**A study against its budget.** Test images; mean over all squares and probabilities (lines), and its 95 % interval over squares
(bands). (a) Accuracy gap, white minus black. (b) Mean accuracy of the white (solid) and of the black pixels (dashed). (c) The
objective: mean loss of white pixels minus mean of min(loss, tau) of black pixels; lower is further trained. (d) Total variation
of the log loss. All states of a curve are of one training, whose learning rate falls until its end.
"""
PANELS = (
    ("gap", (("accuracy_gap", "-"),)),
    ("accuracy", (("accuracy_white", "-"), ("accuracy_black", "--"))),
    ("objective (nats)", (("objective", "-"),)),
    ("total variation", (("tv", "-"),)),
)


class Options(FigureOptions):
    """One study that keeps snapshots."""

    study: str = Field(description="The study's name.")
    bn_protocol: ShownProtocol = "batch"
    labels: dict[str, Shown | None] = Field({}, description="Networks' names in the legend.")


def needs(options: Options) -> Needs:
    """The study's scores."""
    return Needs(curves=curves({"study": options.study}, options.bn_protocol, options.labels))


def draw(options: Options, surfaces: Surfaces, scores: Scores, facts: Facts) -> Figure:
    """Draw four panels side by side, a curve per network. InputError if the scores lack a run."""
    from matplotlib.ticker import NullLocator

    from ..analysis.statistics import interval
    from ..analysis.study import select_runs

    (study,) = facts["studies"]
    runs = select_runs(scores, study["dataset"], study["networks"], study["runs"], options.bn_protocol, curves=True)
    runs = runs[runs["image_passes"] > 0]
    names, looks = looks_of([study], options.labels)
    count = len(study["runs"])
    text = f"{listed(list(runs['dataset_label'].unique()))}, test images; {count} square{'s' * (count > 1)} per curve"
    text += f"{protocol_note(runs)}. "
    note = wrap(text + objective_note(facts["objectives"]), DOUBLE - 0.6, SMALL)
    figure = new_figure(DOUBLE, 2.36 + LINE * len(note))
    for number, ((label, lines), letter) in enumerate(zip(PANELS, ascii_lowercase, strict=False)):
        axes = place(figure, 0.45 + 1.7 * number, 0.28, 1.2, 1.4)
        for network in study["networks"]:
            groups = runs[runs["network"] == network].groupby("look")
            passes = groups["image_passes"].mean()
            for quantity, line in lines:
                mean, low, high = np.array([interval(group[quantity]) for _, group in groups]).T
                colour, marker = looks[network]
                axes.plot(passes, mean, line, color=colour, marker=marker, markersize=2.5, zorder=3)
                if np.isfinite(low).all():
                    axes.fill_between(passes, low, high, color=colour, alpha=0.18, lw=0)
        axes.set(xscale="log", xlabel="image passes (millions)")
        ends = passes.iloc[[0, -1]]
        axes.set_xticks(ends, labels=[f"{end / 1e6:.3g}" for end in ends])
        axes.xaxis.set_minor_locator(NullLocator())
        if label == "accuracy":
            axes.set_ylim(0, 1)
        axes.set_title(f"({letter}) {label}", loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    handles = legend_handles(names, looks)
    where = 0.5, 1 - 2.15 / figure.get_size_inches()[1]
    figure.legend(handles=handles, loc="center", bbox_to_anchor=where, ncols=len(handles), columnspacing=1.4)
    small(figure, 0.1, 2.26, "\n".join(note), ha="left")
    return figure
