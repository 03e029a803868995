"""The whole chain, run for real on the smoke scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from conftest import SMOKE, copy_project, edit_config, jobs, snakemake
from losspatterns.analysis.scores import at_pixels, auc
from losspatterns.data.dataset_file import load_dataset
from losspatterns.data.masks import fill
from losspatterns.figures.inputs import read_surface
from losspatterns.figures.landscapes import landscapes
from losspatterns.method.plane_file import load_trained
from losspatterns.records.artifacts import load_arrays, load_mask
from PIL import Image
from safetensors.torch import load_file

FIGURES = ["fig1_landscapes", "fig2_method", "fig3_batchnorm", "fig4_fashion_mnist", "fig5_cifar10", "fig6_fill_probability"]
CORNER = "fashion_mnist/corner/conv/seed0"


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_is_drawn(smoke: Path, figure: str) -> None:
    with Image.open(smoke / f"figures/smoke/{figure}.png") as image:
        assert min(image.size) > 300
        assert np.asarray(image.convert("RGB")).std() > 10
    assert (smoke / f"figures/smoke/{figure}.pdf").read_bytes().startswith(b"%PDF")


def test_scores_have_a_row_for_every_surface_and_control(smoke: Path) -> None:
    scores = pd.read_csv(smoke / "results/smoke/scores.csv")
    wanted = "dataset mask network seed split bn_protocol accuracy_white accuracy_black accuracy_ignored accuracy_gap"
    wanted += " loss_white loss_black auc iou image_passes train_seconds"
    assert list(scores.columns[:16]) == wanted.split()
    # 2 fashion pictures, 1 colour picture with 2 splits, 2 squares x (plain, residual, batch norm under 3 protocols)
    assert (scores.control == "trained").sum() == 2 + 2 + 2 * 5
    assert (scores.control == "shuffled").sum() == 2 + 2 + 2 * 5
    assert (scores.control == "untrained").sum() == 2 + 1 + 2 * 5
    assert scores[["accuracy_gap", "auc", "iou", "loss_white", "loss_black"]].notna().all().all()
    trained = scores[(scores.control == "trained") & (scores["mask"] == "corner") & (scores.dataset == "fashion_mnist")].iloc[0]
    mask = load_mask(smoke / "results/smoke/masks/corner.npy")
    drawn = min(128, (mask == 1).sum()) + min(128, (mask == -1).sum())
    assert trained.image_passes == 200 * drawn * 8
    assert trained.train_seconds > 0


def test_scores_are_what_the_surface_says(smoke: Path) -> None:
    arrays, _ = load_arrays(smoke / f"results/smoke/surfaces/{CORNER}.test.none.npz")
    mask = load_mask(smoke / "results/smoke/masks/corner.npy")
    pad = 2
    accuracy = arrays["accuracy"][pad:-pad, pad:-pad]
    scores = pd.read_csv(smoke / "results/smoke/scores.csv").query("control == 'trained' and mask == 'corner'")
    row = scores[scores.dataset == "fashion_mnist"].iloc[0]
    assert row.accuracy_gap == pytest.approx(accuracy[mask == 1].mean() - accuracy[mask == -1].mean())


def test_the_picture_stands_upright_in_surface_and_figure(smoke: Path) -> None:
    """An asymmetric mask, end to end: ascii rows -> trained plane -> surface -> the pixels of the saved PNG."""
    rows = ["........", ".##.....", ".##.....", ".##.....", ".#####..", ".#####..", "........"]
    picture = np.array([[c == "#" for c in row] for row in rows])
    np.testing.assert_array_equal(fill(load_mask(smoke / "results/smoke/masks/corner.npy")), picture)
    path = smoke / f"results/smoke/surfaces/{CORNER}.test.none.npz"
    arrays, _ = load_arrays(path)
    loss = at_pixels(arrays["loss"], arrays["rows"], arrays["columns"], picture.shape)
    upright = auc(-loss, picture)
    assert upright > 0.9
    for turned in (picture[::-1], picture[:, ::-1], picture[::-1, ::-1]):
        assert auc(-loss, turned) < upright - 0.1
    # The saved PNG: the panel of this surface shows, point by point, the colours of its loss.
    surfaces = [
        read_surface(smoke / f"results/smoke/surfaces/{run}.test.{bn}.npz")
        for run, bn in (
            (("fashion_mnist/heart/conv/seed0"), "none"),
            (CORNER, "none"),
            ("cifar10/corner/resnet/seed0", "batch"),
        )
    ]
    figure = landscapes(surfaces)
    with Image.open(smoke / "figures/smoke/fig1_landscapes.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    panel = next(ax for ax in figure.axes if any(np.shape(i.get_array()) == arrays["loss"].shape for i in ax.images))
    figure.set_dpi(figure.dpi)
    box = panel.get_position()
    height, width = pixels.shape[:2]
    image = panel.images[0]
    low_left, high_right = panel.transData.transform([(-0.5, -0.5), (0.5, 0.5)])
    assert low_left[0] < high_right[0]
    colours = (image.cmap(image.norm(arrays["loss"]))[..., :3] * 255).round().astype(int)
    count_rows, count_columns = arrays["loss"].shape
    assert panel.get_ylim()[0] > panel.get_ylim()[1]  # row numbers grow downwards
    for i in range(count_rows):
        for j in range(count_columns):
            x = int((box.x0 + (j + 0.5) / count_columns * box.width) * width)
            y = int((1 - box.y1 + (i + 0.5) / count_rows * box.height) * height)
            assert np.abs(pixels[y, x] - colours[i, j]).max() <= 3, (i, j)


@pytest.mark.parametrize(("run", "bn"), [(CORNER, "none"), ("cifar10/corner/resnet/seed0", "batch")])
def test_files_alone_reproduce_a_point_with_a_plain_model(smoke: Path, run: str, bn: str) -> None:
    """From the plane's file to a loss by hand: Gram-Schmidt in numpy, an ordinary module, plain cross-entropy."""
    path = smoke / f"results/smoke/planes/{run}.safetensors"
    trained = load_trained(path)
    arrays, made_by = load_arrays(smoke / f"results/smoke/surfaces/{run}.test.{bn}.npz")
    dataset = load_dataset(smoke / f"results/smoke/data/{run.split('/')[0]}.npz")
    plane = {name: tensor.double().numpy() for name, tensor in trained.plane.tensors().items()}
    right = plane["right_parameter"] - plane["origin"]
    up = plane["up_parameter"] - right * (plane["up_parameter"] @ right) / (right @ right)
    up *= np.linalg.norm(right) / np.linalg.norm(up)
    stored = load_file(path)
    np.testing.assert_allclose(stored["up"], up, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(stored["right"], right, rtol=1e-4, atol=1e-6)
    i, j = arrays["rows"][2], arrays["columns"][3]
    weights = plane["origin"] + plane["step"] * ((i - (7 - 1) / 2) * up + (j - (8 - 1) / 2) * right)
    model = trained.network.ordinary(torch.from_numpy(weights).float())
    x = torch.from_numpy(dataset.x_test[arrays["images"]]).permute(0, 3, 1, 2).float() / 255
    x = (x - trained.scaling.mean[:, None, None]) / trained.scaling.std[:, None, None]
    y = torch.from_numpy(dataset.y_test[arrays["images"]])
    with torch.no_grad():
        logits = model(x)
    assert arrays["loss"][2, 3] == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-3)
    assert arrays["accuracy"][2, 3] == pytest.approx((logits.argmax(1) == y).float().mean().item())
    assert made_by["images"] == len(y) == 50


