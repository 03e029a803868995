"""All that a config may say: one pydantic model per section; key, type, range, default and meaning of each key stand here once.

`check` turns a config into `Settings`, and a wrong key into one line: its full name, what was found, what would be right.
config/README.md and config/config.schema.json are made from these models (scripts/describe_config.py).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
import re
import stat
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, TypeVar, Union, get_args
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError, ValidationError

from .errors import InputError

T = TypeVar("T")
Protocol = Literal["batch", "recalibrated", "identity"]
BN_PROTOCOLS = get_args(Protocol)
NO_BATCH_NORM = "none"  # the protocol's name in surfaces and scores of networks without batch norm
LARGEST = 2**53  # of an integer: beyond, no float and no JSON reader keeps it
LARGEST_SEED = 2**32 - 1
SIZE_MIN, SIZE_MAX = 3, 1000  # pixels of a picture's side
PASTED = str.maketrans({**dict.fromkeys("\ufe0e\ufe0f\u00ad", ""), "\u2028": "\n", "\u2029": "\n"})  # what comes along unseen
MOST_NETWORKS = 6  # of a study: the figure has so many colours
GREY, COLOUR = (28, 28, 1), (32, 32, 3)  # (height, width, channels) of the published data sets
IMAGE_SHAPES = {"MNIST": GREY, "FashionMNIST": GREY, "KMNIST": GREY, "CIFAR10": COLOUR, "CIFAR100": COLOUR}
IMAGES = "images"  # the kind of data set whose sizes the user states


# What every model shares
def wrong(expected: str, at: str = "", found: Any = None) -> PydanticCustomError:
    """The error of a validator: `expected` says what would be right; `at` names the key below the model."""
    shown = f"found {found!r}, {expected}" if found is not None else expected
    return PydanticCustomError("told", "{text}", {"text": shown, "at": at})


class Model(BaseModel, extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True):
    """A section of the config: no unknown keys, no conversions (but lists to tuples), immutable."""

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for name in data:
                if name not in cls.model_fields:
                    kind = data.get("kind") if "kind" in cls.model_fields else None
                    what = f"kind {kind} has" if isinstance(kind, str) else "allowed are"
                    raise wrong(f"unknown key; {what} {', '.join(cls.model_fields)}", str(name))
        return data


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def exactly(*names: str) -> BeforeValidator:
    """A list of as many entries as `names`, which say what they are, passes."""

    def has_all(value: Any) -> Any:
        if not isinstance(value, list | tuple) or len(value) != len(names):
            raise wrong(f"found {value!r}, expected [{', '.join(names)}]")
        return tuple(value)

    return BeforeValidator(has_all)


def _listed_once(values: Sequence[Any]) -> Any:
    if len(values) == 0 or len(set(map(repr, values))) != len(values):
        raise wrong("expected at least one entry, none twice", found=list(values))
    return values


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}", text):
        what = "expected letters, digits, '_' and '-', at most 100, the first no '-': names become file names"
        raise wrong(what, found=text)
    return text


def _drawable(text: str) -> str:
    line = " ".join(text.split())
    _require_characters("", line, "DejaVuSans")
    return line


def _not_empty(text: str) -> str:
    if not text:
        raise wrong("expected a text, not empty", found=text)
    return text


def _path(text: str) -> str:
    if "\0" in text:
        raise wrong("expected a path, which has no null character", found=text)
    return text


Name = Annotated[str, AfterValidator(_name)]
Shown = Annotated[str, AfterValidator(_drawable)]  # in figures: one line in their font
PathText = Annotated[str, Field(min_length=1), AfterValidator(_path)]
Count = Annotated[int, Field(ge=1, le=LARGEST)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Many = Annotated[tuple[T, ...], BeforeValidator(_as_tuple)]
Several = Annotated[tuple[T, ...], BeforeValidator(_as_tuple), AfterValidator(_listed_once)]
Side = Annotated[int, Field(ge=SIZE_MIN, le=SIZE_MAX)]
Size = Annotated[tuple[Side, Side], exactly("rows", "columns")]
SizeOrSide = Annotated[
    Annotated[Side, Tag("#side")] | Annotated[Size, Tag("#size")],
    Discriminator(lambda value: "#side" if type(value) is int else "#size"),
]
Squares = Annotated[tuple[Count, Count], exactly("rows", "columns")]
ImageSize = Annotated[tuple[Count, Count], exactly("height", "width")]
Repeats = Annotated[int, Field(ge=1, le=1000)]
RepeatsOfEach = Annotated[
    Annotated[Repeats, Tag("#all")] | Annotated[Many[Repeats], Tag("#each")],
    Discriminator(lambda value: "#each" if isinstance(value, list | tuple) else "#all"),
]
SquareSide = Annotated[int, Field(ge=5, le=SIZE_MAX)]
SquareSize = Annotated[tuple[SquareSide, SquareSide], exactly("rows", "columns")]
Split = Literal["train", "validation", "test"]


def by_kind(*models: type[Model]) -> Any:
    """A field that is one of these models, told apart by `kind`.

    A config that redefines an entry of a lower file as another kind takes the other kind's keys out with null.
    """
    kinds = {model.model_fields["kind"].annotation.__args__[0]: model for model in models}

    def tag_of(data: Any) -> str | None:
        kind = data.get("kind") if isinstance(data, Mapping) else getattr(data, "kind", None)
        return f"#{kind}" if isinstance(kind, str) and kind in kinds else None

    def of_its_kind(data: Any) -> Any:
        if not isinstance(data, Mapping) or tag_of(data) is None:
            return data
        known = kinds[data["kind"]].model_fields
        others = {name for model in kinds.values() for name in model.model_fields if name not in known}
        for name in data:
            if name in others and data[name] is not None:
                left = f"if another config file, below this one, says it of another kind, write {name}: null here"
                raise wrong(f"unknown key; kind {data['kind']} has {', '.join(known)}; {left}", name)
        return {name: value for name, value in data.items() if name not in others}

    told = Discriminator(tag_of, custom_error_type="kind", custom_error_message=", ".join(kinds))
    tagged = tuple(Annotated[model, Tag(f"#{kind}")] for kind, model in kinds.items())
    return Annotated[Union[tagged], told, BeforeValidator(of_its_kind)]  # noqa: UP007 (of as many as there are)


# Datasets
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


# Masks
class _MaskModel(Model):
    ternary: bool = Field(True, description="Train only pixels with a neighbour of the other colour; false: all.")
    permuted: Seed | None = Field(None, description="The picture's pixels are shuffled with this seed, before any are ignored.")

    @model_serializer(mode="wrap")
    def _without_permuted(self, handler: Any) -> Any:
        """A mask that is not permuted is written, and counts, as if there were no such key."""
        return {key: value for key, value in handler(self).items() if (key, value) != ("permuted", None)}

    @property
    def axes(self) -> int:
        """How many axes the picture has."""
        return 2


class _DrawnMask(_MaskModel):
    size: SizeOrSide = Field(description="[rows, columns] in pixels, or the longer side: the shape is then the picture's.")
    threshold: Fraction = Field(0.5, description="A pixel is white from this coverage (or lightness) on.")
    invert: bool = Field(False, description="Exchange white and black.")


def _composed(text: str) -> str:
    """A letter and its accent as the one character that Unicode has for them, if it has one; no variation selectors, no soft
    hyphens, line breaks all alike."""
    return unicodedata.normalize("NFC", text).translate(PASTED)


Characters = Annotated[str, AfterValidator(_composed)]


class GlyphMask(_DrawnMask):
    """A character of the DejaVu Sans font; its ink is white."""

    kind: Literal["glyph"] = Field(description="A character of the DejaVu Sans font.")
    character: Characters = Field(description="The character, in quotes.")
    margin: float = Field(0.08, ge=0, lt=0.5, description="Free space around it, a fraction of the side.")

    def model_post_init(self, context: Any) -> None:
        _require_characters("character", self.character, "DejaVuSans")
        if not self.character or any(unicodedata.category(mark)[0] != "M" for mark in self.character[1:]):
            raise wrong("expected one character of the DejaVu Sans font, in quotes", "character", self.character)


class TextMask(_DrawnMask):
    """A text in DejaVu Sans Bold; its ink is white."""

    kind: Literal["text"] = Field(description="A text in DejaVu Sans Bold.")
    text: Characters = Field(description="The text, in quotes.")
    margin: float = Field(0.08, ge=0, lt=0.5, description="Free space around it, a fraction of the side.")

    def model_post_init(self, context: Any) -> None:
        if not self.text.strip() or len(self.text) > SIZE_MAX:
            raise wrong(f"expected a text in quotes, not empty, of at most {SIZE_MAX} characters", "text", self.text)
        _require_characters("text", self.text.replace("\n", ""), "DejaVuSans-Bold")


class ImageMask(_DrawnMask):
    """A picture file; white is low loss."""

    kind: Literal["image"] = Field(description="A picture file.")
    path: PathText = Field(description="The path of a PNG, JPEG, GIF, BMP, WebP, TIFF or SVG file.")

    @property
    def file(self) -> Path:
        """Where the picture is."""
        return user_path(self.path)


SAMPLE = "sample:"  # before the name of a picture that comes with matplotlib


def sample_file(name: str) -> Path:
    """A picture that comes with matplotlib, the same on every machine."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "sample_data" / name


