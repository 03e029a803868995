"""Training: it lowers the objective, repeats to the bit, and refuses what cannot be trained."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import Interrupting, assert_moved_alike
from losspatterns.errors import InputError, Stopped
from losspatterns.method import training
from losspatterns.method.images import Epochs, TrainingImages, augment
from losspatterns.method.objective import HARD, tau_at
from losspatterns.method.origin import Origin, warm_origin
from losspatterns.method.plane import Plane
from losspatterns.method.settings import Recipe
from losspatterns.method.training import Training, run_training
from losspatterns.networks.flat import FlatNetwork
from losspatterns.networks.modules import build
from losspatterns.networks.settings import AnyNetwork, ConvNetwork, ResNetwork
from losspatterns.records.state import StateFile

NETWORK = ConvNetwork(channels=(), dense=(16, 16))
SNAPSHOTS = (2, 5, 11)
MASK = np.array([[1, 1, -1, 0], [1, -1, -1, 0], [1, 1, -1, -1]], np.int8)
RECIPE = dict(
    updates=30,
    white_pixels=3,
    black_pixels=3,
    pixel_sampling="independent",
    images=16,
    shared_images=True,
    tau=4.0,
    clamp="mean",
    optimizer="adam",
    learning_rate=0.003,
    direction_rate=1.0,
    schedule="linear",
    warm_up=0.1,
    total_clip=100.0,
    step=0.2,
    learn_step=True,
    origin_updates=20,
    origin_images=16,
    origin_learning_rate=0.01,
    standardise=True,
    augmentation="none",
    precision="float32",
    pixels_per_chunk=4,
)


def toy_images(count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Four classes of 8 x 8 images, told apart by which quarter is bright."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, count)
    images = rng.integers(0, 120, (count, 8, 8, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[label // 2 * 4 :, label % 2 * 4 :][:4, :4] += 100
    return images, labels


def prepared(seed: int = 0, mask: np.ndarray = MASK, network: AnyNetwork = NETWORK, **changes) -> Training:
    """A small training before its first update."""
    images, labels = toy_images()
    recipe = Recipe(**{**RECIPE, **changes})
    origin = warm_origin(network, recipe, images, labels, 4, seed, torch.device("cpu"))
    data = TrainingImages.of(images, labels, 4, recipe, torch.device("cpu"))
    return Training("toy/run", recipe, origin, data, mask, seed)


def run(state: StateFile | None = None, **changes) -> Training:
    """A small training run."""
    small = prepared(**changes)
    run_training(small, state, snapshot_updates=SNAPSHOTS)
    return small


def column(small: Training, name: str) -> list[float]:
    """A column of the history."""
    return [row[name] for row in small.history]


def untimed(small: Training) -> list[dict[str, float]]:
    """The history without the clock."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in small.history]


PLAIN = ConvNetwork(channels=(4,), dense=(8,))
BATCH_NORM = ConvNetwork(channels=(4,), dense=(8,), batch_norm=True)
RESIDUAL = ConvNetwork(channels=(4, 4), dense=(8,), residual=True, pool=False)
FAST = {"optimizer": "soap", "shared_images": False, "learn_step": False, "hard_weight": 4.0}


