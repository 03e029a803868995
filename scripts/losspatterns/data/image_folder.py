"""Images sorted into class folders: `train/<class>/<image>` and `test/<class>/<image>`, in a directory or a tar archive.

The one idea: directory and archive are the same thing, a sequence of (name, bytes), read once and in memory; nothing is
unpacked to disk, so an archive cannot write anywhere. A class folder comes without bytes. Order is by name, whatever order the
files come in.
"""

import gzip
import lzma
import tarfile
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ..config.reading import open_file
from ..errors import InputError
from .image_file import BROKEN, bounded, flattened, opened, varies

SPLITS = ("train", "test")
OPENERS = {".tar": lambda raw: raw, ".tar.gz": gzip.open, ".tgz": gzip.open, ".tar.xz": lzma.open}
_LEFT = (  # by Windows, macOS, Linux and storage servers
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"),
    *("#recycle", "$recycle.bin", "system volume information", "lost+found"),
)
_LAYOUT = "expected train/<class>/<image> and test/<class>/<image>"


def _wanted(name: str) -> bool:
    """Whether an entry is a class folder or in one, and no part of its name is hidden or left there by an operating system."""
    split, *parts = name.split("/")
    return split in SPLITS and bool(parts) and not any(part.startswith(".") or part.lower() in _LEFT for part in parts)


def _directory_files(root: Path) -> Iterator[tuple[str, bytes | None]]:
    for path in (*root.glob("*/*"), *root.glob("*/*/*")):  # follows links, each once
        name = path.relative_to(root).as_posix()
        if _wanted(name) and name.count("/") == 1:
            if not path.is_dir():
                raise InputError(f"{path}: not a folder; {_LAYOUT}")
            yield name, None
        elif _wanted(name):
            with open_file(path, f"{path}:") as data:
                yield name, bounded(data, str(path))


def _archive_files(path: Path, opener: Callable) -> Iterator[tuple[str, bytes | None]]:
    try:
        with open_file(path, f"{path}:") as raw, opener(raw) as file, tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if name.startswith("/") or ".." in name.split("/"):
                    raise InputError(f"{path}: entry {member.name!r} points outside the archive; refused")
                if not (member.isdir() or member.isfile()):
                    raise InputError(f"{path}: entry {member.name!r} is a link or a device, expected plain files; refused")
                if _wanted(name):
                    yield name, bounded(archive.extractfile(member), f"{path}/{name}") if member.isfile() else None
            # To tarfile a damaged entry, or none, is the end too. The mark of the end is two blocks of zeros, of which it has
            # read one. A compressed stream proves whole only when it is read to its end.
            blocks = iter(lambda: archive.fileobj.read(1 << 20), b"")
            if len(rest := next(blocks, b"")) < tarfile.BLOCKSIZE or any(rest) or any(map(any, blocks)):
                raise InputError(f"{path}: damaged archive (its end is missing, or an entry in its middle)")
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


def _require_one_spelling(path: Path, labels: set[str]) -> None:
    """InputError for two classes whose names a reader takes for one, or a name that is not text."""
    spelt: dict[str, str] = {}
    for label in sorted(labels):
        if any("\ud800" <= character <= "\udfff" for character in label):  # bytes that Python could not decode
            raise InputError(f"{path}: the class {label!a} has a name that is not UTF-8; rename the folder")
        plain = unicodedata.normalize("NFKC", label).strip()
        other = spelt.setdefault(plain.casefold() if len(plain) > 1 else plain, label)  # "A" and "a" are two letters
        if other != label:
            raise InputError(f"{path}: {other!a} and {label!a} are one class in two spellings; rename one of the folders")


def read_image_folder(
    path: str | Path, shape: tuple[int, int, int], report: Callable[[str], None] = print
) -> tuple[list[np.ndarray], list[str]]:
    """Read the class folders of a directory or tar archive: ([x_train, y_train, x_test, y_test], class names).

    `shape` is the (H, W, C) that every image is converted and resized to. x: uint8 (N, H, W, C), ordered by class folder and
    file name. y: int64 (N,), the class's place among the sorted train folders.
    Links in a directory are followed. Hidden entries, what operating systems leave in folders, and anything outside train/ and
    test/ are not looked at. InputError names the file that is wrong.
    """
    path = Path(path)
    opener = next((opener for suffix, opener in OPENERS.items() if path.name.lower().endswith(suffix)), None)
    if not opener and not path.is_dir():
        raise InputError(f"{path}: expected a directory or an archive ({', '.join(OPENERS)})")
    found: dict[tuple[str, str, str], np.ndarray] = {}  # by split, class and file name
    folders: set[tuple[str, str]] = set()
    for name, data in _directory_files(path) if path.is_dir() else _archive_files(path, opener):
        split, label, *file = name.split("/")
        folders.add((split, label))
        if data is not None:
            if len(file) != 1:
                raise InputError(f"{path}/{name}: {_LAYOUT}")
            found[split, label, file[0]] = _pixels(data, f"{path}/{name}", shape, report)
    filled = {key[:2] for key in found}
    classes, tested = (sorted(label for place, label in filled if place == split) for split in SPLITS)
    if not (classes and tested):
        raise InputError(f"{path}: no images under {'test' if classes else 'train'}/; {_LAYOUT}")
    if empty := sorted(folders - filled):
        raise InputError(f"{path}/{'/'.join(empty[0])}: a class without images; fill the folder or remove it")
    _require_one_spelling(path, {label for _, label in folders})
    if len(classes) < 2:
        raise InputError(f"{path}/train: found one class, {classes[0]}, expected at least two")
    if unknown := [label for label in tested if label not in classes]:
        raise InputError(f"{path}/test/{unknown[0]}: no such class under train/, which has {', '.join(classes)}")
    if untested := [label for label in classes if label not in tested]:
        report(f"{path}/test: no images of {', '.join(untested)}, which train/ has; nothing is tested on them")
    arrays = []
    for split in SPLITS:
        keys = sorted(key for key in found if key[0] == split)
        arrays += [np.stack([found[key] for key in keys]), np.array([classes.index(label) for _, label, _ in keys], np.int64)]
    return arrays, classes
