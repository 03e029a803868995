"""What a run is made of, as frozen dataclasses read from the config.

`parse` turns a config mapping into a dataclass and is the only place where keys and types are checked: an `InputError` names
the key in full, what was found and what is allowed. Ranges are checked by each class in `__post_init__`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from .errors import InputError

T = TypeVar("T")

BN_PROTOCOLS = ("batch", "recalibrated", "identity")
NO_BATCH_NORM = "none"  # the protocol's name in surfaces and scores of networks without batch norm
LARGEST = 2**53  # of an integer: beyond, no float and no JSON reader keeps it
LARGEST_SEED = 2**32 - 1


def user_path(text: str) -> Path:
    """A path of the config: `~` is the home folder; that of a user who is not known stays as written, and is not there.

    Its bytes are UTF-8, also in a locale that has no ü.
    """
    with contextlib.suppress(UnicodeEncodeError):  # half a surrogate pair: the name of no file
        text = os.fsdecode(text.encode("utf-8", "surrogateescape"))
    return Path(os.path.expanduser(text))


def parse(cls: type[T], key: str, data: Mapping[str, Any]) -> T:
    """Make a spec of class `cls` from a mapping found at `key` of the config. InputError for a wrong key, type or range."""
    if not isinstance(data, Mapping):
        raise InputError(f"{key}: found {data!r}, expected a mapping")
    hints = typing.get_type_hints(cls)
    fields = {known.name: known for known in dataclasses.fields(cls)}
    for name in data:
        if name not in fields:
            raise InputError(f"{key}.{name}: unknown key; allowed are {', '.join(fields)}")
    values = {}
    for name, known in fields.items():
        if name in data:
            values[name] = _convert(f"{key}.{name}", data[name], hints[name])
        elif known.default is known.default_factory is dataclasses.MISSING:
            raise InputError(f"{key}.{name}: missing")
    try:
        return cls(**values)
    except InputError as error:
        raise InputError(f"{key}.{error}") from None


def recorded_network(entry: Mapping[str, Any]) -> NetworkSpec | ModuleSpec:
    """The spec in a job's or a plane's record of its network, which also holds its name and a user's file's checksum."""
    return parse_network("network", {key: value for key, value in entry.items() if key not in ("name", "checksum")})


def as_config(spec: Any) -> dict[str, Any]:
    """The plain mapping (JSON types) that `parse` reads back to an equal spec."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(spec).items()}


def _convert(key: str, value: Any, hint: Any) -> Any:
    """`value` as the annotated type: bool, int, float, str, tuple[X, ...], dict (plain), Literal, or one of these or None."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _convert(key, value, next(a for a in arguments if a is not type(None)))
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{key}: found {value!r}, allowed are {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{key}: found {value!r}, expected a list")
        return tuple(_convert(f"{key}[{i}]", item, arguments[0]) for i, item in enumerate(value))
    if origin is dict:
        return _plain_mapping(key, value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and number:
        if not abs(value) <= sys.float_info.max:  # NaN, infinity, and integers that no float holds
            raise InputError(f"{key}: found {value!r}, expected a finite number")
        return float(value)
    if hint is int and number and isinstance(value, int) and abs(value) > LARGEST:
        raise InputError(f"{key}: found {value!r}, expected an integer of at most {LARGEST}")
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        hint_text = " (YAML reads 1e-3 as text: write 0.001)" if hint is float and isinstance(value, str) else ""
        raise InputError(f"{key}: found {value!r}, expected {hint.__name__}{hint_text}")
    return value


def _plain_mapping(key: str, value: Any) -> dict[str, Any]:
    """`value` if it is a mapping that JSON keeps as it is: names, and numbers, texts, booleans, null, lists and mappings."""
    if not isinstance(value, Mapping):
        raise InputError(f"{key}: found {value!r}, expected a mapping")
    for name, item in value.items():
        try:
            plain = isinstance(name, str) and json.loads(json.dumps(item)) == item
        except (TypeError, ValueError):
            plain = False
        if not plain:
            raise InputError(f"{key}.{name}: found {item!r}, expected numbers, texts, true, false, null, lists or mappings")
    return dict(value)


def _require(name: str, value: Any, holds: bool, expected: str) -> None:
    if not holds:
        raise InputError(f"{name}: found {value}, expected {expected}")


@dataclass(frozen=True)
class NetworkSpec:
    """A classifier. `conv`: 3 x 3 convolutions (padding 1) with optional 2 x 2 max pools, then dense layers. `resnet`: a small
    residual network, one stage per entry of `channels`, `blocks` basic blocks each, the resolution halved between stages."""

    kind: Literal["conv", "resnet"]
    channels: tuple[int, ...]
    dense: tuple[int, ...] = ()
    pool: bool = True
    pooled_size: int = 4  # conv: side of the adaptive average pool before the dense layers
    blocks: int = 1
    batch_norm: bool = False
    residual: bool = False
    activation: Literal["relu", "gelu", "tanh"] = "relu"

    def __post_init__(self) -> None:
        for name in ("channels", "dense"):
            for width in getattr(self, name):
                _require(name, width, width > 0, "positive widths")
        _require("pooled_size", self.pooled_size, self.pooled_size > 0, "a positive side")
        _require("blocks", self.blocks, self.blocks > 0, "a positive number")
        if self.kind == "resnet":
            _require("channels", list(self.channels), len(self.channels) > 0, "at least one stage")
            _require("residual", self.residual, not self.residual, "false: a resnet is residual by itself")
        if self.batch_norm:
            _require("channels", list(self.channels), len(self.channels) > 0, "convolutions to normalise (batch_norm is true)")

    def check_image(self, key: str, height: int, width: int) -> None:
        """InputError, naming the network `key`, if its pools leave nothing of an image of this size."""
        if self.kind == "conv" and self.pool and min(height, width) >> len(self.channels) < 1:
            raise InputError(
                f"{key}: images of {height} x {width} are too small for {len(self.channels)} pools of 2 x 2; "
                "use fewer channels, or pool: false"
            )


@dataclass(frozen=True)
class ModuleSpec:
    """A classifier of the user's own: `module` names a Python file and a torch.nn.Module in it, made with `arguments`."""

    kind: Literal["module"]
    module: str  # path/to/file.py:ClassName, relative to the working directory; the one thing in a config that is executed
    arguments: dict[str, Any] = field(default_factory=dict)
    batch_norm: bool = False  # whether it has batch norm layers: decides under which protocols surfaces are evaluated

    def __post_init__(self) -> None:
        named = self.file.suffix == ".py" and self.class_name.isidentifier()
        _require("module", repr(self.module), named, "path/to/file.py:ClassName")
        for name in self.arguments:
            _require("arguments", repr(name), name.isidentifier(), "names of keyword arguments")

    @property
    def file(self) -> Path:
        """The Python file, `~` expanded."""
        return user_path(self.module.rpartition(":")[0])

    @property
    def class_name(self) -> str:
        """The class in that file."""
        return self.module.rpartition(":")[2]