@pytest.mark.parametrize("network", [BATCH_NORM, PLAIN, RESIDUAL, ResNetwork(channels=(4, 6))])
@pytest.mark.parametrize("changes", [FAST, {"augmentation": "crop_flip_cutout"}], ids=["fast", "paper"])
def test_updates_do_not_wait_for_a_device(network: AnyNetwork, changes: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """On `meta`, whose tensors have shapes but no numbers, all that would wait for a number raises, and so does mixing it with
    the host. A training takes the same way there as on a GPU; its first look at the numbers comes after ten updates."""
    updates, gradient = [], training.plane_gradient
    monkeypatch.setattr(training, "plane_gradient", lambda *given, **more: updates.append(given) or gradient(*given, **more))
    (images, labels), recipe, meta = toy_images(), Recipe(**{**RECIPE, **changes}), torch.device("meta")
    warmed = []
    with pytest.raises(RuntimeError, match="meta tensors"):  # asks whether the weights are finite, at the end
        warm_origin(network, recipe, images, labels, 4, 0, meta, warmed.append)
    assert len(warmed) == RECIPE["origin_updates"]
    here = warm_origin(network, recipe, images, labels, 4, 0, torch.device("cpu"))
    there = FlatNetwork(here.network.module.to(meta))
    vectors = (here.origin, here.right_parameter, here.up_parameter)
    origin = Origin(*(vector.to(meta) for vector in vectors), there, here.scaling, here.initialised)
    data = TrainingImages.of(images, labels, 4, recipe, meta)
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        run_training(Training("toy/run", recipe, origin, data, MASK, 0))
    assert len(updates) == training.CHECK_INTERVAL == 10
    assert all(value.device.type == "meta" for value in updates[0] if isinstance(value, torch.Tensor))


@pytest.mark.parametrize(
    "changes",
    [
        {"augmentation": "crop_flip_cutout"},
        {"optimizer": "soap", "learn_step": False, "pixel_sampling": "epochs", "white_pixels": 2},
        {"optimizer": "soap", "network": PLAIN, "shared_images": False},
        {"clamp": "running", "images": 2, "shared_images": False, "tau": 1.5},
        {"network": BATCH_NORM, "updates": 12},
        {"network": BATCH_NORM, "updates": 12, "precision": "bfloat16"},
    ],
)
def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path: Path, changes: dict) -> None:
    untouched = run(**changes)
    after = [1, 1, 3, 7] + [11] * ("updates" not in changes)  # with the last one: 23 updates of 30
    stops = len(after)
    for _ in range(stops):
        with Interrupting(tmp_path / "state.safetensors", after) as state, pytest.raises(Stopped):
            run(state=state, **changes)
    with Interrupting(tmp_path / "state.safetensors", []) as state:
        resumed = run(state=state, **changes)
    assert not after
    for name, tensor in untouched.plane.tensors().items():
        assert torch.equal(tensor, resumed.plane.tensors()[name]), name
    assert untimed(untouched) == untimed(resumed)
    assert torch.equal(untouched.objective.running.nan_to_num(), resumed.objective.running.nan_to_num())
    assert list(untouched.snapshots) == list(resumed.snapshots) == list(SNAPSHOTS)
    assert all(torch.equal(untouched.snapshots[update], resumed.snapshots[update]) for update in SNAPSHOTS)
    assert [list(map(type, row.values())) for row in untouched.history] == [
        list(map(type, r.values())) for r in resumed.history
    ]
    assert column(resumed, "seconds") == sorted(column(resumed, "seconds"))


def test_a_running_loss_is_a_mean_of_the_pixel_s_own_losses() -> None:
    """All pixels in every update: the first loss as it is, then a mean in which the newest counts 2 B / (N + B)."""
    small = prepared(white_pixels=9, black_pixels=9, images=4, shared_images=False, clamp="running", running_images=12)
    for update in range(3):
        known = small.objective.running.clone()
        small.step()
        coordinates = MASK != 0
        assert small.objective.running.isnan().equal(torch.from_numpy(~coordinates))
        if update:
            share = 2 * 4 / (12 + 4)
            newest = (small.objective.running - known * (1 - share)) / share
            means = [newest[torch.from_numpy(sign == MASK)].mean() for sign in (1, -1)]
            row = small.look()
            assert [row["loss_white"], row["loss_black"]] == pytest.approx([float(mean) for mean in means], rel=1e-4)
        else:
            small.look()


def test_a_snapshot_is_the_plane_at_its_update(tmp_path: Path) -> None:
    whole, part = run(schedule="constant"), run(schedule="constant", updates=5)
    found = Plane.of(whole.snapshots[5], MASK.shape)
    assert list(part.snapshots) == [2, 5]
    for name, tensor in part.plane.tensors().items():
        assert torch.equal(tensor, found.tensors()[name]), name


def test_trained_pixels_come_apart() -> None:
    done = run(updates=300)
    assert column(done, "update") == list(range(1, 301))
    gap, white, black = (column(done, name) for name in ("accuracy_gap", "loss_white", "loss_black"))
    assert np.mean(gap[-30:]) > 0.5 > gap[0] + 0.2
    assert np.mean(white[-30:]) < np.mean(black[-30:])
    assert done.history[-1]["image_passes"] == 300 * 6 * 16
    assert column(done, "seconds") == sorted(column(done, "seconds"))


@pytest.mark.parametrize("changes", [{}, {"optimizer": "soap"}, {"shared_images": False, "network": BATCH_NORM}])
def test_the_same_seed_gives_the_same_bits_and_another_does_not(changes: dict) -> None:
    untrained, first, second, other = prepared(**changes), run(**changes), run(**changes), run(seed=1, **changes)
    for name, tensor in first.plane.tensors().items():
        assert torch.equal(tensor, second.plane.tensors()[name]), name
    assert not torch.equal(first.plane.origin, other.plane.origin)
    assert not torch.equal(first.plane.origin, untrained.plane.origin)


