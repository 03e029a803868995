"""The figures: pixels where the mask has them, one scale for what is compared, no text on text, equal bytes for equal data."""

import dataclasses
import itertools
import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
from losspatterns.analysis.study import PAPER, select_runs
from losspatterns.data.masks import ternary
from losspatterns.errors import InputError
from losspatterns.figures.batchnorm import batch_norm
from losspatterns.figures.benchmarks import benchmarks, read_labels
from losspatterns.figures.command import draw_surfaces
from losspatterns.figures.fill_probability import Study, fill_probability, read_studies, summarise
from losspatterns.figures.inputs import Surface, read_options, read_surface
from losspatterns.figures.landscapes import landscapes
from losspatterns.figures.method import method
from losspatterns.figures.pictures import pictures_on_test, pictures_on_train_and_test
from losspatterns.figures.style import loss_scale, save_figure, wrap
from losspatterns.records import artifacts
from losspatterns.records.artifacts import save_arrays
from matplotlib.image import AxesImage
from matplotlib.text import Text
from PIL import Image

FASHION, SHAPES = "FashionMNIST, bundled subset", "synthetic shapes in place of CIFAR10"
F = np.zeros((13, 10), dtype=bool)  # asymmetric in every way, and not square
F[1:12, 2:5] = F[1:4, 2:9] = F[6:8, 2:7] = True


def surface(
    picture=F, name="letter_f", label=FASHION, split="test", padding=2, oversampling=1, seed=0, protocol="none", **facts
):
    """A made-up surface: low loss and high accuracy on white, rising into the padding."""
    rows, columns = (
        np.arange(-padding * oversampling, (size - 1 + padding) * oversampling + 1) / oversampling for size in picture.shape
    )
    inside = np.pad(picture, padding)
    white = inside[np.ix_(*(np.rint(axis + padding).astype(int) for axis in (rows, columns)))]
    noise = np.random.default_rng(seed).uniform(size=white.shape)
    network = {"name": "conv", "kind": "conv", "batch_norm": protocol != "none", "residual": False}
    made_by = {
        "dataset": {"name": "data", "label": label, "checksum": "0" * 64},
        "mask": {"name": name},
        "network": network,
        "seed": seed,
        "split": split,
        "bn_protocol": protocol,
        "images": 1000,
    } | facts
    loss = np.where(white, 0.5 + 0.2 * noise, 2.4 + noise)
    return Surface(rows, columns, loss, np.where(white, 0.8, 0.3) - 0.1 * noise, ternary(picture), made_by, f"{name}.npz")


def write_surface(path, **settings):
    made = surface(**settings)
    arrays = {name: getattr(made, name) for name in ("rows", "columns", "loss", "accuracy", "mask")}
    save_arrays(path, arrays, made.made_by)
    return path


def scores(seeds=(0, 1, 2)):
    """A made-up scores table of the batch norm study."""
    generator = np.random.default_rng(1)
    rows = []
    for network, protocols in (("plain", ["none"]), ("bn", ["batch", "identity"]), ("residual", ["none"])):
        for protocol, probability, seed, split, control in itertools.product(
            protocols, (0.3, 0.5, 0.7), seeds, ("train", "test"), ("trained", "untrained")
        ):
            white, black = generator.uniform(0.6, 0.8), generator.uniform(0.2, 0.4)
            rows.append(
                {
                    "dataset": "data",
                    "dataset_label": SHAPES,
                    "mask": f"square_p{round(100 * probability)}",
                    "probability": probability,
                    "network": network,
                    "seed": seed,
                    "split": split,
                    "bn_protocol": protocol,
                    "control": control,
                    "accuracy_white": white,
                    "accuracy_black": black,
                    "accuracy_gap": white - black,
                }
            )
    return pd.DataFrame(rows)


LABELS = {"paper": "paper", "fast": "fast", "tau_2_5": "fast, tau 2.5 nats"}


