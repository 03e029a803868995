"""A film: the test loss of a plane while it is trained, one frame for each state that was kept.

The one idea: all frames share one layout, one palette, and one colour scale, that of the trained plane. So frames differ only
where the surface does, and equal surfaces give equal bytes.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..records.artifacts import inputs_read, recorded_path
from . import style
from .surfaces import Surface

DPI = 120
SIDE = 256  # screen pixels, about, of the surface's longer side
MARGIN, HEAD, NARROW = 0.1, 0.42, 2.1  # inches: at the edges, above the surface, of the narrowest place for it
GREYS = 40  # of the palette's 256 colours: for text and frames; the others are those of the loss
FIRST, NEXT, LAST = 900, 180, 3000  # milliseconds that a frame stands


@style.styled
def draw_frames(stages: Sequence[Surface], passes: Sequence[int]) -> list[Image.Image]:
    """A frame for each stage, the last of which is the trained plane; passes: image passes of the training until then."""
    import matplotlib

    trained = stages[-1]
    rows, columns = trained.loss.shape
    zoom = max(1, SIDE // max(rows, columns)) / DPI  # inches of a point: whole screen pixels
    width, height = columns * zoom, rows * zoom
    box, tall = max(width, NARROW), max(height, style.LOW)
    title = style.wrap(trained.picture.replace("-", " "), box)
    head = HEAD + style.LINE * (len(title) - 1)
    left, top, right = MARGIN + (box - width) / 2, head + (tall - height) / 2, MARGIN + box
    scale = style.loss_scale([trained])
    note = style.wrap(f"Test loss; {style.describe([trained], framed=False)}.", box + style.BAR - MARGIN, style.SMALL)
    size = right + style.BAR, head + tall + 0.12 + style.LINE * len(note)
    left, top, *size = (round(inches * DPI) / DPI for inches in (left, top, *size))
    colours = matplotlib.colormaps[scale.colours](np.linspace(0, 1, 256 - GREYS))[:, :3]
    palette = Image.new("P", (1, 1))
    greys = np.linspace(0, 1, GREYS)[:, None].repeat(3, 1)
    palette.putpalette((255 * np.concatenate([greys, colours])).round().astype(np.uint8).tobytes())
    frames = []
    for surface, spent in zip(stages, passes, strict=True):
        figure = style.new_figure(*size)
        style.write(figure, MARGIN, 0.06, "\n".join(title), ha="left", weight="bold")
        style.small(figure, MARGIN, head - 0.21, f"{spent:,} image passes", ha="left")
        style.small(figure, right, head - 0.21, style.gap_text(surface), ha="right")
        style.draw_values(style.place(figure, left, top, width, height), surface, scale)
        style.colour_bar(figure, right + 0.08, head, tall, scale)
        style.small(figure, MARGIN, head + tall + 0.06, "\n".join(note), ha="left")
        figure.set_dpi(DPI)
        figure.canvas.draw()
        drawn = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
        frames.append(drawn.quantize(palette=palette, dither=Image.Dither.NONE))
    return frames


def save_film(path: str | Path, frames: Sequence[Image.Image], made_by: Mapping[str, Any]) -> None:
    """Write a GIF that repeats, atomically, its provenance inside; equal frames give equal bytes."""
    text = json.dumps({**made_by, "inputs": inputs_read()}, sort_keys=True)
    stand = [FIRST, *[NEXT] * (len(frames) - 2), LAST]
    how = {"append_images": frames[1:], "duration": stand, "loop": 0, "optimize": False, "comment": text.encode()}
    with recorded_path(path, made_by) as temporary:
        frames[0].save(temporary, "GIF", save_all=True, **how)
