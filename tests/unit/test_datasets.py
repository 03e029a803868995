"""Every source of a data set: what it gives, what it is called in figures, and what happens when it is missing or wrong."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import os
import pickle
import runpy
import socket
import struct
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from losspatterns import settings as settings_module
from losspatterns.data import datasets, download, image_folder
from losspatterns.data.dataset_file import Dataset, load_dataset, save_dataset, set_aside
from losspatterns.data.datasets import fetch
from losspatterns.data.shapes import draw_shapes
from losspatterns.errors import InputError
from losspatterns.records import artifacts
from losspatterns.settings import DatasetSettings, read
from PIL import Image

SCRIPTS = Path(__file__).parents[2] / "scripts"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
ARCHIVE = "cifar-10-python.tar.gz"
IDX_NAMES = [f"{prefix}-{what}" for prefix in ("train", "t10k") for what in ("images-idx3-ubyte", "labels-idx1-ubyte")]
needs_debian = pytest.mark.skipif(not DEBIAN.is_dir(), reason="the package dataset-fashion-mnist is not installed")


def training(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The published training images and labels, in their order: those that are trained on and those set aside."""
    count = len(dataset.x_train) + len(dataset.x_validation)
    kept, _, aside, _ = set_aside(np.arange(count), np.arange(count))
    order = np.argsort(np.concatenate([kept, aside]))
    parts = (dataset.x_train, dataset.x_validation), (dataset.y_train, dataset.y_validation)
    return tuple(np.concatenate(part)[order] for part in parts)


def settings(kind: str, *sources, **keys) -> DatasetSettings:
    return read(DatasetSettings, "datasets.test", {"kind": kind, "sources": list(sources), **keys})


def fetched(kind: str, *sources, base: Path | str = ".", report=print, **keys):
    """The data set that a config entry gives."""
    return fetch("test", settings(kind, *sources, **keys), base, report)


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


# ---------------------------------------------------------------------------------------------------- small stand-in files


@pytest.fixture
def idx_files(monkeypatch) -> dict[str, bytes]:
    """The four IDX files of a data set with 30 train and 20 test images, and readers that expect these numbers."""
    monkeypatch.setattr(datasets, "_SPLITS", {"train": ("train", 30), "test": ("t10k", 20)})
    rng = np.random.default_rng(0)
    files = {}
    for prefix, count in (("train", 30), ("t10k", 20)):
        pixels = rng.integers(0, 256, (count, 28, 28), np.uint8)
        files[f"{prefix}-images-idx3-ubyte"] = struct.pack(">4I", 2051, count, 28, 28) + pixels.tobytes()
        files[f"{prefix}-labels-idx1-ubyte"] = struct.pack(">2I", 2049, count) + bytes(k % 10 for k in range(count))
    return files


def write_idx(folder: Path, files: dict[str, bytes], zipped: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(data) if zipped else data)


def small_cifar(label_key: str) -> tuple[SimpleNamespace, bytes, dict[str, bytes]]:
    """A CIFAR set of 2 x 20 train and 10 test images: (what is published, archive, its pickles)."""
    rng = np.random.default_rng(0)
    files = {}
    for name, count in (("data_batch_1", 20), ("data_batch_2", 20), ("test_batch", 10)):
        batch = {"data": rng.integers(0, 256, (count, 3072), np.uint8), label_key: [k % 10 for k in range(count)]}
        files[name] = pickle.dumps(batch)
    files["batches.meta"] = pickle.dumps({"label_names": [f"class {k}" for k in range(10)]})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    published = SimpleNamespace(
        base_folder="cifar-10-batches-py",
        mirrors=["http://127.0.0.1:1/"],
        resources=[["cifar-10-python.tar.gz", md5(buffer.getvalue())]],
        train_list=[[name, md5(files[name])] for name in ("data_batch_1", "data_batch_2")],
        test_list=[["test_batch", md5(files["test_batch"])]],
        meta=["batches.meta", md5(files["batches.meta"]), "label_names"],
    )
    return published, buffer.getvalue(), files


@pytest.fixture
def cifar(monkeypatch) -> tuple[SimpleNamespace, bytes, dict[str, bytes]]:
    made = small_cifar("labels")
    monkeypatch.setattr(datasets, "_published", lambda kind: made[0])
    return made


