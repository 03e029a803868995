"""Images sorted into class folders: `train/<class>/<image>` and `test/<class>/<image>`, in a directory or a tar archive.

The one idea: directory and archive are the same thing, a sequence of (name, bytes), read once and in memory; nothing is
unpacked to disk, so an archive cannot write anywhere. A class folder comes without bytes. Order is by name, whatever order the
files come in.
"""

from __future__ import annotations

import gzip
import lzma
import os
import tarfile
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import InputError
from ..settings import open_file
from .image_file import BROKEN, bounded, flattened, opened, varies

SPLITS = ("train", "test")
SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz")
_LEFT = (  # by Windows, macOS, Linux and storage servers
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"),
    *("#recycle", "$recycle.bin", "system volume information", "lost+found"),
)
_LAYOUT = "expected train/<class>/<image> and test/<class>/<image>"


def _wanted(name: str) -> bool:
    """Whether an entry belongs to the data: it stands under train/ or test/, and no part of its name is hidden or left there by
    an operating system."""
    parts = name.split("/")
    return parts[0] in SPLITS and not any(part.startswith(".") or part.lower() in _LEFT for part in parts)


def _listed(root: Path, folder: str) -> list[str]:
    """The wanted names, relative to `root`, in a folder of it, or in one that it links to."""
    try:
        return [name for name in (f"{folder}/{entry}" for entry in os.listdir(root / folder)) if _wanted(name)]
    except OSError as error:
        raise InputError(f"{root}/{folder}: {_LAYOUT} ({error.strerror})") from None


def _directory_files(root: Path) -> Iterator[tuple[str, bytes | None]]:
    for split in SPLITS:
        for label in _listed(root, split) if os.path.lexists(root / split) else ():
            yield label, None
            for name in _listed(root, label):
                with open_file(root / name, f"{root}/{name}:") as data:
                    yield name, bounded(data, f"{root}/{name}")


def _archive_files(path: Path) -> Iterator[tuple[str, bytes | None]]:
    suffix = path.suffix.lower()
    with open_file(path, f"{path}:") as raw:
        try:
            if suffix == ".tar":  # the only form without a checksum of its own: its end must be the end mark
                raw.seek(-min(1024, path.stat().st_size), os.SEEK_END)
                if raw.read() != bytes(1024):
                    raise InputError(f"{path}: damaged archive (its end is missing)")
                raw.seek(0)
            opener = {".gz": gzip.open, ".tgz": gzip.open, ".xz": lzma.open}.get(suffix)
            file = opener(raw) if opener else raw
            with tarfile.open(fileobj=file, mode="r|") as archive:
                for member in archive:
                    name = member.name.removeprefix("./")
                    if name.startswith("/") or ".." in name.split("/"):
                        raise InputError(f"{path}: entry {member.name!r} points outside the archive; refused")
                    if not (member.isdir() or member.isfile()):
                        raise InputError(f"{path}: entry {member.name!r} is a link or a device, expected plain files; refused")
                    if _wanted(name) and member.isfile():
                        yield name, bounded(archive.extractfile(member), f"{path}/{name}")
                    elif _wanted(name) and name.count("/") == 1:
                        yield name, None
                while rest := archive.fileobj.read(1 << 20):  # to the end: only there a compressed stream proves whole
                    if any(rest):  # tarfile takes a damaged header for the end
                        raise InputError(f"{path}: damaged archive (an entry in its middle)")
        except InputError:
            raise
        except (tarfile.TarError, lzma.LZMAError, *BROKEN) as error:
            raise InputError(f"{path}: damaged archive ({error})") from None


def _pixels(data: bytes, where: str, shape: tuple[int, int, int], report: Callable[[str], None]) -> np.ndarray:
    """Decode one image file to uint8 (H, W, C); `where` names it in errors."""
    height, width, channels = shape
    with opened(data, where) as image:
        image, opacity = flattened(image, where, report)
        if varies(opacity) and image.getextrema() == ((255, 255),) * 3:
            raise InputError(f"{where}: white on a transparent page, which counts as white; give it another background")
        image = image.convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(shape)


def read_image_folder(
    path: str | Path, shape: tuple[int, int, int], report: Callable[[str], None] = print
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[str]]:
    """Read the class folders of a directory or tar archive: (images, labels, class names).

    `shape` is the (H, W, C) that every image is converted and resized to. images and labels hold the keys train and test: uint8
    (N, H, W, C), ordered by class folder and file name, and int64 (N,), the class's place among the sorted train folders.
    Links in a directory are followed. Hidden entries, what operating systems leave in folders, and anything outside train/ and
    test/ are not looked at. InputError names the file that is wrong.
    """
    path = Path(path)
    if not path.is_dir() and not path.name.lower().endswith(SUFFIXES):
        raise InputError(f"{path}: expected a directory or an archive ({', '.join(SUFFIXES)})")
    found: dict[str, dict[tuple[str, str], np.ndarray]] = {split: {} for split in SPLITS}
    folders: set[tuple[str, str]] = set()
    for name, data in _directory_files(path) if path.is_dir() else _archive_files(path):
        split, label, *file = name.split("/")
        if data is not None and len(file) != 1:
            raise InputError(f"{path}/{name}: {_LAYOUT}")
        folders.add((split, label))
        if data is not None:
            found[split][label, file[0]] = _pixels(data, f"{path}/{name}", shape, report)
    for split, images in found.items():
        if not images:
            raise InputError(f"{path}: no images under {split}/; {_LAYOUT}")
    if empty := sorted(folders - {(split, label) for split, images in found.items() for label, _ in images}):
        raise InputError(f"{path}/{'/'.join(empty[0])}: a class without images; fill the folder or remove it")
    spelt: dict[str, str] = {}
    for label in sorted({label for _, label in folders}):
        if any("\ud800" <= character <= "\udfff" for character in label):  # bytes that Python could not decode
            raise InputError(f"{path}: the class {label!a} has a name that is not UTF-8; rename the folder")
        plain = unicodedata.normalize("NFKC", label).strip()
        other = spelt.setdefault(plain.casefold() if len(plain) > 1 else plain, label)  # "A" and "a" are two letters
        if other != label:
            raise InputError(f"{path}: {other!a} and {label!a} are one class in two spellings; rename one of the folders")
    classes = sorted({label for label, _ in found["train"]})
    if len(classes) < 2:
        raise InputError(f"{path}/train: found one class, {classes[0]}, expected at least two")
    for label, _ in found["test"]:
        if label not in classes:
            raise InputError(f"{path}/test/{label}: no such class under train/, which has {', '.join(classes)}")
    if untested := [label for label in classes if ("test", label) not in folders]:
        report(f"{path}/test: no images of {', '.join(untested)}, which train/ has; nothing is tested on them")
    order = {split: sorted(images) for split, images in found.items()}
    stacked = {split: np.stack([found[split][key] for key in order[split]]) for split in found}
    labels = {split: np.array([classes.index(label) for label, _ in order[split]], np.int64) for split in found}
    return stacked, labels, classes
