"""More pictures, each on training images (left) and on test images (right): loss above accuracy."""

from pydantic import Field

from ..config.fields import Several
from . import Facts, Figure, Needs, Scores, Surfaces, pictures

CAPTION = """\
**More pictures, train and test.** For each picture, loss (top) and accuracy (bottom) on training images (left) and test images
(right); no image is augmented. Loss and accuracy each have one colour scale. The title names the images that were really used.
The dashed frame is the edge of the picture; the gap is the mean accuracy of the white pixels minus that of the black ones, on
the images of its column.
"""


class Options(pictures.Options):
    """Pictures of one experiment, on training and on test images."""

    masks: Several[str] = Field(max_length=12, description="The masks, in the order drawn.")


def needs(options: Options) -> Needs:
    """The train and the test surface of each picture, in turn."""
    return pictures.needs(options, ("train", "test"))


def draw(options: Options, surfaces: Surfaces, scores: Scores, facts: Facts) -> Figure:
    """Draw a pair of columns for each picture."""
    return pictures.draw_blocks(options, list(zip(surfaces[::2], surfaces[1::2], strict=True)), ("loss", "accuracy"))
