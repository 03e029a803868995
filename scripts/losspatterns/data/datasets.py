"""Where the images come from.

The one idea: a data set is configured as a list of sources, tried in order. A source that is not there (no such folder, no
network) is passed over with one printed line; a source that is there but wrong (a truncated file, a wrong checksum) ends the
run, because quietly using another would change the results. Which source was used stands in the label of every figure.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import struct
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..records.artifacts import checksum
from ..settings import IMAGES, DatasetSettings, Source, user_path
from .dataset_file import Dataset, load_dataset
from .download import Unavailable, download_file, file_md5
from .image_folder import read_image_folder
from .shapes import CLASS_NAMES as SHAPE_NAMES
from .shapes import draw_shapes
from .torchvision_compat import import_torchvision

BUNDLED_SUBSET = Path(__file__).parent / "fashion_mnist_subset.npz"


@dataclass(frozen=True)
class Kind:
    """What is fixed about a published data set: licence, class names (None: in the files)."""

    licence: str
    class_names: tuple[str, ...] | None = None


KINDS = {
    "MNIST": Kind("CC BY-SA 3.0, Yann LeCun and Corinna Cortes", tuple("0123456789")),
    "FashionMNIST": Kind(
        "MIT, copyright 2017 Zalando SE",
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "KMNIST": Kind("CC BY-SA 4.0, ROIS-DS CODH", ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
    "CIFAR10": Kind("no licence stated; cite Krizhevsky 2009"),
    "CIFAR100": Kind("no licence stated; cite Krizhevsky 2009"),
}
_IDX_KINDS = ("MNIST", "FashionMNIST", "KMNIST")
_SPLITS = {"train": ("train", 60_000), "test": ("t10k", 10_000)}  # split -> (its name in IDX files, number of images)

# SHA-256 of decompressed IDX files. The three IDX data sets share file names and sizes, so content alone tells them apart.
_IDX_SHA256 = {
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888": "FashionMNIST train-images-idx3-ubyte",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9": "FashionMNIST train-labels-idx1-ubyte",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b": "FashionMNIST t10k-images-idx3-ubyte",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34": "FashionMNIST t10k-labels-idx1-ubyte",
}

_Content = tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[str]]  # images and labels by split, class names


def _dataset(content: _Content, source: str, label: str, licence: str) -> Dataset:
    images, labels, class_names = content
    arrays = (images["train"], labels["train"], images["test"], labels["test"])
    return Dataset(*arrays, list(class_names), source, label, licence, checksum(*arrays))


# ------------------------------------------------------------------------------------------------------- files as published


def _read_idx(path: Path, kind: str, name: str, header: tuple[int, ...]) -> np.ndarray:
    """Read an IDX file, gzipped or not, whose header must be `header` = (magic number, *sizes): uint8 array of those sizes."""
    expected = 4 * len(header) + int(np.prod(header[1:]))
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            data = file.read(expected + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({error}); get it again") from None
    if len(data) != expected:
        found = f"{len(data)}" if len(data) < expected else f"more than {expected}"
        raise InputError(f"{path}: holds {found} bytes of data, expected {expected}; get it again")
    if struct.unpack(f">{len(header)}I", data[: 4 * len(header)]) != header:
        raise InputError(f"{path}: not the IDX file of {kind} (its header is wrong; expected {header})")
    holds = _IDX_SHA256.get(checksum(data))
    if holds != (f"FashionMNIST {name}" if kind == "FashionMNIST" else None):
        raise InputError(f"{path}: holds {holds or 'other data'}, expected {kind} {name} (compared by checksum)")
    return np.frombuffer(data, np.uint8, offset=4 * len(header)).reshape(header[1:])


def _read_idx_folder(folder: Path, kind: str) -> _Content | None:
    """Read the four IDX files of a folder; None if none of them is there."""
    headers = {}
    for split, (prefix, count) in _SPLITS.items():
        headers[f"{prefix}-images-idx3-ubyte"] = (split, (2051, count, 28, 28))
        headers[f"{prefix}-labels-idx1-ubyte"] = (split, (2049, count))
    files = {name: next((f for f in (folder / f"{name}.gz", folder / name) if f.is_file()), None) for name in headers}
    if not any(files.values()):
        return None
    images, labels = {}, {}
    for name, (split, header) in headers.items():
        if files[name] is None:
            raise InputError(f"{folder}: {name}[.gz] is missing, though other files of {kind} are there")
        array = _read_idx(files[name], kind, name, header)
        if len(header) == 4:
            images[split] = array[..., None]
        elif array.max() > 9:
            raise InputError(f"{files[name]}: holds the label {array.max()}, expected 0 to 9")
        else:
            labels[split] = array.astype(np.int64)
    return images, labels, list(KINDS[kind].class_names)


def _published(kind: str) -> Any:
    """torchvision's class for this kind: it carries the published addresses and MD5 checksums."""
    return getattr(import_torchvision().datasets, kind)


