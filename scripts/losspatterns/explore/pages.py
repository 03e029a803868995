"""A plane's surfaces as one HTML page, and the index of a scale's planes; see `templates/`.

The one idea: a page holds the numbers of the surface file as they are (float32), with the colour scales of the figures, made
here. What is shown of them is chosen in the browser, by `templates/explore.js`. The pages of a folder share one copy of plotly.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from PIL import Image

from ..errors import InputError
from ..figures import style
from ..figures.surfaces import Surface, surface_of
from ..records.artifacts import NAMES, load_labelled

if TYPE_CHECKING:
    import pandas as pd

TEMPLATES = Path(__file__).parent / "templates"
SHARED = ("explore.js", "explore.css")  # beside plotly.min.js, in the folder of the pages
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
        picture = np.pad(np.choose(surface.mask + 1, [0, 128, 255]), -int(surface.rows[0]), constant_values=224)
        loss = style.rgb(surface.loss, self.scale)
        texts = {"gap": style.gap_text(surface), "stages": len(self.data["stage"]), "range": _range(self.scale)}
        return texts | {"page": page, "surface": surface, "picture": _image(picture), "loss": _image(loss)}


def read_plane(path: str | Path, scores: pd.DataFrame) -> Plane:
    """A plane from its file of surfaces, with its rows of the scores. InputError for a file or scores that do not suit."""
    data, made_by = load_labelled(path)
    axes = {axis: data[axis].values.tolist() for axis in ("stage", "split", "protocol", "row", "column")}
    stages, splits, protocols, *_ = axes.values()
    every = {key: surface_of(path, data, made_by, *key) for key in product(stages, splits, protocols)}
    names = {**{key: made_by[key]["name"] for key in NAMES}, "seed": made_by["seed"]}
    own = scores[np.logical_and.reduce([scores[key] == name for key, name in names.items()])]
    if own.empty:
        raise InputError(f"{path}: the scores have no row of its plane, {'/'.join(map(str, names.values()))}; score it first")
    scales = {name: style.loss_scale([every["trained", split, name] for split in splits]) for name in protocols}
    split = "test" if "test" in splits else splits[0]
    told = {
        **axes,
        "names": names,
        "image_passes": data["image_passes"].values.tolist(),
        "images": {split: every["trained", split, protocols[0]].made_by["images"] for split in splits},
        "mask": data["mask"].values.tolist(),
        "values": {name: _packed(data[name].values) for name in ("loss", "accuracy")},
        "loss_scales": {name: _colours(scale) for name, scale in scales.items()},
        "accuracy_scale": _colours(style.accuracy_scale(list(every.values()))),
        "scores": json.loads(own.drop(columns=list(names)).to_json(orient="records", double_precision=15)),
    }
    return Plane(names, told, every["trained", split, protocols[0]], scales[protocols[0]])


def page(plane: Plane, name: str) -> str:
    """The page of a plane as HTML; `name`: its path in the folder of the pages."""
    data, root = plane.data, "../" * name.count("/")
    splits = {split: split for split in sorted(data["split"], key=lambda split: split != "test")}
    protocols = {protocol: style.PROTOCOLS[protocol] for protocol in data["protocol"]}
    made_by = json.dumps(plane.shown.made_by, indent=1, sort_keys=True, ensure_ascii=False)
    template = _template("plane.html")
    return template.render(data=data, surface=plane.shown, splits=splits, protocols=protocols, made_by=made_by, root=root)


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


def _packed(values: np.ndarray) -> str:
    """Values as base64 of little-endian float32, the last axis fastest."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


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