@pytest.mark.parametrize(("learn", "moves"), [(True, True), (False, False)])
@pytest.mark.parametrize("optimizer", ["adam", "soap"])
def test_the_step_moves_only_if_it_is_learned(optimizer: str, learn: bool, moves: bool) -> None:
    step = run(optimizer=optimizer, learn_step=learn).plane.step
    assert (float(step) != np.float32(RECIPE["step"])) == moves


def test_chunks_change_memory_not_the_result() -> None:
    assert_moved_alike(prepared().plane, run(pixels_per_chunk=6).plane, run(pixels_per_chunk=1).plane, 1e-4)


def test_published_procedure_step_by_step() -> None:
    """One pixel of each colour: no randomness in the draws, so a plain loop with ordinary modules can follow."""
    mask = np.array([[1, 0, 0], [0, 0, -1], [0, 0, 0]], np.int8)
    changes = dict(updates=5, white_pixels=1, black_pixels=1, images=200, schedule="constant", origin_updates=0, tau=9.0)
    initial, result = prepared(mask=mask, **changes).plane, run(mask=mask, **changes)
    images, labels = toy_images()
    x = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    x = ((x - x.mean()) / x.std(correction=0)).float()
    y = torch.from_numpy(labels)
    plane = initial.with_tensors(lambda tensor: tensor.clone().requires_grad_())
    network = FlatNetwork(build(NETWORK, (1, 8, 8), 4))
    optimizer = torch.optim.Adam(plane.tensors().values(), RECIPE["learning_rate"])
    for _ in range(5):
        _, right_parameter, up_parameter = plane.vectors
        right = right_parameter - plane.origin
        up = up_parameter - right * (up_parameter @ right) / (right @ right)
        up = up * right.norm() / up.norm()
        white = F.cross_entropy(network(plane.origin + plane.step * (-1 * up - 1 * right), x), y)
        black = F.cross_entropy(network(plane.origin + plane.step * (0 * up + 1 * right), x), y)
        optimizer.zero_grad()
        (white - black.clamp(max=9.0)).backward()
        torch.nn.utils.clip_grad_norm_(plane.vectors, 100.0)
        optimizer.step()
    assert_moved_alike(initial, result.plane, plane, 1e-4)


def warmed(network: AnyNetwork = NETWORK, **changes) -> Origin:
    """The toy images' origin."""
    images, labels = toy_images()
    return warm_origin(network, Recipe(**{**RECIPE, **changes}).of_origin, images, labels, 4, 0, torch.device("cpu"))


def test_an_origin_without_warm_up_is_three_independent_initialisations() -> None:
    origin = warmed(origin_updates=0)
    vectors = torch.stack([origin.origin, origin.right_parameter, origin.up_parameter])
    bound = 1 / np.sqrt(64)  # torch's own rule for the first dense layer of 64 inputs
    for tensor in vectors:
        assert 0.9 * bound < tensor[: 16 * 64].abs().max() <= bound
    assert torch.corrcoef(vectors).fill_diagonal_(0).abs().max() < 0.1
    assert float(origin.plane(0.2, (3, 4)).step) == pytest.approx(0.2)