def _ordered(*names: str) -> AfterValidator:
    """Two numbers of which the second is larger."""

    def checked(value: tuple[float, float]) -> tuple[float, float]:
        if not value[0] < value[1]:
            raise wrong(f"expected [{', '.join(names)}], the second larger", found=list(value))
        return value

    return AfterValidator(checked)


class PhotographMask(_MaskModel):
    """A photograph in grey levels or colours: every pixel has a target of its loss. Or in two tones, a mask like any other."""

    kind: Literal["photograph"] = Field(description="A photograph with its shades.")
    path: PathText = Field(
        description=f"The path of an image file; `{SAMPLE}grace_hopper.jpg`: one that comes with matplotlib."
    )
    size: SizeOrSide = Field(description="[rows, columns] in pixels, what does not fit is cut off; or the longer side.")
    across: Annotated[tuple[Fraction, Fraction], BeforeValidator(_as_tuple), _ordered("left", "right")] = Field(
        (0.0, 1.0), description="[left, right] of the part that is shown, as shares of the width."
    )
    down: Annotated[tuple[Fraction, Fraction], BeforeValidator(_as_tuple), _ordered("top", "bottom")] = Field(
        (0.0, 1.0), description="[top, bottom] of the part that is shown, as shares of the height."
    )
    tones: Literal["two", "grey", "colour"] = Field(description="two: white where lighter than the median; grey; colour: RGB.")
    losses: Annotated[tuple[Positive, Positive], BeforeValidator(_as_tuple), _ordered("lightest", "darkest")] = Field(
        (0.5, 4.0), description="Grey and colour: [loss of the lightest, loss of the darkest pixels] to train for, in nats."
    )

    @property
    def file(self) -> Path:
        """Where the photograph is."""
        name = self.path.removeprefix(SAMPLE)
        return user_path(self.path) if name == self.path else sample_file(name)

    @property
    def shaded(self) -> bool:
        """Whether its pixels have targets instead of two colours."""
        return self.tones != "two"


