"""Bad days of the library and its scripts: one clear line, and nothing lost.

Elsewhere: damaged files (test_artifacts), bad data sets and servers (test_datasets), pictures (test_masks), divergence
(test_training), less memory (test_devices), a user's module that has changed (test_user_module), configs (test_config,
test_config_fuzz), what is not to be trusted (test_trust); through Snakemake: tests/workflow/test_bad_days_through_snakemake.py.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_places import mounted, read_only
from losspatterns.config.reading import read
from losspatterns.data.dataset_file import Dataset, load_dataset, save_dataset
from losspatterns.data.datasets import fetch
from losspatterns.data.settings import DatasetSettings
from losspatterns.errors import InputError, run_script
from losspatterns.method.images import InputScaling
from losspatterns.method.origin import Origin, warm_origin
from losspatterns.method.plane import Plane
from losspatterns.method.plane_file import load_trained, load_with_sources, record_of, save_origin, save_trained
from losspatterns.method.settings import WarmUp
from losspatterns.networks.flat import FlatNetwork
from losspatterns.networks.modules import build
from losspatterns.networks.settings import parse_network
from losspatterns.records.artifacts import checksum, file_checksum, save_mask
from PIL import Image

SCRIPTS = Path(__file__).parents[2] / "scripts"

# --------------------------------------------------------------------------------------------------------- files

WRITERS = """
import json, os, resource, sys, traceback
import numpy as np, pandas as pd, torch
from matplotlib.figure import Figure
from losspatterns.data.dataset_file import save_dataset
from losspatterns.data.datasets import fetch
from losspatterns.errors import run_script
from losspatterns.figures.style import save_figure
from losspatterns.records import artifacts, state
from losspatterns.data.settings import DatasetSettings
from losspatterns.config.reading import read

noise = np.random.default_rng(0).random(20_000)


def figure(path):
    drawing = Figure()
    drawing.subplots().imshow(noise.reshape(100, -1))
    save_figure(drawing, path, {})


def unfinished(path):
    with state.StateFile(path, "fingerprint", 0) as file:
        file.save({"numbers": torch.from_numpy(noise)})


entry = {"kind": "CIFAR10", "sources": [{"shapes": {"train": 100, "test": 10}}]}
shapes = fetch("d", read(DatasetSettings, "datasets.d", entry), report=lambda line: None)
writers = {
    "surface.nc": lambda path: artifacts.save_labelled(path, {"a": (("x",), noise)}, {}),
    "dataset.npz": lambda path: save_dataset(path, shapes),
    "mask.npy": lambda path: artifacts.save_mask(path, np.ones((300, 300), np.int8), {}),
    "plane.safetensors": lambda path: artifacts.save_tensors(path, {"a": torch.from_numpy(noise)}, {}),
    "table.csv": lambda path: artifacts.save_table(path, pd.DataFrame({"a": noise}), {}),
    "figure": figure,
    "state.safetensors": unfinished,
}


def write_all(folder, limit):
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    ends = {}
    for name, write in writers.items():
        try:
            run_script(lambda: write(f"{folder}/{name}"))
            ends[name] = None
        except SystemExit as end:
            ends[name] = str(end.code)
    return ends


for line in sys.stdin:
    if not os.fork():  # what is imported is imported once
        try:
            print(json.dumps(write_all(*json.loads(line))), flush=True)
        except BaseException:
            print(json.dumps(traceback.format_exc()), flush=True)
        os._exit(0)
    os.wait()
"""
Writer = Callable[..., dict[str, str | None]]


@pytest.fixture(scope="module")
def write_everything() -> Iterator[Writer]:
    """Each writer of the project, in a process of its own: what it ended with, by the file's name (None: all is well)."""
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    with subprocess.Popen([sys.executable, "-c", WRITERS], env=environment, **streams) as process:

        def write(folder: Path, limit: int = 0) -> dict[str, str | None]:
            print(json.dumps([str(folder), limit]), file=process.stdin, flush=True)
            ends = json.loads(process.stdout.readline())
            assert isinstance(ends, dict), ends
            return ends

        yield write
        process.stdin.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def all_told(ends: dict[str, str | None], folder: Path, reason: str) -> None:
    for name, end in ends.items():
        assert end is not None, name
        assert end.startswith(f"error: {folder}/{name}") and reason in end and "\n" not in end, end


