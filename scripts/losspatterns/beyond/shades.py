"""Grey and colour: a photograph as a loss surface, each pixel with a target of its log loss, beside the same in two tones."""

from pydantic import Field

from . import Needs, PartOptions, Runs

CAPTION = """\
**A photograph in a plane.** Test images, first seed. Shades are log losses: light is low. Upper row: the photograph in grey;
the loss of the untrained plane; of a plane trained with the two-tone picture; of a plane trained with a target for each grey
level. Lower row: the photograph in colour, red, green and blue being the losses of three groups of classes; the untrained and
the trained plane; the losses of the grey plane's pixels against their targets.
"""


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
