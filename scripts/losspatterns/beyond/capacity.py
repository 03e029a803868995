"""Capacity: how much picture does a network hold? Passes to a gap, and the largest gap, against pixels, weights and detail."""

from pydantic import Field

from ..config.fields import Fraction, Many, Several
from ..errors import InputError
from . import Needs, PartOptions, Run, Runs

CAPTION = """\
**Capacity.** Above: image passes to the gap; below: the largest gap of a training (the state is chosen on the validation
split, its gap is of test images). (a) Random pictures of several sizes. (b) Networks of several sizes, on one random picture a
seed. (c) Chessboards of more and more cells on the same pixels. (d) A picture, and its pixels in random order. A point is one
training; a triangle, one that did not reach the gap. Lines: fits that count those too, with their exponents (above) and slopes
per tenfold (below), and 95 % intervals. Grey: the gap of a shuffled mask.
"""
# A comparison -> what it is made against: the column of the table, and the words for it.
AGAINST = {
    "pixels": ("trained_pixels", "trained pixels"),
    "weights": ("weights", "weights"),
    "frequency": ("cells", "cells per side"),
    "order": ("permuted", "pixels in random order"),
}
Masks = Several[str]
OF_MASKS = "One mask, or one for each seed of the experiment."


class Options(PartOptions):
    """An experiment that evaluates its snapshots on the validation and the test split, and which of its planes are compared."""

    experiment: str = Field(description="The experiment's name.")
    network: str = Field(description="The network of all comparisons but that of weights.")
    gap: Fraction = Field(0.4, description="The accuracy gap to reach.")
    pixels: Many[Masks] = Field(min_length=2, description=f"Random pictures, a list for each size. {OF_MASKS}")
    weights: Masks = Field(description=f"A picture that is trained on every network. {OF_MASKS}")
    frequency: Many[Masks] = Field(
        min_length=2, description=f"Chessboards (kind grid, ternary: false), a list for each. {OF_MASKS}"
    )
    order: Many[Masks] = Field(min_length=2, max_length=2, description=f"A picture, and the same with `permuted`. {OF_MASKS}")

    def points(self, comparison: str) -> dict[str, tuple[str, ...]]:
        """The masks of each point of a comparison, by their key."""
        masks = getattr(self, comparison)
        return {f"{comparison}[{k}]": own for k, own in enumerate(masks)} if comparison != "weights" else {comparison: masks}

    def compares(self, comparison: str, mask: str, network: str) -> bool:
        """Whether a plane is part of a comparison."""
        known = any(mask in masks for masks in self.points(comparison).values())
        return known and (comparison == "weights" or network == self.network)


def needs(options: Options, key: str, runs: Runs) -> Needs:
    """The surfaces of all snapshots. InputError for masks that fit no seed or comparison, and surfaces that lack a look."""
    chosen: dict[str, Run] = {}
    base = options.order[0][0]
    for comparison in AGAINST:
        for point, masks in options.points(comparison).items():
            at = f"{key}.{point}"
            found = [run for mask in masks for run in runs.pictures(at, options.experiment, mask)]
            seeds = runs.settings.experiments[options.experiment].seeds
            if len(masks) not in (1, len(seeds)):
                raise InputError(f"{at}: found {len(masks)} masks, expected 1, or {len(seeds)}: one for each seed")
            for mask, entry in ((mask, runs.masks[mask]) for mask in masks):
                if comparison == "frequency" and (entry.kind != "grid" or entry.ternary):
                    raise InputError(f"{at}: found {mask!r}, expected kind: grid, ternary: false: equally many trained pixels")
                other = entry.model_copy(update={"permuted": None}) != runs.masks[base]
                if comparison == "order" and (other or (entry.permuted is None) != (point == "order[0]")):
                    raise InputError(f"{at}: found {mask!r}, expected a picture that is not permuted, then the same `permuted`")
            of_seed = dict(zip(seeds, masks * len(seeds), strict=False))
            own = [run for run in found if run.mask == of_seed[run.seed]]
            chosen |= {run.path: run for run in own if options.compares(comparison, run.mask, run.network)}
    runs.picture(f"{key}.network", options.experiment, options.weights[0], options.network)
    for run in chosen.values():
        for split in ("validation", "test"):
            run.has(key, split, run.protocols[0])
        if not run.surface.snapshots or not run.snapshots:
            found = f"found snapshots: {run.snapshots}, surface.snapshots: {str(run.surface.snapshots).lower()}"
            raise InputError(f"{run.experiment}: {found}, but {key} needs states during training, evaluated: 8 and true")
    return Needs(surfaces=list(chosen.values()))
