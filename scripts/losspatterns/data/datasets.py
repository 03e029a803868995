"""Where the images come from.

The one idea: a data set is configured as a list of sources, tried in order. A source that is not there (no such folder, no
network) is passed over with one printed line; a source that is there but wrong (a truncated file, a wrong checksum) ends the
run, because quietly using another would change the results. Which source was used stands in the label of every figure.
"""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..errors import InputError
from ..records.artifacts import checksum, load_arrays
from ..settings import IMAGES, DatasetSettings, Download, Source, open_file, user_path
from ..torchvision_compat import import_torchvision
from .dataset_file import Dataset, absent_dataset, set_aside
from .download import Unavailable, download_file, require_md5
from .image_folder import read_image_folder
from .shapes import CLASS_NAMES as SHAPE_NAMES
from .shapes import draw_shapes

BUNDLED_SUBSET = Path(__file__).parent / "fashion_mnist_subset.npz"  # of each class the first 1,200 train, 200 test images
LICENCES = {
    "MNIST": "CC BY-SA 3.0, Yann LeCun and Corinna Cortes",
    "FashionMNIST": "MIT, copyright 2017 Zalando SE",
    "KMNIST": "CC BY-SA 4.0, ROIS-DS CODH",
    "CIFAR10": "no licence stated; cite Krizhevsky 2009",
    "CIFAR100": "no licence stated; cite Krizhevsky 2009",
}
IDX_CLASSES = {  # of the data sets that are published as IDX files, which do not name them
    "MNIST": tuple("0123456789"),
    "FashionMNIST": ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    "KMNIST": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
}
_SPLITS = {"train": ("train", 60_000), "test": ("t10k", 10_000)}  # split -> (its name in IDX files, number of images)

# SHA-256 of decompressed IDX files. The three IDX data sets share file names and sizes, so content alone tells them apart.
_IDX_SHA256 = {
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888": "FashionMNIST train-images-idx3-ubyte",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9": "FashionMNIST train-labels-idx1-ubyte",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b": "FashionMNIST t10k-images-idx3-ubyte",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34": "FashionMNIST t10k-labels-idx1-ubyte",
}

_Content = tuple[dict[str, np.ndarray], dict[str, np.ndarray], Sequence[str]]  # images and labels by split, class names


# ------------------------------------------------------------------------------------------------------- files as published


def _read_idx(path: Path, kind: str, name: str, header: tuple[int, ...]) -> np.ndarray:
    """Read an IDX file, gzipped or not, whose header must be `header` = (magic number, *sizes): uint8 array of those sizes."""
    expected = 4 * len(header) + int(np.prod(header[1:]))
    try:
        with open_file(path, f"{path}:") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as file:
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
        if array.ndim == 3:
            images[split] = array[..., None]
        elif array.max() > 9:
            raise InputError(f"{files[name]}: holds the label {array.max()}, expected 0 to 9")
        else:
            labels[split] = array.astype(np.int64)
    return images, labels, IDX_CLASSES[kind]


def _published(kind: str) -> SimpleNamespace:
    """What torchvision says is published of this kind: servers and files with their MD5 checksums; of CIFAR also what is in its
    archive."""
    known = getattr(import_torchvision().datasets, kind)
    if kind in IDX_CLASSES:
        return SimpleNamespace(mirrors=known.mirrors, resources=known.resources)
    return SimpleNamespace(
        mirrors=[known.url.removesuffix(known.filename)],
        resources=[(known.filename, known.tgz_md5)],
        meta=[known.meta[key] for key in ("filename", "md5", "key")],
        **{name: getattr(known, name) for name in ("base_folder", "train_list", "test_list")},
    )


def _unpickle(data: bytes, md5: str, where: str) -> dict[str, Any]:
    """Unpickle bytes whose MD5 must be the published one: a pickle can run code, so nothing else is opened."""
    require_md5(io.BytesIO(data), md5, where, "get it again")
    return pickle.loads(data, encoding="latin1")