def picture(colour, size=(32, 32), mode="RGB", kind="PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, kind)
    return buffer.getvalue()


PICTURES = {
    "train/cat/b.png": picture((0, 255, 0)),
    "train/cat/a.png": picture((255, 0, 0)),
    "train/ant/z.jpg": picture((0, 0, 255), size=(48, 20), kind="JPEG"),
    "train/.hidden": b"not looked at",
    "test/cat/1.png": picture(128, mode="L"),
    "README.txt": b"not looked at",
}


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_tar(path: Path, files: dict[str, bytes], mode: str) -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


class Server:
    """An HTTP server on this machine. `files` maps a name to what each request for it gets in turn, the last one for good."""

    def __init__(self) -> None:
        self.files: dict[str, list] = {}
        self.requests: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.lstrip("/")
                outer.requests.append(name)
                answers = outer.files.get(name, [404])
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                if isinstance(answer, int):
                    self.send_error(answer)
                    return
                data, announced = answer if isinstance(answer, tuple) else (answer, len(answer))
                self.send_response(200)
                self.send_header("Content-Length", str(announced))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def left_behind(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


# ------------------------------------------------------------------------------------------------------------------- mirror


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["", "KMNIST/raw"])
def test_mirror_of_idx_files(tmp_path, idx_files, zipped, place):
    write_idx(tmp_path / place, idx_files, zipped)
    dataset = fetched("KMNIST", {"mirror": ["nowhere", str(tmp_path)]})
    images, labels = training(dataset)
    assert images.shape == (30, 28, 28, 1) and dataset.x_test.shape == (20, 28, 28, 1)
    assert images.dtype == np.uint8 and labels.dtype == np.int64
    assert images.tobytes() == idx_files["train-images-idx3-ubyte"][16:]
    assert dataset.y_test.tolist() == [k % 10 for k in range(20)]
    assert (dataset.source, dataset.label, len(dataset.class_names)) == ("mirror", "KMNIST", 10)


def test_relative_paths_start_at_the_base_folder(tmp_path, idx_files):
    write_idx(tmp_path / "here", idx_files, zipped=True)
    assert fetched("MNIST", {"mirror": ["here"]}, base=tmp_path).source == "mirror"


@pytest.mark.parametrize("zipped", [True, False])
def test_truncated_file_in_a_mirror_is_named(tmp_path, idx_files, zipped):
    write_idx(tmp_path, idx_files, zipped)
    file = tmp_path / ("train-images-idx3-ubyte" + (".gz" if zipped else ""))
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(InputError, match=f"{file.name}: "):
        fetched("MNIST", {"mirror": [str(tmp_path)]}, {"download": {"url": closed_port()}})


def test_wrong_header_too_long_a_file_and_a_missing_file_are_named(tmp_path, idx_files):
    name = "t10k-labels-idx1-ubyte"
    for change, message in (
        (lambda data: b"\0\0\0\0" + data[4:], "its header is wrong"),
        (lambda data: data + b"\0", "holds more than 28 bytes of data, expected 28"),
        (lambda data: data[:-1] + b"\x0a", "holds the label 10"),
    ):
        write_idx(tmp_path, {**idx_files, name: change(idx_files[name])}, zipped=True)
        with pytest.raises(InputError, match=f"{name}.*{message}"):
            fetched("MNIST", {"mirror": [str(tmp_path)]})
    (tmp_path / f"{name}.gz").unlink()
    with pytest.raises(InputError, match=f"{name}.* is missing"):
        fetched("MNIST", {"mirror": [str(tmp_path)]})


def test_other_data_under_the_names_of_fashion_mnist_is_refused(tmp_path, idx_files):
    write_idx(tmp_path, idx_files, zipped=True)
    with pytest.raises(InputError, match="train-images-idx3-ubyte.gz: holds other data, expected FashionMNIST"):
        fetched("FashionMNIST", {"mirror": [str(tmp_path)]}, "bundled")


@needs_debian
def test_fashion_mnist_is_not_taken_for_mnist():
    with pytest.raises(InputError, match="holds FashionMNIST train-images-idx3-ubyte, expected MNIST"):
        fetched("MNIST", {"mirror": [str(DEBIAN)]})


@pytest.mark.parametrize("unpacked", [True, False])
@pytest.mark.parametrize("label_key", ["labels", "fine_labels"])
def test_mirror_of_cifar(tmp_path, monkeypatch, unpacked, label_key):
    published, archive, files = small_cifar(label_key)
    monkeypatch.setattr(datasets, "_published", lambda kind: published)
    if unpacked:
        write_folder(tmp_path / published.base_folder, files)
    else:
        (tmp_path / ARCHIVE).write_bytes(archive)
    dataset = fetched("CIFAR10", {"mirror": [str(tmp_path)]})
    images, labels = training(dataset)
    assert images.shape == (40, 32, 32, 3) and dataset.label == "CIFAR10"
    red = pickle.loads(files["data_batch_2"])["data"][3, :1024].reshape(32, 32)
    assert np.array_equal(images[23, :, :, 0], red)
    assert labels.tolist() == 2 * [k % 10 for k in range(20)] and dataset.class_names[9] == "class 9"


def test_changed_cifar_files_are_never_unpickled(tmp_path, cifar, monkeypatch):
    published, archive, files = cifar
    monkeypatch.setattr(datasets.pickle, "loads", lambda *arguments, **keys: pytest.fail("unpickled"))
    (tmp_path / ARCHIVE).write_bytes(archive + b"x")
    with pytest.raises(InputError, match=f"{ARCHIVE}: md5 .* expected {md5(archive)}"):
        fetched("CIFAR10", {"mirror": [str(tmp_path)]}, "shapes")
    write_folder(tmp_path / published.base_folder, {**files, "data_batch_1": files["data_batch_1"] + b"x"})
    with pytest.raises(InputError, match="data_batch_1: md5 .* expected"):
        fetched("CIFAR10", {"mirror": [str(tmp_path)]}, "shapes")


# ----------------------------------------------------------------------------------------------------------------- download


def download_source(server_url: str, folder: Path, **keys) -> dict:
    return {"download": {"url": server_url, "directory": str(folder), "timeout": 5, **keys}}


def test_download_of_an_archive_is_kept_and_not_repeated(tmp_path, cifar, server):
    server.files[ARCHIVE] = [cifar[1]]
    wanted = settings("CIFAR10", download_source(server.url, tmp_path))
    first, second = fetch("test", wanted), fetch("test", wanted)
    assert (first.source, first.label) == ("download", "CIFAR10") and first.checksum == second.checksum
    assert server.requests == [ARCHIVE]
    assert left_behind(tmp_path) == [ARCHIVE]
    assert fetched("CIFAR10", {"mirror": [str(tmp_path)]}).checksum == first.checksum


def test_download_of_idx_files_tries_each_published_server(tmp_path, idx_files, server, monkeypatch):
    zipped = {f"{name}.gz": gzip.compress(data) for name, data in idx_files.items()}
    published = SimpleNamespace(mirrors=[closed_port(), server.url], resources=[(n, md5(d)) for n, d in zipped.items()])
    monkeypatch.setattr(datasets, "_published", lambda kind: published)
    server.files = {name: [data] for name, data in zipped.items()}
    dataset = fetched("MNIST", {"download": {"directory": str(tmp_path)}})
    assert dataset.x_test.tobytes() == idx_files["t10k-images-idx3-ubyte"][16:]
    assert sorted(left_behind(tmp_path / "MNIST" / "raw")) == sorted(zipped)


@pytest.mark.parametrize("body, what", [(b"other bytes", "a different file"), (b"<!DOCTYPE html><p>Log in", "an HTML page")])
def test_wrong_checksum_ends_the_run_and_keeps_nothing(tmp_path, server, body, what):
    """Against the checksum that is really published."""
    server.files["cifar-10-python.tar.gz"] = [body]
    with pytest.raises(InputError) as error:
        fetched("CIFAR10", download_source(server.url, tmp_path), "shapes")
    for part in (f"{server.url}/cifar-10-python.tar.gz: served {what}", md5(body), "c58f30108f718f92721af3b95e74349a"):
        assert part in str(error.value)
    assert left_behind(tmp_path) == []


def test_a_file_already_there_but_wrong_is_named(tmp_path, cifar, server):
    (tmp_path / ARCHIVE).write_bytes(b"half a file")
    with pytest.raises(InputError, match=f"{ARCHIVE}: md5 .*delete it"):
        fetched("CIFAR10", download_source(server.url, tmp_path))
    assert server.requests == []


def test_a_broken_off_transfer_is_tried_again(tmp_path, cifar, server):
    archive = cifar[1]
    server.files[ARCHIVE] = [(archive[:1000], len(archive)), 503, archive]
    assert fetched("CIFAR10", download_source(server.url, tmp_path, retries=2)).source == "download"
    assert len(server.requests) == 3


def test_a_server_that_always_cuts_off_is_passed_over(tmp_path, cifar, server):
    server.files[ARCHIVE] = [(cifar[1][:1000], len(cifar[1]))]
    lines = []
    shapes = {"shapes": {"train": 20, "test": 10}}
    dataset = fetched("CIFAR10", download_source(server.url, tmp_path, retries=1), shapes, report=lines.append)
    assert dataset.source == "shapes" and len(server.requests) == 2
    assert any(f"closed after 1000 of {len(cifar[1])} bytes" in line for line in lines)
    assert left_behind(tmp_path) == []


def test_a_server_that_is_down_is_passed_over_at_once(tmp_path, cifar, monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda seconds: pytest.fail("waited for a server that is not there"))
    down = download_source(closed_port(), tmp_path / "new", retries=5)
    lines = []
    assert fetched("CIFAR10", down, {"shapes": {"train": 20, "test": 10}}, report=lines.append).source == "shapes"
    assert sum("download is not available" in line and "refused" in line for line in lines) == 1
    with pytest.raises(InputError) as error:
        fetched("CIFAR10", {"mirror": ["nowhere"]}, down, base=tmp_path)
    message = str(error.value)
    assert message.startswith("datasets.test.sources: none is available: mirror (no files of CIFAR10 in nowhere); download (")
    assert "\n" not in message and not (tmp_path / "new").exists()


def test_a_silent_server_times_out(tmp_path, cifar):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InputError, match="timed out"):
            fetched("CIFAR10", download_source(url, tmp_path, timeout=0.2, retries=0))


