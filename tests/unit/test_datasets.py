"""Every source of a data set: what it gives, what it is called in figures, and what happens when it is missing or wrong."""

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

import numpy as np
import pytest
from bad_places import mounted
from losspatterns.config import reading
from losspatterns.config.reading import read
from losspatterns.data import datasets
from losspatterns.data.dataset_file import Dataset, load_dataset, save_dataset, set_aside
from losspatterns.data.datasets import fetch
from losspatterns.data.image_folder import read_image_folder
from losspatterns.data.settings import DatasetSettings
from losspatterns.data.shapes import draw_shapes
from losspatterns.errors import InputError
from losspatterns.records import artifacts
from losspatterns.torchvision_compat import import_torchvision
from PIL import Image

SCRIPTS = Path(__file__).parents[2] / "scripts"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
ARCHIVE = "cifar-10-python.tar.gz"
BATCHES = "cifar-10-batches-py"
FEW = {"shapes": {"train": 20, "test": 10}}
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
    """The four IDX files of a data set with 30 train and 20 test images, which are taken for the published ones."""
    rng, files = np.random.default_rng(0), {}
    for prefix, count in (("train", 30), ("t10k", 20)):
        pixels = rng.integers(0, 256, (count, 28, 28), np.uint8)
        files[f"{prefix}-images-idx3-ubyte"] = struct.pack(">4I", 2051, count, 28, 28) + pixels.tobytes()
        files[f"{prefix}-labels-idx1-ubyte"] = struct.pack(">2I", 2049, count) + bytes(k % 10 for k in range(count))
    kinds = ("MNIST", "FashionMNIST", "KMNIST")
    sums = {f"{kind}/raw/{name}": md5(data) for kind in kinds for name, data in files.items()}
    monkeypatch.setattr(datasets, "UNPACKED", sums)
    return files


def small_cifar(monkeypatch, label_key: str = "labels") -> tuple[bytes, dict[str, bytes]]:
    """(archive, its pickles) of 2 x 20 train and 10 test images, which torchvision takes for the published CIFAR10."""
    rng, files = np.random.default_rng(0), {}
    for name, count in (("data_batch_1", 20), ("data_batch_2", 20), ("test_batch", 10)):
        batch = {"data": rng.integers(0, 256, (count, 3072), np.uint8), label_key: [k % 10 for k in range(count)]}
        files[name] = pickle.dumps(batch)
    files["batches.meta"] = pickle.dumps({"label_names": [f"class {k}" for k in range(10)]})
    archive = tarred({f"{BATCHES}/{name}": data for name, data in files.items()}, "w:gz")
    known, sums = import_torchvision().datasets.CIFAR10, {name: md5(data) for name, data in files.items()}
    for attribute, value in {
        "tgz_md5": md5(archive),
        "train_list": [[name, sums[name]] for name in ("data_batch_1", "data_batch_2")],
        "test_list": [["test_batch", sums["test_batch"]]],
        "meta": {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]},
    }.items():
        monkeypatch.setattr(known, attribute, value)
    return archive, files