def _read_cifar(folder: Path, kind: str) -> _Content | None:
    """Read a CIFAR set from its unpacked folder or from its archive, whichever is in `folder`; None if neither is."""
    published = _published(kind)
    ((archive, md5),) = published.resources
    parts = {"train": published.train_list, "test": published.test_list, "meta": [published.meta[:2]]}
    names = [name for part in parts.values() for name, _ in part]
    if (folder / published.base_folder).is_dir():
        where = folder / published.base_folder
        raw = {name: (where / name).read_bytes() for name in names}
    elif (folder / archive).is_file():
        where = folder / archive
        require_md5(where, md5, where, "get it again")
        with tarfile.open(where, "r:gz") as tar:
            raw = {name: tar.extractfile(f"{published.base_folder}/{name}").read() for name in names}
    else:
        return None
    read = {part: [_unpickle(raw[name], md5, f"{where}/{name}") for name, md5 in files] for part, files in parts.items()}
    images, labels = {}, {}
    for split in ("train", "test"):
        planes = np.concatenate([batch["data"] for batch in read[split]]).reshape(-1, 3, 32, 32)
        images[split] = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
        numbers = [batch.get("labels", batch.get("fine_labels")) for batch in read[split]]
        labels[split] = np.concatenate(numbers).astype(np.int64)
    return images, labels, read["meta"][0][published.meta[2]]


# ----------------------------------------------------------------------------------------------------------- the five sources


def _read_published(folder: Path, kind: str) -> _Content | None:
    """Read the published files of a data set from a folder laid out as torchvision does; None if none is there."""
    if kind not in IDX_CLASSES:
        return _read_cifar(folder, kind)
    return _read_idx_folder(folder, kind) or _read_idx_folder(folder / kind / "raw", kind)


def _download(kind: str, settings: Download, root: Path, report: Callable[[str], None]) -> _Content:
    """Read the published files below `root`; those that are missing are downloaded before."""
    published, folder = _published(kind), root / kind / "raw" if kind in IDX_CLASSES else root
    unpacked = kind not in IDX_CLASSES and (root / published.base_folder).is_dir()
    for name, md5 in () if unpacked else published.resources:
        if (folder / name).is_file():
            require_md5(folder / name, md5, folder / name, "delete it to download it again")
            continue
        failures = []
        for server in [settings.url] if settings.url else published.mirrors:
            url = f"{server.rstrip('/')}/{name}"
            report(f"downloading {url}")
            try:
                download_file(url, folder / name, md5, settings.timeout, settings.retries)
                break
            except Unavailable as error:
                failures.append(str(error))
        else:
            raise Unavailable(", ".join(failures))
    return _read_published(root, kind)


def _content(settings: DatasetSettings, source: Source, base: Path, report: Callable[[str], None]) -> _Content:
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
            images, labels = ({split: arrays[f"{kind}_{split}"] for split in _SPLITS} for kind in "xy")
            return images, labels, facts["class_names"]
        case "image_folder":
            path = base / user_path(source.image_folder)
            if not path.exists():
                raise Unavailable(f"no such file or folder: {source.image_folder}")
            return read_image_folder(path, settings.image_shape, report)
        case "shapes":  # each split has a random stream of its own: the test images depend on no number of train images
            train, test = (
                draw_shapes(count, [source.shapes.seed, stream])
                for stream, count in enumerate((source.shapes.train, source.shapes.test))
            )
            return {"train": train[0], "test": test[0]}, {"train": train[1], "test": test[1]}, SHAPE_NAMES


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
            images, labels, class_names = _content(settings, source, Path(base_dir), lambda line: report(f"{name}: {line}"))
        except Unavailable as error:
            report(f"{name}: {source.form} is not available ({error})")
            missing.append(f"{source.form} ({error})")
            continue
        arrays = *set_aside(images["train"], labels["train"]), images["test"], labels["test"]
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