# ------------------------------------------------------------------------------------------------------------------ bundled


def test_bundled_subset():
    dataset = fetched("FashionMNIST", "bundled")
    assert dataset.x_train.shape == (11_000, 28, 28, 1) and dataset.x_test.shape == (2_000, 28, 28, 1)
    assert np.bincount(training(dataset)[1]).tolist() == [1200] * 10 and np.bincount(dataset.y_test).tolist() == [200] * 10
    assert (dataset.label, dataset.class_names[9]) == ("FashionMNIST, bundled subset", "Ankle boot")
    assert "MIT" in dataset.licence and "Zalando" in datasets.BUNDLED_SUBSET.with_name("LICENSE.fashion-mnist").read_text()
    assert datasets.BUNDLED_SUBSET.stat().st_size < 7_000_000


@needs_debian
def test_bundled_subset_is_an_exact_subset_and_a_mirror_goes_first():
    full = fetched("FashionMNIST", {"mirror": [str(DEBIAN)]}, "bundled")
    assert (full.source, full.label, len(full.x_train), len(full.x_test)) == ("mirror", "FashionMNIST", 55_000, 10_000)
    subset = fetched("FashionMNIST", "bundled")
    for x, y, x_full, y_full, count in (
        (*training(subset), *training(full), 1200),
        (subset.x_test, subset.y_test, full.x_test, full.y_test, 200),
    ):
        rank = np.array([(y_full[:k] == label).sum() for k, label in enumerate(y_full[: 20 * count])])
        chosen = np.flatnonzero(rank < count)
        assert np.array_equal(x, x_full[chosen]) and np.array_equal(y, y_full[chosen])
    assert subset.class_names == full.class_names


