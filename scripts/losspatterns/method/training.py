"""Training a plane: `Training` makes one update at a time, `run_training` is the loop around it.

An update draws pixels and images, sums the pixels' gradients (`update.plane_gradient`), clips the sum and takes one step of the
optimizer. Random numbers come from one CPU generator per run, so a run depends on its settings, its origin and its seed alone.
"""

import math
import time
from collections.abc import Callable, Container
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..records.state import StateFile, flatten
from .devices import send, with_less_memory
from .images import Epochs, ImageStream, TrainingImages
from .objective import Objective, halves, pixel_factors
from .optimizers import OPTIMIZERS
from .origin import Origin
from .plane import Plane
from .settings import Recipe
from .update import PlaneGradient, chunk_for, plane_gradient

REMEDY = "lower the learning_rate or the step of this run's recipe"
CHECK_INTERVAL = 10  # updates between two looks at the numbers (each one waits for the device)
FIRST = 16  # the first snapshot or look comes after 1 / FIRST of the updates
COLORS = {1: "white", -1: "black"}
COLORED = ("loss_white", "loss_black", "accuracy_white", "accuracy_black")
OTHERS = ("step", "origin_norm", "direction_norm", "angle_degrees", "gradient_norm")


class Training:
    """A plane in training: `step()` makes one update, `look()` fetches what the updates since the last look measured.

    `plane`: the plane as it is now; `history`: a row per update; `seconds`: what steps and looks took; `snapshots`: what `keep`
    kept, by update; `objective`: what the updates minimise, with the pixels' running losses.
    """

    def __init__(self, run: str, recipe: Recipe, origin: Origin, images: TrainingImages, mask: np.ndarray, seed: int) -> None:
        """Of a plane whose loss surface is to show `mask` (H, W), int8: +1 white, -1 black, 0 not trained.

        Or (H, W, C), float32: a picture of shades, the log loss that each pixel is to have on the images of each channel
        (`channels_of_classes`). Of those, the half with lower targets is sampled and reported as white, the other as black.
        `run` names the run in errors. InputError if the mask lacks a colour.
        """
        picture, mask = mask, halves(mask) if mask.dtype == np.float32 else mask
        for sign, color in COLORS.items():
            if not (mask == sign).any():
                raise InputError(f"{run}: the mask has no {color} pixel to train; a picture needs both colours")
        self.run, self.recipe, self.network = run, recipe, origin.network
        self.device = origin.origin.device
        untrained = origin.plane(recipe.step, mask.shape)
        # All parameters are one tensor: the vectors, then the step. The plane's tensors are views of it.
        self.parameters = torch.cat([tensor.flatten() for tensor in untrained.tensors().values()])
        self.plane = Plane.of(self.parameters, mask.shape)
        rates = torch.tensor([1.0, *[recipe.direction_rate] * mask.ndim])
        factors = torch.cat([rates.repeat_interleave(origin.network.size), torch.tensor([float(recipe.learn_step)])])
        self.optimizer = OPTIMIZERS[recipe.optimizer](self.parameters, factors.to(self.device), origin.network.shapes)
        self.generator = torch.Generator().manual_seed(seed)
        self.stream = ImageStream(images, self.generator)
        self.pixels = {sign: torch.from_numpy(np.argwhere(mask == sign)) for sign in COLORS}
        self.epochs = {sign: Epochs(len(pixels), self.generator) for sign, pixels in self.pixels.items()}
        self.precision = getattr(torch, recipe.precision)
        self.objective = Objective(recipe, picture, images.classes, self.device)
        self.snapshots: dict[int, Tensor] = {}
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self._pending: list[Tensor] = []
        self._prepare_draws()

    @property
    def updates(self) -> int:
        """How many updates have been made."""
        return len(self.history) + len(self._pending)

    def _prepare_draws(self) -> None:
        """Take up what the recipe says of the next update's pixels and images."""
        self.draws = draws = self.recipe.drawn_at(self.updates)
        asked = {1: draws.white_pixels, -1: draws.black_pixels}
        self.drawn = {sign: min(len(self.pixels[sign]), asked[sign]) for sign in COLORS}
        self.signs = torch.cat([torch.full((self.drawn[sign],), float(sign)) for sign in COLORS]).to(self.device)
        self.factors = torch.cat([pixel_factors(self.drawn[sign], asked[sign]) for sign in COLORS]).to(self.device)
        image_shape = self.stream.data.images.shape[1:]
        self.chunk = self.recipe.pixels_per_chunk or chunk_for(
            self.network, image_shape, draws.images, self.device, self.precision
        )

    @torch.no_grad()
    def step(self) -> None:
        """One update. InputError if the optimizer meets numbers that are not finite."""
        started = time.perf_counter()
        recipe = self.recipe
        found = self.gradient()
        norm = torch.linalg.vector_norm(found.vectors)
        if recipe.total_clip is not None:
            found.vectors *= (recipe.total_clip / (norm + 1e-6)).clamp(max=1.0)
        gradient = torch.cat([found.vectors.flatten(), found.step.view(1)])
        try:
            self.optimizer.step(gradient, recipe.learning_rate * scheduled(recipe, self.updates))
        except torch.linalg.LinAlgError:  # of numbers that are not finite: SOAP meets them before `look` does
            raise InputError(f"{self.run}: update {self.updates + 1}: the numbers are no longer finite; {REMEDY}") from None
        self._pending.append(self._measures(found, norm))
        self.seconds += time.perf_counter() - started

    def gradient(self) -> PlaneGradient:
        """Draw pixels and images for one update; the objective's gradient by them. Their losses enter the running ones."""
        recipe = self.recipe
        if recipe.drawn_at(self.updates) is not self.draws:
            self._prepare_draws()
        count = self.draws.images
        coordinates = send(torch.cat([self._draw(sign) for sign in COLORS]), self.device)
        shape = (count,) if recipe.shared_images else (len(coordinates), count)
        images, labels = self.stream.take(*shape)
        objective = self.objective.at(self.updates, coordinates, self.signs, self.factors)
        arguments = self.network, self.plane, coordinates, images, labels, objective
        with torch.enable_grad():
            found, self.chunk = with_less_memory(
                f"{self.run}: pixels_per_chunk", partial(plane_gradient, *arguments, precision=self.precision), self.chunk
            )
        self.objective.remember(coordinates, objective.running, found.seen, count)
        return found

    def keep(self) -> None:
        """Keep the plane as it is now among the snapshots."""
        self.snapshots[self.updates] = self.parameters.to("cpu", copy=True)

    def _draw(self, sign: int) -> Tensor:
        """Coordinates (K, 2) of a colour's pixels for one update."""
        pixels, count = self.pixels[sign], self.drawn[sign]
        if self.recipe.pixel_sampling == "epochs":
            return pixels[self.epochs[sign].take(count)]
        return pixels[torch.randperm(len(pixels), generator=self.generator)[:count]]

    def _measures(self, found: PlaneGradient, norm: Tensor) -> Tensor:
        """COLORED, then OTHERS, of an update, as one tensor that nobody has to wait for."""
        plane, white = self.plane, self.drawn[1]
        right = plane.vectors[1] - plane.origin
        up = right if len(plane.shape) == 1 else plane.vectors[2]
        lengths = torch.linalg.vector_norm(torch.stack([plane.origin, right, up]), dim=1)
        cosine = ((right @ up) / (lengths[1] * lengths[2])).clamp(-1, 1)
        pixels = torch.stack([found.losses, found.accuracies])
        means = torch.stack([pixels[:, :white].mean(1), pixels[:, white:].mean(1)], dim=1).flatten()
        return torch.cat([means, torch.stack([plane.step, *lengths[:2], torch.rad2deg(torch.acos(cosine)), norm])])

    def look(self) -> dict[str, float]:
        """Wait for the device and put the updates since the last look into the history; its last row.

        InputError if a number is not finite.
        """
        started = time.perf_counter()
        table = torch.stack(self._pending).double().cpu().tolist()
        self.seconds += time.perf_counter() - started
        counts = [len(self.pixels[sign]) for sign in COLORS]
        self._pending.clear()
        for values in table:
            update, row = len(self.history) + 1, dict(zip(COLORED, values[:4], strict=True))
            if not all(map(math.isfinite, values)):
                losses = f"loss of white pixels {row['loss_white']}, of black pixels {row['loss_black']}"
                raise InputError(f"{self.run}: update {update}: the numbers are no longer finite ({losses}); {REMEDY}")
            row["accuracy_gap"] = row["accuracy_white"] - row["accuracy_black"]
            spent = {"update": update, "image_passes": self.recipe.passes(update, *counts), "seconds": round(self.seconds, 3)}
            more = dict(zip(OTHERS, values[4:], strict=True))
            self.history.append({**spent, **row, **more, "rate": scheduled(self.recipe, update - 1)})
        return self.history[-1]

    @property
    def nbytes(self) -> int:
        """Bytes that the training keeps from update to update: the plane's parameters and the optimizer's state."""
        tensors: dict[str, Tensor] = {}
        flatten(self.optimizer.state_dict(), tensors)
        return self.parameters.nbytes + sum(tensor.nbytes for tensor in tensors.values())

    def state_dict(self) -> dict[str, Any]:
        """All that a later run needs to go on to the same bits. To be asked for after a `look`."""
        return {
            "parameters": self.parameters,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "queues": [self.stream.epochs.queue, *(self.epochs[sign].queue for sign in COLORS)],
            "chunk": self.chunk,
            "running": self.objective.running,
            "snapshots": self.snapshots,
            "seconds": self.seconds,
            "columns": list(self.history[0]),
            "history": torch.tensor([list(row.values()) for row in self.history], dtype=torch.float64),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.parameters.copy_(state["parameters"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.stream.epochs.queue, *queues = state["queues"]
        for sign, queue in zip(COLORS, queues, strict=True):
            self.epochs[sign].queue = queue
        self.objective.running.copy_(state["running"])
        self.snapshots, self.seconds = state["snapshots"], state["seconds"]
        self.history = [dict(zip(state["columns"], row, strict=True)) for row in state["history"].tolist()]
        for row in self.history:
            row |= {name: int(row[name]) for name in ("update", "image_passes")}
        self._prepare_draws()
        self.chunk = state["chunk"]


def scheduled(recipe: Recipe, update: int) -> float:
    """The learning rate's factor at an update (counted from 0)."""
    if recipe.schedule == "constant":
        return 1.0
    rising = recipe.warm_up * recipe.updates
    return min(1.0, (update + 1) / rising if rising else 1.0) * (1 - update / recipe.updates)


def log_spaced(updates: int, count: int) -> list[int]:
    """At most `count` numbers of updates from updates / FIRST on, evenly spaced in their logarithm; the last is `updates`."""
    return sorted({max(1, round(at)) for at in np.geomspace(updates / FIRST, updates, count)[:-1]} | {updates})


def snapshot_updates(recipe: Recipe, count: int) -> list[int]:
    """After which updates a training keeps `count` snapshots: at most so many, and none at its end."""
    return log_spaced(recipe.updates, count + 1)[:-1]


def run_training(
    training: Training,
    state: StateFile | None = None,
    report: Callable[[int, dict[str, float]], None] = lambda update, row: None,
    snapshot_updates: Container[int] = (),
) -> None:
    """Make all updates of the recipe, and keep the plane after each of `snapshot_updates` (counted from 1).

    `report(update, row of the history)` is called at every look. With a `state` the training goes on from what that file
    holds, to the same bits as if never stopped, and saves into it.
    """
    if state and (saved := state.load()) is not None:
        training.load_state_dict(saved)
    last = training.recipe.updates
    since = 0
    while (update := training.updates + 1) <= last:
        training.step()
        since += 1
        if update in snapshot_updates:
            training.keep()
        saving = state is not None and state.due
        if since == CHECK_INTERVAL or update == last or saving:
            report(update, training.look())
            since = 0
        if saving:
            state.save(training.state_dict())
