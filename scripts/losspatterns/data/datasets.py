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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from ..errors import InputError
from ..records.artifacts import checksum
from ..specs import user_path
from .dataset_file import Dataset, load_dataset
from .download import Unavailable, download_file, file_md5
from .image_folder import read_image_folder
from .shapes import CLASS_NAMES as SHAPE_NAMES
from .shapes import draw_shapes
from .torchvision_compat import import_torchvision

BUNDLED_SUBSET = Path(__file__).parent / "fashion_mnist_subset.npz"


@dataclass(frozen=True)
class Kind:
    """What is fixed about a published data set: image shape (H, W, C), licence, class names (None: in the files)."""

    shape: tuple[int, int, int]
    licence: str
    class_names: tuple[str, ...] | None = None


KINDS = {
    "MNIST": Kind((28, 28, 1), "CC BY-SA 3.0, Yann LeCun and Corinna Cortes", tuple("0123456789")),
    "FashionMNIST": Kind(
        (28, 28, 1),
        "MIT, copyright 2017 Zalando SE",
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "KMNIST": Kind((28, 28, 1), "CC BY-SA 4.0, ROIS-DS CODH", ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
    "CIFAR10": Kind((32, 32, 3), "no licence stated; cite Krizhevsky 2009"),
    "CIFAR100": Kind((32, 32, 3), "no licence stated; cite Krizhevsky 2009"),
}
IMAGES = "images"  # the kind whose sizes the user states
_IDX_KINDS = ("MNIST", "FashionMNIST", "KMNIST")
_SPLITS = {"train": ("train", 60_000), "test": ("t10k", 10_000)}  # split -> (its name in IDX files, number of images)

# SHA-256 of decompressed IDX files. The three IDX data sets share file names and sizes, so content alone tells them apart.
_IDX_SHA256 = {
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888": "FashionMNIST train-images-idx3-ubyte",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9": "FashionMNIST train-labels-idx1-ubyte",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b": "FashionMNIST t10k-images-idx3-ubyte",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34": "FashionMNIST t10k-labels-idx1-ubyte",
}

# ------------------------------------------------------------------------------------------------------------ specification

_SOURCE_DEFAULTS: dict[str, dict[str, Any]] = {  # the sources whose settings are a table, and those settings' defaults
    "download": {"directory": "results/downloads", "timeout": 15.0, "retries": 2, "url": None},
    "shapes": {"train": 10_000, "test": 2_000, "seed": 0},
}
_SOURCES = ("mirror", "download", "bundled", "image_folder", "shapes")
_BARE = ("download", "bundled", "shapes")  # may be written without settings


def _is_int(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_address(value: Any) -> bool:
    try:
        return _is_text(value) and value.startswith(("https://", "http://")) and urlsplit(value).hostname is not None
    except ValueError:
        return False


_SETTING_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "directory": (_is_text, "a folder's path"),
    "timeout": (
        lambda v: isinstance(v, (int, float)) and v is not True and 0 < v < 1e6,
        "a positive number of seconds",
    ),
    "retries": (lambda v: _is_int(v, 0), "an integer >= 0"),
    "url": (lambda v: v is None or _is_address(v), "an http(s) address"),
    "train": (lambda v: _is_int(v, 10), "an integer >= 10"),
    "test": (lambda v: _is_int(v, 10), "an integer >= 10"),
    "seed": (lambda v: _is_int(v, 0), "an integer >= 0"),
}


def _known_keys(entry: Any, allowed: tuple[str, ...], key: str) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise InputError(f"{key}: found {entry!r}, expected keys and values ({', '.join(allowed)})")
    for name in entry:
        if name not in allowed:
            raise InputError(f"{key}.{name}: unknown key; allowed are {', '.join(allowed)}")
    return entry


@dataclass(frozen=True)
class Source:
    """One place to look: its form (mirror, download, bundled, image_folder, shapes) and its settings, complete and checked."""

    form: str
    settings: Mapping[str, Any]

    @classmethod
    def from_config(cls, entry: Any, kind: str, key: str) -> Source:
        """Check one entry of `sources`: a bare name or a table with one key. InputError names `key`."""
        if isinstance(entry, Mapping) and len(entry) == 1:
            ((form, value),) = entry.items()
        elif isinstance(entry, str):
            form, value = entry, None
        else:
            raise InputError(f"{key}: found {entry!r}, expected one source, one of {', '.join(_SOURCES)}")
        if form not in _SOURCES:
            raise InputError(f"{key}: unknown source {form!r}; allowed are {', '.join(_SOURCES)}")
        if value is None and form not in _BARE:
            raise InputError(f"{key}.{form}: needs a value: {'a list of folders' if form == 'mirror' else 'a path'}")
        if kind == IMAGES and form != "image_folder":
            raise InputError(f"{key}: found {form}, but kind {IMAGES} can only come from image_folder")
        if form == "mirror":
            if not isinstance(value, list) or not value or not all(_is_text(folder) for folder in value):
                raise InputError(f"{key}.mirror: found {value!r}, expected a list of folders")
            return cls(form, {"folders": tuple(value)})
        if form == "image_folder":
            if not _is_text(value):
                raise InputError(f"{key}.image_folder: found {value!r}, expected the path of a directory or tar archive")
            return cls(form, {"path": value})
        if form == "bundled":
            if value is not None:
                raise InputError(f"{key}.bundled: found {value!r}, but it takes no settings; write just `bundled`")
            if kind != "FashionMNIST":
                raise InputError(f"{key}: only FashionMNIST is bundled, not {kind}")
            return cls(form, {})
        if form == "shapes" and KINDS[kind].shape != (32, 32, 3):
            raise InputError(f"{key}: shapes are 32 x 32 colour images, so they can replace CIFAR10 or CIFAR100, not {kind}")
        defaults = _SOURCE_DEFAULTS[form]
        settings = {**defaults, **_known_keys({} if value is None else value, tuple(defaults), f"{key}.{form}")}
        for name, setting in settings.items():
            accepts, expected = _SETTING_CHECKS[name]
            if not accepts(setting):
                raise InputError(f"{key}.{form}.{name}: found {setting!r}, expected {expected}")
        return cls(form, settings)


@dataclass(frozen=True)
class DatasetSpec:
    """One entry of the config's `datasets`: what the data set is, and where to look for it, in order.

    `image_shape` is (H, W, C). `label` replaces the name that figures show when the images come from an image_folder.
    """

    name: str
    kind: str
    image_shape: tuple[int, int, int]
    sources: tuple[Source, ...]
    label: str | None = None

    @classmethod
    def from_dict(cls, name: str, entry: Mapping[str, Any]) -> DatasetSpec:
        """Check one config entry; InputError names the key in full, such as `datasets.cifar10.sources[1]`."""
        key = f"datasets.{name}"
        _known_keys(entry, ("kind", "sources", "label", "image_size", "channels"), key)
        kind = entry.get("kind")
        if kind not in (*KINDS, IMAGES):
            raise InputError(f"{key}.kind: found {kind!r}, expected one of {', '.join((*KINDS, IMAGES))}")
        if kind == IMAGES:
            size, channels = entry.get("image_size"), entry.get("channels")
            if not isinstance(size, (list, tuple)) or len(size) != 2 or not all(_is_int(n, 1) for n in size):
                raise InputError(f"{key}.image_size: found {size!r}, expected [height, width] in pixels")
            if not _is_int(channels, 1) or channels not in (1, 3):
                raise InputError(f"{key}.channels: found {channels!r}, expected 1 (grey) or 3 (colour)")
            shape = (size[0], size[1], channels)
        else:
            shape = KINDS[kind].shape
            for extra in ("image_size", "channels"):
                if extra in entry:
                    size = " x ".join(map(str, shape))
                    raise InputError(f"{key}.{extra}: only for kind {IMAGES}; {kind} is always {size}")
        sources = entry.get("sources")
        if not isinstance(sources, (list, tuple)) or not sources:
            raise InputError(f"{key}.sources: found {sources!r}, expected a list of sources, one of {', '.join(_SOURCES)} each")
        label = entry.get("label")
        if label is not None and not _is_text(label):
            raise InputError(f"{key}.label: found {label!r}, expected a text")
        checked = tuple(Source.from_config(source, kind, f"{key}.sources[{k}]") for k, source in enumerate(sources))
        return cls(name, kind, shape, checked, label)


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


def _from_mirror(spec: DatasetSpec, settings: Mapping[str, Any], base: Path, report: Callable[[str], None]) -> _Content:
    for folder in settings["folders"]:
        content = _read_published(base / user_path(folder), spec.kind)
        if content is not None:
            return content
    raise Unavailable(f"no files of {spec.kind} in {', '.join(settings['folders'])}")


def _from_download(spec: DatasetSpec, settings: Mapping[str, Any], base: Path, report: Callable[[str], None]) -> _Content:
    published, root = _published(spec.kind), base / user_path(settings["directory"])
    if spec.kind in _IDX_KINDS:
        folder, files, servers = root / spec.kind / "raw", published.resources, published.mirrors
    else:
        folder, files = root, [(published.filename, published.tgz_md5)]
        servers = [published.url.removesuffix(published.filename)]
        if (root / published.base_folder).is_dir():  # already unpacked by torchvision
            files = []
    if settings["url"] is not None:
        servers = [settings["url"]]
    for name, md5 in files:
        if (folder / name).is_file():
            found = file_md5(folder / name)
            if found != md5:
                raise InputError(f"{folder / name}: md5 {found}, expected {md5}; delete it to download it again")
            continue
        failures = []
        for server in servers:
            url = f"{server.rstrip('/')}/{name}"
            report(f"{spec.name}: downloading {url}")
            try:
                download_file(url, folder / name, md5, settings["timeout"], settings["retries"])
                break
            except Unavailable as error:
                failures.append(str(error))
        else:
            raise Unavailable(", ".join(failures))
    return _read_published(root, spec.kind)


def _from_bundled(spec: DatasetSpec, settings: Mapping[str, Any], base: Path, report: Callable[[str], None]) -> _Content:
    subset = load_dataset(BUNDLED_SUBSET)
    images, labels = {"train": subset.x_train, "test": subset.x_test}, {"train": subset.y_train, "test": subset.y_test}
    return images, labels, subset.class_names


def _from_image_folder(spec: DatasetSpec, settings: Mapping[str, Any], base: Path, report: Callable[[str], None]) -> _Content:
    path = base / user_path(settings["path"])
    if not os.path.exists(path):
        raise Unavailable(f"no such file or folder: {settings['path']}")
    return read_image_folder(path, spec.image_shape)


def _from_shapes(spec: DatasetSpec, settings: Mapping[str, Any], base: Path, report: Callable[[str], None]) -> _Content:
    train, test = settings["train"], settings["test"]
    images, labels = {}, {}
    # Each split has a random stream of its own: the test images do not depend on how many train images there are.
    for stream, (split, count) in enumerate((("train", train), ("test", test))):
        images[split], labels[split] = draw_shapes(count, [settings["seed"], stream])
    return images, labels, list(SHAPE_NAMES)


_READERS = {
    "mirror": _from_mirror,
    "download": _from_download,
    "bundled": _from_bundled,
    "image_folder": _from_image_folder,
    "shapes": _from_shapes,
}


def _label_and_licence(spec: DatasetSpec, form: str) -> tuple[str, str]:
    """What figures call the images, and their licence, by the source that they came from."""
    if form == "shapes":
        return f"synthetic shapes in place of {spec.kind}", "drawn by this project, under its licence"
    if spec.kind == IMAGES:
        return spec.label or spec.name, "that of the images in the folder"
    licence = KINDS[spec.kind].licence
    if form == "image_folder":
        return spec.label or f"{spec.kind} (image folder)", licence
    return f"{spec.kind}, bundled subset" if form == "bundled" else spec.kind, licence


def fetch(spec: DatasetSpec, base_dir: str | Path = ".", report: Callable[[str], None] = print) -> Dataset:
    """Get a data set from the first of its sources that is available.

    Relative paths of the spec are relative to `base_dir`; `~` is the home folder. `report` gets one line for each source passed
    over, each file downloaded, and for the source used. Raises InputError if no source is available, or if one is but holds
    something else than it should.
    """
    missing = []
    for source in spec.sources:
        try:
            content = _READERS[source.form](spec, source.settings, Path(base_dir), report)
        except Unavailable as error:
            report(f"{spec.name}: {source.form} is not available ({error})")
            missing.append(f"{source.form} ({error})")
            continue
        dataset = _dataset(content, source.form, *_label_and_licence(spec, source.form))
        size = " x ".join(map(str, dataset.x_train.shape[1:]))
        report(
            f"{spec.name}: using {source.form}: {dataset.label}, {len(dataset.x_train)} train and {len(dataset.x_test)} test"
            f" images of {size} in {len(dataset.class_names)} classes"
        )
        return dataset
    raise InputError(f"datasets.{spec.name}.sources: none is available: {'; '.join(missing)}")
