"""Images sorted into class folders: `train/<class>/<image>` and `test/<class>/<image>`, in a directory or a tar archive.

The one idea: directory and archive are the same thing, a sequence of (name, bytes), read once and in memory; nothing is
unpacked to disk, so an archive cannot write anywhere. Order is by name, whatever order the files come in.
"""

from __future__ import annotations

import gzip
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import InputError
from .image_file import bounded, opened

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz")
_LAYOUT = "expected train/<class>/<image> and test/<class>/<image>"


def _wanted(name: str) -> bool:
    """Whether a file belongs to the data: it stands under train/ or test/ and is not hidden."""
    parts = name.split("/")
    return parts[0] in ("train", "test") and not parts[-1].startswith(".")


def _directory_files(root: Path) -> Iterator[tuple[str, bytes]]:
    for file in (*root.joinpath("train").rglob("*"), *root.joinpath("test").rglob("*")):
        name = file.relative_to(root).as_posix()
        if _wanted(name) and not file.is_dir():
            if not file.is_file():
                raise InputError(f"{file}: not an image file")
            with open(file, "rb") as data:
                yield name, bounded(data, str(file))


def _archive_files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.suffix == ".tar":  # the only form without a checksum of its own: its end must be the end mark
        with open(path, "rb") as file:
            file.seek(-min(1024, path.stat().st_size), os.SEEK_END)
            if file.read() != bytes(1024):
                raise InputError(f"{path}: damaged archive (its end is missing)")
    opener = {".gz": gzip.open, ".tgz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    try:
        with opener(path, "rb") as file, tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if name.startswith("/") or ".." in name.split("/"):
                    raise InputError(f"{path}: entry {member.name!r} points outside the archive; refused")
                if member.isdir():
                    continue
                if not member.isfile():
                    raise InputError(f"{path}: entry {member.name!r} is a link or a device, expected plain files; refused")
                if _wanted(name):
                    yield name, bounded(archive.extractfile(member), f"{path}/{name}")
            while file.read(1 << 20):  # to the end: only there the compressed stream proves whole
                pass
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise InputError(f"{path}: damaged archive ({error})") from None


def _pixels(data: bytes, where: str, shape: tuple[int, int, int]) -> np.ndarray:
    """Decode one image file to uint8 (H, W, C); `where` names it in errors."""
    height, width, channels = shape
    with opened(data, where) as image:
        if image.mode[0] in "IF":
            raise InputError(f"{where}: more than 8 bits per channel (mode {image.mode}), expected an 8-bit image")
        image = image.convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(shape)


def read_image_folder(
    path: str | Path, shape: tuple[int, int, int]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[str]]:
    """Read the class folders of a directory or tar archive: (images, labels, class names).

    `shape` is the (H, W, C) that every image is converted and resized to. images and labels hold the keys train and test: uint8
    (N, H, W, C), ordered by class folder and file name, and int64 (N,), the class's place among the sorted train folders.
    Hidden files and anything outside train/ and test/ are not looked at. InputError names the file that is wrong.
    """
    path = Path(path)
    if not path.is_dir() and not path.name.endswith(SUFFIXES):
        raise InputError(f"{path}: expected a directory or an archive ({', '.join(SUFFIXES)})")
    found: dict[str, dict[tuple[str, str], np.ndarray]] = {"train": {}, "test": {}}
    for name, data in _directory_files(path) if path.is_dir() else _archive_files(path):
        parts = name.split("/")
        if len(parts) != 3:
            raise InputError(f"{path}/{name}: {_LAYOUT}")
        found[parts[0]][parts[1], parts[2]] = _pixels(data, f"{path}/{name}", shape)
    for split, images in found.items():
        if not images:
            raise InputError(f"{path}: no images under {split}/; {_LAYOUT}")
    classes = sorted({label for label, _ in found["train"]})
    for label, _ in found["test"]:
        if label not in classes:
            raise InputError(f"{path}/test/{label}: no such class under train/, which has {', '.join(classes)}")
    order = {split: sorted(images) for split, images in found.items()}
    stacked = {split: np.stack([found[split][key] for key in order[split]]) for split in found}
    labels = {split: np.array([classes.index(label) for label, _ in order[split]], np.int64) for split in found}
    return stacked, labels, classes