# ------------------------------------------------------------------------------------------------------------- image folder


@pytest.mark.parametrize("form", ["folder", ".tar", ".tar.gz", ".tar.xz"])
def test_image_folder(tmp_path, form):
    if form == "folder":
        path = write_folder(tmp_path / "pictures", PICTURES)
    else:
        path = write_tar(tmp_path / f"pictures{form}", PICTURES, {".tar": "w", ".tar.gz": "w:gz", ".tar.xz": "w:xz"}[form])
    dataset = fetched("CIFAR10", {"image_folder": str(path)})
    images, labels = training(dataset)
    assert images.shape == (3, 32, 32, 3) and dataset.class_names == ["ant", "cat"]
    assert labels.tolist() == [0, 1, 1] and dataset.y_test.tolist() == [1]
    assert images[1, 0, 0].tolist() == [255, 0, 0] and images[2, 0, 0].tolist() == [0, 255, 0]
    assert dataset.x_test[0, 5, 5].tolist() == [128] * 3
    assert (dataset.source, dataset.label) == ("image_folder", "CIFAR10 (image folder)")


def test_image_folder_of_other_sizes_in_grey(tmp_path):
    write_folder(tmp_path, PICTURES)
    source = {"image_folder": str(tmp_path)}
    dataset = fetched("images", source, image_size=[12, 20], channels=1)
    images, _ = training(dataset)
    assert images.shape == (3, 12, 20, 1) and dataset.label == "test"
    assert images[:, 6, 6, 0].tolist() == pytest.approx([29, 76, 150], abs=1)  # luminance of blue, red, green
    assert fetched("images", source, image_size=[12, 20], channels=1, label="Pets").label == "Pets"


