"""More pictures, each on training images (left) and on test images (right): loss above accuracy."""

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
**More pictures, train and test.** For each picture, loss (top) and accuracy (bottom) on training images (left) and test images
(right); no image is augmented. Loss and accuracy each have one colour scale. The title names the images that were really used.
The dashed frame is the edge of the picture; the gap is the mean accuracy of the white pixels minus that of the black ones, on
the images of its column.
"""


class Options(PictureOptions):
    """Pictures of one experiment, on training and on test images."""


def needs(options: Options, key: str, runs: Runs) -> Needs:
    """The train and the test surface of each picture, in turn."""
    chosen = [runs.picture(f"{key}.masks[{number}]", options.experiment, mask) for number, mask in enumerate(options.masks)]
    return Needs([(run, split, run.protocol("batch")) for run in chosen for split in ("train", "test")])


def draw(options: Options, surfaces: Sequence[Surface], scores: pd.DataFrame | None, facts: Mapping[str, Any]) -> Figure:
    """Draw a pair of columns for each picture."""
    return draw_blocks(options, list(zip(surfaces[::2], surfaces[1::2], strict=True)), ("loss", "accuracy"))
