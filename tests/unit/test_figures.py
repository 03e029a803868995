"""The figures: pixels where the mask has them, one scale for what is compared, no text on text, equal bytes for equal data."""

import dataclasses
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import draw_figure
import matplotlib
import numpy as np
import pandas as pd
import pytest
import yaml
from docutils.core import publish_string
from figure_checks import check_layout, check_texts, panels, visible_texts
from helpers import run_program
from losspatterns.analysis.claims import PAPER
from losspatterns.config.reading import read
from losspatterns.data.masks import ternary
from losspatterns.errors import InputError
from losspatterns.figures import kind_module, kinds
from losspatterns.figures.style import PAGE, loss_scale, new_figure, save_figure, styled, wrap
from losspatterns.figures.surfaces import Surface, read_surface
from losspatterns.records import artifacts
from losspatterns.records.artifacts import save_labelled, save_table
from losspatterns.runs.planning import Runs
from losspatterns.runs.settings import check
from matplotlib.collections import LineCollection
from matplotlib.contour import ContourSet
from PIL import Image

ROOT = Path(__file__).parents[2]
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
    return Surface(rows, columns, loss, np.where(white, 0.8, 0.3) - 0.1 * noise, ternary(picture), made_by)


def write_surfaces(path, *surfaces, **changes):
    """A file of surfaces of one plane; `changes` replace variables of the file, or leave them out (None)."""
    splits, protocols = ({made.made_by[key]: None for made in surfaces} for key in ("split", "bn_protocol"))
    shape = surfaces[0].loss.shape
    values = {name: np.full((2, len(splits), len(protocols), *shape), 9.0) for name in ("loss", "accuracy")}
    for made in surfaces:  # the untrained plane's stay as they are
        at = 1, list(splits).index(made.made_by["split"]), list(protocols).index(made.made_by["bn_protocol"])
        for name, array in values.items():
            array[at] = getattr(made, name)
    axes = ("stage", "split", "protocol", "row", "column")
    labels = (["untrained", "trained"], list(splits), list(protocols), surfaces[0].rows, surfaces[0].columns)
    variables = {axis: ((axis,), label) for axis, label in zip(axes, labels, strict=True)}
    variables |= {name: (axes, array) for name, array in values.items()}
    variables["mask"] = (("mask_row", "mask_column"), surfaces[0].mask)
    images = np.full((len(splits), 1200), -1)
    images[:, :1000] = np.arange(1000)
    variables["images"] = (("split", "image"), images)
    made_by = {k: v for k, v in surfaces[0].made_by.items() if k not in ("split", "bn_protocol", "images")}
    kept = {name: value for name, value in (variables | changes).items() if value is not None}
    save_labelled(path, kept, made_by)
    return str(path)


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
                    "image_passes": 1000 * (control == "trained"),
                    "objective": black - white,
                    "tv": white,
                }
            )
    half_way = [{**row, "control": "snapshot", "image_passes": 100} for row in rows if row["control"] == "trained"]
    return pd.DataFrame([*rows, *half_way])


NAMES = {  # what each kind cannot do without
    "landscapes": {"panels": [{"experiment": "fashion_pictures", "mask": "knight"}]},
    "method": {"experiment": "fashion_pictures", "mask": "knight"},
    "batchnorm": {"study": "batch_norm_study", "probability": 0.5, "networks": ["study_plain", "study_batchnorm"]},
    "drawing": {"experiment": "fashion_pictures", "mask": "knight"},
    "pictures": {"experiment": "fashion_pictures", "masks": ["knight", "anchor"]},
    "train_and_test": {"experiment": "cifar10_pictures", "masks": ["heart", "star"]},
    "study": {"studies": ["batch_norm_study"]},
    "budget": {"study": "batch_norm_study"},
}


def drawn(kind, surfaces=(), scores=None, facts=None, **options):
    """A figure of this kind from made-up surfaces or scores."""
    module = kind_module(kind)
    return styled(module.draw)(
        read(module.Options, kind, {"kind": kind, **NAMES[kind], **options}), list(surfaces), scores, facts or {}
    )