class RandomSquareMask(_MaskModel):
    """The paper's random square: a white ring one pixel inside the border, and random pixels inside it."""

    kind: Literal["random_square"] = Field(description="A white ring, and random pixels inside it.")
    size: SquareSize = Field(description="[rows, columns] in pixels, at least 5.")
    probability: Fraction = Field(description="The probability that a pixel inside is white.")
    seed: int = Field(ge=0, le=LARGEST, description="Which square; those of different p or seed are independent.")


class GridMask(_MaskModel):
    """A chessboard."""

    kind: Literal["grid"] = Field(description="A chessboard.")
    size: Size = Field(description="[rows, columns] in pixels.")
    cells: Squares = Field(description="[rows, columns] of squares, at most the size.")

    def model_post_init(self, context: Any) -> None:
        if self.cells[0] > self.size[0] or self.cells[1] > self.size[1]:
            raise wrong(f"expected at most the size {list(self.size)}", "cells", list(self.cells))


class AsciiMask(_MaskModel):
    """Rows of characters."""

    kind: Literal["ascii"] = Field(description="Rows of characters.")
    rows: Many[str] = Field(min_length=1, description="Strings of equal length: `#` is white, `.` is black.")

    def model_post_init(self, context: Any) -> None:
        for i, row in enumerate(self.rows):
            if len(row) != len(self.rows[0]):
                raise wrong(f"found {len(row)} characters, expected {len(self.rows[0])} like the first row", f"rows[{i}]")
            if strange := sorted(set(row) - set("#.")):
                raise wrong("expected only '#' (white) and '.' (black)", f"rows[{i}]", strange[0])
        if not all(SIZE_MIN <= side <= SIZE_MAX for side in self.size):
            rows, columns = self.size
            raise wrong(f"found {rows} rows of {columns} characters, expected {SIZE_MIN} to {SIZE_MAX} of each", "rows")

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns)."""
        return len(self.rows), len(self.rows[0])


class RandomPointsMask(_MaskModel):
    """The points of a box with one to six axes, half of them white at random. For `snakemake beyond`."""

    kind: Literal["random_points"] = Field(description="The points of a box, half of them white.")
    sides: Many[Annotated[int, Field(ge=2, le=SIZE_MAX)]] = Field(
        min_length=1, max_length=6, description="Points along each axis: one to six numbers."
    )
    seed: int = Field(ge=0, le=LARGEST, description="Which points are white.")
    ternary: bool = Field(False, description="true: train only points with a neighbour of the other colour.")

    def model_post_init(self, context: Any) -> None:
        if math.prod(self.sides) > SIZE_MAX**2:
            raise wrong(f"expected at most {SIZE_MAX**2:,} points", "sides", list(self.sides))

    @property
    def axes(self) -> int:
        return len(self.sides)


class VoxelsMask(_MaskModel):
    """A solid of three axes that reads as one letter from the front and as another from the side. For `snakemake beyond`."""

    kind: Literal["voxels"] = Field(description="A solid that reads as two letters.")
    letters: Annotated[tuple[Characters, Characters], exactly("front", "side")] = Field(
        description="[front, side]: letters of DejaVu Sans Bold, in quotes, seen along the last axis and along the second."
    )
    side: Annotated[int, Field(ge=5, le=100)] = Field(description="Voxels along each axis.")

    def model_post_init(self, context: Any) -> None:
        for i, letter in enumerate(self.letters):
            _require_characters(f"letters[{i}]", letter, "DejaVuSans-Bold")
            if len(letter) != 1 or not letter.strip():
                raise wrong("expected one letter, in quotes", f"letters[{i}]", letter)

    @property
    def axes(self) -> int:
        return 3


Mask = by_kind(
    GlyphMask, TextMask, ImageMask, PhotographMask, RandomSquareMask, GridMask, AsciiMask, RandomPointsMask, VoxelsMask
)
AnyMask = (
    GlyphMask | TextMask | ImageMask | PhotographMask | RandomSquareMask | GridMask | AsciiMask | RandomPointsMask | VoxelsMask
)


def font_file(name: str) -> Path:
    """A font that comes with matplotlib, the same on every machine."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"


