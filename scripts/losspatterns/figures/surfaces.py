"""The surfaces that figures are drawn from, checked once on the way in.

The one idea: a surface that reaches a figure is there and finite, so that no drawing function checks anything again. Its record
vouches for all else: that rows and columns are evenly spaced, and that every pixel of the picture is on the grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..records import artifacts

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Surface:
    """Loss and accuracy of the points of a plane, on a grid that holds every pixel of the picture.

    rows (H',) and columns (W',): ascending, evenly spaced pixel coordinates; row 0 is the top row of the picture, padding is
    negative or beyond the last pixel. loss (mean cross-entropy in nats) and accuracy: (H', W'). mask: int8 (H, W) ternary.
    made_by: the provenance, with the split, bn_protocol and number of images of this surface. target: of a photograph, the log
    loss that each pixel was trained for on the images of each channel, (H, W, C); its mask has the lighter half as white.
    """

    rows: np.ndarray
    columns: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    mask: np.ndarray
    made_by: dict[str, Any]
    target: np.ndarray | None = None

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top edges of the grid in pixel coordinates, as `imshow` wants them with row 0 on top."""
        half_column, half_row = (self.columns[1] - self.columns[0]) / 2, (self.rows[1] - self.rows[0]) / 2
        left, right, top, bottom = *self.columns[[0, -1]], *self.rows[[0, -1]]
        return left - half_column, right + half_column, bottom + half_row, top - half_row

    @property
    def aspect(self) -> float:
        """Height of the drawn surface over its width."""
        left, right, bottom, top = self.extent
        return (bottom - top) / (right - left)

    @property
    def padded(self) -> bool:
        """Whether it reaches beyond the picture."""
        return self.rows[0] < 0 or self.columns[0] < 0

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
        return values[np.ix_(np.searchsorted(self.rows, np.arange(height)), np.searchsorted(self.columns, np.arange(width)))]

    @property
    def shades(self) -> np.ndarray:
        """The picture from 0 (black) to 1 (white): (H, W), of a colour photograph (H, W, 3)."""
        if self.target is None:
            from ..data.masks import fill

            return fill(self.mask)
        shades = (self.target.max() - self.target) / np.ptp(self.target)
        return shades[..., 0] if shades.shape[-1] == 1 else shades

    def gap(self) -> float:
        """Mean accuracy of the white pixels minus that of the black ones; ignored pixels do not count."""
        accuracy = self.at_pixels(self.accuracy)
        return float(accuracy[self.mask == 1].mean() - accuracy[self.mask == -1].mean())

    def likeness(self) -> float:
        """Spearman's correlation of a photograph's losses with their targets, over the pixels."""
        from scipy.stats import spearmanr  # its import takes more than a second

        return float(spearmanr(self.at_pixels(self.loss).ravel(), self.target.mean(-1).ravel()).statistic)

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


def read_surface(path: str | Path, split: str, protocol: str) -> Surface:
    """The trained plane's surface on this split, under this protocol, from the plane's file of surfaces.

    InputError if it is not there or not finite.
    """
    return surface_of(path, *artifacts.load_labelled(path), "trained", split, protocol)


def require_rows_and_columns(path: str | Path, data: xr.Dataset) -> None:
    """InputError, naming `path`, for surfaces of a picture with another number of axes than two."""
    if "row" not in data.dims:
        found = ", ".join(str(name) for name in data["loss"].dims[3:])
        raise InputError(f"{path}: found a picture of {found}; only one of rows and columns can be drawn, scored or exported")


def surface_of(
    path: str | Path, data: xr.Dataset, made_by: Mapping[str, Any], stage: str, split: str, protocol: str
) -> Surface:
    """One surface of what `load_labelled` read from `path`. InputError, naming `path`, if it is not there or not finite."""
    require_rows_and_columns(path, data)
    wanted = {"stage": stage, "split": split, "protocol": protocol}
    for name, value in wanted.items():
        if value not in (found := data[name].values.tolist()):
            raise InputError(f"{path}: no surface with {name} {value}; it has {', '.join(found)}")
    chosen = data.sel(wanted)
    for name in ("loss", "accuracy"):
        values = chosen[name].values
        if bad := int((~np.isfinite(values)).sum()):
            raise InputError(f"{path}: {bad} of {values.size} points have a {name} that is NaN or infinite; evaluate it again")
    images = int((chosen["images"].values >= 0).sum())
    arrays = [chosen[name].values for name in ("row", "column", "loss", "accuracy", "mask")]
    target = chosen["target"].values if "target" in chosen else None
    return Surface(*arrays, {**made_by, "split": split, "bn_protocol": protocol, "images": images}, target)
