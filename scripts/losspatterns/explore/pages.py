"""A plane's surfaces as one HTML page, and the index of a scale's planes; see `templates/`.

The one idea: a page holds the numbers of the surface files as they are (losses as float32), with the colour scales of the
figures, made here. A block is what one file holds, with its own grid, splits, protocols and images; a stage of the training
says in which block it stands. What is shown is chosen in the browser, by `templates/explore.js`. The pages of a folder share
one copy of plotly; a page for itself has all that it needs inside.
"""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from PIL import Image
from plotly.offline import get_plotlyjs

from ..errors import InputError
from ..figures import style
from ..figures.surfaces import Surface, surface_of
from ..records.artifacts import NAMES, load_labelled

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

TEMPLATES = Path(__file__).parent / "templates"
PLOTLY, SHARED = "plotly.min.js", ("explore.js", "explore.css")  # of all pages of a folder
SAME = (*NAMES, "seed", "training", "origin_checksum")  # of a plane's surfaces and of its film
COLOURS = 65  # of a colour scale; the browser interpolates between them


@dataclass(frozen=True)
class Plane:
    """What is told of one plane. `names`: of its data set, mask and network, and its seed. `data`: what its page's script
    shows, plain JSON. `shown`: the trained surface that stands for it in the index, on its colour `scale`."""

    names: dict[str, Any]
    data: dict[str, Any]
    shown: Surface
    scale: style.Scale

    def card(self, page: str) -> dict[str, Any]:
        """Its entry in the index, which leads to `page`: words, and images of the picture and of the loss."""
        surface = self.shown
        picture = np.choose(surface.mask + 1, [0, 128, 255]) if surface.target is None else 255 * surface.shades
        beside = [(-int(surface.rows[0]),) * 2] * 2 + [(0, 0)] * (picture.ndim - 2)
        picture = np.pad(picture, beside, constant_values=224)
        loss = style.rgb(surface.loss, self.scale)
        texts = {"gap": style.gap_text(surface), "stages": len(self.data["stages"]), "range": _range(self.scale)}
        return texts | {"page": page, "surface": surface, "picture": _image(picture), "loss": _image(loss)}


def read_plane(path: str | Path, scores: pd.DataFrame | None = None, film: str | Path | None = None) -> Plane:
    """A plane from its file of surfaces, with the snapshots that its film adds, and its rows of the scores, if they are given.

    InputError for a file or scores that do not suit.
    """
    data, made_by = _surfaces(path)
    names = names_of(made_by)
    blocks, every = [data], _every(path, data, made_by)
    if film:
        more, made_film = _surfaces(film)
        if different := [key for key in SAME if made_by.get(key) != made_film.get(key)]:
            raise InputError(f"{film}: its {different[0]} is not that of {path}, so it is the film of another plane")
        every |= {key: surface for key, surface in _every(film, more, made_film).items() if key not in every}
        blocks.append(more.sel(stage=[stage for stage in more["stage"].values if stage not in data["stage"]]))
    stages = [
        {"name": name, "image_passes": passes, "block": block, "index": index}
        for block, held in enumerate(blocks)
        for index, (name, passes) in enumerate(held["image_passes"].to_series().items())
    ]
    splits, protocols = ({key[axis]: None for key in every} for axis in (1, 2))
    scales = {
        name: style.loss_scale([every[key] for split in splits if (key := ("trained", split, name)) in every])
        for name in protocols
    }
    told = {
        "names": names,
        "mask": data["mask"].values.tolist(),
        "classes": data["class"].values.tolist(),
        "blocks": [_block(block) for block in blocks],
        "stages": sorted(stages, key=lambda stage: (stage["image_passes"], stage["name"] == "trained")),
        "splits": sorted(splits, key=lambda split: split != "test"),
        "protocols": list(protocols),
        "loss_scales": {name: _colours(scale) for name, scale in scales.items()},
        "accuracy_scale": _colours(style.accuracy_scale(list(every.values()))),
        "scores": None if scores is None else _scores(path, scores, names),
    }
    split, protocol = ("test" if "test" in data["split"] else data["split"].values[0]), data["protocol"].values[0]
    shown = every["trained", split, protocol]
    if shown.target is not None:
        told["targets"] = np.exp(shown.target).round(2).tolist()
        told["shades"] = (255 * np.broadcast_to(np.atleast_3d(shown.shades), (*shown.mask.shape, 3))).astype(int).tolist()
    return Plane(names, told, shown, scales[protocol])


def names_of(made_by: Mapping[str, Any]) -> dict[str, Any]:
    """Data set, mask, network and seed of what a plane made."""
    return {**{key: made_by[key]["name"] for key in NAMES}, "seed": made_by["seed"]}