def _unpickle(data: bytes, md5: str, where: str) -> dict[str, Any]:
    """Unpickle bytes whose MD5 must be the published one: a pickle can run code, so nothing else is opened."""
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != md5:
        raise InputError(f"{where}: md5 {found}, expected {md5}; get it again")
    return pickle.loads(data, encoding="latin1")


def _read_cifar(folder: Path, kind: str) -> _Content | None:
    """Read a CIFAR set from its unpacked folder or from its archive, whichever is in `folder`; None if neither is."""
    published = _published(kind)
    unpacked, archive = folder / published.base_folder, folder / published.filename
    parts = {"train": published.train_list, "test": published.test_list}
    meta = (published.meta["filename"], published.meta["md5"])
    raw: dict[str, bytes] = {}
    if unpacked.is_dir():
        where = unpacked
        for name, _ in (*parts["train"], *parts["test"], meta):
            if not (unpacked / name).is_file():
                raise InputError(f"{unpacked}: {name} is missing")
            raw[name] = (unpacked / name).read_bytes()
    elif archive.is_file():
        where = archive
        found = file_md5(archive)
        if found != published.tgz_md5:
            raise InputError(f"{archive}: md5 {found}, expected {published.tgz_md5}; get it again")
        with tarfile.open(archive, "r:gz") as tar:
            for name, _ in (*parts["train"], *parts["test"], meta):
                raw[name] = tar.extractfile(f"{published.base_folder}/{name}").read()
    else:
        return None
    images, labels = {}, {}
    for split, files in parts.items():
        batches = [_unpickle(raw[name], md5, f"{where}/{name}") for name, md5 in files]
        planes = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
        images[split] = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
        labels[split] = np.concatenate([batch.get("labels", batch.get("fine_labels")) for batch in batches]).astype(np.int64)
    names = _unpickle(raw[meta[0]], meta[1], f"{where}/{meta[0]}")[published.meta["key"]]
    return images, labels, list(names)


# ----------------------------------------------------------------------------------------------------------- the five sources


def _read_published(folder: Path, kind: str) -> _Content | None:
    """Read the published files of a data set from a folder laid out as torchvision does; None if none is there."""
    if kind not in _IDX_KINDS:
        return _read_cifar(folder, kind)
    return _read_idx_folder(folder, kind) or _read_idx_folder(folder / kind / "raw", kind)


def _from_mirror(settings: DatasetSettings, source: Source, base: Path, report: Callable[[str], None]) -> _Content:
    for folder in source.mirror:
        content = _read_published(base / user_path(folder), settings.kind)
        if content is not None:
            return content
    raise Unavailable(f"no files of {settings.kind} in {', '.join(source.mirror)}")