def benchmark_tables(seeds=(0, 1), masks=("knight", "random_square_p50"), batch_norm=(False, True)):
    """Made-up tables of the benchmarks; the gap of `fast` at its last checkpoint is 0.5 for seed 0 and 0.6 for seed 1."""
    shared = {"device_name": "Some Processor(R) with a Long Name @ 2.00GHz", "threads": 1, "network": "study_batchnorm"}
    quality = [
        {"mask": mask, "variant": variant, "recipe": variant if variant in ("paper", "fast") else "fast", "seed": seed}
        | {"image_passes": passes, "seconds": passes / 5000, "gap": best * passes / 400_000 + seed / 10}
        | {"network": "study_batchnorm", "dataset_label": FASHION}
        for mask in masks
        for variant, best in (("paper", 0.05), ("fast", 0.5), ("tau_2_5", 0.3))
        for seed in seeds
        for passes in (0, 25_000, 100_000, 400_000)
    ]
    throughput = [
        {**shared, "batch_norm": normed, "pixels": pixels, "images": images, "engine": engine, "share_of_matmul": share}
        | {"precision": precision}
        for normed in batch_norm
        for pixels in (8, 64)
        for images in (2, 16)
        for engine, precision, share in (
            ("ours", "float32", pixels / 1000),
            ("ours", "bfloat16", pixels / 500),
            ("plain", "float32", 0.02),
        )
    ]
    surfaces = [
        {**shared, "batch_norm": normed, "engine": engine, "points": 64, "images": 500}
        | {"evaluations_per_second": rate, "low": 0.8 * rate, "high": 1.2 * rate}
        for normed in batch_norm
        for engine, rate in (("ours", 40_000.0), ("plain", 20_000.0))
    ]
    memory = [
        {"mask": f"m{k}", "network": "conv", "weights": 1000, "pixels": k, "plane_bytes": 12_004, "models_bytes": 4000 * k}
        for k in (90, 96, 300, 320)
    ]
    tables = {"quality": quality, "throughput": throughput, "surfaces": surfaces, "memory": memory}
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


STUDY = {
    "dataset": "data",
    "networks": ["plain", "bn", "residual"],
    "runs": [[f"square_p{p}", seed] for p in (30, 50, 70) for seed in (0, 1, 2)],
    "bn_protocols": "batch",
}


def made_up_study(seeds=(0, 1, 2), title="30 \N{MULTIPLICATION SIGN} 30 pixels", **changes):
    """A study of made-up scores."""
    chosen = STUDY | {"runs": [run for run in STUDY["runs"] if run[1] in seeds]} | changes
    return Study(select_runs(scores(seeds), **chosen), chosen["networks"], title)


def every_figure():
    """Each figure with labels as long as they get."""
    fashion = [surface(name="random_square_p50", seed=1), surface(name="anchor", seed=2)]
    cifar10 = [surface(name=name, label=SHAPES, split=split) for name in ("heart", "star") for split in ("train", "test")]
    study = [surface(padding=0), surface(padding=0, protocol="batch", mask={"name": "m", "probability": 0.5})]
    return {
        "fig1": landscapes([*fashion, cifar10[1], cifar10[3]]),
        "fig1, one panel per data set": landscapes([fashion[0], cifar10[1]]),
        "fig1, one panel": landscapes(cifar10[1:2]),
        "fig1, six panels": landscapes([*fashion * 2, cifar10[1], cifar10[3]], [0.4, 256]),
        "fig2": method(surface(label=SHAPES, oversampling=2)),
        "fig3": batch_norm([*study, surface(padding=0, protocol="recalibrated"), surface(padding=0, protocol="identity")]),
        "fig4": pictures_on_test(fashion),
        "fig4, seven pictures": pictures_on_test([surface(name="random_square_p50", label=SHAPES)] * 7, [0.1, 100]),
        "fig5": pictures_on_train_and_test(cifar10),
        "benchmarks": benchmarks(**benchmark_tables(), labels=LABELS),
        "benchmarks, one of all": benchmarks(**benchmark_tables((0,), ("knight",), (False,)), labels=LABELS),
        "fig6": fill_probability([made_up_study(), made_up_study(networks=["plain", "bn"])], {"bn": "batch norm"}),
    }


@pytest.fixture(scope="module")
def figures():
    return every_figure()


def panels(figure):
    """The drawn surfaces and pictures (axes with an image that is no colour bar), in order."""
    return [axes for axes in figure.axes if any(type(image) is AxesImage for image in axes.images)]


