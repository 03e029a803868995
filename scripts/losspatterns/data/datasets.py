"""Where the images come from.

The one idea: a data set is configured as a list of sources, tried in order. A source that is not there (no such folder, no
network) is passed over with one printed line; a source that is there but wrong (a truncated file, a wrong checksum) ends the
run, because quietly using another would change the results. Which source was used stands in the label of every figure.
Published data sets are torchvision's: it knows servers and checksums, downloads, unpacks and reads.
"""

import gzip
import http.client
import socket
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError

import numpy as np

from ..config.reading import user_path
from ..errors import InputError, one_line
from ..records.artifacts import NO_LICENCE, atomic_path, checksum, load_arrays
from ..torchvision_compat import import_torchvision
from .dataset_file import Dataset, absent_dataset, set_aside
from .image_folder import SPLITS, read_image_folder
from .settings import GREY, IMAGE_SHAPES, IMAGES, DatasetSettings, Download, Source
from .shapes import CLASS_NAMES as SHAPE_NAMES
from .shapes import draw_shapes

BUNDLED_SUBSET = Path(__file__).parent / "fashion_mnist_subset.npz"  # of each class the first 1,200 train, 200 test images
LICENCES = {
    "MNIST": "CC BY-SA 3.0, Yann LeCun and Corinna Cortes",
    "FashionMNIST": "MIT, copyright 2017 Zalando SE",
    "KMNIST": "CC BY-SA 4.0, ROIS-DS CODH",
    "CIFAR10": f"{NO_LICENCE}; cite Krizhevsky 2009",
    "CIFAR100": f"{NO_LICENCE}; cite Krizhevsky 2009",
}
UNPACKED = {  # MD5 of what is in archives that some publish compressed in another way; KMNIST's are only known as archives
    "MNIST/raw/train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "MNIST/raw/train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "MNIST/raw/t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "MNIST/raw/t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    "FashionMNIST/raw/train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "FashionMNIST/raw/train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "FashionMNIST/raw/t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "FashionMNIST/raw/t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
BUSY = (429, 500, 502, 503, 504)  # HTTP answers that ask to come back later

Content = tuple[list[np.ndarray], Sequence[str]]  # x_train, y_train, x_test, y_test as in a Dataset; class names


class Unavailable(Exception):
    """A source of data that is not there (no such folder, no network); the message says why, in half a line."""


class Archive(NamedTuple):
    """A published file, and what is in it: their places below torchvision's root folder."""

    place: str
    md5: str
    content: str


def published(kind: str) -> tuple[list[str], list[Archive]]:
    """Servers and archives of a published data set, by torchvision's lists."""
    known = getattr(import_torchvision().datasets, kind)
    if IMAGE_SHAPES[kind] == GREY:
        places = [(f"{kind}/raw/{name}", md5) for name, md5 in known.resources]
        return known.mirrors, [Archive(place, md5, place.removesuffix(".gz")) for place, md5 in places]
    return [known.url.removesuffix(known.filename)], [Archive(known.filename, known.tgz_md5, known.base_folder)]


def _found(folder: Path, archive: Archive) -> Path | None:
    """Where an archive is, or what is in it: in torchvision's place or flat in the folder; None if it is not there."""
    names = (archive.place, Path(archive.place).name, archive.content, Path(archive.content).name)
    return next((path for path in (folder / name for name in names) if path.is_file() or path.is_dir()), None)


def _unpack(file: Path, archive: Archive, root: Path) -> None:
    """Put what is in an archive, or already unpacked, below torchvision's root. InputError unless it is as published."""
    tools, target = import_torchvision().datasets.utils, root / archive.content
    target.parent.mkdir(parents=True, exist_ok=True)
    md5 = None if file.is_dir() else tools.calculate_md5(file)
    if file.name == target.name:
        target.symlink_to(file.absolute())
    elif md5 == archive.md5 or archive.content in UNPACKED:
        try:
            tools.extract_archive(file, target.parent)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{file}: damaged ({error}); delete it and get it again") from None
    if md5 in (None, archive.md5):
        return
    if not (target.is_file() and tools.calculate_md5(target) == UNPACKED.get(archive.content)):
        raise InputError(f"{file}: not as published: md5 {md5}, {Path(archive.place).name}'s is {archive.md5}; get it again")


def _read_published(folder: Path, kind: str) -> Content | None:
    """What torchvision reads of the published files in a folder; None if none is there.

    CIFAR's files are pickles, which can run code: torchvision opens none whose MD5 is not the published one.
    """
    known, archives = getattr(import_torchvision().datasets, kind), published(kind)[1]
    found = [_found(folder, archive) for archive in archives]
    if not any(found):
        return None
    arrays = []
    with tempfile.TemporaryDirectory() as root:
        for file, archive in zip(found, archives, strict=True):
            if file is None:
                raise InputError(f"{folder}: {Path(archive.place).name} is missing, though other files of {kind} are there")
            _unpack(file, archive, Path(root))
        for split in SPLITS:
            try:
                read = known(root, train=split == "train")
            except RuntimeError:  # torchvision's, of a checksum in an unpacked folder
                left = f"{kind}'s {split} files are damaged, or not the published ones; delete them and get them again"
                raise InputError(f"{folder}: {left}") from None
            arrays.append(np.ascontiguousarray(read.data).reshape(-1, *IMAGE_SHAPES[kind]))
            arrays.append(np.asarray(read.targets).astype(np.int64))
    return arrays, [name.partition(" - ")[0] for name in read.classes]  # MNIST's are "0 - zero"


def _download_archive(urls: list[str], path: Path, md5: str, settings: Download, report: Callable[[str], None]) -> None:
    """Download one of `urls` to `path`, which appears only whole and with its checksum.

    What breaks off, or comes from a server that says it is busy, is tried again after 1, 2, 4, ... seconds; a server that
    cannot be reached is not, so that working offline costs one failed connection. Raises Unavailable if nothing arrives in the
    end, InputError if another file does.
    """
    failures: dict[str, Exception] = {}
    for attempt in range(settings.retries + 1):
        if attempt:
            time.sleep(2.0 ** (attempt - 1))
        for url in urls:
            report(f"downloading {url}")
            try:
                with atomic_path(path) as temporary:
                    import_torchvision().datasets.utils.download_url(url, temporary.parent, temporary.name, md5)
                return
            except (URLError, ConnectionError, TimeoutError, http.client.HTTPException, UnicodeError, RuntimeError) as error:
                failures[url] = error
        urls = [url for url in urls if not isinstance(failures[url], URLError) or getattr(failures[url], "code", 0) in BUSY]
        if not urls:
            break
    for url, error in failures.items():
        if type(error) is RuntimeError:  # torchvision's, of a wrong checksum
            raise InputError(f"{url}: what arrives is cut off or another file, such as a page to log in: its md5 is not {md5}")
    raise Unavailable(", ".join(f"{url}: {one_line(str(error)) or type(error).__name__}" for url, error in failures.items()))


def _download(kind: str, settings: Download, root: Path, report: Callable[[str], None]) -> Content | None:
    """Read the published files below `root`; those that are missing are downloaded before."""
    servers, archives = published(kind)
    servers = [settings.url] if settings.url else servers
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(settings.timeout)
    try:
        for archive in archives:
            if _found(root, archive) is None:
                urls = [f"{server.rstrip('/')}/{Path(archive.place).name}" for server in servers]
                _download_archive(urls, root / archive.place, archive.md5, settings, report)
    finally:
        socket.setdefaulttimeout(before)
    return _read_published(root, kind)


def _content(settings: DatasetSettings, source: Source, base: Path, report: Callable[[str], None]) -> Content:
    """What a source holds. Unavailable if it is not there."""
    match source.form:
        case "mirror":
            for folder in source.mirror:
                if content := _read_published(base / user_path(folder), settings.kind):
                    return content
            raise Unavailable(f"no files of {settings.kind} in {', '.join(source.mirror)}")
        case "download":
            return _download(settings.kind, source.download, base / user_path(source.download.directory), report)
        case "bundled":
            arrays, facts = load_arrays(BUNDLED_SUBSET)
            return [arrays[f"{kind}_{split}"] for split in SPLITS for kind in "xy"], facts["class_names"]
        case "image_folder":
            path = base / user_path(source.image_folder)
            if not path.exists():
                raise Unavailable(f"no such file or folder: {source.image_folder}")
            return read_image_folder(path, settings.image_shape, report)
        case "shapes":  # each split has a random stream of its own: the test images depend on no number of train images
            counts = enumerate((source.shapes.train, source.shapes.test))
            return [array for k, count in counts for array in draw_shapes(count, [source.shapes.seed, k])], SHAPE_NAMES


def _label_and_licence(name: str, settings: DatasetSettings, form: str) -> tuple[str, str]:
    """What figures call the images, and their licence, by the source that they came from."""
    if form == "shapes":
        return f"synthetic shapes in place of {settings.kind}", "drawn by this project, under its licence"
    if settings.kind == IMAGES:
        return settings.label or name, "that of the images in the folder"
    licence = LICENCES[settings.kind]
    if form == "image_folder":
        return settings.label or f"{settings.kind} (image folder)", licence
    return f"{settings.kind}, bundled subset" if form == "bundled" else settings.kind, licence


def fetch(name: str, settings: DatasetSettings, base_dir: str | Path = ".", report: Callable[[str], None] = print) -> Dataset:
    """Get the data set `name` from the first of its sources that is available.

    Relative paths are relative to `base_dir`; `~` is the home folder. `report` gets one line for each source passed over, each
    file downloaded, and for the source used. An optional data set that no source has is without images. Raises InputError if
    no source has another one, or if a source holds something else than it should.
    """
    missing = []
    for source in settings.sources:
        try:
            (x_train, y_train, *test), class_names = _content(
                settings, source, Path(base_dir), lambda line: report(f"{name}: {line}")
            )
        except Unavailable as error:
            report(f"{name}: {source.form} is not available ({error})")
            missing.append(f"{source.form} ({error})")
            continue
        arrays = *set_aside(x_train, y_train), *test
        label_and_licence = _label_and_licence(name, settings, source.form)
        dataset = Dataset(*arrays, list(class_names), source.form, *label_and_licence, checksum(*arrays))
        size = " x ".join(map(str, dataset.x_train.shape[1:]))
        report(
            f"{name}: using {source.form}: {dataset.label}, {len(dataset.x_train)} train, {len(dataset.x_validation)}"
            f" validation and {len(dataset.x_test)} test images of {size} in {len(dataset.class_names)} classes"
        )
        return dataset
    reason = f"datasets.{name}.sources: none is available: {'; '.join(missing)}"
    if not settings.optional:
        raise InputError(reason)
    report(f"{reason}; optional, so it is written without images")
    return absent_dataset(settings.image_shape, settings.label or settings.kind, reason)