def _from_download(settings: DatasetSettings, source: Source, base: Path, report: Callable[[str], None]) -> _Content:
    kind, download = settings.kind, source.download
    published, root = _published(kind), base / user_path(download.directory)
    if kind in _IDX_KINDS:
        folder, files, servers = root / kind / "raw", published.resources, published.mirrors
    else:
        folder, files = root, [(published.filename, published.tgz_md5)]
        servers = [published.url.removesuffix(published.filename)]
        if (root / published.base_folder).is_dir():  # already unpacked by torchvision
            files = []
    if download.url is not None:
        servers = [download.url]
    for name, md5 in files:
        if (folder / name).is_file():
            found = file_md5(folder / name)
            if found != md5:
                raise InputError(f"{folder / name}: md5 {found}, expected {md5}; delete it to download it again")
            continue
        failures = []
        for server in servers:
            url = f"{server.rstrip('/')}/{name}"
            report(f"downloading {url}")
            try:
                download_file(url, folder / name, md5, download.timeout, download.retries)
                break
            except Unavailable as error:
                failures.append(str(error))
        else:
            raise Unavailable(", ".join(failures))
    return _read_published(root, kind)


def _from_bundled(settings: DatasetSettings, source: Source, base: Path, report: Callable[[str], None]) -> _Content:
    subset = load_dataset(BUNDLED_SUBSET)
    images, labels = {"train": subset.x_train, "test": subset.x_test}, {"train": subset.y_train, "test": subset.y_test}
    return images, labels, subset.class_names


def _from_image_folder(settings: DatasetSettings, source: Source, base: Path, report: Callable[[str], None]) -> _Content:
    path = base / user_path(source.image_folder)
    if not os.path.exists(path):
        raise Unavailable(f"no such file or folder: {source.image_folder}")
    return read_image_folder(path, settings.image_shape)


def _from_shapes(settings: DatasetSettings, source: Source, base: Path, report: Callable[[str], None]) -> _Content:
    images, labels = {}, {}
    # Each split has a random stream of its own: the test images do not depend on how many train images there are.
    for stream, (split, count) in enumerate((("train", source.shapes.train), ("test", source.shapes.test))):
        images[split], labels[split] = draw_shapes(count, [source.shapes.seed, stream])
    return images, labels, list(SHAPE_NAMES)


_READERS = {
    "mirror": _from_mirror,
    "download": _from_download,
    "bundled": _from_bundled,
    "image_folder": _from_image_folder,
    "shapes": _from_shapes,
}


def _label_and_licence(name: str, settings: DatasetSettings, form: str) -> tuple[str, str]:
    """What figures call the images, and their licence, by the source that they came from."""
    if form == "shapes":
        return f"synthetic shapes in place of {settings.kind}", "drawn by this project, under its licence"
    if settings.kind == IMAGES:
        return settings.label or name, "that of the images in the folder"
    licence = KINDS[settings.kind].licence
    if form == "image_folder":
        return settings.label or f"{settings.kind} (image folder)", licence
    return f"{settings.kind}, bundled subset" if form == "bundled" else settings.kind, licence


def fetch(name: str, settings: DatasetSettings, base_dir: str | Path = ".", report: Callable[[str], None] = print) -> Dataset:
    """Get the data set `name` from the first of its sources that is available.

    Relative paths are relative to `base_dir`; `~` is the home folder. `report` gets one line for each source passed over, each
    file downloaded, and for the source used. Raises InputError if no source is available, or if one is but holds something else
    than it should.
    """
    missing = []
    for source in settings.sources:
        try:
            content = _READERS[source.form](settings, source, Path(base_dir), lambda line: report(f"{name}: {line}"))
        except Unavailable as error:
            report(f"{name}: {source.form} is not available ({error})")
            missing.append(f"{source.form} ({error})")
            continue
        dataset = _dataset(content, source.form, *_label_and_licence(name, settings, source.form))
        size = " x ".join(map(str, dataset.x_train.shape[1:]))
        report(
            f"{name}: using {source.form}: {dataset.label}, {len(dataset.x_train)} train and {len(dataset.x_test)} test"
            f" images of {size} in {len(dataset.class_names)} classes"
        )
        return dataset
    raise InputError(f"datasets.{name}.sources: none is available: {'; '.join(missing)}")
