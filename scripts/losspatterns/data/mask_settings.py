"""What a config says of masks: the pictures that a plane is trained to show."""

import math
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_serializer

from ..config.fields import (
    LARGEST,
    SIZE_MAX,
    SIZE_MIN,
    Count,
    Fraction,
    Many,
    PathText,
    Positive,
    Seed,
    Size,
    SizeOrSide,
    SquareSize,
    require_characters,
)
from ..config.model import Model, as_tuple, by_kind, exactly, wrong
from ..config.reading import read, user_path

PASTED = str.maketrans({**dict.fromkeys("\ufe0e\ufe0f\u00ad", ""), "\u2028": "\n", "\u2029": "\n"})  # what comes along unseen
Squares = Annotated[tuple[Count, Count], exactly("rows", "columns")]


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
        require_characters("character", self.character, "DejaVuSans")
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
        require_characters("text", self.text.replace("\n", ""), "DejaVuSans-Bold")


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
    across: Annotated[tuple[Fraction, Fraction], BeforeValidator(as_tuple), _ordered("left", "right")] = Field(
        (0.0, 1.0), description="[left, right] of the part that is shown, as shares of the width."
    )
    down: Annotated[tuple[Fraction, Fraction], BeforeValidator(as_tuple), _ordered("top", "bottom")] = Field(
        (0.0, 1.0), description="[top, bottom] of the part that is shown, as shares of the height."
    )
    tones: Literal["two", "grey", "colour"] = Field(description="two: white where lighter than the median; grey; colour: RGB.")
    losses: Annotated[tuple[Positive, Positive], BeforeValidator(as_tuple), _ordered("lightest", "darkest")] = Field(
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
            require_characters(f"letters[{i}]", letter, "DejaVuSans-Bold")
            if len(letter) != 1 or not letter.strip():
                raise wrong("expected one letter, in quotes", f"letters[{i}]", letter)

    @property
    def axes(self) -> int:
        return 3


AnyMask = (
    GlyphMask | TextMask | ImageMask | PhotographMask | RandomSquareMask | GridMask | AsciiMask | RandomPointsMask | VoxelsMask
)
Mask = by_kind(*get_args(AnyMask))


def parse_mask(key: str, entry: Mapping[str, Any]) -> AnyMask:
    """The mask found at `key`. `name`, which jobs and records add to it, is left aside."""
    return read(Mask, key, {name: value for name, value in entry.items() if name != "name"})