def study_facts(*networks, seeds=(0, 1, 2), objective=(5.0, 512, "mean"), titles=("first", "second")):
    """The facts of the figure `study` about the made-up scores, one study for each list of networks."""
    runs = [[f"square_p{p}", seed] for p in (30, 50, 70) for seed in seeds]
    studies = [
        {"name": title, "title": title, "dataset": "data", "networks": names, "runs": runs}
        for names, title in zip(networks, titles, strict=False)
    ]
    return {"studies": studies, "objectives": [list(objective)]}


ALL = ["plain", "bn", "residual"]
LABELS = {"bn": "batch norm"}


def made_up_study(*networks, seeds=(0, 1, 2), objective=(5.0, 512, "mean"), **options):
    """The figure `study` of made-up scores."""
    facts = study_facts(*(networks or (ALL,)), seeds=seeds, objective=objective)
    return drawn("study", scores=scores(seeds), facts=facts, **options)


def cifar10():
    """Train and test surfaces of two pictures."""
    return [surface(name=name, label=SHAPES, split=split) for name in ("heart", "star") for split in ("train", "test")]


def squares(*protocols):
    """Surfaces of one mask under these protocols."""
    return [surface(padding=0, protocol=protocol) for protocol in protocols]


def longest_training():
    """The scores of a training as long as the paper's."""
    return scores().assign(image_passes=lambda table: table["image_passes"] * 604_160)


LONGEST = {  # each kind with labels as long as they get, and as few and as many panels as it takes
    "landscapes": lambda: drawn("landscapes", [surface(name="random_square_p50"), surface(), *cifar10()[1::2]]),
    "landscapes, one panel per data set": lambda: drawn("landscapes", [surface(name="random_square_p50"), cifar10()[1]]),
    "landscapes, one panel": lambda: drawn("landscapes", cifar10()[1:2]),
    "landscapes, six panels": lambda: drawn("landscapes", [surface()] * 4 + cifar10()[1::2], loss_range=[0.4, 256]),
    "method": lambda: drawn("method", [surface(label=SHAPES)]),
    "batchnorm": lambda: drawn("batchnorm", squares("none", "batch", "recalibrated", "identity")),
    "drawing": lambda: drawn("drawing", [surface(label=SHAPES)]),
    "pictures": lambda: drawn("pictures", [surface(name="random_square_p50", seed=1), surface(name="anchor", seed=2)]),
    "pictures, seven": lambda: drawn("pictures", [surface(name="random_square_p50", label=SHAPES)] * 7, loss_range=[0.1, 100]),
    "train_and_test": lambda: drawn("train_and_test", cifar10()),
    "budget": lambda: drawn(
        "budget", scores=longest_training(), facts=study_facts(ALL, objective=(5.0, 8, "running")), labels=LABELS
    ),
    "study": lambda: made_up_study(ALL, ["plain", "bn"], labels=LABELS, objective=(10.0, 1, "mean")),
}


@pytest.mark.parametrize("kind", ["landscapes", "pictures", "train_and_test", "batchnorm"])
def test_contour_lines_are_drawn_at_the_ticks_of_the_colour_bars(kind):
    """A surface that is a slope in one direction: each line stands where the slope has the tick's value."""
    slope = surface(oversampling=2)
    height = np.linspace(0, 1, len(slope.columns))
    slope.loss[:], slope.accuracy[:] = 0.3 * 40**height, 0.1 + 0.8 * height
    figure = drawn(kind, [slope] * 2, contours=True, loss_range=[0.5, 8])
    maps = [axes for axes in panels(figure) if axes.images and axes.images[0].get_cmap().name != "gray"]
    assert maps
    for axes in maps:
        image = axes.images[0]
        (contour,) = (part for part in axes.collections if isinstance(part, ContourSet))
        values = slope.loss if image.get_cmap().name == "RdBu_r" else slope.accuracy
        assert len(contour.levels) >= 2 and set(contour.levels) <= {tick for bar in figure.axes for tick in bar.get_yticks()}
        for level, path in zip(contour.levels, contour.get_paths(), strict=True):
            at = np.interp(level, values[0], slope.columns)
            assert path.vertices[:, 0] == pytest.approx(np.full(len(path.vertices), at), abs=0.05)
    bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    for bar in bars:
        lines = [
            part.get_segments() for part in bar.collections if isinstance(part, LineCollection) and len(part.get_segments())
        ]
        assert [segment[0, 1] for segment in lines[-1]] == pytest.approx(bar.get_yticks())
    check_layout(figure)
    plain = drawn(kind, [slope] * 2)
    assert not [part for axes in panels(plain) for part in axes.collections if isinstance(part, ContourSet)]


