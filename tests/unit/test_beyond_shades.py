"""Grey and colour: targets of the log loss, from the photograph to the verdict."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
import yaml
from configs import layered, runs_of
from figure_checks import check_layout
from helpers import CLASSES, NETWORKS, random_batch, random_network, random_plane
from losspatterns.beyond.shades import Options
from losspatterns.beyond.shown import shades
from losspatterns.data.mask_settings import parse_mask
from losspatterns.data.masks import make_mask, make_targets, preview
from losspatterns.drawing import drawn
from losspatterns.errors import InputError
from losspatterns.figures import drawing
from losspatterns.figures.style import PAGE, gap_text, loss_scale, styled
from losspatterns.figures.surfaces import Surface
from losspatterns.method.images import TrainingImages
from losspatterns.method.objective import HUBER, Shades, channels_of_classes, halves, shade_objective
from losspatterns.method.origin import warm_origin
from losspatterns.method.plane import Plane
from losspatterns.method.settings import Recipe
from losspatterns.method.surface import evaluate_plane
from losspatterns.method.training import Training, run_training
from losspatterns.method.update import plane_gradient
from losspatterns.networks.flat import FlatNetwork
from losspatterns.records.artifacts import load_mask, save_mask, sides
from PIL import Image

ROOT = Path(__file__).parents[2]
RECIPE = yaml.safe_load((ROOT / "config/recipes.yaml").read_text(encoding="utf-8"))["recipes"]["fast"]
PORTRAIT = {"kind": "photograph", "path": "sample:grace_hopper.jpg", "size": [12, 10], "tones": "grey"}
OPTIONS = Options(kind="shades", experiment="e", grey="g", colour="c", two="t")


def test_the_objective_has_the_slope_of_the_huber_error_of_the_log_loss() -> None:
    losses = torch.linspace(0.2, 9, 10, dtype=torch.float64)[:, None].requires_grad_()
    targets, factors = torch.full((10, 1), 0.5, dtype=torch.float64), torch.linspace(1, 2, 10, dtype=torch.float64)
    channels = torch.zeros(10, 1, dtype=torch.int64)
    shade_objective(losses, channels, factors, targets, losses.detach()).backward()
    twin = losses.detach().clone().requires_grad_()
    (factors[:, None] * F.huber_loss(twin.log(), targets, reduction="none", delta=HUBER)).sum().backward()
    torch.testing.assert_close(losses.grad, twin.grad)


def test_an_update_s_gradient_is_that_of_ordinary_modules() -> None:
    """Of two channels: an image's loss counts by its class's channel, at the slope of the running loss."""
    spec = NETWORKS["plain"]
    network = FlatNetwork(copy.deepcopy(random_network(spec).module).double())
    plane = random_plane(random_network(spec), spec)
    plane = plane.with_tensors(torch.Tensor.double)
    coordinates = torch.tensor([[0, 0], [4, 3], [2, 1]])
    images, labels = random_batch(12)
    images, labels = images.double().unflatten(0, (3, 4)), labels.view(3, 4)
    targets, running = torch.rand(3, 2, dtype=torch.float64), 0.5 + 3 * torch.rand(3, 2, dtype=torch.float64)
    factors, channel_of = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64), torch.tensor([0, 0, 0, 1, 1])
    found = plane_gradient(network, plane, coordinates, images, labels, Shades(targets, channel_of, factors, running), 2)

    twin = plane.with_tensors(lambda tensor: tensor.clone().requires_grad_())
    weights, total = twin.weights(coordinates), 0.0
    for k in range(3):
        losses = F.cross_entropy(network(weights[k], images[k]), labels[k], reduction="none")
        for image, label in enumerate(labels[k]):
            c = channel_of[label]
            slope = (running[k, c].log() - targets[k, c]).clamp(-HUBER, HUBER) / running[k, c]
            total = total + factors[k] * slope * losses[image] / 4
            assert found.seen[k, c] == pytest.approx(losses[channel_of[labels[k]] == c].mean().item())
    total.backward()
    for (name, tensor), gradient in zip(twin.tensors().items(), [*found.vectors, found.step], strict=True):
        assert float((gradient - tensor.grad).norm()) <= 1e-9 * float(tensor.grad.norm()) > 0, name


def trained(targets: np.ndarray, updates: int, stop_at: int | None = None) -> Training:
    """A small training for targets; stopped, and gone on with from its saved state, after `stop_at` updates."""
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(CLASSES), 20).astype(np.uint8)
    images = rng.integers(0, 80, (100, 9, 11, 2), dtype=np.uint8)
    images[np.arange(100), labels, 2 * labels] += 150
    changed = {"updates": updates, "images": 4, "white_pixels": 12, "black_pixels": 12, "origin_updates": 60, "step": 0.3}
    recipe, device = Recipe(**{**RECIPE, **changed}), torch.device("cpu")
    origin = warm_origin(NETWORKS["plain"], recipe, images, labels, CLASSES, 3, device)
    given = "toy", recipe, origin, TrainingImages.of(images, labels, CLASSES, recipe, device), targets, 3
    found = Training(*given)
    if stop_at:
        for _ in range(stop_at):
            found.step()
        found.look()
        state, found = copy.deepcopy(found.state_dict()), Training(*given)
        found.load_state_dict(state)
    run_training(found)
    return found


def errors(training: Training, targets: np.ndarray) -> np.ndarray:
    """(stages, channels) root mean square errors of the log losses on the training's own images: untrained, trained."""
    data, start = training.stream.data, trained(targets, 1)
    stages = {"untrained": Plane.of(start.parameters, sides(targets)), "trained": training.plane}
    images = {"train": (data.scaling(data.images.float() / 255), data.labels)}
    channel_of = channels_of_classes(CLASSES, targets.shape[-1])
    found = evaluate_plane(training.network, stages, 0, 1, images, ["none"], channel_of=channel_of)["channel_loss"][1]
    return np.sqrt(((np.log(found[:, 0, 0]) - targets.transpose(2, 0, 1)) ** 2).mean((2, 3)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_training_comes_near_its_targets_in_every_channel(channels: int) -> None:
    rows, columns = np.indices((5, 5))
    ramps = np.stack([rows, columns, 4 - rows], axis=-1)[..., :channels] / 4
    targets = (np.log(0.5) + ramps * np.log(6)).astype(np.float32)
    untrained, after = errors(trained(targets, 300), targets)
    assert (after < 0.6 * untrained).all(), (untrained, after)


def test_a_stopped_training_goes_on_to_the_same_bits() -> None:
    targets = np.linspace(-0.5, 1.5, 48, dtype=np.float32).reshape(4, 4, 3)
    assert torch.equal(trained(targets, 30).parameters, trained(targets, 30, stop_at=17).parameters)


def test_channel_losses_of_a_surface_are_means_over_the_classes_of_a_channel() -> None:
    network = random_network(NETWORKS["plain"])
    plane = random_plane(network, NETWORKS["plain"], (2, 2))
    splits = {"train": random_batch(30), "test": random_batch(20, seed=5)}
    channel_of = channels_of_classes(CLASSES, 3)
    assert channel_of.tolist() == [0, 0, 1, 1, 2]
    found = evaluate_plane(network, {"a": plane, "b": plane}, 0, 1, splits, ["none"], channel_of=channel_of)
    names, losses = found["channel_loss"]
    assert names == ("stage", "split", "protocol", "channel", "row", "column") and losses.shape == (2, 2, 1, 3, 2, 2)
    images, labels = splits["test"]
    with torch.no_grad():
        each = F.cross_entropy(network(plane.weights(torch.tensor([[1, 0]]))[0], images), labels, reduction="none")
    for channel in range(3):
        mean = each[torch.from_numpy(channel_of)[labels] == channel].mean().item()
        assert losses[1, 1, 0, channel, 1, 0] == pytest.approx(mean, rel=1e-4)


def test_the_lower_half_of_the_targets_counts_as_white() -> None:
    signs = halves(np.array([[[3.0], [1.0], [2.0]], [[0.0], [5.0], [4.0]]], dtype=np.float32))
    assert signs.tolist() == [[-1, 1, 1], [1, -1, -1]]


# The photograph


def test_a_photograph_keeps_its_orientation_and_its_box(tmp_path: Path) -> None:
    """The left half of a ramp, light at the top; red grows to the right."""
    ramp = np.zeros((40, 80, 3), dtype=np.uint8)
    ramp[..., 0] = np.linspace(0, 254, 80)
    ramp[..., 1] = np.linspace(200, 0, 40)[:, None]
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    entry = PORTRAIT | {"path": str(tmp_path / "ramp.png"), "size": [10, 10], "across": [0.0, 0.5], "tones": "colour"}
    targets, shown = make_targets("ramp", parse_mask("masks.ramp", entry))
    assert targets.dtype == np.float32 and targets.shape == (10, 10, 3) == shown.shape
    assert (np.diff(shown[..., 1], axis=0) <= 0).all() and (np.diff(shown[..., 0], axis=1) >= 0).all()
    assert (shown[0, :, 1] - shown[-1, :, 1] > 0.8).all() and (shown[:, -1, 0] - shown[:, 0, 0] > 0.3).all()
    assert (targets[0, :, 1] < targets[-1, :, 1]).all()  # dark is a high loss
    assert np.exp(targets.max()) <= 4.0001 and np.exp(targets.min()) >= 0.4999
    assert np.ptp(shown[..., 2]) == 0
    whole, _ = make_targets("ramp", parse_mask("masks.ramp", entry | {"across": [0.0, 1.0], "size": [10, 20]}))
    assert whole[0, -1, 0] < whole[0, 9, 0]


def test_two_tones_are_a_mask_like_any_other() -> None:
    mask, picture = make_mask("p", parse_mask("masks.p", PORTRAIT | {"tones": "two"}))
    assert mask.dtype == np.int8 and mask.shape == (12, 10) == picture.shape
    assert 0.4 < picture.mean() < 0.6
    _, shown = make_targets("p", parse_mask("masks.p", PORTRAIT))
    assert shown[picture].min() >= np.median(shown) >= shown[~picture].max()


@pytest.mark.parametrize(
    "change, line",
    [
        ({"across": [0.8, 0.2]}, r"masks\.p\.across: found \[0\.8, 0\.2\], expected \[left, right\], the second larger"),
        ({"losses": [4.0, 0.5]}, r"masks\.p\.losses: found \[4\.0, 0\.5\], expected \[lightest, darkest\], the second larger"),
        ({"losses": [0.0, 0.5]}, r"masks\.p\.losses\[0\]: found 0\.0; input should be greater than 0"),
        ({"down": [0.5]}, r"masks\.p\.down"),
        ({"across": "all"}, r"masks\.p\.across: found 'all'; input should be a valid tuple"),
        ({"across": ["a", 1]}, r"masks\.p\.across\[0\]: found 'a'; input should be a valid number"),
        ({"tones": "blue"}, r"masks\.p\.tones: found 'blue'; input should be 'two', 'grey' or 'colour'"),
    ],
)
def test_wrong_settings_are_one_line(change: dict, line: str) -> None:
    with pytest.raises(InputError, match=line):
        parse_mask("masks.p", PORTRAIT | change)


def test_a_photograph_without_shades_is_one_line(tmp_path: Path) -> None:
    Image.new("RGB", (30, 30), "grey").save(tmp_path / "grey.png")
    with pytest.raises(InputError, match=r"masks\.p\.path: '.*grey\.png': all pixels are alike, expected a photograph"):
        make_targets("p", parse_mask("masks.p", PORTRAIT | {"path": str(tmp_path / "grey.png")}))


def test_targets_travel_as_a_file(tmp_path: Path) -> None:
    targets, shown = make_targets("p", parse_mask("masks.p", PORTRAIT))
    save_mask(tmp_path / "p.npy", targets, {})
    assert np.array_equal(load_mask(tmp_path / "p.npy"), targets) and sides(targets) == (12, 10)
    assert preview("p", targets, shown).size[1] > 600
    targets[0, 0] = np.nan
    save_mask(tmp_path / "p.npy", targets, {})
    with pytest.raises(InputError, match=r"p\.npy: found float32 \(12, 10, 1\)"):
        load_mask(tmp_path / "p.npy")


def test_a_photograph_can_be_drawn_from_the_command_line() -> None:
    given = {"picture": "sample:grace_hopper.jpg", "shades": "true", "size": 20}
    found = runs_of(drawn(layered("default") | given))
    [mask] = found.used_masks()
    entry = found.masks[mask]
    assert (entry.kind, entry.tones, entry.size) == ("photograph", "grey", 20)
    assert make_targets(mask, entry)[0].shape == (20, 17, 1)  # of 600 x 512


@pytest.mark.parametrize(
    "given, line",
    [
        ({"text": "A"}, "draw: shades: found true with text, expected a photograph, as in picture=photo.jpg"),
        ({"picture": "a.png", "invert": "true"}, "draw: invert: only for two colours; expected none with shades=true"),
        ({"picture": "a.png", "shades": "perhaps"}, "shades: found 'perhaps'; input should be a valid boolean"),
    ],
)
def test_wrong_drawings_of_shades_are_one_line(given: dict, line: str) -> None:
    with pytest.raises(InputError, match=line):
        drawn(layered("default") | {"shades": "true"} | given)


def test_a_photograph_s_figure_shows_its_shades_and_its_likeness() -> None:
    targets = np.linspace(-0.5, 1.5, 12).reshape(3, 4, 1)
    made_by = {"mask": {"name": "p"}, "network": {"name": "n"}, "bn_protocol": "none", "split": "test", "images": 9}
    made_by |= {"dataset": {"label": "d", "name": "d"}, "seed": 0}
    loss = np.exp(2 * targets[..., 0])
    surface = Surface(np.arange(3), np.arange(4), loss, np.full((3, 4), 0.5), halves(targets), made_by, targets)
    assert gap_text(surface) == "rank correlation 1.00"
    assert loss_scale([surface]).colours == "gray_r" and loss_scale([replace(surface, target=None)]).colours == "RdBu_r"
    figure = drawing.draw(drawing.Options(kind="drawing", experiment="e", mask="p"), [surface], None, {})
    picture = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(picture, 1 - np.linspace(0, 1, 12).reshape(3, 4))


# Scores, table, verdict


def surfaces(seeds: int = 3, shape: tuple[int, int] = (9, 8), **quality: float) -> list[tuple[xr.Dataset, dict]]:
    """Made-up surfaces of the three pictures: their targets, blurred with noise, the less the better the quality (0 to 1)."""
    rng, found = np.random.default_rng(1), []
    grey = rng.uniform(-0.5, 1.5, (*shape, 1))
    axes = ("stage", "split", "protocol", "row", "column", "channel")
    names = {"stage": ["untrained", "trained"], "split": ["test"], "protocol": ["none"]}
    for mask, channels in (("g", 1), ("c", 3), ("t", 0)):
        targets = np.repeat(grey, channels or 1, -1) + (rng.normal(0, 0.3, (*shape, 3)) if channels == 3 else 0)
        for seed in range(seeds):
            noise, share = rng.normal(0.5, 0.8, (2, *targets.shape)), np.array([0.0, quality[mask]])[:, None, None, None]
            losses = np.exp(share * targets + (1 - share) * noise)[:, None, None]
            arrays = {"loss": (axes[:-1], losses.mean(-1)), "image_passes": (("stage",), [0, 1000])}
            if channels:
                arrays |= {"channel_loss": (axes, losses), "target": (("mask_row", "mask_column", "channel"), targets)}
            found.append((xr.Dataset(arrays, names), {"mask": {"name": mask}, "seed": seed}))
    return found


def test_the_table_has_all_controls_and_its_numbers_are_the_surfaces() -> None:
    given = surfaces(g=0.9, c=0.9, t=0.5)
    table = shades.table(OPTIONS, None, given)
    assert len(table) == 3 * 3 * (1 + 3 + 1) and set(table["control"]) == {"trained", "untrained", "shuffled"}
    row = table[(table["picture"] == "grey") & (table["seed"] == 1) & (table["control"] == "trained")].iloc[0]
    data = given[1][0]
    losses, target = data["channel_loss"].values[1, 0, 0, :, :, 0], data["target"].values[..., 0]
    ranks = [pd.Series(values.ravel()).rank() for values in (losses, target)]
    assert row["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    shown = np.clip((target.max() - np.log(losses)) / np.ptp(target), 0, 1)
    wanted = (target.max() - target) / np.ptp(target)
    assert row["psnr"] == pytest.approx(-10 * np.log10(np.mean((shown - wanted) ** 2)))


@pytest.mark.parametrize(
    ("quality", "seeds", "there", "side"),
    [
        ({"g": 0.9, "c": 0.9, "t": 0.3}, 3, "is there", "higher"),
        ({"g": 0.0, "c": 0.0, "t": 0.9}, 3, "is not told apart from the controls", "lower"),
        ({"g": 0.9, "c": 0.9, "t": 0.3}, 1, "has one seed, so no interval", "not told apart"),
    ],
)
def test_the_verdict_follows_from_the_table(quality: dict[str, float], seeds: int, there: str, side: str) -> None:
    text = shades.verdict(OPTIONS, shades.table(OPTIONS, None, surfaces(seeds, **quality)))
    assert all(f"The {picture} photograph {there}" in text for picture in ("grey", "colour"))
    assert f"Grey targets against two tones, Spearman: {side}" in text and "nan" not in text


def test_the_figure_shows_the_losses_as_shades() -> None:
    given = surfaces(g=1.0, c=1.0, t=0.5)
    figure = shades.draw(OPTIONS, shades.table(OPTIONS, None, given), given)
    images = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(images) == 7 and not np.allclose(images[1], images[0])
    np.testing.assert_allclose(images[3], images[0])  # grey targets reached: the photograph itself
    np.testing.assert_allclose(images[6], images[4])


@pytest.mark.parametrize("shape", [(60, 3), (3, 60)])
def test_the_figure_fits_on_a_page_whatever_its_photograph(shape: tuple[int, int]) -> None:
    given = surfaces(g=1.0, c=1.0, t=0.5, seeds=1, shape=shape)
    figure = styled(shades.draw)(OPTIONS, shades.table(OPTIONS, None, given), given)
    check_layout(figure)
    assert figure.get_size_inches()[1] <= PAGE
