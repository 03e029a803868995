"""`snakemake draw --config picture=logo.png`: a picture named on the command line as an ordinary config of the scale `draw`.

The one idea: the keys become a mask, a figure and a film of `experiments.draw`, which config/config.yaml describes. Nothing
else knows of them.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from .config.fields import Fraction, PathText, Seed, SizeOrSide
from .config.model import Model, wrong
from .config.reading import read
from .errors import InputError
from .runs.settings import check

SCALE = "draw"
EXPERIMENT = "draw"
TYPED = ("picture", "text", "character")
LONGEST = 40  # characters of a picture's name that are kept in that of its files


def _quoted(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise wrong(f"found {value!r}, which is no text to Snakemake; for one, write '!!str {value}'")
    return value


OnCommandLine = Annotated[str, BeforeValidator(_quoted)]


class Drawing(Model, strict=False):  # --config gives numbers in a list, and true, as texts
    """Given with `--config`: exactly one of picture, text and character, and how it is drawn."""

    picture: PathText | None = Field(None, description="A picture file: PNG, JPEG, SVG and others.")
    text: OnCommandLine | None = Field(None, description="A text in DejaVu Sans Bold.")
    character: OnCommandLine | None = Field(None, description="A character of the DejaVu Sans font.")
    size: SizeOrSide = Field(32, description="[rows, columns] in pixels, or the longer side: the shape is then the picture's.")
    threshold: Fraction = Field(0.5, description="A pixel is white from this coverage (or lightness) on.")
    invert: bool = Field(False, description="Exchange white and black.")
    shades: bool = Field(False, description="A photograph: every pixel has a target for its grey level. With `picture` alone.")
    dataset: str | None = Field(None, description="A data set's name; null: that of `experiments.draw`.")
    network: str | None = Field(None, description="A network's name; null: that of `experiments.draw`.")
    seed: Seed | None = Field(None, description="Seed of the training; null: that of `experiments.draw`.")

    @property
    def mask(self) -> dict[str, Any]:
        """The entry of the mask that it draws."""
        forms = {"picture": ("image", "path"), "text": ("text", "text"), "character": ("glyph", "character")}
        given = [(*forms[key], value) for key in forms if (value := getattr(self, key)) is not None]
        if len(given) != 1:
            found = " and ".join(key for key in forms if getattr(self, key) is not None) or "none of them"
            raise InputError(f"draw: found {found}, expected one of {', '.join(forms)}, as in --config picture=logo.png")
        [(kind, key, value)] = given
        if self.shades:
            if key != "path":
                raise InputError(f"draw: shades: found true with {key}, expected a photograph, as in picture=photo.jpg")
            if two := sorted(self.model_fields_set & {"threshold", "invert"}):
                raise InputError(f"draw: {two[0]}: only for two colours; expected none with shades=true")
            return {"kind": "photograph", "path": value, "size": self.size, "tones": "grey"}
        return {"kind": kind, key: value, "size": self.size, "threshold": self.threshold, "invert": self.invert}

    @property
    def name(self) -> str:
        """What its files are called: another name for every other picture, and for every choice that is not the default."""
        if self.picture is not None:
            words = self.picture.removesuffix(".png")
        elif self.text is not None:
            words = f"text-{self.text}"
        else:
            words = (
                "-".join(unicodedata.name(sign, f"{ord(sign):x}") for sign in self.character or "").lower().replace(" ", "-")
            )
        name = _name(words, words)
        chosen = self.model_dump(exclude={"picture", "text", "character"}, exclude_defaults=True)
        chosen = {key: "x".join(map(str, value)) if isinstance(value, tuple) else value for key, value in chosen.items()}
        more = "-".join(f"{key}-{value}" for key, value in chosen.items())
        return f"{name}-{_name(more, more)}" if more else name


def _name(words: str, whole: str) -> str:
    """The words as part of a file's name; those that do not fit, or have other characters, are told apart by a checksum."""
    name = re.sub(r"[^A-Za-z0-9_]+", "-", Path(words).as_posix()).strip("-")[-LONGEST:].strip("-")
    return name if name == whole else f"{name}-{hashlib.sha256(whole.encode()).hexdigest()[:6]}".strip("-")


def drawn(raw: Mapping[str, Any], typed: Iterable[str] = ()) -> Mapping[str, Any]:
    """The config of the scale `draw` for the picture that `raw` names by the keys of `Drawing`. InputError for a wrong key.

    typed: what was given with --config, as `key=value`. Snakemake reads values as YAML, which takes Team #1 for Team; a text, a
    character and a picture are what was typed, but for YAML's quotes.
    """
    texts = dict(one.split("=", 1) for one in typed if "=" in one)
    given = {key: raw[key] for key in Drawing.model_fields if key in raw}
    given |= {key: text for key, text in texts.items() if key in TYPED and not text.startswith(('"', "'", "!!str"))}
    if "scale" in texts:
        raise InputError(f"scale: found {texts['scale']!r}, but what is drawn goes to the scale {SCALE}; remove it")
    config = {key: value for key, value in raw.items() if key not in given}
    check(config)
    drawing: Drawing = read(Drawing, "", given)
    mask, name = drawing.mask, drawing.name
    chosen = {"dataset": drawing.dataset, "networks": drawing.network and [drawing.network]}
    chosen["seeds"] = None if drawing.seed is None else [drawing.seed]
    experiment = config["experiments"][EXPERIMENT] | {key: value for key, value in chosen.items() if value is not None}
    return config | {
        "scale": SCALE,
        "masks": config["masks"] | {name: mask},
        "experiments": {EXPERIMENT: experiment | {"films": [name]}},
        "studies": {},
        "figures": {name: {"kind": "drawing", "experiment": EXPERIMENT, "mask": name}},
    }