def png_pixels(figure, axes, made, path):
    """RGB of the saved PNG at the centre of every pixel of the picture, (H, W, 3)."""
    save_figure(figure, path, {})
    image = np.asarray(Image.open(f"{path}.png").convert("RGB")).astype(int)
    figure.canvas.draw()
    box = axes.get_position()  # the box after the aspect was applied, as a fraction of the figure
    left, right, bottom, top = made.extent
    height, width = made.mask.shape
    across = (box.x0 + (np.arange(width) - left) / (right - left) * box.width) * image.shape[1]
    down = (1 - box.y1 + (np.arange(height) - top) / (bottom - top) * box.height) * image.shape[0]
    return image[np.ix_(down.astype(int), across.astype(int))]


@pytest.mark.parametrize("oversampling", [1, 3])
@pytest.mark.parametrize("draw", [landscapes, pictures_on_test])
def test_each_pixel_of_the_png_is_blue_where_the_mask_is_white(draw, oversampling, tmp_path):
    made = surface(oversampling=oversampling)
    figure = draw([made])
    pixels = png_pixels(figure, panels(figure)[0 if draw is landscapes else 1], made, tmp_path / "figure")
    np.testing.assert_array_equal(pixels[..., 2] > pixels[..., 0], F)


def test_each_pixel_of_the_drawn_mask_is_the_pictures(tmp_path):
    made = surface(padding=3)
    for draw in (pictures_on_test, batch_norm):
        figure = draw([made])
        pixels = png_pixels(figure, panels(figure)[0], made, tmp_path / "figure")
        np.testing.assert_array_equal(pixels, np.where(F, 255, 0)[..., None].repeat(3, axis=-1))


def test_the_method_shows_the_ternary_mask_upright_and_the_plane_from_the_same_side():
    made = surface()
    grid, plane = [axes for axes in method(made).axes if axes.collections and axes.name == "rectilinear"][:2]
    (mesh,) = grid.collections
    np.testing.assert_array_equal(mesh.get_array().reshape(F.shape) < 2, F)
    assert grid.get_ylim()[0] > grid.get_ylim()[1]
    (points,) = plane.collections
    places = points.get_offsets().reshape(*F.shape, 2)
    np.testing.assert_array_equal(points.get_facecolors()[:, 0].reshape(F.shape) == 1, F)
    assert (np.diff(places[..., 0], axis=1) > 0).all() and (np.diff(places[..., 1], axis=0) < 0).all()


def visible_texts(figure):
    figure.canvas.draw()
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        texts += axes.texts + (axes.get_legend().get_texts() if axes.get_legend() else [])
        if not axes.axison:
            continue
        texts += [axes.title, axes._left_title, axes._right_title]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            shown = [tick for tick in axis.get_major_ticks() if low - 1e-9 <= tick.get_loc() <= high + 1e-9]
            texts += [axis.label, *(label for tick in shown for label in (tick.label1, tick.label2))]
    assert all(isinstance(text, Text) for text in texts)
    return [text for text in texts if text.get_visible() and text.get_text()]


def test_no_text_lies_on_another_leaves_the_figure_or_is_too_small(figures):
    for name, figure in figures.items():
        texts = visible_texts(figure)
        boxes = [text.get_window_extent() for text in texts]
        width, height = figure.get_size_inches() * figure.dpi
        assert len(texts) > 5 and figure.get_size_inches()[0] <= 6.9 + 1e-9, name
        for text, box in zip(texts, boxes, strict=True):
            assert text.get_fontsize() >= 6, (name, text.get_text())
            inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
            assert inside, f"{name}: {text.get_text()!r} leaves the figure"
        for (text, box), (other, other_box) in itertools.combinations(zip(texts, boxes, strict=True), 2):
            across = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
            along = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
            assert across <= 0.5 or along <= 0.5, f"{name}: {text.get_text()!r} lies on {other.get_text()!r}"


def test_no_text_lies_on_a_panel(figures):
    for name, figure in figures.items():
        for text in figure.texts:
            box = text.get_window_extent()
            for axes in panels(figure):
                panel = axes.get_window_extent()
                across, along = (min(box.x1, panel.x1) - max(box.x0, panel.x0), min(box.y1, panel.y1) - max(box.y0, panel.y0))
                assert across <= 0.5 or along <= 0.5, f"{name}: {text.get_text()!r} lies on a panel"


