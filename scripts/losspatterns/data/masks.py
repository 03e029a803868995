"""Masks: which pixels of the plane are to be white (good models), black (bad ones), or ignored.

Every kind of picture becomes one binary picture, bool (H, W), True = white, row 0 at the top and column 0 at the left. (A few
kinds have another number of axes; what is said of (H, W) holds for them too.) One rule turns it into what is trained: a pixel
whose whole 3 x 3 neighbourhood has its own colour is ignored, so training cares only about outlines. The rule loses nothing:
`fill` gets the binary picture back from the ternary mask alone.
"""

import math
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, features
from scipy.ndimage import convolve, maximum_filter, minimum_filter

from ..config.fields import SIZE_MIN, font_file
from ..config.reading import open_file
from ..errors import InputError
from . import mask_settings as kinds
from .image_file import bounded, flattened, opened, varies
from .svg import render_svg

GLYPH_FONT, TEXT_FONT = font_file("DejaVuSans"), font_file("DejaVuSans-Bold")
RENDER_POINTS = 512  # font size at which strokes are drawn before they are scaled down
RENDER_SIDE = 1024  # longer side, in render pixels, of the canvas whose block means become the pixels of the mask
SHADES = 0.08  # of a picture's lightness beyond two colours; softened edges have less, photographs more

# The preview: every colour of a pixel, and of the page around them.
WHITE, BLACK, IGNORED_WHITE, IGNORED_BLACK = (255, 255, 255), (16, 16, 20), (214, 214, 218), (72, 72, 80)
PAGE, FRAME, TEXT = (246, 243, 237), (150, 60, 50), (40, 40, 44)
PREVIEW_SIDE = 600  # the picture's longer side, about
SLICE_PIXEL = 6  # least side of a pixel where slices stand side by side


# --- Binary pictures ----------------------------------------------------------------------------------------------------------


def binary(name: str, mask: kinds.AnyMask, report: Callable[[str], None] = print) -> np.ndarray:
    """The picture as bool (H, W), True = white, row 0 on top, column 0 at the left. InputError if it cannot be drawn.

    `report` gets one line for what was drawn otherwise than the picture's file says.
    """
    picture = _drawn(name, mask, report)
    if mask.permuted is None:
        return picture
    return np.random.default_rng(mask.permuted).permutation(picture.ravel()).reshape(picture.shape)


