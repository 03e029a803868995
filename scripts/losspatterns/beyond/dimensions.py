"""More directions than two: lines, boxes of up to six axes, and a solid that reads as two letters.

The same number of trained points, half of them white at random, is laid out along one axis, two, three and so on, and trained
alike: does the gap depend on the number of directions? And one picture of three axes, to be looked at from its sides.
"""

import math
from itertools import product
from typing import Annotated

from pydantic import Field

from ..config.fields import Many, Several
from ..data.mask_settings import RandomPointsMask
from ..errors import InputError
from . import Needs, PartOptions, Runs

CAPTION = """\
**More directions than two.** (a) Test accuracy gap of the same number of random points along one axis and more; one dot a seed,
mean and 95 % interval over seeds, and two controls: the untrained plane, and the mask shuffled. (b) A solid that reads as two
letters: its mask, and the least test loss along an axis, of the trained plane and of the untrained one.
"""
CHOICE, REPORTED = "validation", "test"
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
    for run in surfaces:
        run.has(key, CHOICE, run.protocols[0])
    for run in (*surfaces, *solids):
        run.has(key, REPORTED, run.protocols[0])
    return Needs(surfaces=[*surfaces, *solids])