@pytest.mark.parametrize("network", [NETWORK, PLAIN, BATCH_NORM])
def test_the_warm_up_is_ordinary_training(network: AnyNetwork) -> None:
    """All images in every batch: torch's module, Adam and plain autograd follow, and right - origin stays."""
    cold, warm = warmed(network, origin_updates=0), warmed(network, origin_updates=5, origin_images=200)
    images, labels = toy_images()
    inputs = warm.scaling(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    module = cold.network.ordinary(cold.origin.clone())
    optimizer = torch.optim.Adam(module.parameters(), RECIPE["origin_learning_rate"])
    for _ in range(5):
        optimizer.zero_grad()
        F.cross_entropy(module(inputs), torch.from_numpy(labels)).backward()
        optimizer.step()
    with torch.no_grad():  # not the weights: rounding alone moves biases that a batch norm takes away again
        torch.testing.assert_close(warm.network(warm.origin, inputs), module(inputs), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(warm.origin, cold.origin, atol=1e-3)
    torch.testing.assert_close(warm.right_parameter - warm.origin, cold.right_parameter - cold.origin)
    assert torch.equal(warm.up_parameter, cold.up_parameter)


def test_a_plane_of_more_axes_goes_on_with_the_seed_s_initialisations() -> None:
    origin = warmed()
    three, five = (origin.plane(0.2, shape).vectors for shape in ((3, 4), (2, 2, 2, 2)))
    assert [len(origin.plane(0.2, (2,) * axes).vectors) for axes in range(1, 7)] == [2, 3, 4, 5, 6, 7]
    assert all(map(torch.equal, three, five)) and not torch.equal(five[3], five[4])
    assert all(map(torch.equal, five, warmed().plane(0.2, (2, 2, 2, 2)).vectors))
    bound = 1 / np.sqrt(64)
    assert 0.9 * bound < five[4][: 16 * 64].abs().max() <= bound


@pytest.mark.parametrize("optimizer", ["adam", "soap"])
@pytest.mark.parametrize("shape", [(8,), (2, 2, 2), (2, 2, 2, 2, 2, 2)])
def test_a_picture_of_any_number_of_axes_is_trained(shape: tuple[int, ...], optimizer: str) -> None:
    mask = np.resize(np.array([1, -1], np.int8), np.prod(shape)).reshape(shape)
    trained = run(mask=mask, optimizer=optimizer)
    assert len(trained.plane.vectors) == len(shape) + 1
    start = prepared(mask=mask, optimizer=optimizer).plane
    moved = [float((now - before).norm()) for now, before in zip(trained.plane.vectors, start.vectors, strict=True)]
    assert min(moved) > 1e-3
    assert trained.history[-1]["loss_black"] > trained.history[-1]["loss_white"]


def test_the_origin_depends_on_the_warm_up_alone_and_a_training_leaves_it_as_it_was() -> None:
    other = {"updates": 7, "learning_rate": 0.1, "optimizer": "soap", "tau": 1.0, "images": 3, "pixels_per_chunk": None}
    one, same = warmed(), warmed(**other)
    assert torch.equal(one.origin, same.origin) and torch.equal(one.right_parameter, same.right_parameter)
    assert not torch.equal(one.origin, warmed(origin_updates=21).origin)
    before = one.origin.clone()
    images, labels = toy_images()
    recipe = Recipe(**RECIPE)
    data = TrainingImages.of(images, labels, 4, recipe, torch.device("cpu"))
    results = []
    for _ in range(2):
        small = Training("toy/run", recipe, one, data, MASK, 0)
        run_training(small)
        results.append(small.plane.origin)
    assert torch.equal(*results) and torch.equal(one.origin, before)


def test_tau_falls_during_training() -> None:
    changes = {"updates": 20, "tau": 0.5, "tau_start": 8.0, "origin_updates": 0}
    taus = [tau_at(Recipe(**RECIPE | changes), update) for update in range(21)]
    assert taus[:5] == [8.0] * 5 and taus[12] == pytest.approx(2.0) and taus[20] == pytest.approx(0.5)
    assert all(before > after for before, after in zip(taus[4:20], taus[5:21], strict=True))
    falling, high, low = run(**changes), run(**changes | {"tau": 8.0}), run(**changes | {"tau_start": None})
    losses = [column(small, "loss_black") for small in (falling, high, low)]
    assert losses[0][:6] == losses[1][:6] != losses[2][:6]  # what an update does shows in the next one's losses
    assert losses[1][-1] > losses[0][-1] > losses[2][-1]


def test_hard_pixels_weigh_more_after_a_fifth_of_the_updates() -> None:
    """Black ones with a low running loss; what is white, above HARD, or not known yet weighs as before."""
    small = prepared(updates=10, hard_weight=4.0)
    black, white = small.signs < 0, small.signs > 0
    running = torch.where(torch.arange(len(black)) % 2 == 0, HARD - 0.1, HARD + 0.1)
    running[black.nonzero()[-1]] = torch.nan
    for update in range(4):
        hard = black & (running < HARD) if update >= 2 else torch.zeros_like(black)
        assert hard.any() == (update >= 2) and not hard[white].any()
        coordinates = torch.cat([small.pixels[sign][: small.drawn[sign]] for sign in (1, -1)])
        small.objective.running[*coordinates.unbind(1)] = running
        weights = small.objective.at(update, coordinates, small.signs, small.factors).factors / small.factors
        assert torch.equal(weights, torch.where(hard, 4.0, 1.0))
        small.step()


def test_a_warm_up_that_diverges_is_told() -> None:
    with pytest.raises(InputError, match="no longer finite; lower the origin_learning_rate"):
        warmed(origin_learning_rate=1e30, origin_updates=50)


@pytest.mark.parametrize(("mask", "colour"), [(np.ones((3, 3), np.int8), "black"), (-np.ones((3, 3), np.int8), "white")])
def test_a_mask_without_a_colour_is_refused(mask: np.ndarray, colour: str) -> None:
    with pytest.raises(InputError, match=f"toy/run.*no {colour} pixel"):
        run(mask=mask)


@pytest.mark.parametrize("optimizer", ["adam", "soap"])
def test_divergence_stops_with_run_and_update(optimizer: str) -> None:
    with pytest.raises(InputError, match=r"toy/run: update \d+: .*no longer finite.*learning_rate") as caught:
        run(updates=200, learning_rate=1e30, total_clip=None, optimizer=optimizer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sampling", ["epochs", "independent"])
def test_pixels_are_drawn_in_epochs_or_independently(sampling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, gradient = [], training.plane_gradient
    monkeypatch.setattr(training, "plane_gradient", lambda *all, **more: drawn.append(all[2]) or gradient(*all, **more))
    run(white_pixels=2, black_pixels=2, pixel_sampling=sampling, updates=30)  # of 5 and 5
    for sign, part in ((1, slice(2)), (-1, slice(2, 4))):
        chosen = [tuple(pixel) for pixels in drawn for pixel in pixels[part].tolist()]
        assert {int(MASK[pixel]) for pixel in chosen} == {sign}
        rounds = [set(chosen[k : k + 5]) for k in range(0, len(chosen), 5)]
        assert all(len(pixels) == 5 for pixels in rounds) == (sampling == "epochs")
        assert len(rounds) == 12 and len({tuple(chosen[k : k + 5]) for k in range(0, len(chosen), 5)}) > 6


def test_every_index_comes_once_an_epoch() -> None:
    take = Epochs(10, torch.Generator().manual_seed(0)).take
    first = torch.cat([take(4), take(4), take(2)])
    assert sorted(first.tolist()) == list(range(10))
    second = take(25)
    assert sorted(second[:10].tolist()) == list(range(10)) and sorted(second[10:20].tolist()) == list(range(10))


def test_augmentation_crops_flips_and_cuts() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.arange(1, 12 * 12 + 1).float().view(1, 1, 12, 12).expand(400, 2, 12, 12)
    made = augment(images, generator)
    assert made.shape == images.shape and torch.equal(made[:, 0], made[:, 1])
    flipped = unflipped = whole = 0
    for image in made[:, 0]:
        seen = image[:, :-1][(image[:, :-1] > 0) & (image[:, 1:] > 0)], image[:, 1:][(image[:, :-1] > 0) & (image[:, 1:] > 0)]
        steps = set((seen[1] - seen[0]).tolist())
        assert steps in ({1.0}, {-1.0})  # neighbours stay neighbours, in one of the two directions
        flipped, unflipped = flipped + (steps == {-1.0}), unflipped + (steps == {1.0})
        rows, columns = (image > 0).any(1), (image > 0).any(0)
        whole += bool((image > 0)[rows][:, columns].all())
    assert 150 < flipped < 250
    assert 150 < whole < 350  # without a hole: half of them, and holes at the border count as none


def test_a_training_may_start_with_other_pixels_and_images() -> None:
    """Its first part draws and counts what `start` says, tau falls during it, and a resumed run goes on to the same bits."""
    start = {"share": 0.5, "white_pixels": 5, "black_pixels": 4, "images": 1}
    changes = {"updates": 8, "images": 6, "tau": 1.0, "tau_start": 4.0, "start": start, "pixels_per_chunk": None}
    training = prepared(**changes, shared_images=False)
    shapes, taken = [], training.stream.take
    training.stream.take = lambda *shape: shapes.append(shape) or taken(*shape)
    run_training(training)
    assert shapes == [(9, 1)] * 4 + [(6, 6)] * 4
    assert [row["image_passes"] for row in training.history] == [9, 18, 27, 36, 72, 108, 144, 180]
    assert training.recipe.passes(8, 5, 5) == 180
    taus = [tau_at(training.recipe, update) for update in range(8)]
    assert taus[0] == 4.0 and taus[4:] == [1.0] * 4 and taus == sorted(taus, reverse=True)
    for stop in (3, 4, 6):
        first, second = (prepared(**changes, shared_images=False) for _ in range(2))
        for _ in range(stop):
            first.step()
        first.look()
        second.load_state_dict(first.state_dict())
        run_training(second)
        assert torch.equal(second.parameters, training.parameters), stop
