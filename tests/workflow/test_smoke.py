"""The whole chain, run for real on the smoke scale."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from conftest import FIGURES, SMOKE, copy_project, dry_run, edit_config, jobs, listed_jobs, succeeds
from losspatterns.analysis.scores import auc
from losspatterns.config.reading import read
from losspatterns.data.dataset_file import load_dataset
from losspatterns.data.masks import fill
from losspatterns.figures import kind_module
from losspatterns.figures.surfaces import read_surface
from losspatterns.method.plane_file import load_origin, load_trained
from losspatterns.records.artifacts import file_checksum, load_labelled, load_mask, read_record
from PIL import Image, ImageSequence
from safetensors.torch import load_file

SURFACES = "results/smoke/surfaces"
CORNER = "fashion_mnist/corner/conv/seed0"
HEART = "fashion_mnist/heart/conv/seed0"
COLOUR = "cifar10/corner/resnet/seed0"
SQUARE = "fashion_mnist/batch_norm_study_p60_0/study_batchnorm/seed60000"


def test_every_job_runs_once_and_pictures_share_the_origin_of_their_seed(
    smoke_output: tuple[Path, str], finished: Path
) -> None:
    folder, output = smoke_output
    # 2 fashion pictures, 1 colour picture, 2 squares x 3 networks; the pictures of a network and seed start from one origin.
    assert listed_jobs(output) == {
        "fetch_dataset": 2,
        "make_mask": 4,
        "warm_origin": 2 + 2 * 2,
        "train_plane": 7,
        "evaluate_surface": 7,
        "evaluate_film": 1,
        "draw_film": 1,
        "score_surfaces": 1,
        "write_claims": 1,
        "make_manifest": 1,
    } | dict.fromkeys(FIGURES, 1)
    started = re.findall(r"^Job \d+: (Mask|Plane) ", output, re.M)
    assert started == sorted(started)  # masks, which take a second, keep no long training waiting
    planes, origins = (sorted((folder / f"results/smoke/{name}").rglob("*.safetensors")) for name in ("planes", "origins"))
    assert len(planes) == 7 and len(origins) == 6
    shared = [
        [name for name in read_record(folder / f"results/smoke/planes/{run}.safetensors")["inputs"] if "/origins/" in name]
        for run in (HEART, CORNER)
    ]
    assert shared[0] == shared[1] and len(shared[0]) == 1
    assert jobs(finished) == {}


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_is_drawn(smoke: Path, figure: str) -> None:
    with Image.open(smoke / f"figures/smoke/{figure}.png") as image:
        assert min(image.size) > 300
        assert np.asarray(image.convert("RGB")).std() > 10
    assert (smoke / f"figures/smoke/{figure}.pdf").read_bytes().startswith(b"%PDF")


def test_surfaces_are_labelled_arrays_of_every_stage_split_and_protocol(smoke: Path) -> None:
    for run, splits, protocols, shape in (
        (CORNER, ["test"], ["none"], (7 + 4, 8 + 4)),
        (COLOUR, ["train", "test"], ["batch"], (7 + 2, 8 + 2)),
        (SQUARE, ["test"], ["batch", "recalibrated", "identity"], (8, 8)),
    ):
        data, _ = load_labelled(smoke / f"{SURFACES}/{run}.nc")
        assert data.loss.dims == data.accuracy.dims == ("stage", "split", "protocol", "row", "column")
        assert data.stage.values.tolist() == ["untrained", *(["update 1"] if run == SQUARE else []), "trained"]
        assert data.image_passes.values.tolist()[0] == 0 < data.image_passes.values[-1]
        assert data.split.values.tolist() == splits and data.protocol.values.tolist() == protocols
        assert data.loss.shape[3:] == shape
        assert np.isfinite(data.loss).all() and ((data.accuracy >= 0) & (data.accuracy <= 1)).all()
        assert not np.allclose(data.loss.sel(stage="untrained"), data.loss.sel(stage="trained"))
        picture = load_mask(smoke / f"results/smoke/masks/{run.split('/')[1]}.npy")
        np.testing.assert_array_equal(data.mask, picture)


def test_scores_have_a_row_for_every_surface_and_control(smoke: Path) -> None:
    scores = pd.read_csv(smoke / "results/smoke/scores.csv")
    wanted = "dataset mask network seed split bn_protocol accuracy_white accuracy_black accuracy_ignored accuracy_gap"
    wanted += " loss_white loss_black auc iou image_passes train_seconds"
    assert list(scores.columns[:16]) == wanted.split()
    # 2 fashion pictures, 1 colour picture with 2 splits, 2 squares x (plain, batch norm under 3 protocols)
    assert scores.control.value_counts().to_dict() == {
        **dict.fromkeys(("trained", "shuffled", "untrained"), 2 + 2 + 2 * 4),
        "snapshot": 2 * 4,
    }
    assert scores[["accuracy_gap", "auc", "iou", "loss_white", "loss_black", "objective"]].notna().all().all()
    trained = scores[(scores.control == "trained") & (scores["mask"] == "corner") & (scores.dataset == "fashion_mnist")].iloc[0]
    mask = load_mask(smoke / "results/smoke/masks/corner.npy")
    drawn = min(256, (mask == 1).sum()) + min(256, (mask == -1).sum())
    assert trained.image_passes == 200 * drawn * 8
    assert trained.train_seconds > 0
    study = pd.read_csv(smoke / "results/smoke/study.csv")
    assert {"study_plain", "study_batchnorm"} == set(study.network)


def test_scores_are_what_the_surface_says(smoke: Path) -> None:
    data, _ = load_labelled(smoke / f"{SURFACES}/{CORNER}.nc")
    mask = load_mask(smoke / "results/smoke/masks/corner.npy")
    scores = pd.read_csv(smoke / "results/smoke/scores.csv").query("mask == 'corner' and dataset == 'fashion_mnist'")
    for stage in ("trained", "untrained"):
        accuracy = data.accuracy.sel(stage=stage, split="test", protocol="none").values[2:-2, 2:-2]
        (row,) = scores[scores.control == stage].itertuples()
        assert row.accuracy_gap == pytest.approx(accuracy[mask == 1].mean() - accuracy[mask == -1].mean())


def test_the_picture_stands_upright_in_surface_and_figure(smoke: Path) -> None:
    """An asymmetric mask, end to end: ascii rows -> trained plane -> surface -> the pixels of the saved PNG."""
    rows = ["........", ".##.....", ".##.....", ".##.....", ".#####..", ".#####..", "........"]
    picture = np.array([[c == "#" for c in row] for row in rows])
    np.testing.assert_array_equal(fill(load_mask(smoke / "results/smoke/masks/corner.npy")), picture)
    drawn = ((HEART, "none"), (CORNER, "none"), (COLOUR, "batch"))
    surfaces = [read_surface(smoke / f"{SURFACES}/{run}.nc", "test", protocol) for run, protocol in drawn]
    corner = surfaces[1]
    loss = corner.at_pixels(corner.loss)
    upright = auc(-loss, picture)
    assert upright > 0.9
    for turned in (picture[::-1], picture[:, ::-1], picture[::-1, ::-1]):
        assert auc(-loss, turned) < upright - 0.1
    # The saved PNG: the panel of this surface shows, point by point, the colours of its loss.
    made_by = read_record(smoke / "figures/smoke/fig1_landscapes.png")["made_by"]
    landscapes = kind_module("landscapes")
    figure = landscapes.draw(read(landscapes.Options, "fig1", made_by["options"]), surfaces, None, made_by["facts"])
    with Image.open(smoke / "figures/smoke/fig1_landscapes.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    panel = next(ax for ax in figure.axes if any(np.shape(i.get_array()) == corner.loss.shape for i in ax.images))
    figure.set_dpi(figure.dpi)
    box = panel.get_position()
    height, width = pixels.shape[:2]
    image = panel.images[0]
    low_left, high_right = panel.transData.transform([(-0.5, -0.5), (0.5, 0.5)])
    assert low_left[0] < high_right[0]
    colours = (image.cmap(image.norm(corner.loss))[..., :3] * 255).round().astype(int)
    count_rows, count_columns = corner.loss.shape
    assert panel.get_ylim()[0] > panel.get_ylim()[1]  # row numbers grow downwards
    for i in range(count_rows):
        for j in range(count_columns):
            x = int((box.x0 + (j + 0.5) / count_columns * box.width) * width)
            y = int((1 - box.y1 + (i + 0.5) / count_rows * box.height) * height)
            assert np.abs(pixels[y, x] - colours[i, j]).max() <= 3, (i, j)


@pytest.mark.parametrize(("run", "protocol"), [(CORNER, "none"), (COLOUR, "batch")])
@pytest.mark.parametrize("stage", ["trained", "untrained"])
def test_files_alone_reproduce_a_point_with_a_plain_model(smoke: Path, run: str, protocol: str, stage: str) -> None:
    """From the files of plane and origin to a loss by hand: Gram-Schmidt in numpy, an ordinary module, plain cross-entropy."""
    path = smoke / f"results/smoke/planes/{run}.safetensors"
    data, made_by = load_labelled(smoke / f"{SURFACES}/{run}.nc")
    point = data.sel(stage=stage, split="test", protocol=protocol).isel(row=2, column=3)
    dataset = load_dataset(smoke / f"results/smoke/data/{run.split('/')[0]}.npz")
    trained = load_trained(path)
    if stage == "trained":
        plane = {name: tensor.double().numpy() for name, tensor in trained.plane.tensors().items()}
    else:
        (file,) = (name for name in read_record(path)["inputs"] if "/origins/" in name)
        origin, _ = load_origin(smoke / file)
        plane = {name: getattr(origin, name).double().numpy() for name in ("origin", "right_parameter", "up_parameter")}
        plane["step"] = made_by["training"]["step"]
    right = plane["right_parameter"] - plane["origin"]
    up = plane["up_parameter"] - right * (plane["up_parameter"] @ right) / (right @ right)
    up *= np.linalg.norm(right) / np.linalg.norm(up)
    if stage == "trained":
        stored = load_file(path)
        np.testing.assert_allclose(stored["up"], up, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(stored["right"], right, rtol=1e-4, atol=1e-6)
    offset = (float(point.row) - (7 - 1) / 2) * up + (float(point.column) - (8 - 1) / 2) * right
    model = trained.network.ordinary(torch.from_numpy(plane["origin"] + plane["step"] * offset).float())
    images = data["images"].sel(split="test").values
    x = torch.from_numpy(dataset.x_test[images]).permute(0, 3, 1, 2).float() / 255
    x = (x - trained.scaling.mean[:, None, None]) / trained.scaling.std[:, None, None]
    y = torch.from_numpy(dataset.y_test[images])
    with torch.no_grad():
        logits = model(x)
    assert len(y) == 50
    assert float(point.loss) == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-3)
    assert float(point.accuracy) == pytest.approx((logits.argmax(1) == y).float().mean().item())


def test_provenance_says_which_data_were_used(smoke: Path) -> None:
    for run, label in [(CORNER, "FashionMNIST, bundled subset"), (COLOUR, "synthetic shapes in place of CIFAR10")]:
        _, made_by = load_labelled(smoke / f"{SURFACES}/{run}.nc")
        assert made_by["dataset"]["label"] == label
        assert made_by["dataset"]["checksum"] == load_dataset(smoke / f"results/smoke/data/{run.split('/')[0]}.npz").checksum
        assert made_by["versions"]["torch"] and made_by["code"] and made_by["seed"] == 0
        json.dumps(made_by)


def test_another_folder_and_number_of_cores_give_the_same_bytes(smoke: Path, tmp_path: Path) -> None:
    """Every kind of file; of each kind of network one plane."""
    again = copy_project(tmp_path / "a path with spaces")
    targets = ["figures/smoke/fig2_method.png", "figures/smoke/fig5_cifar10.png", f"{SURFACES}/{SQUARE}.nc"]
    succeeds(again, *targets, "--cores", "1", *SMOKE)
    records = sorted(file.relative_to(again) for part in ("results", "figures") for file in (again / part).rglob("*.*.json"))
    assert len(records) == 2 + 2 * 2 + 3 + 2 * 3 + 3 + 2 * 2  # data, masks, origins, planes, surfaces, figures
    for record in records:
        file = record.with_suffix("")
        assert read_record(again / file)["content"] == read_record(smoke / file)["content"], file
        if file.suffix != ".csv":  # tables hold clock times
            assert file_checksum(again / file) == file_checksum(smoke / file), file


def test_a_new_seed_and_a_new_picture_run_alone(finished: Path) -> None:
    layer = {
        "experiments": {"cifar10_pictures": {"seeds": [0, 5]}},
        "masks": {"new": {"kind": "text", "text": "A", "size": [9, 9]}},
        "figures": {"fig4_fashion_mnist": {"masks": ["heart", "corner", "new"]}},
    }
    edit_config(finished, layer)
    output = dry_run(finished, "--cores", "2", *SMOKE)
    new = {"make_mask": 1, "warm_origin": 1, "train_plane": 2, "evaluate_surface": 2, "score_surfaces": 1, "make_manifest": 1}
    new |= {"write_claims": 1, "fig7_budget": 1}
    assert listed_jobs(output) == new | {"fig4_fashion_mnist": 1, "fig6_fill_probability": 1}
    assert "Missing output files: results/smoke/planes/fashion_mnist/new/conv/seed0" in output.replace("\n", " ")


def test_the_benchmarks_run_beside_the_figures(finished: Path) -> None:
    output = succeeds(finished, "benchmarks", "--cores", "1", *SMOKE)
    assert listed_jobs(output) == {"benchmark_speed": 1, "benchmark_quality": 2, "benchmarks": 1}
    with Image.open(finished / "figures/smoke/benchmarks/quality.png") as image:
        assert np.asarray(image.convert("RGB")).std() > 10
    names = ("throughput", "memory", "quality", "passes_to_gap")
    throughput, memory, quality, cost = (pd.read_csv(finished / f"results/smoke/benchmarks/{name}.csv") for name in names)
    assert {"ours", "plain"} <= set(throughput.engine)
    assert (throughput[throughput.engine == "plain"].speedup_over_plain == 1).all()
    corner = load_mask(finished / "results/smoke/masks/corner.npy")
    assert (memory[memory["mask"] == "corner"].pixels == (corner != 0).sum()).all()
    checkpoints = quality.groupby(["mask", "variant", "seed"]).size().to_dict()
    assert checkpoints == {("corner", "fast", 0): 4, ("corner", "paper", 0): 4}
    assert quality.image_passes.groupby(quality.variant).min().to_dict() == {"fast": 20 * 128, "paper": 0}
    assert len(cost) == 2 * 3 and (cost.seeds == 1).all()
    assert jobs(finished, "benchmarks") == {} and jobs(finished) == {}


def test_surfaces_are_exported_beside_the_figures(finished: Path) -> None:
    name = f"results/smoke/exports/{CORNER}"
    assert listed_jobs(dry_run(finished, "exports", *SMOKE)) == {"export_surface": 7, "exports": 1}
    succeeds(finished, f"{name}.vts", "--cores", "1", *SMOKE)
    data, _ = load_labelled(finished / f"{SURFACES}/{CORNER}.nc")
    np.testing.assert_array_equal(pd.read_csv(finished / f"{name}.csv").loss, data.loss.values.ravel())
    assert jobs(finished) == {}


def test_a_report_has_figures_tables_and_verdicts(finished: Path) -> None:
    succeeds(finished, "--report", "report.html", *SMOKE)
    text = (finished / "report.html").read_text(encoding="utf-8")
    assert all(f"{figure}.png" in text for figure in FIGURES)
    assert text.count("The gap is the mean test accuracy") >= 1  # a caption
    assert "Figure 4: More pictures" in text
    script = text.split("var workflow_desc = ")[1].split("</script>")[0].strip().removesuffix(";")
    opening = json.loads(script)
    assert "<strong>smoke</strong>" in opening and "system-message" not in opening
    for shown in ("FashionMNIST, bundled subset", "synthetic shapes in place of CIFAR10", "Batch norm narrows the gap"):
        assert shown in opening
    assert opening.count("<table") == 2 and "reproduced</td>" in opening
    categories = json.loads(text.split("var categories = ")[1].split("</script>")[0].strip().removesuffix(";"))
    assert {name: len(files["Other"]) for name, files in categories.items()} == {
        "Figures": len(FIGURES),
        "Films": 1,
        "Tables": 4,
    }


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_a_film_as_mp4_shows_the_frames_of_the_gif_and_holds_the_last(finished: Path) -> None:
    film = finished / "figures/smoke/heart.mp4"
    asked = str(film.relative_to(finished)), "--cores", "2", *SMOKE
    succeeds(finished, *asked)
    once = film.read_bytes()
    succeeds(finished, "--force", *asked)
    assert film.read_bytes() == once
    decode = ["ffmpeg", "-loglevel", "error", "-i", str(film), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    with Image.open(film.with_suffix(".gif")) as gif:
        width, height = (2 * ((side + 1) // 2) for side in gif.size)  # the format wants even sides
        decoded = subprocess.run(decode, capture_output=True, check=True).stdout
        rows, columns = gif.height, gif.width
        frames = np.frombuffer(decoded, np.uint8).reshape(-1, height, width, 3)[:, :rows, :columns]
        shown = [np.asarray(frame.convert("RGB"), dtype=float) for frame in ImageSequence.Iterator(gif)]
    nearest = [int(np.argmin([np.abs(frame - each).mean() for each in shown])) for frame in frames]
    assert nearest == sorted(nearest) and set(nearest) == set(range(len(shown)))
    assert np.abs(frames[-1] - shown[-1]).mean() < 4  # of 255: the format loses some colour
    assert nearest.count(len(shown) - 1) > len(frames) / len(shown)