@functools.cache
def _characters(font: str) -> dict[int, Any]:
    from matplotlib.ft2font import FT2Font

    return FT2Font(str(font_file(font))).get_charmap()


def _require_characters(at: str, text: str, font: str) -> None:
    for character in text:
        if ord(character) not in _characters(font):
            code = f"(U+{ord(character):04X})"
            raise wrong(f"found {character!r} {code}, which the font {font} lacks; take another character", at)


# Networks

Widths = Many[Count]


class ConvNetwork(Model):
    """3 x 3 convolutions with optional 2 x 2 max pools, then dense layers."""

    kind: Literal["conv"] = Field("conv", description="3 x 3 convolutions, then dense layers.")
    channels: Widths = Field(description="Channels of each convolution.")
    dense: Widths = Field((), description="Widths of the dense layers before the last.")
    pool: bool = Field(True, description="A 2 x 2 max pool after each convolution.")
    pooled_size: Count = Field(4, description="Side of the adaptive average pool before the dense layers.")
    batch_norm: bool = Field(False, description="Batch norm after each convolution.")
    residual: bool = Field(False, description="Add the input of a convolution where the channels agree.")
    activation: Literal["relu", "gelu", "tanh"] = Field("relu", description="The activation.")

    def model_post_init(self, context: Any) -> None:
        if self.batch_norm and not self.channels:
            raise wrong("expected convolutions to normalise (batch_norm is true)", "channels", list(self.channels))

    def check_image(self, key: str, height: int, width: int) -> None:
        """InputError, naming the network `key`, if its pools leave nothing of an image of this size."""
        if self.pool and min(height, width) >> len(self.channels) < 1:
            raise InputError(
                f"{key}: images of {height} x {width} are too small for {len(self.channels)} pools of 2 x 2; "
                "use fewer channels, or pool: false"
            )


