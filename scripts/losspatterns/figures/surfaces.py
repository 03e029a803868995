"""The surfaces that figures are drawn from, checked once on the way in.

The one idea: a surface that reaches a figure is finite, in step with its axes and has every pixel of the picture on its grid,
so that no drawing function checks anything again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..records import artifacts

VARIABLES = ("loss", "accuracy", "mask", "images")
COORDINATES = ("stage", "split", "protocol", "row", "column")
FACTS = ("dataset", "mask", "network", "seed")


@dataclass(frozen=True)
class Surface:
    """Loss and accuracy of the points of a plane, on a grid that holds every pixel of the picture.

    rows (H',) and columns (W',): ascending, evenly spaced pixel coordinates; row 0 is the top row of the picture, padding is
    negative or beyond the last pixel. loss (mean cross-entropy in nats) and accuracy: (H', W'). mask: int8 (H, W) ternary.
    made_by: the provenance, with the split, bn_protocol and number of images of this surface. source: the file's name.
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

    def origin(self) -> dict[str, Any]:
        """The short form of the provenance that a figure carries: which run it is, and the checksum of its data set."""
        dataset = self.made_by["dataset"]
        return {
            "dataset": dataset["name"],
            "dataset_checksum": dataset.get("checksum"),
            "mask": self.made_by["mask"]["name"],
            "network": self.made_by["network"]["name"],
            **{key: self.made_by[key] for key in ("seed", "split", "bn_protocol", "images")},
        }


def words(name: str) -> str:
    """A name of the configuration as words."""
    return name.replace("_", " ")


def _positions(axis: np.ndarray, count: int) -> np.ndarray:
    """Where on the axis the pixel coordinates 0 .. count - 1 stand; -1 for one that is missing."""
    nearest = np.abs(axis[:, None] - np.arange(count)).argmin(axis=0)
    return np.where(np.abs(axis[nearest] - np.arange(count)) < 1e-6, nearest, -1)


def read_surface(path: str | Path, split: str, protocol: str) -> Surface:
    """The trained plane's surface on this split under this protocol, from the plane's file of surfaces.

    InputError if a part of the file is missing, or if the surface is not there, out of step, off the pixels or not finite.
    """
    data, made_by = artifacts.load_labelled(path)
    for kind, needed, found in (
        ("variable", VARIABLES, data.data_vars),
        ("coordinate", COORDINATES, data.coords),
        ("provenance", FACTS, made_by),
    ):
        if missing := [name for name in needed if name not in found]:
            raise InputError(
                f"{path}: not a surface: no {kind} {', '.join(missing)}; found {', '.join(sorted(map(str, found)))}"
            )
    wanted = {"stage": "trained", "split": split, "protocol": protocol}
    for name, value in wanted.items():
        if value not in (found := data[name].values.tolist()):
            raise InputError(f"{path}: no surface with {name} {value}; it has {', '.join(found)}")
    chosen = data.sel(wanted)
    images = int((chosen["images"].values >= 0).sum())
    surface = Surface(
        rows=data["row"].values,
        columns=data["column"].values,
        loss=chosen["loss"].values,
        accuracy=chosen["accuracy"].values,
        mask=data["mask"].values,
        made_by={**made_by, "split": split, "bn_protocol": protocol, "images": images},
        source=str(path),
    )
    for name in ("loss", "accuracy"):
        values = getattr(surface, name)
        if (dims := chosen[name].dims) != ("row", "column"):
            raise InputError(f"{path}: {name} at one split and protocol has the dimensions {dims}; expected row and column")
        if bad := int((~np.isfinite(values)).sum()):
            raise InputError(f"{path}: {bad} of {values.size} points have a {name} that is NaN or infinite; evaluate it again")
    for name, axis, count in zip(("row", "column"), (surface.rows, surface.columns), surface.mask.shape, strict=True):
        steps = np.diff(axis)
        if len(axis) < 2 or (steps <= 0).any() or not np.allclose(steps, steps[0]) or (_positions(axis, count) < 0).any():
            raise InputError(f"{path}: {name} must be evenly spaced, ascending and contain every pixel 0 .. {count - 1}")
    if not {-1, 1} <= set(np.unique(surface.mask)):
        raise InputError(f"{path}: the mask has no white or no black pixel")
    return surface