def test_a_flat_surface_has_no_contour_lines():
    flat = surface()
    flat.loss[:], flat.accuracy[:] = 1.0, 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_layout(drawn("pictures", [flat], contours=True))


@pytest.mark.parametrize("name", LONGEST)
def test_a_figure_can_be_read_and_compares_on_one_scale(name):
    figure = LONGEST[name]()
    check_layout(figure)
    label = SHAPES if name not in ("batchnorm", "pictures") else FASHION
    check_texts(figure, label, {"study": "probability p", "budget": "604"}.get(name, "1,000"))
    images = [image for axes in panels(figure) for image in axes.images]
    for colours in ("RdBu_r", "viridis"):
        norms = {id(image.norm) for image in images if image.get_cmap().name == colours}
        assert len(norms) <= 1, colours


def most(kind):
    """How many entries the list of a kind that draws surfaces may have, and of how many surfaces each."""
    fields = kind_module(kind).Options.model_fields
    name, each = {"landscapes": ("panels", 1), "pictures": ("masks", 1), "train_and_test": ("masks", 2)}[kind]
    (limit,) = [part.max_length for part in fields[name].metadata if hasattr(part, "max_length")]
    return limit, each


@pytest.mark.parametrize("shape", [(60, 3), (3, 60)])
@pytest.mark.parametrize("kind", ["method", "batchnorm", "landscapes", "pictures", "train_and_test", "drawing"])
def test_a_figure_fits_on_a_page_whatever_its_pictures(kind, shape):
    picture = np.random.default_rng(0).random(shape) < 0.5
    limit, each = {"method": (1, 1), "drawing": (1, 1), "batchnorm": (6, 1)}.get(kind) or most(kind)
    for count in {1, limit}:
        figure = drawn(kind, [surface(picture, label=SHAPES)] * each * count)
        check_layout(figure)
        assert figure.get_size_inches()[1] <= PAGE
    for axes in panels(figure):
        assert axes.get_position().height * figure.get_size_inches()[1] > 0.02


def test_more_than_a_page_holds_is_refused():
    for kind in ("landscapes", "pictures", "train_and_test"):
        limit, _ = most(kind)
        name = "panels" if kind == "landscapes" else "masks"
        entries = NAMES["landscapes"]["panels"] * (limit + 1) if name == "panels" else [f"m{k}" for k in range(limit + 1)]
        with pytest.raises(InputError, match=rf"x\.{name}: found .*tuple should have at most {limit} items"):
            read(kind_module(kind).Options, "x", {"kind": kind, **NAMES[kind], name: entries})
    made_up_study(*[ALL] * 3)
    with pytest.raises(InputError, match=r"the figure: found 9\.6 inches of height, a page has 9\.5"):
        new_figure(3.0, 9.6)


def test_what_the_user_tells_matplotlib_changes_no_figure(tmp_path):
    hostile = {"image.origin": "lower", "text.usetex": True, "savefig.bbox": "tight", "axes.grid": True, "font.family": "serif"}
    for name, settings in (("plain", {}), ("hostile", hostile)):
        with matplotlib.rc_context(settings):
            save_figure(drawn("landscapes", [surface()]), tmp_path / name / "figure", {})
    for suffix in ("pdf", "png"):
        plain, other = ((tmp_path / name / f"figure.{suffix}").read_bytes() for name in ("plain", "hostile"))
        assert plain == other