def white_on_nothing() -> bytes:
    """A white image, transparent but for its lower half."""
    image = Image.new("RGBA", (32, 32), (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (0, 16, 32, 32))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


WHITE_ON_NOTHING = white_on_nothing()


@pytest.mark.parametrize(
    "files, message",
    [
        ({"train/cat/c.png": PICTURES["train/cat/a.png"][:60]}, "train/cat/c.png: broken image"),
        ({"train/cat/notes.txt": b"meow"}, "train/cat/notes.txt: not an image"),
        ({"train/cat/c.tif": picture(1, mode="F", kind="TIFF")}, "train/cat/c.tif: 32 bits a pixel (mode F)"),
        ({"train/cat/c.png": WHITE_ON_NOTHING}, "train/cat/c.png: white on a transparent page"),
        ({"train/cat/more/c.png": PICTURES["train/cat/a.png"]}, "train/cat/more"),
        ({"train/c.png": PICTURES["train/cat/a.png"]}, "train/c.png: expected train/<class>/<image>"),
        ({"test/dog/1.png": PICTURES["train/cat/a.png"]}, "test/dog: no such class under train/, which has ant, cat"),
        ({"train/cat/c.png": picture(0, size=(6000, 6000), mode="1")}, "train/cat/c.png: 6000 x 6000 is more than"),
        ({"train/cat/c.png": picture(0, size=(10000, 10000), mode="1")}, "train/cat/c.png: more than"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, files, message):
    folder = write_folder(tmp_path / "folder", PICTURES | files)
    archive = write_tar(tmp_path / "archive.tar.gz", PICTURES | files, "w:gz")
    for path in (folder, archive):
        with pytest.raises(InputError) as error:
            fetched("CIFAR10", {"image_folder": str(path)})
        assert f"{path}/{message}" in str(error.value)


@pytest.mark.parametrize(
    "mode, colour, expected",
    [("I;16", 40_000, 155), ("1", 1, 255), ("LA", (0, 0), 255), ("RGBA", (0, 0, 0, 127), 128), ("P", 0, 0), ("L", 9, 9)],
)
def test_images_of_every_mode_keep_their_lightness(tmp_path, mode, colour, expected):
    """White is the largest number that a pixel can have; the page behind a transparent image is white."""
    write_folder(tmp_path, PICTURES | {"test/cat/1.png": picture(colour, mode=mode)})
    assert fetched("CIFAR10", {"image_folder": str(tmp_path)}).x_test[0, 5, 5].tolist() == [expected] * 3


def test_the_camera_s_rotation_is_applied(tmp_path):
    image, exif, buffer = Image.new("L", (32, 32)), Image.Exif(), io.BytesIO()
    image.paste(255, (0, 16, 32, 32))
    exif[0x0112] = 3  # upside down
    image.save(buffer, "PNG", exif=exif)
    write_folder(tmp_path, PICTURES | {"test/cat/1.png": buffer.getvalue()})
    rows = fetched("CIFAR10", {"image_folder": str(tmp_path)}).x_test[0, :, 0, 0]
    assert rows.tolist() == [255] * 16 + [0] * 16


@pytest.mark.parametrize("form", ["folder", "A.TAR.GZ"])
def test_what_systems_leave_in_folders_is_no_class_and_no_image(tmp_path, form):
    left = (".ipynb_checkpoints/a.png", "cat/.ipynb_checkpoints/a.png", "__MACOSX/a.png", "cat/Thumbs.db", "cat/.DS_Store")
    left += ("#recycle/a.png", "$RECYCLE.BIN/a.png", "System Volume Information/a", "lost+found/a")
    files = PICTURES | {f"train/{name}": b"left" for name in left} | {"__MACOSX/train/cat/._a.png": b"left"}
    files["test/cat/2.PNG"] = files["test/cat/1.png"]
    path = tmp_path / form
    write_folder(path, files) if form == "folder" else write_tar(path, files, "w:gz")
    images, labels, classes = image_folder.read_image_folder(path, (8, 8, 3))
    assert classes == ["ant", "cat"] and labels["train"].tolist() == [0, 1, 1] and labels["test"].tolist() == [1, 1]


@pytest.mark.parametrize(
    "files, message",
    [
        (
            {name: data for name, data in PICTURES.items() if "ant" not in name},
            "/train: found one class, cat, expected at least",
        ),
        (PICTURES | {"train/bee/.hidden": b""}, "/train/bee: a class without images"),
        (PICTURES | {"train/Cat/1.png": picture(0)}, r": 'Cat' and 'cat' are one class in two spellings"),
        (PICTURES | {"test/CAT /1.png": picture(0)}, r": 'CAT ' and 'cat' are one class in two spellings"),
        (PICTURES | {"train/é/1.png": picture(0), "test/e\u0301/1.png": picture(0)}, r": 'e\\u0301' and '\\xe9' are one class"),
    ],
)
def test_wrong_classes_are_named(tmp_path, files, message):
    with pytest.raises(InputError, match=f"^{tmp_path}{message}"):
        fetched("CIFAR10", {"image_folder": str(write_folder(tmp_path, files))})


def test_a_class_without_test_images_and_several_pictures_in_a_file_are_told(tmp_path):
    animation = io.BytesIO()
    Image.new("L", (8, 8), 7).save(animation, "GIF", save_all=True, append_images=[Image.new("L", (8, 8), 9)])
    folder, lines = write_folder(tmp_path, PICTURES | {"train/cat/c.gif": animation.getvalue()}), []
    images, _, _ = image_folder.read_image_folder(folder, (8, 8, 1), lines.append)
    assert (images["train"][-1] == 7).all() and lines == [
        f"{folder}/train/cat/c.gif: has 2 frames or pages; the first one is taken",
        f"{folder}/test: no images of ant, which train/ has; nothing is tested on them",
    ]


@pytest.mark.parametrize("most, told", [(0, False), (4095, True), (40_000, False)])
def test_numbers_of_12_bits_are_told(tmp_path, most, told):
    folder, lines = write_folder(tmp_path, PICTURES | {"test/ant/c.png": picture(most, mode="I;16")}), []
    image_folder.read_image_folder(folder, (8, 8, 1), lines.append)
    assert [f"{folder}/test/ant/c.png: its numbers reach {most}, and white is 65535" in line for line in lines] == [True] * told


def test_a_class_whose_name_is_not_utf_8_is_named(tmp_path):
    files = PICTURES | {"train/\udcff/1.png": picture(0)}
    with pytest.raises(InputError, match=r": the class '\\udcff' has a name that is not UTF-8; rename the folder"):
        fetched("CIFAR10", {"image_folder": str(write_tar(tmp_path / "a.tar", files, "w"))})


def test_an_empty_class_folder_of_an_archive_is_named(tmp_path):
    path = write_tar(tmp_path / "a.tar", PICTURES, "w")
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo("./test/bee")
        member.type = tarfile.DIRTYPE
        tar.addfile(member)
    with pytest.raises(InputError, match="a.tar/test/bee: a class without images"):
        image_folder.read_image_folder(path, (8, 8, 3))


def test_links_in_a_folder_are_followed(tmp_path):
    write_folder(tmp_path, {f"real/{name}": data for name, data in PICTURES.items()} | {"elsewhere/1.png": picture(7)})
    root = tmp_path / "linked"
    root.mkdir()
    (root / "train").symlink_to("../real/train")
    (root / "test").mkdir()
    (root / "test/cat").symlink_to("../../elsewhere")
    assert fetched("CIFAR10", {"image_folder": str(root)}).x_test[:, 0, 0, 0].tolist() == [7]


@pytest.mark.parametrize(
    "name, target, message",
    [
        ("train/loop", "loop", "train/loop: expected train/<class>/<image> .*Too many levels of symbolic links"),
        ("train/gone", "nowhere", "train/gone: expected train/<class>/<image> .*No such file"),
        ("train/cat/up", "..", "train/cat/up: cannot be read .not a plain file"),
        ("train/cat/gone.png", "nowhere", "train/cat/gone.png: cannot be read .No such file"),
    ],
)
def test_links_that_lead_nowhere_are_named(tmp_path, name, target, message):
    (write_folder(tmp_path, PICTURES) / name).symlink_to(target)
    with pytest.raises(InputError, match=f"^{tmp_path}/{message}"):
        fetched("CIFAR10", {"image_folder": str(tmp_path)})


def test_a_folder_or_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    """As root, who may read everything, a stand-in refuses."""

    def refuse(path, *arguments):
        raise PermissionError(13, "Permission denied", str(path))

    write_folder(tmp_path, PICTURES)
    with monkeypatch.context() as patch:
        patch.setattr(image_folder.os, "listdir", refuse)
        with pytest.raises(InputError, match=f"^{tmp_path}/train: expected .*Permission denied"):
            fetched("CIFAR10", {"image_folder": str(tmp_path)})
    monkeypatch.setattr(settings_module, "open", refuse, raising=False)
    with pytest.raises(InputError, match=f"^{tmp_path}/train/[a-z]+/[a-z.]+: cannot be read .Permission denied"):
        fetched("CIFAR10", {"image_folder": str(tmp_path)})
    write_tar(tmp_path / "a.tgz", PICTURES, "w:gz")
    with pytest.raises(InputError, match=f"^{tmp_path}/a.tgz: cannot be read .Permission denied"):
        fetched("CIFAR10", {"image_folder": str(tmp_path / "a.tgz")})


def test_a_pipe_in_place_of_an_archive_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.tar")
    with pytest.raises(InputError, match="a.tar: cannot be read .not a plain file"):
        fetched("CIFAR10", {"image_folder": str(tmp_path / "a.tar")})


def test_a_folder_without_images_and_a_missing_folder(tmp_path):
    write_folder(tmp_path, {"train/cat/a.png": picture(0)})
    with pytest.raises(InputError, match="no images under test/"):
        fetched("CIFAR10", {"image_folder": str(tmp_path)})
    with pytest.raises(InputError, match="none is available: image_folder .no such file or folder: nowhere"):
        fetched("CIFAR10", {"image_folder": "nowhere"}, base=tmp_path)
    (tmp_path / "a.zip").write_bytes(b"")
    with pytest.raises(InputError, match="a.zip: expected a directory or an archive"):
        fetched("CIFAR10", {"image_folder": str(tmp_path / "a.zip")})


@pytest.mark.parametrize("name", ["../train/cat/x.png", "train/../../x.png", "/train/cat/x.png"])
def test_an_archive_entry_that_points_outside_is_refused(tmp_path, name):
    archive = write_tar(tmp_path / "a.tar", PICTURES | {name: picture(0)}, "w")
    with pytest.raises(InputError, match="points outside the archive"):
        fetched("CIFAR10", {"image_folder": str(archive)})
    assert left_behind(tmp_path) == ["a.tar"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_link_in_an_archive_is_refused(tmp_path, kind):
    path = write_tar(tmp_path / "a.tar", PICTURES, "w")
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo("train/cat/link.png")
        member.type, member.linkname = kind, "/etc/hostname"
        tar.addfile(member)
    with pytest.raises(InputError, match="link or a device"):
        fetched("CIFAR10", {"image_folder": str(path)})


@pytest.mark.parametrize("suffix, mode", [(".tar", "w"), (".tar.gz", "w:gz"), (".tar.xz", "w:xz")])
def test_a_truncated_archive_is_named_wherever_it_ends(tmp_path, suffix, mode):
    path = write_tar(tmp_path / f"a{suffix}", PICTURES, mode)
    whole = path.read_bytes()
    for part in (0.0, 0.3, 0.6, 0.9, 0.99):
        path.write_bytes(whole[: int(part * len(whole)) // 512 * 512] if suffix == ".tar" else whole[: int(part * len(whole))])
        if suffix == ".tar" and part >= 0.9:  # only padding is gone
            continue
        with pytest.raises(InputError, match=f"a{suffix}: damaged archive"):
            image_folder.read_image_folder(path, (32, 32, 3))


def test_an_archive_with_a_damaged_entry_in_its_middle_is_named(tmp_path):
    """To tarfile, a damaged header is the end of the archive."""
    path = write_tar(tmp_path / "a.tar", PICTURES | {f"test/cat/{k}.png": picture(k, mode="L") for k in range(2, 9)}, "w")
    data = bytearray(path.read_bytes())
    data[data.index(b"test/cat/5.png")] = 0
    path.write_bytes(data)
    with pytest.raises(InputError, match="a.tar: damaged archive .an entry in its middle"):
        image_folder.read_image_folder(path, (8, 8, 3))


@pytest.mark.parametrize("suffix", image_folder.SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"no archive" * 500], ids=["empty", "words"])
def test_what_is_no_archive_is_named(tmp_path, suffix, content):
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(InputError, match=f"a{suffix}: damaged archive"):
        image_folder.read_image_folder(tmp_path / f"a{suffix}", (8, 8, 3))


# ------------------------------------------------------------------------------------------------------------------- shapes


def test_shapes_are_deterministic_balanced_and_named():
    wanted = {"shapes": {"train": 500, "test": 100, "seed": 3}}
    dataset, again = fetched("CIFAR10", wanted), fetched("CIFAR10", wanted)
    assert dataset.checksum == again.checksum
    images, labels = training(dataset)
    assert images.shape == (500, 32, 32, 3) and np.bincount(labels).tolist() == [50] * 10
    assert np.bincount(dataset.y_test).tolist() == [10] * 10
    assert (dataset.label, dataset.source) == ("synthetic shapes in place of CIFAR10", "shapes")
    assert fetched("CIFAR10", {"shapes": {"train": 500, "test": 100, "seed": 4}}).checksum != dataset.checksum
    fewer = fetched("CIFAR10", {"shapes": {"train": 10, "test": 100, "seed": 3}})
    assert np.array_equal(fewer.x_test, dataset.x_test)


def test_shapes_are_the_same_whatever_instructions_the_processor_has(root):
    program = "import hashlib; from losspatterns.data.shapes import draw_shapes\n"
    program += "print(hashlib.sha256(draw_shapes(2000, [0, 0])[0]).hexdigest())"
    found = [name for name in np.show_config("dicts")["SIMD Extensions"].get("found", [])]
    environment = os.environ | {"PYTHONPATH": str(root / "scripts"), "NPY_DISABLE_CPU_FEATURES": " ".join(found)}
    plain = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert plain.stdout.strip() == hashlib.sha256(draw_shapes(2000, [0, 0])[0]).hexdigest()


def test_shapes_cannot_be_told_by_colour():
    """The nearest class mean, in pixels or in mean colour, is near guessing; the classes differ in form only."""
    x, y = draw_shapes(2000, 0)
    for features in (x.reshape(2000, -1).astype(float), x.mean(axis=(1, 2))):
        means = np.stack([features[:1000][y[:1000] == k].mean(axis=0) for k in range(10)])
        nearest = ((features[1000:, None] - means) ** 2).sum(axis=-1).argmin(axis=1)
        assert (nearest == y[1000:]).mean() < 0.25


# ------------------------------------------------------------------------------------------------------------ specification


PETS = {"kind": "images", "image_size": [8, 8], "channels": 3, "sources": [{"image_folder": "pets"}]}


@pytest.mark.parametrize(
    "entry, message",
    [
        ({"kind": "SVHN"}, "datasets.d.kind: found 'SVHN', expected 'MNIST', 'FashionMNIST', .* or 'images'$"),
        ({"sources": ["bundled"]}, "datasets.d.kind: missing$"),
        ({"kind": "MNIST"}, "datasets.d.sources: missing$"),
        ({"kind": "MNIST", "sources": []}, r"datasets.d.sources: found \[\], expected at least one entry"),
        ({"kind": "MNIST", "sources": "bundled"}, "datasets.d.sources: found 'bundled', expected a list$"),
        ({"kind": "CIFAR10", "sources": ["shapes", "shapes"]}, r"datasets.d.sources: found .*none twice$"),
        ({"kind": "MNIST", "sourcs": []}, "datasets.d.sourcs: unknown key; kind MNIST has kind, sources, label"),
        (
            {"kind": "CIFAR10", "sources": ["shapes", "ftp"]},
            r"datasets.d.sources\[1\]: found 'ftp', expected one source, one of mir",
        ),
        (
            {"kind": "CIFAR10", "sources": [{"mirror": ["a"], "shapes": {}}]},
            r"sources\[0\]: found mirror, shapes, expected one s",
        ),
        ({"kind": "CIFAR10", "sources": [{}]}, r"sources\[0\]: found nothing, expected one source, one of mirror, download"),
        ({"kind": "CIFAR10", "sources": [7]}, r"sources\[0\]: found 7, expected one source, one of mirror, download"),
        ({"kind": "CIFAR10", "sources": [{"mirror": "here"}]}, r"sources\[0\].mirror: found 'here', expected a list$"),
        ({"kind": "CIFAR10", "sources": ["mirror"]}, r"sources\[0\].mirror: needs a value: a list of folders$"),
        ({"kind": "CIFAR10", "sources": ["image_folder"]}, r"sources\[0\].image_folder: needs a value: a path$"),
        ({"kind": "CIFAR10", "sources": [{"image_folder": ""}]}, r"sources\[0\].image_folder: found '', expected a text, not"),
        ({"kind": "CIFAR10", "sources": ["bundled"]}, r"sources\[0\]: only FashionMNIST is bundled, not CIFAR10$"),
        ({"kind": "MNIST", "sources": ["shapes"]}, r"sources\[0\]: shapes are 32 x 32 colour images, .* not MNIST$"),
        ({"kind": "CIFAR10", "sources": [{"shapes": {"n": 3}}]}, r"sources\[0\].shapes.n: unknown key; allowed are train"),
        ({"kind": "CIFAR10", "sources": [{"shapes": {"train": 3}}]}, r"shapes.train: found 3, expected at least 10$"),
        ({"kind": "CIFAR10", "sources": [{"download": {"timeout": 0}}]}, "download.timeout: found 0, expected more than 0$"),
        (
            {"kind": "CIFAR10", "sources": [{"download": {"url": "x"}}]},
            r"download.url: found 'x', expected an http\(s\) address$",
        ),
        ({"kind": "CIFAR10", "sources": ["shapes"], "channels": 3}, "channels: only for kind images; CIFAR10 is always 32 x"),
        (PETS | {"sources": ["shapes"]}, r"sources\[0\]: found shapes, but kind images can only come from image_folder$"),
        (PETS | {"image_size": None}, "datasets.d.image_size: missing; kind images needs image_size"),
        (PETS | {"image_size": [8]}, r"datasets.d.image_size: found \[8\], expected \[height, width\]$"),
        (PETS | {"image_size": [0, 8]}, r"datasets.d.image_size\[0\]: found 0, expected at least 1$"),
        (PETS | {"channels": None}, "datasets.d.channels: missing; kind images needs image_size"),
        (PETS | {"channels": 4}, "datasets.d.channels: found 4, expected 1 or 3$"),
        ({"kind": "CIFAR10", "sources": ["shapes"], "label": 3}, "datasets.d.label: found 3, expected a text$"),
        ({"kind": "CIFAR10", "sources": ["shapes"], "label": ""}, "datasets.d.label: found '', expected a text, not empty$"),
        ("MNIST", "datasets.d: found 'MNIST', expected keys and values$"),
    ],
)
def test_wrong_configs_name_the_key(entry, message):
    with pytest.raises(InputError, match=message) as error:
        read(DatasetSettings, "datasets.d", entry)
    assert "\n" not in str(error.value)


# -------------------------------------------------------------------------------------------------------------------- files


def test_a_twelfth_of_the_training_images_is_set_aside_for_validation_the_same_ones_each_time():
    dataset = fetched("CIFAR10", {"shapes": {"train": 120, "test": 10}})
    assert (len(dataset.x_train), len(dataset.x_validation)) == (110, 10)
    images, labels = draw_shapes(120, [0, 0])
    found = training(dataset)
    assert np.array_equal(found[0], images) and np.array_equal(found[1], labels)
    first, second = (set_aside(np.arange(1000), np.arange(1000)) for _ in range(2))
    assert all(map(np.array_equal, first, second)) and len(first[2]) == 83
    assert np.array_equal(np.sort(np.concatenate(first[::2])), np.arange(1000))
    assert not np.array_equal(first[2], np.arange(83))


def test_a_saved_dataset_comes_back(tmp_path):
    dataset = fetched("CIFAR100", {"shapes": {"train": 20, "test": 10}})
    save_dataset(tmp_path / "d.npz", dataset)
    loaded = load_dataset(tmp_path / "d.npz")
    assert np.array_equal(loaded.x_train, dataset.x_train) and np.array_equal(loaded.y_test, dataset.y_test)
    for field in ("class_names", "source", "label", "licence", "checksum"):
        assert getattr(loaded, field) == getattr(dataset, field)


def test_a_foreign_file_is_named(tmp_path):
    artifacts.save_arrays(tmp_path / "e.npz", {"axes": np.zeros(3)}, {})
    with pytest.raises(InputError, match="e.npz: not a data set"):
        load_dataset(tmp_path / "e.npz")


def test_the_script_writes_a_dataset_and_says_what_it_used(tmp_path, monkeypatch):
    entry = {"kind": "KMNIST", "sources": [{"mirror": ["nowhere"]}, {"image_folder": "pictures"}]}
    write_folder(tmp_path / "pictures", PICTURES)

    command = [sys.executable, SCRIPTS / "fetch_dataset.py", "--name", "c", "--output", "c.npz", "--spec", json.dumps(entry)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "c: mirror is not available (no files of KMNIST in nowhere)",
        "c: pictures/test: no images of ant, which train/ has; nothing is tested on them",
        "c: using image_folder: KMNIST (image folder), 2 train, 1 validation and 1 test images of 28 x 28 x 1 in 2 classes",
    ]
    assert load_dataset(tmp_path / "c.npz").source == "image_folder"
    monkeypatch.chdir(tmp_path)
    for spec, message in (
        (json.dumps(PETS | {"image_size": None}), "datasets.c.image_size: missing"),
        ("{", "--spec: found '{', ex"),
    ):
        monkeypatch.setattr(sys, "argv", ["fetch_dataset.py", "--name", "c", "--output", "d.npz", "--spec", spec])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPTS / "fetch_dataset.py"), run_name="__main__")
        assert ended.value.code.startswith(f"error: {message}") and "\n" not in ended.value.code
    assert not (tmp_path / "d.npz").exists()


# ------------------------------------------------------------------------------------------------------------------- optional


def test_an_optional_data_set_is_written_without_images_where_no_source_is_there(tmp_path, idx_files):
    mirror, path, told = tmp_path / "mirror", tmp_path / "mnist.npz", []
    entry = "MNIST", {"mirror": [str(mirror)]}
    save_dataset(path, fetched(*entry, optional=True, report=told.append))
    reason = f"datasets.test.sources: none is available: mirror (no files of MNIST in {mirror})"
    assert told[-1] == f"{reason}; optional, so it is written without images"
    absent = load_dataset(path, optional=True)
    assert (absent.absent, absent.label, absent.source, absent.x_test.shape) == (True, "MNIST", reason, (0, 28, 28, 1))
    with pytest.raises(InputError) as caught:  # for who cannot do without
        load_dataset(path)
    assert str(caught.value).startswith(f"{path}: has no images; {reason}; name a source") and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="none is available: mirror"):
        fetched(*entry)

    write_idx(mirror / "MNIST" / "raw", idx_files, zipped=True)
    save_dataset(path, fetched(*entry, optional=True))
    assert len(load_dataset(path).x_test) == 20 and not load_dataset(path, optional=True).absent


def test_an_optional_data_set_whose_source_is_damaged_is_an_error(tmp_path, idx_files):
    write_idx(tmp_path, idx_files, zipped=True)
    (tmp_path / f"{IDX_NAMES[0]}.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds 0 bytes|damaged"):
        fetched("MNIST", {"mirror": [str(tmp_path)]}, optional=True)
