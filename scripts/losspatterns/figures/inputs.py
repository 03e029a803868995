"""What the figures are drawn from: surfaces, checked once on the way in, and the options of a figure.

The one idea: a surface that reaches a figure is finite, in step with its axes and has every trained pixel on its grid, so that
no drawing function checks anything again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..records import artifacts

ARRAYS = ("rows", "columns", "loss", "accuracy", "mask")
FACTS = ("dataset", "mask", "network", "seed", "split", "bn_protocol", "images")


@dataclass(frozen=True)
class Surface:
    """Loss and accuracy of the points of a plane, on a grid that holds every pixel of the picture.

    rows (H',) and columns (W',): ascending, evenly spaced pixel coordinates; row 0 is the top row of the picture, padding is
    negative or beyond the last pixel. loss (mean cross-entropy in nats) and accuracy: (H', W'). mask: int8 (H, W) ternary.
    made_by: the provenance. source: the file's name, for messages.
    """

    rows: np.ndarray
    columns: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    mask: np.ndarray
    made_by: dict[str, Any]
    source: str

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top edges of the grid in pixel coordinates, as `imshow` wants them with row 0 on top."""
        half_column, half_row = (self.columns[1] - self.columns[0]) / 2, (self.rows[1] - self.rows[0]) / 2
        return (
            self.columns[0] - half_column,
            self.columns[-1] + half_column,
            self.rows[-1] + half_row,
            self.rows[0] - half_row,
        )

    @property
    def aspect(self) -> float:
        """Height of the drawn surface over its width."""
        left, right, bottom, top = self.extent
        return (bottom - top) / (right - left)

    @property
    def dataset(self) -> str:
        """The data set's label, as a reader should see it."""
        return self.made_by["dataset"]["label"]

    @property
    def picture(self) -> str:
        """The picture's name in words."""
        return words(self.made_by["mask"]["name"])

    @property
    def network(self) -> str:
        """The network's name in words."""
        return words(self.made_by["network"]["name"])

    def at_pixels(self, values: np.ndarray) -> np.ndarray:
        """The values (H', W') at the picture's own pixels: (H, W)."""
        height, width = self.mask.shape
        return values[np.ix_(_positions(self.rows, height), _positions(self.columns, width))]

    def gap(self) -> float:
        """Mean accuracy of the white pixels minus that of the black ones; ignored pixels do not count."""
        accuracy = self.at_pixels(self.accuracy)
        return float(accuracy[self.mask == 1].mean() - accuracy[self.mask == -1].mean())


def words(name: str) -> str:
    """A name of the configuration as words."""
    return name.replace("_", " ")


def _positions(axis: np.ndarray, count: int) -> np.ndarray:
    """Where on the axis the pixel coordinates 0 .. count - 1 stand; -1 for one that is missing."""
    nearest = np.abs(axis[:, None] - np.arange(count)).argmin(axis=0)
    return np.where(np.abs(axis[nearest] - np.arange(count)) < 1e-6, nearest, -1)


def read_surface(path: str | Path) -> Surface:
    """Read and check one surface file. InputError if an array is missing, out of step, off the pixels or not finite."""
    arrays, made_by = artifacts.load_arrays(path)
    for kind, needed, found in (("array", ARRAYS, arrays), ("provenance", FACTS, made_by)):
        if missing := [name for name in needed if name not in found]:
            raise InputError(f"{path}: not a surface: no {kind} {', '.join(missing)}; found {', '.join(sorted(found))}")
    surface = Surface(**{name: arrays[name] for name in ARRAYS}, made_by=made_by, source=str(path))
    shape = (len(surface.rows), len(surface.columns))
    for name in ("loss", "accuracy"):
        values = getattr(surface, name)
        if values.shape != shape:
            raise InputError(f"{path}: {name} is {values.shape}, its axes say {shape}")
        if bad := int((~np.isfinite(values)).sum()):
            raise InputError(f"{path}: {bad} of {values.size} points have a {name} that is NaN or infinite; evaluate it again")
    for name, axis, count in zip(("rows", "columns"), (surface.rows, surface.columns), surface.mask.shape, strict=True):
        steps = np.diff(axis)
        if len(axis) < 2 or (steps <= 0).any() or not np.allclose(steps, steps[0]) or (_positions(axis, count) < 0).any():
            raise InputError(f"{path}: {name} must be evenly spaced, ascending and contain every pixel 0 .. {count - 1}")
    if not {-1, 1} <= set(np.unique(surface.mask)):
        raise InputError(f"{path}: the mask has no white or no black pixel")
    return surface


def require_split(surfaces: Sequence[Surface], split: str) -> None:
    """InputError unless every surface was evaluated on this split."""
    for surface in surfaces:
        if surface.made_by["split"] != split:
            raise InputError(f"{surface.source}: a surface of the {surface.made_by['split']} split; this figure shows {split}")


def require_equal(surfaces: Sequence[Surface], what: str, value: Callable[[Surface], Any]) -> None:
    """InputError unless all surfaces agree in this value."""
    for surface in surfaces[1:]:
        if value(surface) != value(surfaces[0]):
            raise InputError(f"{surface.source}: another {what} than {surfaces[0].source}; this figure compares within one")


def read_options(text: str, allowed: Collection[str], required: Collection[str] = ()) -> dict[str, Any]:
    """Options of a figure from JSON text. InputError for anything but an object with known keys, all required ones there."""
    try:
        options = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--options: not JSON ({error})") from None
    return check_options(options, allowed, required)


def check_options(options: Any, allowed: Collection[str], required: Collection[str] = ()) -> dict[str, Any]:
    """The same options, or a part of them. InputError as `read_options`."""
    if not isinstance(options, dict):
        raise InputError(f"--options: found {json.dumps(options)}, expected a JSON object")
    for key in options:
        if key not in allowed:
            raise InputError(f"--options: unknown key {key}; allowed: {', '.join(sorted(allowed))}")
    for key in required:
        if key not in options:
            raise InputError(f"--options: the key {key} is missing")
    if "loss_range" in options:
        _check_loss_range(options["loss_range"])
    return options


def _check_loss_range(value: Any) -> None:
    if value == "auto":
        return
    numbers = isinstance(value, list) and len(value) == 2 and all(type(bound) in (int, float) for bound in value)
    if not numbers or not 0 < value[0] < value[1]:
        raise InputError(f"--options: loss_range is {json.dumps(value)}; expected auto or [low, high] with 0 < low < high")


def origin_of(surface: Surface) -> dict[str, Any]:
    """The short form of a surface's provenance that a figure carries: which run it is, and the checksum of its images."""
    made_by = surface.made_by
    return {
        "dataset": made_by["dataset"]["name"],
        "dataset_checksum": made_by["dataset"].get("checksum"),
        "mask": made_by["mask"]["name"],
        "network": made_by["network"]["name"],
        **{key: made_by[key] for key in ("seed", "split", "bn_protocol", "images")},
    }