def test_on_a_full_disk_every_file_stays_as_it_was(tmp_path: Path, write_everything: Writer) -> None:
    """A limit on a file's size is how a full disk looks to a process: a write stops in the middle."""
    whole = tmp_path / "whole"
    assert set(write_everything(whole).values()) == {None}
    before = contents(whole)
    assert {"surface.nc", "surface.nc.json", "figure.pdf", "figure.png", "state.safetensors"} <= set(before)
    for path in whole.rglob("*"):  # older versions, which a failed write must leave alone
        path.write_bytes(b"old " + path.read_bytes())
    before = contents(whole)
    all_told(write_everything(whole, limit=3000), whole, "File too large")
    assert contents(whole) == before
    empty = tmp_path / "empty"
    all_told(write_everything(empty, limit=3000), empty, "File too large")
    assert contents(empty) == {}


def test_on_a_disk_that_is_really_full(tmp_path: Path, write_everything: Writer) -> None:
    with mounted(tmp_path / "disk", kilobytes=64) as disk:
        (disk / "filler").write_bytes(bytes(60 << 10))
        ends = write_everything(disk)
        assert set(contents(disk)) == {"filler"}
        all_told(ends, disk, "No space left on device")


def test_a_folder_that_cannot_be_written(tmp_path: Path, write_everything: Writer) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "kept").write_text("kept")
    with read_only(folder):
        ends = write_everything(folder)
        assert contents(folder) == {"kept": b"kept"}
    for name, end in ends.items():
        assert end is not None and end.startswith(f"error: {folder}/{name.split('.')[0]}") and "\n" not in end, end
        assert end.endswith(("Read-only file system", "Permission denied")), end


@pytest.mark.parametrize("found", ["a file", "a link to nothing"])
def test_no_folder_where_one_should_be(tmp_path: Path, write_everything: Writer, found: str) -> None:
    place = tmp_path / "results"
    place.write_text("no folder") if found == "a file" else place.symlink_to("nowhere")
    before = contents(tmp_path)
    told = (f"found {found}, expected a folder for {place}; move it away", "File exists", "Not a directory")
    for end in write_everything(place).values():
        assert end in [f"error: {place}: {words}" for words in told], end
    assert contents(tmp_path) == before


# -------------------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("take", [lambda: np.ones(2**55), lambda: torch.ones(2**55), lambda: bytearray(2**60)])
def test_memory_that_runs_out_is_one_line(take: Callable[[], object]) -> None:
    with pytest.raises(SystemExit, match=r"^error: out of memory \(.*\); use smaller settings, or fewer jobs at once") as end:
        run_script(lambda: [take()])
    assert "\n" not in str(end.value)


def test_any_other_error_keeps_its_trace() -> None:
    def main() -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        run_script(main)


# -------------------------------------------------------------------------------------------------------- planes


def test_a_plane_of_another_network_is_refused(tmp_path: Path) -> None:
    trained, claimed = ({"kind": "conv", "channels": [width], "dense": []} for width in (4, 5))
    network, other = (FlatNetwork(build(parse_network("n", entry), (1, 8, 8), 10)) for entry in (trained, claimed))
    vectors = [network.vector() + k for k in range(3)]
    plane = Plane(tuple(vectors), torch.tensor(0.1), (5, 5))
    scaling = InputScaling(torch.zeros(1), torch.ones(1))
    facts = {"seed": 0, "image_shape": [1, 8, 8], "classes": 10, "mask_shape": [5, 5]}
    save_trained(tmp_path / "p.safetensors", plane, scaling, {}, {"network": {"name": "n", **trained}, **facts})
    assert load_trained(tmp_path / "p.safetensors").network.size == network.size
    save_trained(tmp_path / "p.safetensors", plane, scaling, {}, {"network": {"name": "n", **claimed}, **facts})
    message = rf"p\.safetensors: has {network.size} weights, its network {other.size}; delete it and run again"
    with pytest.raises(InputError, match=message) as caught:
        load_trained(tmp_path / "p.safetensors")
    assert "\n" not in str(caught.value)


