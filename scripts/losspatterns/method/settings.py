"""What a config says of trainings: recipe and surface, and who asks for them."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from ..config.fields import LARGEST, LARGEST_SEED, Count, Positive, Several, Split
from ..config.model import Model, wrong
from ..config.reading import read
from ..networks.settings import Protocol

Augmentation = Literal["none", "crop_flip_cutout"]
Sampling = Literal["independent", "epochs"]
Clamp = Literal["mean", "image", "running"]


class WarmUp(Model):
    """The ordinary training of the origin that comes before multi-point optimization."""

    origin_updates: int = Field(ge=0, le=LARGEST, description="Ordinary Adam updates of the origin; 0: a random origin.")
    origin_images: Count = Field(description="Images of such an update.")
    origin_learning_rate: Positive = Field(description="Its learning rate.")
    standardise: bool = Field(description="Inputs minus the training set's mean over its standard deviation; else in [0, 1].")
    augmentation: Augmentation = Field(description="The paper's for CIFAR10: pad 4 and crop, flip, 8 x 8 cut-out with p = 0.5.")


class Start(Model):
    """The first part of a training, whose updates draw other numbers of pixels and images."""

    share: float = Field(gt=0, lt=1, description="Share of the updates.")
    white_pixels: Count = Field(description="White pixels of such an update.")
    black_pixels: Count = Field(description="Black pixels of such an update.")
    images: Count = Field(description="Images per pixel and update.")


class Recipe(WarmUp):
    """How a plane is trained. An update draws pixels, runs images through the model of each, and takes one optimizer step."""

    updates: Count = Field(description="Updates of the plane.")
    white_pixels: Count = Field(description="White pixels of an update.")
    black_pixels: Count = Field(description="Black pixels of an update.")
    pixel_sampling: Sampling = Field(description="independent: drawn from all pixels; epochs: each once before any again.")
    images: Count = Field(description="Images per pixel and update.")
    shared_images: bool = Field(description="Whether all pixels of an update see the same images.")
    tau: Positive = Field(description="Nats; a black pixel has no gradient while its loss is above tau.")
    tau_start: Positive | None = Field(
        None, description="Nats; tau falls from here during training, or during its `start`; null: it stays the same."
    )
    clamp: Clamp = Field(description="Which loss that is: of the update's images (mean), of each image, or a running mean.")
    running_images: Count = Field(64, description="clamp: running: about so many images of a pixel make up its running loss.")
    hard_weight: Positive = Field(
        1.0, description="Weight of a hard pixel: a black one whose running loss is still low after a fifth of the updates."
    )
    optimizer: Literal["adam", "soap"] = Field(description="adam, or soap (preconditioned layer by layer, arXiv 2409.11321).")
    learning_rate: Positive = Field(description="The optimizer's learning rate.")
    direction_rate: Positive = Field(description="The directions' learning rate, in units of learning_rate.")
    schedule: Literal["constant", "linear"] = Field(description="linear: warm-up, then down to zero.")
    warm_up: float = Field(ge=0, lt=1, description="Fraction of the updates in which the rate rises (schedule: linear).")
    total_clip: Positive | None = Field(description="Largest norm of the gradient of origin and directions; null: off.")
    step: Positive = Field(description="Distance of neighbouring pixels, in units of the directions' length (at the start).")
    learn_step: bool = Field(description="Whether the step is trained.")
    precision: Literal["float32", "bfloat16"] = Field(description="Of the layers' products; bfloat16 is for GPUs.")
    pixels_per_chunk: Count | None = Field(description="Pixels computed at once; null: as many as are useful and fit.")
    start: Start | None = Field(None, description="A first part with other numbers of pixels and images; null: none.")

    def model_post_init(self, context: Any) -> None:
        if self.tau_start is not None and self.tau_start < self.tau:
            raise wrong(f"expected at least tau, {self.tau:g}, or null", "tau_start", self.tau_start)

    @property
    def of_origin(self) -> WarmUp:
        """What decides the origin that the training starts from."""
        return WarmUp(**{name: getattr(self, name) for name in WarmUp.model_fields})

    @property
    def start_updates(self) -> int:
        """How many updates the first part has; 0 if there is none."""
        return round(self.start.share * self.updates) if self.start else 0

    def drawn_at(self, update: int) -> "Start | Recipe":
        """What says how many pixels and images an update (counted from 0) draws: the first part, or the recipe itself."""
        return self.start if self.start and update < self.start_updates else self

    def passes(self, updates: int, white: int = LARGEST, black: int = LARGEST) -> int:
        """Image passes (one image forward and backward through one model) of so many updates; of a mask with these pixels."""
        first = min(updates, self.start_updates)
        parts = ((first, self.start or self), (updates - first, self))
        return sum(n * (min(white, of.white_pixels) + min(black, of.black_pixels)) * of.images for n, of in parts)


class SurfaceSettings(Model):
    """Where and on what a plane is evaluated."""

    padding: int = Field(ge=0, le=LARGEST, description="Pixels around the picture.")
    oversampling: Count = Field(description="Points per pixel side.")
    images: Count = Field(description="Images per split, the same ones for every point.")
    splits: Several[Split] = Field(description="Any of train, validation, test.")
    bn_protocols: Several[Protocol] = Field(description="Batch norm's statistics: batch, recalibrated, identity.")
    calibration_images: Count = Field(description="Training images of the protocol recalibrated.")
    image_seed: int = Field(ge=0, lt=LARGEST_SEED, description="Which images.")
    film_images: Count = Field(64, description="Test images per point of a film.")
    test_images: Count | None = Field(
        None,
        description="The trained plane is scored on so many test images, each seed on its own ones; null: on `images`.",
    )
    snapshots: bool = Field(False, description="Whether an experiment's snapshots are evaluated too; a study's always are.")


class TrainingSettings(Model):
    dataset: str = Field(description="A data set's name.")
    networks: Several[str] = Field(description="Names of networks; figures show the first unless they name another.")
    recipe: str = Field(description="A recipe's name.")
    training: dict[str, Any] = Field(default_factory=dict, description="Keys of the recipe to change here.")
    surface: SurfaceSettings = Field(description="Where and on what its planes are evaluated.")
    snapshots: int = Field(
        0,
        ge=0,
        le=1000,
        description="States of the plane during training that are kept: a film shows them, a study evaluates them.",
    )


def recipe_of(training: Mapping[str, Any]) -> Recipe:
    """The recipe that a run or its record states as `training`, which also has the recipe's name. InputError as in `read`."""
    return read(Recipe, "training", {key: value for key, value in training.items() if key != "recipe"})