def parse_network(key: str, data: Any) -> NetworkSpec | ModuleSpec:
    """The network found at `key` of the config. InputError for a wrong kind, or a key that is wrong or of another kind."""
    kinds = ("conv", "resnet", "module")
    kind = data.get("kind", "conv") if isinstance(data, Mapping) else "conv"
    if kind not in kinds:
        raise InputError(f"{key}.kind: found {kind!r}, allowed are {', '.join(kinds)}")
    return parse(ModuleSpec if kind == "module" else NetworkSpec, key, data)


@dataclass(frozen=True)
class TrainingSpec:
    """One recipe of multi-point optimization (the method: the paper's section 3).

    An update draws `white_pixels` + `black_pixels` pixels, runs `images` training images through the model of each (the same
    ones for all if `shared_images`), adds up the gradients and takes one Adam step.
    """

    updates: int
    white_pixels: int
    black_pixels: int
    pixel_sampling: Literal["independent", "epochs"]  # each update draws from all pixels, or from those not drawn this epoch
    images: int
    shared_images: bool
    tau: float  # nats; a black pixel whose loss is above tau has no gradient
    optimizer: Literal["adam", "soap"]
    learning_rate: float
    direction_rate: float  # the directions' learning rate, in units of learning_rate
    schedule: Literal["constant", "linear"]  # linear: warm-up over the first `warm_up`, then down to zero
    warm_up: float  # fraction of the updates
    total_clip: float | None  # largest norm of the summed gradient over origin and directions; null: off
    step: float  # initial step
    learn_step: bool
    origin_updates: int  # ordinary Adam updates of the origin alone before MPO starts; 0: a random origin
    origin_images: int  # batch size of those
    origin_learning_rate: float
    standardise: bool  # network inputs minus the training set's mean over its standard deviation, per channel; else in [0, 1]
    augmentation: Literal["none", "crop_flip_cutout"]  # training images only: pad 4 + crop, flip, 8 x 8 cut-out with p = 0.5
    precision: Literal["float32", "bfloat16"]  # of the layers' products in an update; all else is float32
    pixels_per_chunk: int | None  # pixels computed at once: bounds the memory; null: from what there is (`mpo.chunk_for`)

    def __post_init__(self) -> None:
        for name in ("updates", "white_pixels", "black_pixels", "images", "origin_images"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        chunk, clip = self.pixels_per_chunk, self.total_clip
        _require("pixels_per_chunk", chunk, chunk is None or chunk >= 1, "at least 1, or null")
        _require("total_clip", clip, clip is None or clip > 0, "positive or null")
        for name in ("tau", "learning_rate", "direction_rate", "step", "origin_learning_rate"):
            _require(name, getattr(self, name), getattr(self, name) > 0, "a positive number")
        _require("origin_updates", self.origin_updates, self.origin_updates >= 0, "0 or more")
        _require("warm_up", self.warm_up, 0 <= self.warm_up < 1, "a fraction from 0 to below 1")

    def passes_per_update(self, white: int, black: int) -> int:
        """Image passes (one image forward and backward through one model) of one update, if the mask has that many pixels."""
        return (min(white, self.white_pixels) + min(black, self.black_pixels)) * self.images


@dataclass(frozen=True)
class SurfaceSpec:
    """Where and on what a plane is evaluated: every trained pixel, `padding` pixels around, `oversampling` points per pixel."""

    padding: int
    oversampling: int
    images: int  # evaluation images per split, drawn once by `image_seed`, the same for every point
    splits: tuple[Literal["train", "test"], ...]
    bn_protocols: tuple[Literal["batch", "recalibrated", "identity"], ...]  # used by networks with batch norm
    calibration_images: int  # training images of the `recalibrated` protocol
    image_seed: int

    def __post_init__(self) -> None:
        _require("padding", self.padding, self.padding >= 0, "0 or more")
        for name in ("oversampling", "images", "calibration_images"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("splits", "bn_protocols"):
            value = getattr(self, name)
            _require(name, list(value), len(value) > 0 and len(set(value)) == len(value), "at least one, none twice")
        _require("image_seed", self.image_seed, 0 <= self.image_seed < LARGEST_SEED, f"0 to {LARGEST_SEED - 1}")


@dataclass(frozen=True)
class ProbeSpec:
    """How a training is watched: at most `pixels` trained pixels on `images` test images, both drawn once by `seed`."""

    checkpoints: int
    images: int
    pixels: int
    seed: int = 0