def test_a_notebook_s_backend_is_not_asked_for():
    program = "import losspatterns, matplotlib; print(matplotlib.get_backend())"
    assert run_program(program, MPLBACKEND="module://no.such.backend") == "agg\n"


@pytest.mark.parametrize("text", ["$100 % $", "US$ 5 to US$ 10", "a_b^c \\frac {x}"])
def test_a_dollar_is_a_dollar(text, tmp_path):
    figures = [
        drawn("pictures", [surface(label=text)]),
        made_up_study(ALL, labels={"bn": text}),
        drawn("study", scores=scores().assign(dataset_label=text), facts=study_facts(ALL, titles=[text])),
    ]
    for number, figure in enumerate(figures):
        check_texts(figure, text)
        assert not any(shown.get_parse_math() for shown in visible_texts(figure) if text.split()[0] in shown.get_text())
        save_figure(figure, tmp_path / str(number), {})


def test_a_text_that_leaves_the_page_is_refused(tmp_path):
    figure = made_up_study(ALL, labels={"bn": "a network with a name that goes on " * 4})
    with pytest.raises(InputError, match=r"^the figure: no room for the text '.*'; give a shorter name, label or title$"):
        save_figure(figure, tmp_path / "figure", {})
    assert not list(tmp_path.iterdir())


def test_every_kind_is_drawn_here_and_has_its_parts():
    assert {name.split(",")[0] for name in LONGEST} == set(kinds()) == set(NAMES)
    for name in kinds():
        module = kind_module(name)
        assert all(field.description for field in module.Options.model_fields.values()), name
        publish_string(module.CAPTION, writer="html", settings_overrides={"halt_level": 2, "report_level": 5})  # raises if bad
    with pytest.raises(
        InputError, match="figures.x.kind: found 'style', expected one of batchnorm, budget, drawing, landscapes"
    ):
        kind_module("style", "figures.x.kind")