class ResNetwork(Model):
    """A small residual network: one stage per entry of `channels`, the resolution halved between stages."""

    kind: Literal["resnet"] = Field("resnet", description="A small residual network.")
    channels: Widths = Field(min_length=1, description="Channels of each stage.")
    dense: Widths = Field((), description="Widths of the dense layers before the last.")
    blocks: Count = Field(1, description="Basic blocks in each stage.")
    batch_norm: bool = Field(False, description="Batch norm after each convolution.")
    activation: Literal["relu", "gelu", "tanh"] = Field("relu", description="The activation.")


class ModuleNetwork(Model):
    """A torch.nn.Module of your own; the one thing in a config that is executed."""

    kind: Literal["module"] = Field("module", description="A torch module of your own.")
    module: str = Field(description="path/to/file.py:ClassName, from the folder where Snakemake runs.")
    arguments: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the class.")
    batch_norm: bool = Field(False, description="Whether it has batch norm layers.")

    def model_post_init(self, context: Any) -> None:
        if self.file.suffix != ".py" or not self.class_name.isidentifier():
            raise wrong("expected path/to/file.py:ClassName", "module", self.module)
        for name, item in self.arguments.items():
            if not name.isidentifier():
                raise wrong("expected names of keyword arguments", "arguments", name)
            if not _is_plain(item):
                raise wrong("expected numbers, texts, true, false, null, lists or mappings", f"arguments.{name}", item)

    @property
    def file(self) -> Path:
        """The Python file, `~` expanded."""
        return user_path(self.module.rpartition(":")[0])

    @property
    def class_name(self) -> str:
        """The class in that file."""
        return self.module.rpartition(":")[2]


Network = by_kind(ConvNetwork, ResNetwork, ModuleNetwork)
AnyNetwork = ConvNetwork | ResNetwork | ModuleNetwork


def _is_plain(value: Any) -> bool:
    """Whether JSON keeps the value as it is."""
    try:
        return json.loads(json.dumps(value)) == value
    except (TypeError, ValueError):
        return False