def tarred(files: dict[str, bytes], mode: str, *more: tarfile.TarInfo) -> bytes:
    """A tar archive of files, and of more entries without contents."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for member in more:
            tar.addfile(member)
    return buffer.getvalue()


def entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


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


def write_tar(path: Path, files: dict[str, bytes], mode: str, *more: tarfile.TarInfo) -> Path:
    path.write_bytes(tarred(files, mode, *more))
    return path


def write_idx(folder: Path, files: dict[str, bytes], zipped: bool) -> None:
    write_folder(folder, {f"{name}.gz": gzip.compress(data) for name, data in files.items()} if zipped else files)


class Server:
    """An HTTP server on this machine. `answers` are given in turn, the last one for good: a status, a body, the body and how
    long it is said to be, or a function that writes. torchvision asks twice for each file: where it is, and for it."""

    def __init__(self) -> None:
        self.answers: list = [404]
        self.requests: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                if isinstance(answer, dict):
                    answer = answer.get(self.path.lstrip("/"), 404)
                try:
                    if callable(answer):
                        answer(self)
                    elif isinstance(answer, int):
                        self.send_error(answer)
                    else:
                        data, announced = answer if isinstance(answer, tuple) else (answer, len(answer))
                        self.send_response(200)
                        self.send_header("Content-Length", str(announced))
                        self.end_headers()
                        self.wfile.write(data)
                except (BrokenPipeError, ConnectionResetError):
                    pass

            def log_message(self, *arguments) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def server(monkeypatch):
    server = Server()
    server.waits = []
    monkeypatch.setattr(datasets.time, "sleep", server.waits.append)
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
    write_idx(tmp_path / "here" / place, idx_files, zipped)
    dataset = fetched("KMNIST", {"mirror": ["nowhere", "here"]}, base=tmp_path)
    images, labels = training(dataset)
    assert images.shape == (30, 28, 28, 1) and dataset.x_test.shape == (20, 28, 28, 1)
    assert images.dtype == np.uint8 and labels.dtype == np.int64
    assert images.tobytes() == idx_files["train-images-idx3-ubyte"][16:]
    assert dataset.y_test.tolist() == [k % 10 for k in range(20)]
    assert (dataset.source, dataset.label, dataset.class_names[:2]) == ("mirror", "KMNIST", ["o", "ki"])


LABELS = "t10k-labels-idx1-ubyte"
DAMAGED = "/t10k-labels-idx1-ubyte(.gz)?: not as published: md5 .*, t10k-labels-idx1-ubyte.gz's is ec29112dd5"


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "change, message",
    [
        (lambda data: None, f": {LABELS}.gz is missing, though other files of MNIST are there"),
        (lambda data: b"", DAMAGED),
        (lambda data: data[:-5], DAMAGED),
        (lambda data: bytes(len(data)), DAMAGED),
    ],
)
def test_wrong_files_in_a_mirror_end_the_run_in_one_line(tmp_path, idx_files, zipped, change, message):
    changed = idx_files | {LABELS: change(idx_files[LABELS])}
    write_idx(tmp_path, {name: data for name, data in changed.items() if data is not None}, zipped)
    for optional in (True, False):
        with pytest.raises(InputError, match=f"^{tmp_path}{message}") as caught:
            fetched("MNIST", {"mirror": [str(tmp_path)]}, {"download": {"url": closed_port()}}, optional=optional)
        assert "\n" not in str(caught.value)


def test_a_gzip_file_that_is_cut_off_is_named(tmp_path, idx_files):
    write_idx(tmp_path, idx_files, zipped=True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    for data in (whole[:-500], whole[:-1], b"no gzip file", whole[:200] + b"x" + whole[201:]):
        file.write_bytes(data)
        with pytest.raises(InputError, match=f"^{file}: damaged .*; delete it and get it again"):
            fetched("MNIST", {"mirror": [str(tmp_path)]})


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", ["MNIST", "FashionMNIST", "KMNIST"])
def test_files_of_a_published_name_are_told_by_their_content(tmp_path, idx_files, monkeypatch, kind, zipped):
    write_idx(tmp_path, idx_files, zipped)
    assert len(fetched(kind, {"mirror": [str(tmp_path)]}).class_names) == 10
    monkeypatch.undo()  # against what is really published
    with pytest.raises(InputError, match=f"^{tmp_path}/train-images-idx3-ubyte.*: not as published: md5 .* get it again$"):
        fetched(kind, {"mirror": [str(tmp_path)]}, "bundled" if kind == "FashionMNIST" else {"mirror": ["none"]})


@pytest.mark.parametrize("unpacked", [True, False])
@pytest.mark.parametrize("label_key", ["labels", "fine_labels"])
def test_mirror_of_cifar(tmp_path, monkeypatch, unpacked, label_key):
    archive, files = small_cifar(monkeypatch, label_key)
    write_folder(tmp_path / BATCHES, files) if unpacked else (tmp_path / ARCHIVE).write_bytes(archive)
    dataset = fetched("CIFAR10", {"mirror": [str(tmp_path)]})
    images, labels = training(dataset)
    assert images.shape == (40, 32, 32, 3) and dataset.label == "CIFAR10"
    red = pickle.loads(files["data_batch_2"])["data"][3, :1024].reshape(32, 32)
    assert np.array_equal(images[23, :, :, 0], red)
    assert labels.tolist() == 2 * [k % 10 for k in range(20)] and dataset.class_names[9] == "class 9"


def test_changed_cifar_files_are_never_unpickled(tmp_path, monkeypatch):
    archive, files = small_cifar(monkeypatch)
    monkeypatch.setattr(pickle, "load", lambda *arguments, **keys: pytest.fail("unpickled"))
    write_folder(tmp_path / BATCHES, {**files, "data_batch_1": files["data_batch_1"] + b"x"})
    with pytest.raises(InputError, match=f"^{tmp_path}: CIFAR10's train files are damaged, or not the published ones"):
        fetched("CIFAR10", {"mirror": [str(tmp_path)]}, "shapes")
    (tmp_path / ARCHIVE).write_bytes(archive + b"x")
    with pytest.raises(InputError, match=f"{ARCHIVE}: not as published: md5 .*'s is {md5(archive)}; get it again"):
        fetched("CIFAR10", {"mirror": [str(tmp_path)]}, "shapes")


# ----------------------------------------------------------------------------------------------------------------- download


def download_source(server_url: str, folder: Path, **keys) -> dict:
    return {"download": {"url": server_url, "directory": str(folder), "timeout": 5, **keys}}


def test_download_of_an_archive_is_kept_and_not_repeated(tmp_path, monkeypatch, server):
    server.answers = [small_cifar(monkeypatch)[0]]
    wanted = settings("CIFAR10", download_source(server.url, tmp_path))
    first, second = fetch("test", wanted), fetch("test", wanted)
    assert (first.source, first.label) == ("download", "CIFAR10") and first.checksum == second.checksum
    assert server.requests == 2 * [f"/{ARCHIVE}"]
    assert left_behind(tmp_path) == [ARCHIVE]
    assert fetched("CIFAR10", {"mirror": [str(tmp_path)]}).checksum == first.checksum
    assert socket.getdefaulttimeout() is None


def test_download_of_idx_files_tries_each_published_server_for_what_is_missing(tmp_path, idx_files, server, monkeypatch):
    zipped = {f"{name}.gz": gzip.compress(data) for name, data in idx_files.items()}
    known = import_torchvision().datasets.MNIST
    monkeypatch.setattr(known, "mirrors", [closed_port(), server.url])
    monkeypatch.setattr(known, "resources", [(name, md5(data)) for name, data in zipped.items()])
    server.answers = [zipped]
    write_idx(tmp_path, {LABELS: idx_files[LABELS]}, zipped=False)
    dataset = fetched("MNIST", {"download": {"directory": str(tmp_path)}})
    assert dataset.x_test.tobytes() == idx_files["t10k-images-idx3-ubyte"][16:] and server.waits == []
    assert set(left_behind(tmp_path / "MNIST" / "raw")) == set(zipped) - {f"{LABELS}.gz"}


def test_a_broken_off_transfer_and_a_busy_server_are_tried_again(tmp_path, monkeypatch, server):
    archive, _ = small_cifar(monkeypatch)
    server.answers = [b"", (archive[:1000], len(archive)), 503, archive]
    assert fetched("CIFAR10", download_source(server.url, tmp_path, retries=2)).source == "download"
    assert server.waits == [1.0, 2.0] and left_behind(tmp_path) == [ARCHIVE]


@pytest.mark.parametrize("body", [b"other bytes", b"<!DOCTYPE html><p>Log in"])
def test_another_file_ends_the_run_and_nothing_is_kept(tmp_path, server, body):
    """Against the checksum that is really published."""
    server.answers = [body]
    with pytest.raises(InputError, match=rf"^{server.url}/{ARCHIVE}: what arrives is .*: its md5 is not c58f30108f718f92721a"):
        fetched("CIFAR10", download_source(server.url, tmp_path, retries=1), "shapes")
    assert left_behind(tmp_path) == [] and server.waits == [1.0]


def test_a_file_already_there_but_wrong_is_named(tmp_path, server):
    (tmp_path / ARCHIVE).write_bytes(b"half a file")
    with pytest.raises(InputError, match=f"{ARCHIVE}: not as published: md5 .*; get it again"):
        fetched("CIFAR10", download_source(server.url, tmp_path))
    assert server.requests == []


def redirected(to: http.server.BaseHTTPRequestHandler, where: str) -> None:
    to.send_response(302)
    to.send_header("Location", where)
    to.end_headers()


@pytest.mark.parametrize(
    "answer, message",
    [
        (404, "HTTP Error 404"),
        (lambda to: redirected(to, to.path), "HTTP Error 302"),
        (lambda to: redirected(to, "file:///etc/hostname"), "HTTP Error 302"),
        (lambda to: to.wfile.write(b"\0\0hello\r\n\r\n"), "hello"),
        (lambda to: threading.Event().wait(1.0), "timed out"),
    ],
)
def test_a_server_that_sends_nothing_is_passed_over(tmp_path, server, answer, message):
    server.answers = [answer]
    lines, source = [], download_source(server.url, tmp_path, timeout=0.5, retries=0)
    assert fetched("CIFAR10", source, FEW, report=lines.append).source == "shapes"
    (line,) = (line for line in lines if "is not available" in line)
    assert line.startswith(f"test: download is not available ({server.url}/{ARCHIVE}: ")
    assert message in line and "\n" not in line
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/ü", f"http://{'x' * 300}", "http://a b", "http://a:b", None])
def test_a_server_that_cannot_be_reached_is_passed_over_at_once(tmp_path, server, address):
    down = download_source(address or closed_port(), tmp_path, retries=0 if address else 5)
    with pytest.raises(InputError) as caught:
        fetched("CIFAR10", {"mirror": ["nowhere"]}, down, base=tmp_path)
    message = str(caught.value)
    assert message.startswith("datasets.test.sources: none is available: mirror (no files of CIFAR10 in nowhere); download (")
    assert "\n" not in message and server.waits == [] and left_behind(tmp_path) == []


def test_a_disk_that_fills_up_while_downloading_leaves_nothing(tmp_path, server):
    server.answers = [bytes(1 << 20)]
    with mounted(tmp_path / "disk", kilobytes=64) as disk:
        with pytest.raises(OSError, match="No space left on device") as caught:
            fetched("CIFAR10", download_source(server.url, disk))
        assert caught.value.filename == f"{disk}/{ARCHIVE}" and left_behind(disk) == []


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


MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.xz": "w:xz"}
REACH_12_BITS = "its numbers reach 4095, and white is 65535, so it is nearly black; scale them to 16 bits"
GREEN = PICTURES["train/cat/a.png"]


def read_folder(path: Path, size: int = 8, channels: int = 3, report=print):
    """(x_train, y_train, x_test, y_test, class names) of an image folder."""
    arrays, classes = read_image_folder(path, (size, size, channels), report)
    return *arrays, classes


@pytest.mark.parametrize("form", ["folder", *MODES])
def test_image_folder(tmp_path, form):
    path = tmp_path / f"pictures{form}"
    write_folder(path, PICTURES) if form == "folder" else write_tar(path, PICTURES, MODES[form])
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


def half(mode: str, colour, page, **options) -> bytes:
    """A PNG, its upper half a page, its lower half of another colour."""
    image, buffer = Image.new(mode, (32, 32), page), io.BytesIO()
    image.paste(colour, (0, 16, 32, 32))
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "files, message",
    [
        ({"train/cat/c.png": GREEN[:60]}, "/train/cat/c.png: broken image"),
        ({"train/cat/notes.txt": b"meow"}, "/train/cat/notes.txt: not an image"),
        ({"train/cat/c.tif": picture(1, mode="F", kind="TIFF")}, "/train/cat/c.tif: 32 bits a pixel (mode F)"),
        ({"train/cat/c.png": half("RGBA", (255,) * 4, (255, 255, 255, 0))}, "/train/cat/c.png: white on a transparent page"),
        ({"train/cat/more/c.png": GREEN}, "/train/cat/more"),
        ({"train/c.png": GREEN}, "/train/c.png: "),
        ({"test/dog/1.png": GREEN}, "/test/dog: no such class under train/, which has ant, cat"),
        ({"train/cat/c.png": picture(0, size=(6000, 6000), mode="1")}, "/train/cat/c.png: 6000 x 6000 is more than"),
        ({"train/cat/c.png": picture(0, size=(10000, 10000), mode="1")}, "/train/cat/c.png: more than"),
        ({"train/ant/z.jpg": None}, "/train: found one class, cat, expected at least two"),
        ({"test/cat/1.png": None}, ": no images under test/; expected train/<class>/<image>"),
        ({"train/bee/": b""}, "/train/bee: a class without images"),
        ({"train/Cat/1.png": GREEN}, ": 'Cat' and 'cat' are one class in two spellings"),
        ({"test/CAT /1.png": GREEN}, ": 'CAT ' and 'cat' are one class in two spellings"),
        ({"train/é/1.png": GREEN, "test/e\u0301/1.png": GREEN}, ": 'e\\u0301' and '\\xe9' are one class in two spellings"),
        ({"train/\udcff/1.png": GREEN}, ": the class '\\udcff' has a name that is not UTF-8; rename the folder"),
    ],
)
@pytest.mark.parametrize("form", ["folder", ".tar.gz"])
def test_what_is_wrong_in_a_folder_or_an_archive_is_named(tmp_path, form, files, message):
    files, path = {name: data for name, data in (PICTURES | files).items() if data is not None}, tmp_path / form
    folders = [name for name in files if name.endswith("/")]
    plain = {name: data for name, data in files.items() if name not in folders}
    if form == "folder":
        write_folder(path, plain)
        for name in folders:
            (path / name).mkdir(parents=True)
    else:
        write_tar(path, plain, "w:gz", *(entry(f"./{name}", tarfile.DIRTYPE) for name in folders))
    with pytest.raises(InputError) as caught:
        fetched("CIFAR10", {"image_folder": str(path)})
    assert str(caught.value).startswith(f"{path}{message}") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "mode, colour, expected",
    [("I;16", 40_000, 155), ("1", 1, 255), ("LA", (0, 0), 255), ("RGBA", (0, 0, 0, 127), 128), ("P", 0, 0), ("L", 9, 9)],
)
def test_images_of_every_mode_keep_their_lightness(tmp_path, mode, colour, expected):
    """White is the largest number that a pixel can have; the page behind a transparent image is white."""
    write_folder(tmp_path, PICTURES | {"test/cat/1.png": picture(colour, mode=mode)})
    assert fetched("CIFAR10", {"image_folder": str(tmp_path)}).x_test[0, 5, 5].tolist() == [expected] * 3


def test_the_camera_s_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    write_folder(tmp_path, PICTURES | {"test/cat/1.png": half("L", 255, 0, exif=exif)})
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
    _, train, _, test, classes = read_folder(path)
    assert classes == ["ant", "cat"] and train.tolist() == [0, 1, 1] and test.tolist() == [1, 1]


def test_what_may_be_an_oversight_is_told(tmp_path):
    """A class without test images; several pictures in a file; numbers of 12 bits."""
    animation = io.BytesIO()
    Image.new("L", (8, 8), 7).save(animation, "GIF", save_all=True, append_images=[Image.new("L", (8, 8), 9)])
    files = {f"train/cat/{most}.png": picture(most, mode="I;16") for most in (0, 4095, 40_000)}
    folder, lines = write_folder(tmp_path, PICTURES | files | {"train/cat/c.gif": animation.getvalue()}), []
    images = read_folder(folder, channels=1, report=lines.append)[0]
    assert (images[-1] == 7).all() and sorted(lines) == [
        f"{folder}/test: no images of ant, which train/ has; nothing is tested on them",
        f"{folder}/train/cat/4095.png: {REACH_12_BITS}",
        f"{folder}/train/cat/c.gif: has 2 frames or pages; the first one is taken",
    ]


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
        ("train/loop", "loop", "train/loop: not a folder; expected train/<class>/<image>"),
        ("train/gone", "nowhere", "train/gone: not a folder; expected train/<class>/<image>"),
        ("train/cat/up", "..", "train/cat/up: cannot be read .not a plain file"),
        ("train/cat/gone.png", "nowhere", "train/cat/gone.png: cannot be read .No such file"),
    ],
)
def test_links_that_lead_nowhere_are_named(tmp_path, name, target, message):
    (write_folder(tmp_path, PICTURES) / name).symlink_to(target)
    with pytest.raises(InputError, match=f"^{tmp_path}/{message}"):
        fetched("CIFAR10", {"image_folder": str(tmp_path)})


def test_what_cannot_be_opened_is_named(tmp_path, monkeypatch):
    """A pipe is not waited for. As root, who may read everything, a stand-in refuses."""

    def refuse(path, *arguments):
        raise PermissionError(13, "Permission denied", str(path))

    write_folder(tmp_path, PICTURES)
    write_tar(tmp_path / "a.tgz", PICTURES, "w:gz")
    os.mkfifo(tmp_path / "pipe.tar")
    (tmp_path / "a.zip").write_bytes(b"")
    for name, message in (("a.zip", "expected a directory or an archive"), ("pipe.tar", "cannot be read .not a plain file")):
        with pytest.raises(InputError, match=f"{name}: {message}"):
            fetched("CIFAR10", {"image_folder": str(tmp_path / name)})
    with pytest.raises(InputError, match="none is available: image_folder .no such file or folder: nowhere"):
        fetched("CIFAR10", {"image_folder": "nowhere"}, base=tmp_path)
    monkeypatch.setattr(reading, "open", refuse, raising=False)
    for name, named in (("", "/[a-z]+/[a-z]+/[a-z1.]+"), ("/a.tgz", "/a.tgz")):
        with pytest.raises(InputError, match=f"^{tmp_path}{named}: cannot be read .Permission denied"):
            fetched("CIFAR10", {"image_folder": f"{tmp_path}{name}"})


@pytest.mark.parametrize("suffix", MODES)
def test_a_damaged_archive_is_named_wherever_it_is_damaged(tmp_path, suffix):
    path = write_tar(tmp_path / f"a{suffix}", PICTURES, MODES[suffix])
    whole = path.read_bytes()
    parts = [whole[: int(part * len(whole))] for part in (0.0, 0.3, 0.6, 0.9, 0.99)]
    if suffix == ".tar":  # at a block's end; its last blocks are padding
        parts = [part[: len(part) // 512 * 512] for part in parts[:3]]
    for data in (*parts, b"no archive" * 500):
        path.write_bytes(data)
        with pytest.raises(InputError, match=f"a{suffix}: damaged archive"):
            read_folder(path)


def test_an_archive_with_a_damaged_entry_in_its_middle_is_named(tmp_path):
    """To tarfile, a damaged header is the end of the archive."""
    path = write_tar(tmp_path / "a.tar", PICTURES | {f"test/cat/{k}.png": picture(k, mode="L") for k in range(2, 9)}, "w")
    data = bytearray(path.read_bytes())
    data[data.index(b"test/cat/5.png")] = 0
    path.write_bytes(data)
    with pytest.raises(InputError, match="a.tar: damaged archive .its end is missing, or an entry in its middle"):
        read_folder(path)


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


def of_cifar(*sources, **keys):
    return {"kind": "CIFAR10", "sources": list(sources), **keys}


@pytest.mark.parametrize(
    "entry, message",
    [
        ({"kind": "SVHN"}, ".kind: found 'SVHN'; input should be 'MNIST', 'FashionMNIST', .* or 'images'$"),
        ({"sources": ["bundled"]}, ".kind: missing$"),
        ({"kind": "MNIST"}, ".sources: missing$"),
        ({"kind": "MNIST", "sources": []}, r".sources: found \[\], expected at least one entry"),
        ({"kind": "MNIST", "sourcs": []}, ".sourcs: unknown key; kind MNIST has kind, sources, label"),
        ({"kind": "MNIST", "sources": ["shapes"]}, r".sources\[0\]: shapes are 32 x 32 colour images, .* not MNIST$"),
        (of_cifar("shapes", "shapes"), ".sources: found .*none twice$"),
        (of_cifar("shapes", "ftp"), r".sources\[1\]: found 'ftp', expected one source, one of mir"),
        (of_cifar({"mirror": ["a"], "shapes": {}}), r".sources\[0\]: found mirror, shapes, expected one s"),
        (of_cifar({}), r".sources\[0\]: found nothing, expected one source, one of mirror, download"),
        (of_cifar(7), r".sources\[0\]: found 7, expected one source, one of mirror, download"),
        (of_cifar("mirror"), r".sources\[0\].mirror: needs a value: a list of folders$"),
        (of_cifar("image_folder"), r".sources\[0\].image_folder: needs a value: a path$"),
        (of_cifar({"image_folder": ""}), r".sources\[0\].image_folder: found '', expected a path, which is not"),
        (of_cifar("bundled"), r".sources\[0\]: only FashionMNIST is bundled, not CIFAR10$"),
        (of_cifar({"shapes": {"n": 3}}), r".sources\[0\].shapes.n: unknown key; allowed are train"),
        (of_cifar({"download": {"timeout": 0}}), r".sources\[0\].download.timeout: found 0; input should be greater than 0$"),
        (of_cifar({"download": {"url": "x"}}), r".sources\[0\].download.url: found 'x', expected an http\(s\) address$"),
        (of_cifar("shapes", channels=3), ".channels: only for kind images; CIFAR10 is always 32 x"),
        (of_cifar("shapes", label=""), ".label: found '', expected a text, not empty$"),
        (PETS | {"sources": ["shapes"]}, r".sources\[0\]: found shapes, but kind images can only come from image_folder$"),
        (PETS | {"image_size": None}, ".image_size: missing; kind images needs image_size"),
        (PETS | {"image_size": [8]}, r".image_size: found \[8\], expected \[height, width\]$"),
        (PETS | {"channels": None}, ".channels: missing; kind images needs image_size"),
    ],
)
def test_wrong_configs_name_the_key(entry, message):
    with pytest.raises(InputError, match=f"^datasets.d{message}") as error:
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
