"""One image file of a user's, opened with no more trust than it needs, as 8-bit colours.

The one idea: a file is what its first bytes say, one of a few raster formats that run no program, and bounded in its bytes and
in its pixels. Pictures of masks and images of data sets are opened here and nowhere else.
"""

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import InputError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP")  # pillow's plain raster formats; none runs a program
MAX_PIXELS = 25_000_000  # of one image; a small file can claim a gigantic one
MAX_BYTES = 64 << 20  # of one image file
SAMPLE_FORMAT, PHOTOMETRIC = 339, 262  # tags of a TIFF
# What pillow's decoders raise on damaged files.
BROKEN = (OSError, SyntaxError, TypeError, ValueError, EOFError, IndexError, KeyError, OverflowError, zlib.error, struct.error)


def bounded(file: BinaryIO, where: str) -> bytes:
    """The bytes of an image file. InputError, which starts with `where`, if they are more than MAX_BYTES."""
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(f"{where}: larger than {MAX_BYTES >> 20} MiB; scale it down")
    return data


@contextlib.contextmanager
def opened(data: bytes, where: str) -> Iterator[Image.Image]:
    """The image in `data`, to be decoded within the context; its errors become an InputError that starts with `where`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise InputError(f"{where}: {image.width} x {image.height} is more than {MAX_PIXELS} pixels; refused")
                yield image
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{where}: more than {MAX_PIXELS} pixels; refused") from None
    except UnidentifiedImageError:
        raise InputError(f"{where}: not an image (of the formats {', '.join(FORMATS)}; with 8 or 16 bits a channel)") from None
    except BROKEN as error:
        raise InputError(f"{where}: broken image ({error})") from None


def flattened(image: Image.Image, where: str, report: Callable[[str], None]) -> tuple[Image.Image, Image.Image]:
    """(colours, mode RGB; opacity, mode L) of an open image: over a white page, the camera's rotation applied.

    White is 65,535 in an image of 16 bits. InputError, which starts with `where`, for one of 32 bits or with signed numbers,
    whose white nothing says. `report` gets a line if only the first of several pictures in a file is taken.
    """
    mode = "I;16" if (image.mode, image.format) == ("I", "PPM") else image.mode  # pillow scales these to 16 bits
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    pictures = getattr(image, "n_frames", 1)
    if pictures > 1 and image.format != "MPO":  # a phone's JPEG, which holds one picture several times
        report(f"{where}: has {pictures} frames or pages; the first one is taken")
        image.seek(0)
    image = ImageOps.exif_transpose(image)
    if mode in ("I", "F") or 2 in tags.get(SAMPLE_FORMAT, ()):
        found = "32 bits a pixel" if mode in ("I", "F") else "numbers with a sign"
        raise InputError(f"{where}: {found} (mode {mode}), which have no fixed white; save it with 8 or 16 bits")
    if mode.startswith("I;16"):
        values, clear = np.asarray(image), image.info.get("transparency")
        if tags.get(PHOTOMETRIC) == 0:  # white is 0, which pillow heeds in 8 bits alone
            values = 65535 - values
        if 0 < (most := values.max()) < 4096:  # of a camera of 10 or 12 bits
            report(f"{where}: its numbers reach {most}, and white is 65535, so it is nearly black; scale them to 16 bits")
        image = Image.fromarray((values // 257).astype(np.uint8))
        if clear is not None:
            image.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    image = image.convert("RGBA")
    page = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(page, image).convert("RGB"), image.getchannel("A")


def varies(band: Image.Image) -> bool:
    """Whether the pixels of an image of one band differ."""
    low, high = band.getextrema()
    return low < high