def test_every_figure_names_its_data_set(figures):
    for name, figure in figures.items():
        text = " ".join(" ".join(text.get_text() for text in visible_texts(figure)).split())
        assert SHAPES in text or FASHION in text, name
        assert name == "fig6" or "1,000" in text, name


def test_compared_panels_share_one_scale(figures):
    for name in ("fig1", "fig1, six panels", "fig3", "fig4", "fig4, seven pictures", "fig5"):
        images = [image for axes in panels(figures[name]) for image in axes.images]
        for colours in ("RdBu_r", "viridis"):
            norms = {id(image.norm) for image in images if image.get_cmap().name == colours}
            assert len(norms) == (0 if colours == "viridis" and name[:4] in ("fig1", "fig3") else 1), (name, colours)


def test_the_loss_scale_is_centred_logarithmic_and_says_what_lies_beyond():
    made = surface()
    made.loss[0, 0] = 1000.0
    automatic = loss_scale([made])
    medians = [np.median(made.at_pixels(made.loss)[made.mask == colour]) for colour in (1, -1)]
    assert automatic.norm(np.sqrt(medians[0] * medians[1])) == pytest.approx(0.5)
    assert automatic.norm.vmax < 10 and automatic.labels[-1].startswith(">")
    fixed = loss_scale([made], [0.4, 256])
    assert (fixed.norm.vmin, fixed.norm.vmax) == (0.4, 256)
    assert fixed.norm(np.sqrt(0.4 * 4)) == pytest.approx((fixed.norm(0.4) + fixed.norm(4)) / 2)
    assert fixed.labels == ["0.4", "1", "4", "16", "64", ">256"]


def test_the_loss_scale_survives_a_flat_and_a_zero_surface():
    for value in (2.0, 0.0):
        made = surface()
        made.loss[:] = value
        scale = loss_scale([made])
        assert 0 < scale.norm.vmin < scale.norm.vmax and 0 <= scale.norm(value) <= 1
        landscapes([made]).canvas.draw()


def test_the_loss_scale_ends_where_a_loss_is_as_good_as_none_or_as_bad_as_any():
    made = surface()
    extreme = dataclasses.replace(made, loss=np.geomspace(1e-9, 1e12, made.loss.size).reshape(made.loss.shape))
    scale = loss_scale([extreme])
    assert (scale.labels[0], scale.labels[-1]) == ("<0.01", ">10000")
    assert all(len(label) <= 6 for label in scale.labels)
    assert scale.ticks == sorted(scale.ticks)


def test_the_gap_counts_trained_pixels_only():
    made = surface(oversampling=2, padding=1)
    expected = np.full(F.shape, 0.5)
    expected[made.mask == 1], expected[made.mask == -1] = 0.9, 0.2
    made.accuracy[:] = 0.77
    made.accuracy[2:-2:2, 2:-2:2] = expected
    assert made.gap() == pytest.approx(0.7)
    assert "gap 0.70" in [text.get_text() for text in landscapes([made]).texts]


def test_two_saves_have_equal_bytes_and_no_date(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, "_inputs", {"a.npz": "its checksum"})
    for name in ("a", "b"):
        save_figure(method(surface()), tmp_path / name / "figure", {"seed": 0})
    for suffix in ("pdf", "png"):
        first, second = ((tmp_path / name / f"figure.{suffix}").read_bytes() for name in ("a", "b"))
        assert first == second and b"CreationDate" not in first
    image = Image.open(tmp_path / "a" / "figure.png")
    assert (
        json.loads(image.text["Provenance"]) == {"seed": 0, "inputs": {"a.npz": "its checksum"}}
        and round(image.info["dpi"][0]) == 300
    )
    pdf = (tmp_path / "a" / "figure.pdf").read_bytes()
    assert b"/Keywords" in pdf and b"/FontFile2" in pdf and b"/Type3" not in pdf


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["loss", "accuracy"])
def test_a_surface_that_is_not_finite_is_refused_by_name(name, value, tmp_path):
    made = surface()
    getattr(made, name)[3, 4] = value
    path = tmp_path / "bad.npz"
    save_arrays(path, {key: getattr(made, key) for key in ("rows", "columns", "loss", "accuracy", "mask")}, made.made_by)
    with pytest.raises(InputError, match=rf"bad\.npz: 1 of \d+ points have a {name} that is NaN"):
        read_surface(path)


