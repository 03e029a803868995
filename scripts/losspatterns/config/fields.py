"""Types of fields that several sections of the config have."""

import functools
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from .model import as_tuple, exactly, listed_once, wrong

T = TypeVar("T")
LARGEST = 2**53  # of an integer: beyond, no float and no JSON reader keeps it
LARGEST_SEED = 2**32 - 1
SIZE_MIN, SIZE_MAX = 3, 1000  # pixels of a picture's side


def font_file(name: str) -> Path:
    """A font that comes with matplotlib, the same on every machine."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"


@functools.cache
def _characters(font: str) -> dict[int, Any]:
    from matplotlib.ft2font import FT2Font

    return FT2Font(str(font_file(font))).get_charmap()


def require_characters(at: str, text: str, font: str) -> None:
    """The error of a validator, at the key `at`, for a character that the font lacks."""
    for character in text:
        if ord(character) not in _characters(font):
            code = f"(U+{ord(character):04X})"
            raise wrong(f"found {character!r} {code}, which the font {font} lacks; take another character", at)


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}", text):
        what = "expected letters, digits, '_' and '-', at most 100, the first no '-': names become file names"
        raise wrong(what, found=text)
    return text


def _drawable(text: str) -> str:
    line = " ".join(text.split())
    require_characters("", line, "DejaVuSans")
    return line


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise wrong("expected a path, which is not empty and has no null character", found=text)
    return text


Name = Annotated[str, AfterValidator(_name)]
Shown = Annotated[str, AfterValidator(_drawable)]  # in figures: one line in their font
PathText = Annotated[str, AfterValidator(_path)]
Count = Annotated[int, Field(ge=1, le=LARGEST)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Many = Annotated[tuple[T, ...], BeforeValidator(as_tuple)]
Several = Annotated[tuple[T, ...], BeforeValidator(as_tuple), AfterValidator(listed_once)]
Side = Annotated[int, Field(ge=SIZE_MIN, le=SIZE_MAX)]
Size = Annotated[tuple[Side, Side], exactly("rows", "columns")]
SizeOrSide = Annotated[
    Annotated[Side, Tag("#side")] | Annotated[Size, Tag("#size")],
    Discriminator(lambda value: "#side" if type(value) is int else "#size"),
]
SquareSide = Annotated[int, Field(ge=5, le=SIZE_MAX)]
SquareSize = Annotated[tuple[SquareSide, SquareSide], exactly("rows", "columns")]
Split = Literal["train", "validation", "test"]