def test_planning_figures_imports_nothing_heavy():
    program = """
import sys
from losspatterns.figures import kinds, kind_module
print([kind_module(name).CAPTION[:2] for name in kinds()])
print([name for name in ("matplotlib", "pandas", "scipy", "torch", "xarray", "numba", "PIL") if name in sys.modules])
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    lines = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True).stdout
    assert lines.splitlines() == ["['**', '**', '**', '**', '**', '**', '**', '**']", "[]"]


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


@pytest.mark.parametrize(("kind", "oversampling"), [("landscapes", 3), ("pictures", 1), ("train_and_test", 1), ("drawing", 1)])
def test_each_pixel_of_the_png_is_blue_where_the_mask_is_white(kind, oversampling, tmp_path):
    made = surface(oversampling=oversampling)
    figure = drawn(kind, [made, made] if kind == "train_and_test" else [made])
    pixels = png_pixels(figure, panels(figure)[kind in ("pictures", "drawing")], made, tmp_path / "figure")
    np.testing.assert_array_equal(pixels[..., 2] > pixels[..., 0], F)


@pytest.mark.parametrize("kind", ["pictures", "batchnorm", "drawing"])
def test_each_pixel_of_the_drawn_mask_is_the_pictures(kind, tmp_path):
    made = surface(padding=3)
    figure = drawn(kind, [made])
    pixels = png_pixels(figure, panels(figure)[0], made, tmp_path / "figure")
    np.testing.assert_array_equal(pixels, np.where(F, 255, 0)[..., None].repeat(3, axis=-1))


def test_the_method_shows_the_ternary_mask_upright_and_the_plane_from_the_same_side():
    figure = drawn("method", [surface()])
    grid, plane = [axes for axes in figure.axes if axes.collections and axes.name == "rectilinear"][:2]
    (mesh,) = grid.collections
    np.testing.assert_array_equal(mesh.get_array().reshape(F.shape) < 2, F)
    assert grid.get_ylim()[0] > grid.get_ylim()[1]
    (points,) = plane.collections
    places = points.get_offsets().reshape(*F.shape, 2)
    np.testing.assert_array_equal(points.get_facecolors()[:, 0].reshape(F.shape) == 1, F)
    assert (np.diff(places[..., 0], axis=1) > 0).all() and (np.diff(places[..., 1], axis=0) < 0).all()


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
        drawn("landscapes", [made]).canvas.draw()


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
    assert "gap 0.70" in [text.get_text() for text in drawn("landscapes", [made]).texts]


def test_two_saves_have_equal_bytes_and_no_date(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, "_inputs", {"a.npz": "its checksum"})
    for name in ("a", "b"):
        save_figure(drawn("pictures", [surface()]), tmp_path / name / "figure", {"seed": 0})
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


def test_a_file_holds_the_surfaces_of_a_plane_by_split_and_protocol(tmp_path):
    made = [
        surface(split=split, protocol=protocol, seed=3, padding=1)
        for split in ("train", "test")
        for protocol in ("batch", "identity")
    ]
    for number, one in enumerate(made):
        one.loss[:] += number
    path = write_surfaces(tmp_path / "seed3.nc", *made)
    for one in made:
        found = read_surface(path, one.made_by["split"], one.made_by["bn_protocol"])
        np.testing.assert_array_equal(found.loss, one.loss)
        np.testing.assert_array_equal(found.accuracy, one.accuracy)
        np.testing.assert_array_equal(found.mask, one.mask)
        assert found.made_by == one.made_by  # 1,000 images: padding does not count
        assert found.gap() == one.gap()
    with pytest.raises(InputError, match=r"seed3\.nc: no surface with protocol none; it has batch, identity"):
        read_surface(path, "test", "none")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["loss", "accuracy"])
def test_a_surface_that_is_not_finite_is_refused_by_name(name, value, tmp_path):
    made = surface()
    getattr(made, name)[3, 4] = value
    path = write_surfaces(tmp_path / "bad.nc", made)
    with pytest.raises(InputError, match=rf"bad\.nc: 1 of \d+ points have a {name} that is NaN"):
        read_surface(path, "test", "none")


def test_train_stands_on_the_left_of_test():
    train, test = surface(split="train", seed=3), surface(seed=3)
    train.loss[:] *= 0.7
    first, second = (axes.images[0].get_array() for axes in panels(drawn("train_and_test", [train, test]))[::2])
    np.testing.assert_array_equal(first, train.loss)
    np.testing.assert_array_equal(second, test.loss)


def test_study_means_and_deviations_are_those_of_the_seeds():
    table = scores()
    figure = made_up_study(paper=False)
    gap_curves, accuracy_curves = (axes.lines for axes in figure.axes)
    chosen = table[(table["split"] == "test") & (table["control"] == "trained") & (table["bn_protocol"] != "identity")]
    for position, network in enumerate(ALL):
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


def test_one_square_has_no_band_and_says_so():
    figure = made_up_study(seeds=[0])
    assert not any(axes.collections for axes in figure.axes)
    check_texts(figure, "n = 1 run per point")


def test_the_papers_values_are_drawn_for_its_variants_or_left_out():
    counts = {show: [len(axes.lines) for axes in made_up_study(labels=LABELS, paper=show).axes] for show in (True, False)}
    assert counts == {True: [6, 12], False: [3, 6]}
    assert len(made_up_study().axes[0].lines) == 5  # "bn" is no variant of the paper's
    np.testing.assert_allclose(PAPER["accuracy_white"] - PAPER["accuracy_black"], PAPER["accuracy_gap"], atol=0.011)


def test_another_objective_than_the_papers_is_named_below_the_study():
    check_texts(
        made_up_study(objective=(10.0, 1, "mean")),
        "of the mean loss of 1 image at 10 nats; the paper, of 512 images at 5 nats.",
    )
    check_texts(made_up_study(objective=(5.0, 8, "running")), "of a running mean loss, with gradients of 8 images at 5 nats;")
    assert "clamps" not in " ".join(text.get_text() for text in made_up_study().texts)


def test_the_budget_s_curves_go_through_every_state_of_the_training():
    table = scores()
    figure = drawn("budget", scores=table, facts=study_facts(ALL))
    assert [axes.get_title("left") for axes in figure.axes] == [
        "(a) gap",
        "(b) accuracy",
        "(c) objective (nats)",
        "(d) total variation",
    ]
    assert [len(axes.lines) for axes in figure.axes] == [3, 6, 3, 3]
    curve = figure.axes[0].lines[1]
    batch = table.query("network == 'bn' and bn_protocol == 'batch' and split == 'test' and control == 'trained'")
    assert curve.get_xdata().tolist() == [100, 1000]
    np.testing.assert_allclose(curve.get_ydata(), batch["accuracy_gap"].mean())


def test_a_missing_run_is_named():
    table = scores()
    lost = table.query("network == 'bn' and mask == 'square_p50' and seed == 1 and bn_protocol == 'batch'").index
    with pytest.raises(InputError, match="found 0 .* mask square_p50, network bn, seed 1, protocol batch"):
        drawn("study", scores=table.drop(lost), facts=study_facts(ALL))


def test_each_study_is_a_row_and_a_network_has_one_look_in_all():
    figure = made_up_study(ALL, ["bn", "residual"], paper=False)
    first, second = figure.axes[0], figure.axes[2]
    assert [axes.get_title("right") for axes in figure.axes] == ["first", "", "second", ""]
    assert [axes.get_title("left") for axes in figure.axes] == ["(a)", "(b)", "(c)", "(d)"]
    looks = [[(line.get_color(), line.get_marker()) for line in axes.lines] for axes in (first, second)]
    assert len(set(looks[0])) == 3 and looks[1] == looks[0][1:]
    np.testing.assert_allclose(second.lines[0].get_ydata(), first.lines[1].get_ydata())
    assert first.get_ylim() == second.get_ylim()
    assert [text.get_text() for text in figure.legends[0].texts] == ["plain", "bn", "residual", "white", "black"]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("landscapes", {"los_range": "auto"}, "los_range: unknown key"),
        ("landscapes", {"loss_range": [4, 1]}, "loss_range: found [4, 1], expected auto or [low, high], 0 < low < high"),
        ("method", {"loss_range": "wide"}, "loss_range: found 'wide', expected auto or"),
        ("landscapes", {"panels": []}, "panels: found []; tuple should have"),
        ("landscapes", {"panels": [{"mask": "heart"}]}, "panels[0].experiment: missing"),
        ("pictures", {"masks": ["heart", "heart"]}, "masks: found ['heart', 'heart'], expected at least one entry, none twice"),
        ("batchnorm", {"probability": 1.5}, "probability: found 1.5; input should be less than or equal to 1"),
        (
            "batchnorm",
            {"bn_protocol": "none"},
            "bn_protocol: found 'none'; input should be 'batch', 'recalibrated' or 'identity'",
        ),
        ("study", {"studies": []}, "studies: found [], expected at least one entry"),
        ("study", {"labels": {"bn": 1}}, "labels.bn: found 1; input should be a valid string"),
        ("study", {"paper": 1}, "paper: found 1; input should be a valid boolean"),
    ],
)
def test_bad_options_are_named(kind, options, message):
    with pytest.raises(InputError, match=re.escape(f"figures.x.{message}")):
        read(kind_module(kind).Options, "figures.x", {"kind": kind, **NAMES[kind], **options})


def shipped(**figures):
    """The default scale's config with these figures alone."""
    read_yaml = [
        yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8")) for name in ("recipes.yaml", "config.yaml")
    ]
    return {**read_yaml[0], **read_yaml[1], "figures": figures}