def test_a_surface_off_the_pixels_is_refused(tmp_path):
    made = surface()
    arrays = {key: getattr(made, key) for key in ("columns", "loss", "accuracy", "mask")}
    save_arrays(tmp_path / "off.npz", {"rows": made.rows + 0.3, **arrays}, made.made_by)
    with pytest.raises(InputError, match="rows must be evenly spaced"):
        read_surface(tmp_path / "off.npz")
    save_arrays(tmp_path / "few.npz", arrays, made.made_by)
    with pytest.raises(InputError, match="no array rows"):
        read_surface(tmp_path / "few.npz")


def test_surfaces_that_do_not_belong_together_are_refused():
    train = surface(split="train", name="heart")
    for draw in (landscapes, pictures_on_test, batch_norm):
        with pytest.raises(InputError, match=r"heart\.npz: a surface of the train split"):
            draw([train])
    with pytest.raises(InputError, match="the surface of the test split is missing"):
        pictures_on_train_and_test([train])
    with pytest.raises(InputError, match="same run and split"):
        pictures_on_train_and_test([train, train])
    with pytest.raises(InputError, match="another data set"):
        pictures_on_test([surface(), surface(label=SHAPES)])
    with pytest.raises(InputError, match="another mask"):
        batch_norm([surface(), surface(picture=F[:, ::-1])])


def test_train_stands_on_the_left_of_test_in_any_order():
    train, test = surface(split="train", seed=3), surface(seed=3)
    train.loss[:] *= 0.7
    first, second = (axes.images[0].get_array() for axes in panels(pictures_on_train_and_test([test, train]))[::2])
    np.testing.assert_array_equal(first, train.loss)
    np.testing.assert_array_equal(second, test.loss)


def test_study_means_and_deviations_are_those_of_the_seeds():
    table = scores()
    figure = fill_probability([made_up_study()], show_paper=False)
    gap_curves, accuracy_curves = (axes.lines for axes in figure.axes)
    chosen = table[(table["split"] == "test") & (table["control"] == "trained") & (table["bn_protocol"] != "identity")]
    for position, network in enumerate(STUDY["networks"]):
        by_probability = chosen[chosen["network"] == network].groupby("probability")
        np.testing.assert_allclose(gap_curves[position].get_ydata(), by_probability["accuracy_gap"].mean())
        for line, colour in enumerate(("white", "black")):
            drawn = accuracy_curves[2 * position + line]
            np.testing.assert_allclose(drawn.get_ydata(), by_probability[f"accuracy_{colour}"].mean())
            assert drawn.get_linestyle() == ("-", "--")[line]
        band = figure.axes[0].collections[position].get_paths()[0].vertices
        mean, deviation = by_probability["accuracy_gap"].mean(), by_probability["accuracy_gap"].std()
        assert band[:, 1].max() == pytest.approx((mean + deviation).max())
        assert band[:, 1].min() == pytest.approx((mean - deviation).min())
    assert "n = 3 runs" in " ".join(text.get_text() for text in figure.texts)


def test_one_seed_has_no_band_and_says_so():
    drawn = made_up_study(seeds=[0])
    figure = fill_probability([drawn])
    assert not any(axes.collections for axes in figure.axes)
    assert "n = 1 run per point" in " ".join(text.get_text() for text in figure.texts)
    assert summarise(drawn.runs)[("accuracy_gap", "std")].isna().all()


def test_the_papers_values_are_drawn_for_its_variants_or_left_out():
    counts = {
        show: [len(axes.lines) for axes in fill_probability([made_up_study()], {"bn": "batch norm"}, show).axes]
        for show in (True, False)
    }
    assert counts == {True: [6, 12], False: [3, 6]}
    assert len(fill_probability([made_up_study()]).axes[0].lines) == 5  # "bn" is no variant of the paper's
    np.testing.assert_allclose(PAPER["accuracy_white"] - PAPER["accuracy_black"], PAPER["accuracy_gap"], atol=0.011)