# Training and surfaces


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


class Recipe(WarmUp):
    """How a plane is trained. An update draws pixels, runs images through the model of each, and takes one optimizer step."""

    updates: Count = Field(description="Updates of the plane.")
    white_pixels: Count = Field(description="White pixels of an update.")
    black_pixels: Count = Field(description="Black pixels of an update.")
    pixel_sampling: Sampling = Field(description="independent: drawn from all pixels; epochs: each once before any again.")
    images: Count = Field(description="Images per pixel and update.")
    shared_images: bool = Field(description="Whether all pixels of an update see the same images.")
    tau: Positive = Field(description="Nats; a black pixel has no gradient while its loss is above tau.")
    tau_start: Positive | None = Field(None, description="Nats; tau falls from here during training; null: it stays the same.")
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

    def model_post_init(self, context: Any) -> None:
        if self.tau_start is not None and self.tau_start < self.tau:
            raise wrong(f"expected at least tau, {self.tau:g}, or null", "tau_start", self.tau_start)

    @property
    def of_origin(self) -> WarmUp:
        """What decides the origin that the training starts from."""
        return WarmUp(**{name: getattr(self, name) for name in WarmUp.model_fields})

    def passes_per_update(self, white: int, black: int) -> int:
        """Image passes (one image forward and backward through one model) of one update, if the mask has that many pixels."""
        return (min(white, self.white_pixels) + min(black, self.black_pixels)) * self.images


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
    snapshots: bool = Field(False, description="Whether an experiment's snapshots are evaluated too; a study's always are.")


# Experiments and studies
class _Training(Model):
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


class Experiment(_Training):
    """Pictures that are trained and evaluated together. Which pictures: those that the figures draw."""

    seeds: Several[Seed] = Field(description="A plane is trained with each; figures show the first.")
    films: Many[str] = Field((), description="Pictures whose films `all` draws, if figures draw them.")


class StudySettings(_Training):
    """Random squares on several networks. Every square is drawn and trained by random numbers of its own."""

    size: SquareSize = Field(description="[rows, columns] of a square.")
    probabilities: Several[Fraction] = Field(description="Probabilities that a pixel is white.")
    squares: RepeatsOfEach = Field(description="Squares of each probability; a list has a number for each.")
    title: Shown = Field("", max_length=40, description="Stands above its panels in the figure.")

    def model_post_init(self, context: Any) -> None:
        if len(self.networks) > MOST_NETWORKS:
            raise wrong(f"expected at most {MOST_NETWORKS}", "networks", list(self.networks))
        if isinstance(self.squares, tuple) and len(self.squares) != len(self.probabilities):
            raise wrong(f"expected a number, or {len(self.probabilities)}, as probabilities has", "squares", list(self.squares))

    def squares_of(self, probability: float) -> int:
        """The number of squares of this probability."""
        return self.squares if isinstance(self.squares, int) else self.squares[self.probabilities.index(probability)]


# Figures: what all kinds share. Each kind's options stand in its module, losspatterns/figures/<kind>.py.
def _ascending(value: Any) -> Any:
    pair = isinstance(value, list | tuple) and len(value) == 2 and all(type(bound) in (int, float) for bound in value)
    if value != "auto" and not (pair and 0 < value[0] < value[1] < float("inf")):
        raise wrong("expected auto or [low, high], 0 < low < high", found=value)
    return value


LossRange = Annotated[Literal["auto"] | tuple[float, float], BeforeValidator(_as_tuple), BeforeValidator(_ascending)]


class FigureOptions(Model):
    """The options of a figure."""

    kind: str = Field(description="The module in losspatterns/figures/ that draws it.")


# Parts of `snakemake beyond`. Each kind's options stand in its module, losspatterns/beyond/<kind>.py.
class PartOptions(Model):
    """The options of a part of `snakemake beyond`."""

    kind: str = Field(description="The module in losspatterns/beyond/ that measures and draws it.")


