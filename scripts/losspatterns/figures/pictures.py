"""More pictures: each with its test loss and test accuracy below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import Needs
from .blocks import PictureOptions, draw_blocks
from .surfaces import Surface

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ..runs import Runs

CAPTION = """\
**More pictures.** Top to bottom: the picture, the test loss and the test accuracy over the plane that was trained to show it.
Each row has one colour scale. The dashed frame is the edge of the picture; the gap is the mean test accuracy of the white
pixels minus that of the black ones.
"""


class Options(PictureOptions):
    """Pictures of one experiment, on test images."""


def needs(options: Options, key: str, runs: Runs) -> Needs:
    """The test surface of each picture."""
    chosen = [runs.picture(f"{key}.masks[{number}]", options.experiment, mask) for number, mask in enumerate(options.masks)]
    return Needs([(run, "test", run.protocol("batch")) for run in chosen])


def draw(options: Options, surfaces: Sequence[Surface], scores: pd.DataFrame | None, facts: Mapping[str, Any]) -> Figure:
    """Draw a column per surface."""
    return draw_blocks(options, [[surface] for surface in surfaces], ("picture", "loss", "accuracy"))