def test_provenance_says_which_data_were_used(smoke: Path) -> None:
    for run, bn, label in [
        (CORNER, "none", "FashionMNIST, bundled subset"),
        ("cifar10/corner/resnet/seed0", "batch", "synthetic shapes in place of CIFAR10"),
    ]:
        _, made_by = load_arrays(smoke / f"results/smoke/surfaces/{run}.test.{bn}.npz")
        assert made_by["dataset"]["label"] == label
        assert made_by["dataset"]["checksum"] == load_dataset(smoke / f"results/smoke/data/{run.split('/')[0]}.npz").checksum
        assert made_by["versions"]["torch"] and made_by["code"] and made_by["seed"] == 0
        json.dumps(made_by)


def test_another_folder_and_number_of_cores_give_the_same_manifest(smoke: Path, tmp_path: Path) -> None:
    again = copy_project(tmp_path / "a path with spaces")
    done = snakemake(again, "--cores", "1", *SMOKE)
    assert done.returncode == 0, done.stdout[-5000:]
    first, second = (json.loads((f / "results/smoke/manifest.json").read_text(encoding="utf-8")) for f in (smoke, again))
    assert len(first) > 60
    assert [name for name in first if first[name] != second.get(name)] == []
    assert len(second) == len(first)


def test_nothing_runs_twice(finished: Path) -> None:
    assert jobs(finished) == {}


