"""What a config says of data sets and where they come from."""

import contextlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from ..config.fields import LARGEST, Count, PathText, Seed, Several, Shown
from ..config.model import Model, exactly, wrong

GREY, COLOUR = (28, 28, 1), (32, 32, 3)  # (height, width, channels) of the published data sets
IMAGE_SHAPES = {"MNIST": GREY, "FashionMNIST": GREY, "KMNIST": GREY, "CIFAR10": COLOUR, "CIFAR100": COLOUR}
IMAGES = "images"  # the kind of data set whose sizes the user states
ImageSize = Annotated[tuple[Count, Count], exactly("height", "width")]


def _not_empty(text: str) -> str:
    if not text:
        raise wrong("expected a text, not empty", found=text)
    return text


class Download(Model):
    """Where a download is kept and how long it may take."""

    directory: PathText = Field("results/downloads", description="Folder that keeps the files.")
    timeout: float = Field(15.0, gt=0, lt=1e6, description="Seconds to wait for the server.")
    retries: int = Field(2, ge=0, le=1000, description="How often a broken transfer is tried again.")
    url: str | None = Field(None, description="Another server's address (http or https).")

    def model_post_init(self, context: Any) -> None:
        with contextlib.suppress(ValueError):
            if self.url is None or (self.url.startswith(("https://", "http://")) and urlsplit(self.url).hostname):
                return
        raise wrong("expected an http(s) address", "url", self.url)


class Bundled(Model):
    """FashionMNIST's subset in this repository."""


class Shapes(Model):
    """Drawn shapes in place of CIFAR10 or CIFAR100."""

    train: int = Field(10_000, ge=10, le=LARGEST, description="Training images.")
    test: int = Field(2_000, ge=10, le=LARGEST, description="Test images.")
    seed: Seed = Field(0, description="Seed of the drawing.")


def _bare(entry: Any) -> Any:
    """A source's name alone stands for the source with its defaults."""
    if entry in ("mirror", "image_folder"):
        raise wrong(f"needs a value: {'a list of folders' if entry == 'mirror' else 'a path'}", entry)
    entry = {entry: {}} if isinstance(entry, str) and entry in Source.model_fields else entry
    if not isinstance(entry, Mapping):
        raise wrong(f"expected one source, one of {', '.join(Source.model_fields)}", found=entry)
    return {name: {} if value is None and name in ("download", "bundled", "shapes") else value for name, value in entry.items()}


class Source(Model):
    """One place to look for a data set: exactly one of these keys. `download`, `bundled`, `shapes` may stand alone."""

    mirror: Several[PathText] | None = Field(None, description="Folders that may hold the published files.")
    download: Download | None = Field(None, description="The publisher's server; files are checked by published checksums.")
    bundled: Bundled | None = Field(None, description="FashionMNIST only: 12,000 + 2,000 images of this repository.")
    image_folder: PathText | None = Field(None, description="Folder or tar with `train/<class>/*` and `test/<class>/*`.")
    shapes: Shapes | None = Field(None, description="Drawn shapes in place of CIFAR10 or CIFAR100; figures say so.")

    def model_post_init(self, context: Any) -> None:
        if len(given := [name for name, value in self if value is not None]) != 1:
            raise wrong(f"found {', '.join(given) or 'nothing'}, expected one source, one of {', '.join(Source.model_fields)}")

    @property
    def form(self) -> str:
        """Which of the keys it is."""
        return next(name for name, value in self if value is not None)


DatasetKind = Literal["MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100", "images"]


class DatasetSettings(Model):
    """A data set: what it is, and where to look for it, in order. A source that is not there is passed over."""

    kind: DatasetKind = Field(description="A published data set, or `images`: class folders of your own.")
    sources: Several[Annotated[Source, BeforeValidator(_bare)]] = Field(description="Where to look, in order.")
    label: Annotated[Shown, AfterValidator(_not_empty)] | None = Field(
        None, description="What figures call the images of an image_folder."
    )
    image_size: ImageSize | None = Field(None, description="Kind `images`: [height, width]; every image is resized to it.")
    channels: Literal[1, 3] | None = Field(None, description="Kind `images`: 1 (grey) or 3 (colour).")
    optional: bool = Field(False, description="True: where no source is there, parts of `snakemake beyond` do without.")

    def model_post_init(self, context: Any) -> None:
        for key in ("image_size", "channels"):
            given = getattr(self, key) is not None
            if self.kind == IMAGES and not given:
                raise wrong("missing; kind images needs image_size: [height, width] and channels: 1 or 3", key)
            if self.kind != IMAGES and given:
                raise wrong(f"only for kind images; {self.kind} is always {' x '.join(map(str, self.image_shape))}", key)
        for i, source in enumerate(self.sources):
            at = f"sources[{i}]"
            if self.kind == IMAGES and source.form != "image_folder":
                raise wrong(f"found {source.form}, but kind images can only come from image_folder", at)
            if source.form == "bundled" and self.kind != "FashionMNIST":
                raise wrong(f"only FashionMNIST is bundled, not {self.kind}", at)
            if source.form == "shapes" and self.image_shape != COLOUR:
                raise wrong(f"shapes are 32 x 32 colour images, so they can replace CIFAR10 or CIFAR100, not {self.kind}", at)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return (*self.image_size, self.channels) if self.kind == IMAGES else IMAGE_SHAPES[self.kind]