def test_each_kind_asks_for_the_surfaces_that_it_draws():
    runs = Runs(check(shipped(**{kind: {"kind": kind, **options} for kind, options in NAMES.items()})))
    asked = {
        name: [(run.mask, run.network, run.seed, *rest) for run, *rest in figure.panels]
        for name, figure in runs.figures.items()
    }
    assert asked["landscapes"] == asked["method"] == asked["drawing"] == [("knight", "conv", 0, "test", "none")]
    square = "batch_norm_study_p50_0"
    both = ("study_plain", 50000, "test", "none"), ("study_batchnorm", 50000, "test", "batch")
    assert asked["batchnorm"] == [(square, *rest) for rest in both]
    assert asked["pictures"] == [(mask, "conv", 0, "test", "none") for mask in ("knight", "anchor")]
    both = [(mask, "conv", 0, split, "none") for mask in ("heart", "star") for split in ("train", "test")]
    assert asked["train_and_test"] == both
    study = runs.figures["study"]
    (row,) = study.facts["studies"]
    assert not study.panels and len(row["runs"]) == 6 and study.facts["objectives"] == [[5.0, 8, "running"]]
    assert json.loads(json.dumps(study.facts)) == study.facts
    assert {name for name in runs.figures if runs.figure_inputs(name)["scores"]} == {"study", "budget"}


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("landscapes", {"panels": [{"experiment": "fashion_pictures", "mask": "owl"}]}, r"figures\.x\.panels\[0\].*'owl'"),
        ("pictures", {"masks": ["knight", "owl"]}, r"figures\.x\.masks\[1\].*'owl'"),
        ("method", {"experiment": "other"}, r"figures\.x.*'other' is not in experiments"),
        ("batchnorm", {"study": "other"}, r"figures\.x\.study.*'other' is not in studies"),
        ("batchnorm", {"probability": 0.4}, r"figures\.x.*probability 0\.4"),
        ("batchnorm", {"square": 3}, r"figures\.x.*square 3"),
        ("study", {"studies": ["batch_norm_study", "other"]}, r"figures\.x\.studies\[1\].*'other'"),
        (
            "study",
            {"labels": {"conv": "plain"}},
            r"figures\.x\.labels\.conv: no network of the studies",
        ),
    ],
)
def test_what_a_figure_asks_for_must_be_there(kind, options, message):
    with pytest.raises(InputError, match=message):
        Runs(check(shipped(x={"kind": kind, **NAMES[kind], **options})))