# Benchmarks: speed is measured with one thread and with all cores that Snakemake was given
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


# The whole
class Settings(Model):
    """A whole config. What nothing draws is no error."""

    scale: Name = Field(description="Results go to `results/<scale>/`, figures to `figures/<scale>/`.")
    save_state_every: int = Field(ge=1, le=10**9, description="Seconds between saves of an unfinished training or surface.")
    datasets: dict[Name, DatasetSettings] = Field(description="Data sets by name.")
    masks: dict[Name, Mask] = Field(description="Pictures by name.")
    networks: dict[Name, Network] = Field(description="Networks by name.")
    recipes: dict[Name, Recipe] = Field(description="Recipes by name (config/recipes.yaml).")
    experiments: dict[Name, Experiment] = Field(description="Experiments by name.")
    studies: dict[Name, StudySettings | None] = Field(default_factory=dict, description="Studies by name; null: not run.")
    figures: dict[Name, dict[str, Any] | None] = Field(description="Figures by name: kind and its options; null: not drawn.")
    beyond: dict[Name, dict[str, Any] | None] = Field(
        default_factory=dict, description="Parts of `snakemake beyond` by name: kind and its options; null: left out."
    )
    benchmarks: Benchmarks


def user_path(text: str) -> Path:
    """A path of the config: `~` is the home folder; that of a user who is not known stays as written, and is not there.

    Its bytes are UTF-8, also in a locale that has no ü.
    """
    with contextlib.suppress(UnicodeEncodeError):  # half a surrogate pair: the name of no file
        text = os.fsdecode(text.encode("utf-8", "surrogateescape"))
    return Path(os.path.expanduser(text))