def test_the_benchmarks_draw_means_over_seeds_and_the_rows_they_name():
    figure = benchmarks(**benchmark_tables(masks=("knight",)), labels=LABELS)
    passes, seconds, share, points, memory = figure.axes
    paper, fast, thin = passes.lines[:3]
    assert fast.get_xdata().tolist() == [25_000, 100_000, 400_000]  # no zero on a logarithmic axis
    assert fast.get_ydata() == pytest.approx([0.5 / 16 + 0.05, 0.5 / 4 + 0.05, 0.55])
    assert seconds.lines[1].get_xdata() == pytest.approx([5, 20, 80])
    band = passes.collections[1].get_paths()[0].get_extents()
    assert (band.ymin, band.ymax) == pytest.approx((0.5 / 16, 0.6))
    assert paper.get_linewidth() == fast.get_linewidth() > thin.get_linewidth()
    assert len({line.get_color() for line in (paper, fast, thin)}) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(LABELS.values())
    assert sorted({round(y, 3) for line in share.lines for y in line.get_ydata()}) == [0.02, 0.064, 0.128]  # 64 pixels alone
    shown = [text.get_text() for text in share.get_legend().get_texts()]
    assert shown == ["this engine", "in bfloat16", "plain loop", "with batch norm"]
    tables = benchmark_tables()
    one_precision = tables | {"throughput": tables["throughput"][tables["throughput"].precision == "float32"]}
    *_, share, _, _ = benchmarks(**one_precision, labels=LABELS).axes
    assert "in bfloat16" not in [text.get_text() for text in share.get_legend().get_texts()]
    assert [bar.get_height() for bar in points.patches] == [40_000, 20_000, 40_000, 20_000]
    models, plane = memory.lines
    assert models.get_ydata() == pytest.approx([0.36, 0.384, 1.2, 1.28]) and set(plane.get_ydata()) == {0.012004}
    note = " ".join(text.get_text() for text in figure.texts)
    assert "mean of 2 seeds" in note and "Some Processor(R)" in note and "1 thread" in note
    assert "(d) network study batchnorm" in note and "(e) network conv, 1,000 weights" in note


def test_the_small_panels_of_the_benchmarks_show_one_network_where_they_can():
    tables = benchmark_tables()
    for name in ("surfaces", "memory"):
        first = tables[name].assign(network="other", evaluations_per_second=1.0, models_bytes=1)
        tables[name] = pd.concat([first, tables[name].assign(network="study_batchnorm")])
    figure = benchmarks(**tables, labels=LABELS)
    *_, points, memory = figure.axes
    assert [bar.get_height() for bar in points.patches] == [40_000, 20_000, 40_000, 20_000]
    assert memory.lines[0].get_ydata() == pytest.approx([0.36, 0.384, 1.2, 1.28])
    assert "other" not in " ".join(text.get_text() for text in figure.texts)


def test_tables_of_the_benchmarks_are_checked_by_name():
    tables = benchmark_tables()
    for name, column in (("quality", "gap"), ("throughput", "share_of_matmul"), ("memory", "plane_bytes")):
        with pytest.raises(InputError, match=f"{name}: no column {column}; found"):
            benchmarks(**tables | {name: tables[name].drop(columns=column)}, labels=LABELS)
    with pytest.raises(InputError, match="surfaces: no rows"):
        benchmarks(**tables | {"surfaces": tables["surfaces"].iloc[:0]}, labels=LABELS)
    with pytest.raises(InputError, match="no label for the variant tau_2_5"):
        benchmarks(**tables, labels={"paper": "paper", "fast": "fast"})
    assert list(read_labels('{"labels": {"b": "B", "a": "A"}}')) == ["b", "a"]
    for text in ('{"labels": []}', '{"labels": {"a": 1}}', "{}"):
        with pytest.raises(InputError, match="--options"):
            read_labels(text)


def test_a_missing_run_is_named():
    table = scores()
    lost = (
        (table["network"] == "bn") & (table["mask"] == "square_p50") & (table["seed"] == 1) & (table["bn_protocol"] == "batch")
    )
    with pytest.raises(InputError, match="found 0 .* mask square_p50, network bn, seed 1, protocol batch"):
        select_runs(table[~lost], **STUDY)
    with pytest.raises(InputError, match="found 2 .* mask square_p50, network bn, seed 1, protocol batch"):
        select_runs(pd.concat([table, table[lost]]), **STUDY)
    with pytest.raises(InputError, match="no column probability"):
        select_runs(table.drop(columns="probability"), **STUDY)