def test_a_study_has_no_more_networks_than_colours():
    config = shipped(x={"kind": "study", "studies": ["batch_norm_study", "second"]})
    config["networks"] |= {f"n{k}": {"kind": "conv", "channels": [2]} for k in range(4)}
    config["studies"]["second"] = {**config["studies"]["batch_norm_study"], "networks": [f"n{k}" for k in range(4)]}
    config["studies"]["second"]["comparisons"] = None
    with pytest.raises(InputError, match=r"figures\.x\.studies: found the networks study_plain, .*, n3, expected at most 6"):
        Runs(check(config))


def draw_by_command(monkeypatch, kind, spec, *arguments):
    monkeypatch.setattr(sys, "argv", ["draw_figure.py", "--kind", kind, "--spec", json.dumps(spec), *map(str, arguments)])
    draw_figure.main()


def test_the_command_writes_both_files_with_the_runs_inside(tmp_path, monkeypatch):
    paths = [write_surfaces(tmp_path / f"{name}.nc", surface(name=name)) for name in ("heart", "star")]
    options = {"kind": "landscapes", **NAMES["landscapes"], "loss_range": [0.4, 256]}
    spec = {"options": options, "panels": [[path, "test", "none"] for path in paths]}
    draw_by_command(monkeypatch, "landscapes", spec, "--surfaces", *paths, "--output-stem", tmp_path / "out" / "f")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["f.pdf", "f.pdf.json", "f.png", "f.png.json"]
    made_by = json.loads(Image.open(tmp_path / "out" / "f.png").text["Provenance"])
    assert [run["mask"] for run in made_by["surfaces"]] == ["heart", "star"] and "code" in made_by
    assert made_by["options"]["loss_range"] == [0.4, 256] and str(tmp_path) not in json.dumps(made_by)
    with pytest.raises(InputError, match=r"--spec: panels name .*star\.nc, which is not among --surfaces"):
        draw_by_command(monkeypatch, "landscapes", spec, "--surfaces", paths[0], "--output-stem", tmp_path / "g")