def test_a_new_seed_and_a_new_picture_run_alone(finished: Path) -> None:
    def change(entries: dict) -> None:
        entries["experiments"]["cifar10_pictures"]["seeds"] = [0, 5]
        entries["masks"]["new"] = {"kind": "text", "text": "A", "size": [9, 9]}
        entries["figures"]["fig4_fashion_mnist"]["masks"].append("new")

    edit_config(finished, change)
    found = jobs(finished)
    assert {rule: found[rule] for rule in ("make_mask", "train_plane", "evaluate_surface", "evaluate_untrained")} == {
        "make_mask": 1,
        "train_plane": 2,
        "evaluate_surface": 3,
        "evaluate_untrained": 2,
    }
    assert "fetch_dataset" not in found and "plot_fig5_cifar10" not in found
    reasons = snakemake(finished, "-n", "--cores", "2", *SMOKE).stdout
    assert "Missing output files: results/smoke/planes/fashion_mnist/new/conv/seed0" in reasons.replace("\n", " ")


def test_the_benchmarks_run_beside_the_figures(finished: Path) -> None:
    done = snakemake(finished, "benchmarks", "--cores", "2", *SMOKE)
    assert done.returncode == 0, done.stdout[-5000:]
    assert not {"train_plane", "evaluate_surface", "make_mask"} & set(done.stdout.split())
    with Image.open(finished / "figures/smoke/benchmarks.png") as image:
        assert np.asarray(image.convert("RGB")).std() > 10
    folder = finished / "results/smoke/benchmarks"
    throughput, surfaces, memory, quality, cost = (
        pd.read_csv(folder / f"{name}.csv") for name in ("throughput", "surfaces", "memory", "quality", "passes_to_gap")
    )
    state = pd.read_csv(folder / "state.csv")
    assert list(state.recipe) == ["paper", "fast"] * 2 and list(state.optimizer) == ["adam", "soap"] * 2
    assert (state.state_bytes > 1000).all() and (state.seconds_per_save > 0).all() and (state.share_of_training < 1).all()
    axes = ["device", "threads", "network", "batch_norm", "pixels", "images", "engine", "precision"]
    assert list(throughput.columns.drop("device_name")[:8]) == axes
    # 1 number of threads, 1 network without and with batch norm, 1 number of pixels and of images; ours in 2 precisions, plain
    assert len(throughput) == 2 * 3 and len(surfaces) == 2 * 2
    assert set(zip(throughput.engine, throughput.precision, strict=True)) == {
        ("ours", "float32"),
        ("ours", "bfloat16"),
        ("plain", "float32"),
    }
    assert (throughput.peak_memory_mb > 0).all() and throughput.share_of_matmul.between(0, 1).all()
    for table, rate in ((throughput, "passes_per_second"), (surfaces, "evaluations_per_second")):
        assert (table.low <= table[rate]).all() and (table[rate] <= table.high).all() and (table.low > 0).all()
        assert (table[table.engine == "plain"].speedup_over_plain == 1).all()
    assert set(memory["mask"]) == {"heart", "corner", "square_p30", "square_p60"}
    corner = load_mask(finished / "results/smoke/masks/corner.npy")
    assert memory.set_index("mask").pixels["corner"] == (corner != 0).sum()
    assert quality.groupby(["mask", "variant", "seed"]).size().to_dict() == {
        ("corner", "fast", 0): 4,
        ("corner", "paper", 0): 4,
    }
    assert quality.image_passes.groupby(quality.variant).min().to_dict() == {"fast": 20 * 128, "paper": 0}
    assert len(cost) == 2 * 3 and (cost.seeds == 1).all()
    assert jobs(finished, "benchmarks") == {} and jobs(finished) == {}


def test_a_report_collects_the_figures(finished: Path) -> None:
    done = snakemake(finished, "--report", "report.html", *SMOKE)
    assert done.returncode == 0, done.stdout[-3000:]
    text = (finished / "report.html").read_text(encoding="utf-8")
    assert all(f"{figure}.png" in text for figure in FIGURES)