def _drawn(name: str, mask: kinds.AnyMask, report: Callable[[str], None]) -> np.ndarray:
    match mask:
        case kinds.RandomSquareMask():
            return _random_square(mask)
        case kinds.GridMask():
            (rows, columns), (down, across) = mask.size, mask.cells
            return (np.arange(rows)[:, None] * down // rows + np.arange(columns) * across // columns) % 2 == 0
        case kinds.PhotographMask():
            lightness = _shades_of(name, mask, report).mean(axis=-1)
            return lightness > np.median(lightness)
        case kinds.AsciiMask():
            return np.array([[character == "#" for character in row] for row in mask.rows])
        case kinds.RandomPointsMask():
            points = np.arange(math.prod(mask.sides)) < math.prod(mask.sides) // 2
            return np.random.default_rng(mask.seed).permutation(points).reshape(mask.sides)
        case kinds.VoxelsMask():
            return _voxels(name, mask)
    return (_coverage(name, mask, report) >= mask.threshold) ^ mask.invert


def _coverage(name: str, mask: kinds.GlyphMask | kinds.TextMask | kinds.ImageMask, report: Callable[[str], None]) -> np.ndarray:
    """How much of each pixel is ink, or how light it is: float (H, W) from 0 to 1."""
    match mask:
        case kinds.GlyphMask():
            strokes = _strokes(f"masks.{name}.character", mask.character, GLYPH_FONT)
        case kinds.TextMask():
            strokes = _strokes(f"masks.{name}.text", mask.text, TEXT_FONT)
        case kinds.ImageMask():
            where = f"masks.{name}.path: {mask.path!r}"
            colours, opacity = _read_image(where, mask.file, report)
            lightness = _fitted(colours.convert("L"), mask.size, margin=0, outside=255)
            if (lost := _shades(colours, mask.threshold)) > SHADES:
                report(
                    f"{where}: has shades, which are lost (they differ by {lost:.0%} of the way from black to white): what is "
                    f"lighter than {mask.threshold:.0%} is white, all else black; a drawing of two colours shows best"
                )
            if varies(opacity) and _one_colour(lightness >= mask.threshold):
                opaque = _fitted(opacity, mask.size, margin=0, outside=0)
                if not _one_colour(opaque >= mask.threshold):
                    report(f"{where}: its colours show nothing on a white page, so its opaque part is white, the rest black")
                    return opaque
            return lightness
    return _fitted(strokes, mask.size, mask.margin, outside=0)


def _shades_of(name: str, mask: kinds.PhotographMask, report: Callable[[str], None]) -> np.ndarray:
    """The shown part of a photograph, float (H, W, C) from 0 to 1, its contrast stretched; C is 3 in colour, else 1."""
    where = f"masks.{name}.path: {mask.path!r}"
    colours, _ = _read_image(where, mask.file, report)
    (left, right), (top, bottom) = mask.across, mask.down
    width, height = colours.size
    shown = colours.crop((round(left * width), round(top * height), round(right * width), round(bottom * height)))
    size = _sides(mask.size, shown)
    shown = ImageOps.fit(shown, size[::-1], Image.Resampling.BOX).convert("RGB" if mask.tones == "colour" else "L")
    shades = np.asarray(ImageOps.autocontrast(shown, cutoff=1, preserve_tone=True), dtype=np.float64) / 255
    return shades.reshape(*size, -1)


def _shades(colours: Image.Image, threshold: float) -> float:
    """How far the lightness of a picture's points is from the mean of all that fall on their side of the threshold (0 to 1)."""
    lightness = np.asarray(colours.convert("L"), dtype=np.float64) / 255
    sides = [lightness[side] for side in (lightness >= threshold, lightness < threshold) if side.any()]
    return float(np.sqrt(sum(((side - side.mean()) ** 2).sum() for side in sides) / lightness.size))


def _one_colour(picture: np.ndarray) -> bool:
    return bool(picture.all() or not picture.any())


def _random_square(mask: kinds.RandomSquareMask) -> np.ndarray:
    """A white ring one pixel inside the border; inside it pixels are white with the mask's probability.

    Each probability has a random stream of its own: from one stream, the squares of a seed would be nested.
    """
    rows, columns = mask.size
    stream = np.random.default_rng([mask.seed, *np.frombuffer(np.float64(mask.probability).tobytes(), np.uint32)])
    picture = np.zeros(mask.size, dtype=bool)
    picture[1:-1, 1:-1] = True
    picture[2:-2, 2:-2] = stream.random((rows - 4, columns - 4)) < mask.probability
    return picture


def _voxels(name: str, mask: kinds.VoxelsMask) -> np.ndarray:
    """One letter's extrusion along the last axis and another's along the second, where both are; black around.

    Each letter is stretched to the whole side. InputError if the solid does not read as both.
    """
    scale = -(-RENDER_SIDE // mask.side)
    letters = []
    for i, letter in enumerate(mask.letters):
        strokes = _strokes(f"masks.{name}.letters[{i}]", letter, TEXT_FONT)
        large = np.asarray(strokes.resize(((mask.side - 2) * scale,) * 2, Image.Resampling.BOX), dtype=np.float64)
        pixels = large.reshape(mask.side - 2, scale, mask.side - 2, scale).mean(axis=(1, 3)) / 255 >= 0.5
        letters.append(np.pad(pixels, 1))
    front, side = letters
    solid = front[:, :, None] & side[:, None, :]
    for i, (axis, pixels) in enumerate(zip((2, 1), letters, strict=True)):
        if not np.array_equal(solid.any(axis), pixels):
            other = mask.letters[1 - i]
            left = f"where {other!r} has rows without ink; take other letters or a larger side"
            raise InputError(f"masks.{name}.letters[{i}]: found {mask.letters[i]!r}, which does not show {left}")
    return solid


def _strokes(key: str, text: str, font: Path) -> Image.Image:
    """`text` drawn large, 255 = stroke on 0, cropped to its strokes; one black pixel if it has none (a space).

    Raqm lays out only what needs it: text from right to left, joined letters, accents. InputError if it is not there.
    """
    layout = ImageFont.Layout.BASIC
    if any(unicodedata.bidirectional(character) in ("R", "AL", "AN", "NSM", "RLE", "RLO", "RLI") for character in text):
        layout = ImageFont.Layout.RAQM
        if not features.check("raqm"):
            raise InputError(f"{key}: {text!r} needs a layout that pillow lacks here; install the library FriBiDi (libfribidi)")
    face = ImageFont.truetype(str(font), RENDER_POINTS, layout_engine=layout)
    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).textbbox((0, 0), text, font=face, align="center")
    canvas = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(canvas).text((2 - left, 2 - top), text, fill=255, font=face, align="center")
    return canvas.crop(canvas.getbbox() or (0, 0, 1, 1))


def _read_image(where: str, path: Path, report: Callable[[str], None]) -> tuple[Image.Image, Image.Image]:
    """(colours, opacity) of an image file, as `flattened` gives them. InputError, which starts with `where`, if unreadable."""
    with open_file(path, where) as file:
        content = bounded(file, where)
    if path.suffix.lower() == ".svg":
        try:
            content, warnings = render_svg(content, RENDER_SIDE)
        except ValueError as error:
            raise InputError(f"{where} is not a readable SVG ({error})") from None
        for warning in warnings:
            report(f"{where}: {warning}")
    with opened(content, where) as image:
        return flattened(image, where, report)


def _sides(size: tuple[int, int] | int, picture: Image.Image) -> tuple[int, int]:
    """(H, W) of a picture whose mask has this size, or this longer side."""
    if isinstance(size, int):
        return tuple(max(SIZE_MIN, round(size * side / max(picture.size))) for side in (picture.height, picture.width))
    return size


def _fitted(picture: Image.Image, size: tuple[int, int] | int, margin: float, outside: int) -> np.ndarray:
    """Fit a picture into H x W pixels, aspect kept, centred, and average over each pixel's area: float (H, W) from 0 to 1.

    size: (H, W), or the longer of them; the other then follows from the picture's shape.
    """
    rows, columns = size = _sides(size, picture)
    scale = -(-RENDER_SIDE // max(size))  # render pixels per pixel of the mask
    height, width = rows * scale, columns * scale
    room = 1 - 2 * margin
    factor = min(room * height / picture.height, room * width / picture.width)
    fitted = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    canvas = Image.new("L", (width, height), outside)
    canvas.paste(picture.resize(fitted, Image.Resampling.BOX), ((width - fitted[0]) // 2, (height - fitted[1]) // 2))
    return np.asarray(canvas, dtype=np.float64).reshape(rows, scale, columns, scale).mean(axis=(1, 3)) / 255


# --- Ternary masks ------------------------------------------------------------------------------------------------------------


def ternary(picture: np.ndarray) -> np.ndarray:
    """bool (H, W) -> int8 (H, W): +1 white, -1 black, 0 ignored (the whole 3 x 3 neighbourhood has the pixel's own colour)."""
    signs = np.where(picture, np.int8(1), np.int8(-1))
    return np.where(minimum_filter(signs, 3) == maximum_filter(signs, 3), np.int8(0), signs)


def fill(mask: np.ndarray) -> np.ndarray:
    """The binary picture, bool (H, W), of a ternary mask: `fill(ternary(picture))` is `picture` if it has both colours.

    All neighbours of an ignored pixel have its colour, so colours spread from the trained pixels until every pixel has one.
    InputError if they cannot: no trained pixel, or a mask that `ternary` did not make.
    """
    signs = mask.astype(np.int64)
    while (unknown := signs == 0).any():
        signs = np.where(unknown, np.sign(convolve(signs, np.ones((3,) * mask.ndim), mode="constant")), signs)
        if ((signs == 0) == unknown).all():
            raise InputError("mask: found ignored pixels whose colour no trained pixel decides; make the mask again")
    return signs > 0


def make_mask(name: str, settings: kinds.AnyMask, report: Callable[[str], None] = print) -> tuple[np.ndarray, np.ndarray]:
    """(mask int8 (H, W), binary picture bool (H, W)). InputError if the picture lacks one of the two colours.

    `report` gets one line for what was drawn otherwise than the picture's file says.
    """
    picture = binary(name, settings, report)
    if _one_colour(picture):
        found, lacking = ("white", "black") if picture.all() else ("black", "white")
        advice = "change its settings"
        if hasattr(settings, "threshold"):
            coverage = _coverage(name, settings, lambda line: None)  # said already
            low, high = coverage.min(), coverage.max()
            advice = f"set threshold above {low:.3g} and at most {high:.3g}" if low < high else "take one that is not blank"
        raise InputError(f"masks.{name}: found only {found} pixels, expected at least one {lacking} among them; {advice}")
    return (ternary(picture) if settings.ternary else np.where(picture, 1, -1).astype(np.int8)), picture


def make_targets(name: str, mask: kinds.PhotographMask, report: Callable[[str], None] = print) -> tuple[np.ndarray, np.ndarray]:
    """(targets float32 (H, W, C), shades float (H, W, C)) of a photograph in grey or colour: the log loss that each pixel is to
    have on the images of each channel, linear in the shade. InputError if all its pixels are alike."""
    shades = _shades_of(name, mask, report)
    if shades.min() == shades.max():
        raise InputError(f"masks.{name}.path: {mask.path!r}: all pixels are alike, expected a photograph with shades")
    lightest, darkest = np.log(mask.losses)
    return (darkest + shades * (lightest - darkest)).astype(np.float32), shades


# --- The preview --------------------------------------------------------------------------------------------------------------


def mask_colours(mask: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): white and black where trained, light and dark grey where ignored."""
    ignored = np.where(picture[..., None], IGNORED_WHITE, IGNORED_BLACK)
    trained = np.where(picture[..., None], WHITE, BLACK)
    return np.where((mask == 0)[..., None], ignored, trained).astype(np.uint8)


def side_by_side(shape: tuple[int, ...]) -> np.ndarray:
    """How a picture of any number of axes is drawn on paper: for each pixel of an image, int (H, W), which entry of the
    flattened picture it shows, -1 for none.

    A line is one row. Of more than two axes, slices along the axis before the last two stand beside each other, those along the
    one before it below each other, and so on in turn.
    """
    places = np.arange(math.prod(shape)).reshape(shape if len(shape) > 1 else (1, *shape))
    for level in range(places.ndim - 2):
        gap, along = 1 + level // 2, -1 - level % 2
        padding = [(0, 0)] * places.ndim
        padding[along] = (0, gap)
        padded = np.moveaxis(np.pad(places, padding, constant_values=-1), -3, along - 1)
        places = padded.reshape(*padded.shape[: along - 1], -1, *padded.shape[along:][1:])
        places = places[..., :-gap] if along == -1 else places[..., :-gap, :]
    return places


def preview(name: str, mask: np.ndarray, picture: np.ndarray) -> Image.Image:
    """The mask drawn with crisp pixels inside a one-pixel frame, its name above, its colours and their counts below.

    mask int8 and picture bool, with any number of axes; or the targets of a photograph and its shades, as `make_targets` gives
    them.
    """
    if mask.dtype == np.float32:
        colours = np.broadcast_to(np.round(255 * picture), (*picture.shape[:2], 3)).astype(np.uint8)
        losses = np.exp([mask.min(), mask.max()])
        entries = list(zip((WHITE, (0, 0, 0)), (f"loss {loss:.3g} nats" for loss in losses), strict=True))
    else:
        trained, places = mask != 0, side_by_side(mask.shape)
        colours = mask_colours(mask, picture).reshape(-1, 3)[places]
        colours[places < 0] = PAGE
        entries = [
            (WHITE, f"white: {(trained & picture).sum():,}"),
            (BLACK, f"black: {(trained & ~picture).sum():,}"),
            (IGNORED_WHITE, f"ignored, in white: {(~trained & picture).sum():,}"),
            (IGNORED_BLACK, f"ignored, in black: {(~trained & ~picture).sum():,}"),
        ]
    rows, columns = colours.shape[:2]
    scale = max(1 if picture.ndim == 2 else SLICE_PIXEL, PREVIEW_SIDE // max(rows, columns))
    pixels = Image.fromarray(colours).resize((columns * scale, rows * scale), Image.Resampling.NEAREST)
    fonts = ((TEXT_FONT, 24), (GLYPH_FONT, 16))
    title, label = (ImageFont.truetype(str(font), size, layout_engine=ImageFont.Layout.BASIC) for font, size in fonts)
    edge, head, foot = 28, 72, 96
    width = max(pixels.width, 480, round(title.getlength(name))) + 2 * edge
    page = Image.new("RGB", (width, head + pixels.height + foot), PAGE)
    draw = ImageDraw.Draw(page)
    left = (width - pixels.width) // 2
    draw.rectangle((left - 1, head - 1, left + pixels.width, head + pixels.height), outline=FRAME)
    page.paste(pixels, (left, head))

    start = min(left, (width - 480) // 2)
    draw.text((start, head - 22), name, fill=TEXT, font=title, anchor="ls")
    sides = " × ".join(map(str, picture.shape[:2] if mask.dtype == np.float32 else picture.shape))
    draw.text((width - start, head - 22), sides, fill=TEXT, font=label, anchor="rs")
    for index, (colour, words) in enumerate(entries):
        x, y = start + (index // 2) * 220, head + pixels.height + 26 + (index % 2) * 30
        draw.rectangle((x, y, x + 16, y + 16), fill=colour, outline=(120, 120, 124))
        draw.text((x + 26, y + 8), words, fill=TEXT, font=label, anchor="lm")
    return page