def test_the_command_draws_the_study_from_the_scores(tmp_path, monkeypatch):
    save_table(tmp_path / "scores.csv", scores(), {})
    spec = {"options": {"kind": "study", "studies": ["s"], "labels": LABELS}, "panels": [], "facts": study_facts(ALL)}
    arguments = ["--surfaces", "--scores", tmp_path / "scores.csv", "--output-stem", tmp_path / "f"]
    draw_by_command(monkeypatch, "study", spec, *arguments)
    assert json.loads(Image.open(tmp_path / "f.png").text["Provenance"])["facts"] == spec["facts"]


NEW_KIND = """
from matplotlib.figure import Figure
from pydantic import Field

from . import FigureOptions, Needs, Picture

CAPTION = "**Losses** of all points, sorted."


class Options(FigureOptions):
    experiment: str = Field(description="The experiment.")
    mask: str = Field(description="The mask.")
    colour: str = Field("black", description="Of the line.")


def needs(options):
    return Needs([Picture(options.experiment, options.mask)])


def draw(options, surfaces, scores, facts):
    figure = Figure()
    figure.subplots().plot(sorted(surfaces[0].loss.ravel()), color=options.colour, label=f"seed {surfaces[0].made_by['seed']}")
    return figure
"""


def test_a_new_kind_is_one_module_and_a_config_entry(tmp_path):
    scripts = tmp_path / "scripts"
    shutil.copytree(ROOT / "scripts", scripts, ignore=shutil.ignore_patterns("*.npz*", "__pycache__"))
    (scripts / "losspatterns/figures/sorted_losses.py").write_text(NEW_KIND)
    config = shipped(mine={"kind": "sorted_losses", "experiment": "fashion_pictures", "mask": "knight", "colour": "red"})

    def python(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(scripts)}
        done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    asking = "import json, sys; from losspatterns.runs.planning import Runs; from losspatterns.runs.settings import check\n"
    asking += "runs = Runs(check(json.loads(sys.argv[1]))); f = runs.figures['mine']\n"
    asking += "print(json.dumps([f.kind, f.caption, runs.figure_spec('mine'), runs.figure_inputs('mine')]))"
    kind, caption, spec, inputs = json.loads(python("-c", asking, json.dumps(config)))
    assert caption.startswith("**Losses**")
    assert inputs == {"surfaces": ["results/default/surfaces/fashion_mnist/knight/conv/seed0.nc"], "scores": []}
    write_surfaces(tmp_path / inputs["surfaces"][0], surface())
    drawing = ["scripts/draw_figure.py", "--kind", kind, "--spec", spec, "--surfaces", *inputs["surfaces"], "--scores"]
    python(*drawing, "--output-stem", "mine")
    with Image.open(tmp_path / "mine.png") as image:
        red, green, blue = np.asarray(image.convert("RGB")).astype(int).reshape(-1, 3).T
        assert ((red > 200) & (green < 60) & (blue < 60)).sum() > 500
        assert json.loads(image.text["Provenance"])["modules"] == ["losspatterns.figures.sorted_losses"]


def test_wrapped_text_keeps_its_words_and_its_width():
    lines = wrap(SHAPES, 1.2)
    assert " ".join(lines) == SHAPES and len(lines) > 1
    assert wrap(SHAPES, 100.0) == [SHAPES]