def _surfaces(path: str | Path) -> tuple[xr.Dataset, dict[str, Any]]:
    """A file of surfaces and its provenance."""
    data, made_by = load_labelled(path)
    if "correct" not in data:
        raise InputError(
            f"{path}: found no `correct` (images of each class), as in files of earlier versions; evaluate it again"
        )
    return data, made_by


def _every(path: str | Path, data: xr.Dataset, made_by: Mapping[str, Any]) -> dict[tuple[str, ...], Surface]:
    """All surfaces of a file, by stage, split and protocol."""
    keys = product(*(data[axis].values.tolist() for axis in ("stage", "split", "protocol")))
    return {key: surface_of(path, data, made_by, *key) for key in keys}


def _block(data: xr.Dataset) -> dict[str, Any]:
    """What a file holds, for the browser. An accuracy follows from the correct images of the classes."""
    axes = {axis: data[axis].values.tolist() for axis in ("split", "protocol", "row", "column")}
    return axes | {
        "class_images": dict(zip(axes["split"], data["class_images"].values.tolist(), strict=True)),
        "loss": _packed(data["loss"].values.astype("<f4")),
        "correct": _packed(data["correct"].values),
    }


def _scores(path: str | Path, scores: pd.DataFrame, names: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the scores about the plane of these names."""
    own = scores[np.logical_and.reduce([scores[key] == name for key, name in names.items()])]
    if own.empty:
        raise InputError(f"{path}: the scores have no row of its plane, {'/'.join(map(str, names.values()))}; score it first")
    return json.loads(own.drop(columns=list(names)).to_json(orient="records", double_precision=15))


def page(plane: Plane, name: str | None = None) -> str:
    """The page of a plane as HTML. `name`: its path in the folder of the pages; without one, it is a file for itself."""
    told = {
        "data": plane.data,
        "surface": plane.shown,
        "gap": style.gap_text(plane.shown),
        "splits": {split: split for split in plane.data["splits"]},
        "protocols": {protocol: style.protocol_name(protocol) for protocol in plane.data["protocols"]},
        "made_by": json.dumps(plane.shown.made_by, indent=1, sort_keys=True, ensure_ascii=False),
    }
    if name:
        return _template("plane.html").render(**told, shared={}, root="../" * name.count("/"))
    return _template("plane.html").render(**told, shared=shared())


def shared() -> dict[str, str]:
    """What every page needs: beside them in their folder, or inside a page for itself. Name -> text."""
    return {PLOTLY: get_plotlyjs()} | {file: (TEMPLATES / file).read_text(encoding="utf-8") for file in SHARED}


def index(cards: Iterable[Mapping[str, Any]], scale: str) -> str:
    """The index of a scale's planes as HTML, in the order of their cards within each data set."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for card in cards:
        groups.setdefault(card["surface"].dataset, []).append(card)
    return _template("index.html").render(groups=groups, scale=scale)


def _template(name: str) -> jinja2.Template:
    options = {"autoescape": True, "undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), **options)
    return environment.get_template(name)


def _packed(values: np.ndarray) -> dict[str, str]:
    """Values for the browser, the last axis fastest: base64 of compressed little-endian numbers, whole ones as short as they
    may be."""
    if values.dtype.kind == "i":
        values = values.astype(np.min_scalar_type(values.max()))
    data = zlib.compress(values.astype(values.dtype.newbyteorder("<")).tobytes())
    return {"type": f"{values.dtype.kind}{values.dtype.itemsize}", "data": base64.b64encode(data).decode()}


def _colours(scale: style.Scale) -> dict[str, Any]:
    """A colour scale for the browser. `colours`: [place from 0 at `low` to 1 at `high`, colour]; places are logarithmic for a
    loss."""
    values = np.asarray(scale.norm.inverse(np.linspace(0, 1, COLOURS)))
    places = np.log(values) if scale.quantity == "loss" else values
    places = (places - places[0]) / (places[-1] - places[0])
    colours = (f"rgb({r},{g},{b})" for r, g, b in style.rgb(values, scale).tolist())
    return {
        "low": float(scale.norm.vmin),
        "high": float(scale.norm.vmax),
        "ticks": scale.ticks,
        "colours": [list(pair) for pair in zip(places.round(6).tolist(), colours, strict=True)],
    }


def _range(scale: style.Scale) -> str:
    return f"loss {scale.ticks[0]:g} to {scale.ticks[-1]:g}"


def _image(pixels: np.ndarray) -> str:
    """Grey (H, W) or colours (H, W, 3) as the address of a PNG image."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