def test_files_that_a_plane_was_not_made_from_are_named(tmp_path: Path) -> None:
    names = ("plane.safetensors", "origin.safetensors", "dataset.npz", "mask.npy")
    plane, origin, dataset, mask = (tmp_path / name for name in names)
    network = {"kind": "conv", "channels": [4], "dense": []}
    few = {"origin_updates": 0, "origin_images": 1, "origin_learning_rate": 1.0}
    warm_up = WarmUp(**few, standardise=False, augmentation="none")

    def sources(seed: int = 0, side: int = 5, colour: int = 1) -> tuple[Dataset, Origin]:
        entry = {"kind": "CIFAR10", "sources": [{"shapes": {"train": 24, "test": 10, "seed": seed}}]}
        images = fetch("d", read(DatasetSettings, "datasets.d", entry), report=lambda line: None)
        start = warm_origin(parse_network("n", network), warm_up, images.x_train, images.y_train, 10, seed, torch.device("cpu"))
        save_dataset(dataset, images)
        save_mask(mask, np.full((side, side), colour, np.int8), {})
        save_origin(origin, start, record_of("d", images, {"name": "n", **network}, seed) | {"warm_up": {}})
        return images, start

    images, start = sources()
    record = record_of("d", images, {"name": "n", **network}, 0) | {"mask_shape": [5, 5]}
    record["mask_checksum"] = checksum(np.ones((5, 5), np.int8))
    save_trained(plane, start.plane(0.1, (5, 5)), start.scaling, {}, record | {"origin_checksum": file_checksum(origin)})
    trained, found, data, pixels = load_with_sources(plane, origin, dataset, mask)
    assert torch.equal(trained.plane.origin, found.origin) and data.checksum == images.checksum and pixels.shape == (5, 5)
    for changed, file, said in (
        ({"side": 6}, mask, r"is not the mask that .*plane\.safetensors was trained for; draw it again, .*"),
        ({"colour": -1}, mask, r"is not the mask that .*plane\.safetensors was trained for; draw it again, .*"),
        ({"seed": 1}, dataset, r"is not the dataset that .*plane\.safetensors was trained on; train it again"),
    ):
        sources(**changed)
        with pytest.raises(InputError, match=rf"^{file}: {said}$"):
            load_with_sources(plane, origin, dataset, mask)
    save_dataset(dataset, images)
    with pytest.raises(InputError, match=rf"^{origin}: is not the origin that .*plane\.safetensors was trained from"):
        load_with_sources(plane, origin, dataset, mask)


# ------------------------------------------------------------------------------------------------------- locales


def test_the_scripts_work_in_a_locale_without_utf_8(tmp_path: Path) -> None:
    """Glyphs, labels and paths beyond ASCII: read, reported and written, whatever the terminal can show."""
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPTS / script), *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)

    heart = {"name": "m", "kind": "glyph", "character": "♥", "size": [9, 12]}
    done = run("make_mask.py", "--spec", json.dumps(heart), "--output", "ü/m.npy", "--preview", "ü/m.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in tmp_path.glob("ü/m*")} >= {"m.npy", "m.png"}
    for file in ("train/a/1.png", "train/a/2.png", "train/b/1.png", "test/a/1.png", "test/b/1.png"):
        (tmp_path / "Blümchen ♥" / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "Blümchen ♥" / file)
    entry = {"kind": "CIFAR10", "label": "Blümchen", "sources": [{"mirror": ["bücher"]}, {"image_folder": "Blümchen ♥"}]}
    done = run("fetch_dataset.py", "--name", "d", "--spec", json.dumps(entry), "--output", "ü/d.npz")
    assert (done.returncode, done.stderr) == (0, "")
    assert "no files of CIFAR10 in b\\xfccher" in done.stdout
    assert "d: using image_folder: Bl\\xfcmchen, 2 train, 1 validation" in done.stdout
    assert load_dataset(tmp_path / "ü/d.npz").label == "Blümchen"
    done = run("fetch_dataset.py", "--name", "d", "--spec", json.dumps(entry | {"sources": ["♥"]}), "--output", "ü/e.npz")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: datasets.d.sources[0]") and "\\u2665" in done.stderr
