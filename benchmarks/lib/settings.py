"""What a config says under `benchmarks`: speed is measured with one thread and with all cores that Snakemake was given."""

from typing import Annotated, Any

from losspatterns.config.fields import LARGEST, Count, Many, Name, Seed, Several
from losspatterns.config.model import Model, exactly
from pydantic import Field

ImageShape = Annotated[tuple[Count, Count, Count], exactly("channels", "height", "width")]


class Throughput(Model):
    """Speed of a plane's gradient and of a surface beside a plain loop."""

    networks: Several[str] = Field(description="Networks of kind conv, each without and with batch norm.")
    image_shape: ImageShape = Field(description="[channels, height, width] of the random images.")
    pixels: Several[Count] = Field(description="Pixels of an update.")
    images: Several[Count] = Field(description="Images per pixel.")
    points: Count = Field(description="Points of a surface.")
    images_per_point: Count = Field(description="Images that each point is evaluated on.")
    rounds: Count = Field(description="Measurements in turn; the median counts.")


class Variant(Model):
    """A recipe, some keys changed, and a budget."""

    recipe: str = Field(description="A recipe's name.")
    passes: Count = Field(description="Image passes; the updates follow from it.")
    training: dict[str, Any] = Field(default_factory=dict, description="Keys of the recipe to change.")


class QualityRuns(Model):
    """Trainings that are watched: every variant on every mask with every seed."""

    network: str = Field(description="A network's name.")
    masks: Several[str] = Field(description="Names of masks.")
    seeds: Several[Seed] = Field(description="Seeds.")
    variants: dict[Name, Variant] = Field(min_length=1, description="By name.")


class Probe(Model):
    """How a training is watched: at most `pixels` trained pixels on `images` test images, both drawn once by `seed`."""

    checkpoints: Annotated[int, Field(ge=2, le=LARGEST)] = Field(description="Looks at the plane, evenly spaced in log passes.")
    images: Count = Field(description="Test images.")
    pixels: Annotated[int, Field(ge=2, le=LARGEST)] = Field(description="At most so many trained pixels, half of each colour.")
    seed: Seed = Field(0, description="Which images and pixels.")


class Quality(Probe):
    """What a gap costs: the gap against image passes and seconds."""

    dataset: str = Field(description="A data set's name.")
    runs: Many[QualityRuns] = Field(min_length=1, description="The trainings.")


class Benchmarks(Model):
    """`snakemake benchmarks`: speed beside a plain loop, and what a gap costs."""

    throughput: Throughput
    quality: Quality