def test_the_protocol_is_one_for_all_or_each_networks_own():
    table = scores()
    runs = select_runs(table, **STUDY | {"bn_protocols": {"bn": "identity"}})
    assert set(zip(runs["network"], runs["bn_protocol"], strict=True)) == {
        ("plain", "none"),
        ("bn", "identity"),
        ("residual", "none"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"los_range": "auto"}', "unknown key los_range; allowed: loss_range"),
        ('{"loss_range": [4, 1]}', "expected auto or"),
        ('{"loss_range": "wide"}', "expected auto or"),
        ("[]", "expected a JSON object"),
        ("{", "not JSON"),
    ],
)
def test_bad_options_are_named(text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        read_options(text, allowed=("loss_range",))


def test_each_study_is_a_row_and_a_network_has_one_look_in_all():
    figure = fill_probability(
        [made_up_study(title="first"), made_up_study(networks=["bn", "residual"], title="second")], show_paper=False
    )
    first, second = figure.axes[0], figure.axes[2]
    assert [axes.get_title("right") for axes in figure.axes] == ["first", "", "second", ""]
    assert [axes.get_title("left") for axes in figure.axes] == ["(a)", "(b)", "(c)", "(d)"]
    looks = [[(line.get_color(), line.get_marker()) for line in axes.lines] for axes in (first, second)]
    assert len(set(looks[0])) == 3 and looks[1] == looks[0][1:]
    np.testing.assert_allclose(second.lines[0].get_ydata(), first.lines[1].get_ydata())
    assert first.get_ylim() == second.get_ylim()
    assert [text.get_text() for text in figure.legends[0].texts] == ["plain", "bn", "residual", "white", "black"]


def test_bad_study_options_are_named():
    entry = {key: value for key, value in STUDY.items() if key != "bn_protocols"}
    good = {"studies": [entry, entry | {"title": "second"}], "bn_protocols": "batch"}
    assert read_studies(json.dumps(good)) == good

    def bad(changes, **more):
        return json.dumps(good | {"studies": [entry, {k: v for k, v in (entry | changes).items() if v is not None}]} | more)

    for options, message in (
        (bad({"runs": None}), "the key runs is missing"),
        (bad({"runs": [["m", "0"]]}), r"runs is .* expected a list of pairs, a mask's name and a whole number, the seed"),
        (bad({"runs": [["m"]]}), r"runs is .* expected a list of pairs"),
        (bad({"title": 1}), "title is 1; expected a text"),
        (bad({"networks": list("abcdef")}), "networks are plain, bn, residual, a, b, c, d, e, f; expected at most 6"),
        (bad({}, paper=1), "paper is 1; expected true or false"),
        (bad({}, studies=[]), r"studies is \[\]; expected a list of objects"),
    ):
        with pytest.raises(InputError, match=message):
            read_studies(options)


def test_the_command_writes_both_files_with_the_runs_inside(tmp_path, monkeypatch):
    paths = [str(write_surface(tmp_path / f"{name}.npz", name=name)) for name in ("heart", "star")]
    options = '{"loss_range": [0.4, 256]}'
    monkeypatch.setattr(
        sys, "argv", ["x", "--surfaces", *paths, "--output-stem", str(tmp_path / "out" / "f"), "--options", options]
    )
    draw_surfaces("fig1_landscapes", None, landscapes)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["f.pdf", "f.pdf.json", "f.png", "f.png.json"]
    made_by = json.loads(Image.open(tmp_path / "out" / "f.png").text["Provenance"])
    assert [run["mask"] for run in made_by["surfaces"]] == ["heart", "star"] and "code" in made_by
    assert made_by["options"] == {"loss_range": [0.4, 256]} and str(tmp_path) not in json.dumps(made_by)


def test_wrapped_text_keeps_its_words_and_its_width():
    lines = wrap(SHAPES, 1.2)
    assert " ".join(lines) == SHAPES and len(lines) > 1
    assert wrap(SHAPES, 100.0) == [SHAPES]