def open_file(path: str | os.PathLike[str], where: str) -> BinaryIO:
    """A file that the user names, opened to be read. InputError, which starts with `where`, if it cannot be."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a folder; a pipe, which would be waited for
            raise OSError(0, "not a plain file")
        return open(path, "rb")
    except OSError as error:
        raise InputError(f"{where} cannot be read ({error.strerror})") from None


def short_digest(model: Model) -> str:
    """Eight hex digits that stand for a model's values in a file name."""
    return hashlib.sha256(json.dumps(model.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:8]


# From a config to Settings, or to one line
def check(raw: Any) -> Settings:
    """The settings of a whole config. InputError for the first key that is wrong."""
    try:
        _check_keys(raw)
    except RecursionError:
        raise InputError("top level: nested too deeply, or a list that contains itself (a YAML alias)") from None
    return read(Settings, "", raw)


def parse_network(key: str, entry: Mapping[str, Any]) -> AnyNetwork:
    """The network found at `key`. `name` and `checksum`, which jobs and records add to it, are left aside."""
    return read(Network, key, {name: value for name, value in entry.items() if name not in ("name", "checksum")})


def parse_mask(key: str, entry: Mapping[str, Any]) -> AnyMask:
    """The mask found at `key`. `name`, which jobs and records add to it, is left aside."""
    return read(Mask, key, {name: value for name, value in entry.items() if name != "name"})


@functools.cache
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def from_json(option: str, text: str) -> Any:
    """The value of a script's option. InputError, naming the option, if it is no JSON."""
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{option}: found {text!r}, expected JSON ({error})") from None


def read(model: Any, key: str, data: Any) -> Any:
    """`data`, found at `key` of the config, as a model. InputError names the first key that is wrong."""
    try:
        try:
            return _adapter(model).validate_python(data)
        except ValidationError as error:
            raise InputError(_line(key, error.errors(include_url=False)[0])) from None
    except RecursionError:
        raise InputError(f"{key or 'top level'}: nested too deeply") from None
    except UnicodeEncodeError as error:  # pydantic cannot name such a key
        raise InputError(f"{key or 'top level'}: found half a character in {error.object!r}, expected Unicode") from None


def recipe_of(training: Mapping[str, Any]) -> Recipe:
    """The recipe that a run or its record states as `training`, which also has the recipe's name. InputError as in `read`."""
    return read(Recipe, "training", {key: value for key, value in training.items() if key != "recipe"})


EXPECTED = {  # type of a pydantic error, or its first word -> what would be right; {} are its context
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "finite_number": "a finite number",
    "too_short": "{min_length} or more entries",
    "too_long": "at most {max_length} entries",
    "string_too_short": "a text, not empty",
    "string_too_long": "at most {max_length} characters",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "string": "a text",
    "tuple": "a list",
    "dict": "keys and values",
    "model": "keys and values",
}


def _line(key: str, error: Mapping[str, Any]) -> str:
    """One line for the first error of a validation: the key in full, what was found, what would be right."""
    context, kind, found = error.get("ctx", {}), error["type"], error["input"]
    found = list(found) if isinstance(found, tuple) else found
    for part in error["loc"]:
        if isinstance(part, int):
            key += f"[{part}]"
        elif part != "[key]" and not part.startswith("#"):  # what pydantic adds: a key it rejects, the tag of a kind
            key = f"{key}.{part}".lstrip(".")
    if at := context.get("at"):
        key = f"{key}.{at}".lstrip(".")
    key = key or "top level"
    if kind == "told":
        return f"{key}: {context['text']}"
    if kind == "missing":
        return f"{key}: missing"
    if kind == "kind":
        if isinstance(found, Mapping):
            given = f"found {found['kind']!r}," if "kind" in found else "missing;"
            return f"{key}.kind: {given} expected one of {error['msg']}"
        return f"{key}: found {found!r}, expected keys and values, `kind` among them"
    if kind == "float_type" and type(found) is int:  # no float holds it
        kind = "finite_number"
    expected = EXPECTED.get(kind) or EXPECTED.get(kind.partition("_")[0])
    if expected is None:
        return f"{key}: found {found!r}; {' '.join(error['msg'].split())}"
    expected = expected.format(**{name: int(bound) if bound in (0, 1) else bound for name, bound in context.items()})
    if kind in ("float_type", "int_type") and isinstance(found, str) and re.fullmatch(r"[-+.\d]+e[-+]?\d+", found):
        expected += " (YAML reads 1e-3 as text: write 0.001)"
    return f"{key}: found {found!r}, expected {expected}"


def _check_keys(entry: Any, key: str = "") -> None:
    """InputError for a key that is no text: YAML reads 1, 2020-01-01, null, yes and on as something else."""
    if isinstance(entry, Mapping):
        for name, value in entry.items():
            if not isinstance(name, str):
                raise InputError(f"{key or 'top level'}: found the key {name!r}, expected a text; put it in quotes")
            _check_keys(value, f"{key}.{name}".lstrip("."))
    elif isinstance(entry, list):
        for i, item in enumerate(entry):
            _check_keys(item, f"{key}[{i}]")


def check_file(path: Path) -> None:
    """InputError if a YAML file has a key twice (YAML takes the last, in silence), or has Snakemake compute its values.

    A file that is no YAML is not looked at: Snakemake, which reads it first, has told so.
    """

    class EachOnce(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # LibYAML's, where it is there, is ten times as fast
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
            lines: dict[str, int] = {}
            for name, _ in node.value:
                line = name.start_mark.line + 1
                if name.value in lines:
                    found = f"{name.value} stands in lines {lines[name.value]} and {line}"
                    raise InputError(f"{path}: {found}; the last would count, so remove one")
                if name.value == "__use_yte__":
                    raise InputError(f"{path}: __use_yte__: found in line {line}, but a config holds values only")
                lines[name.value] = line
            return super().construct_mapping(node, deep)

    with contextlib.suppress(yaml.YAMLError):
        EachOnce(path.read_text(encoding="utf-8")).get_single_data()
