"""Training a plane: the loop around one update of multi-point optimization.

An update draws pixels and images, adds up the pixels' gradients (`mpo.add_plane_gradient`), clips, and takes one Adam step.
Random numbers come from one CPU generator per run, so a run depends on its specification and seed alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytorch_optimizer
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ..errors import InputError
from ..networks.modules import FlatNetwork, build
from ..networks.user_module import layers_with_state
from ..records.state import StateFile
from ..specs import ModuleSpec, NetworkSpec, TrainingSpec
from .devices import send, with_less_memory
from .plane import Plane
from .plane_file import InputScaling
from .update import add_plane_gradient, chunk_for

REMEDY = "lower the learning_rate or the step of this run's recipe"
SOAP = {"betas": (0.9, 0.95), "max_precondition_dim": 600, "precondition_frequency": 10, "weight_decay": 0.0}
CHECK_INTERVAL = 10  # updates between two looks at the numbers (each one waits for the device)


@dataclass
class TrainingResult:
    """`initial`: the plane before its first update (the null control); `plane`: after the last; `history`: a row an update.

    `constants`: the network's buffers, which no weight vector holds.
    `origin_seconds`: what the ordinary updates of the origin took, before the history's clock starts.
    """

    initial: Plane
    plane: Plane
    scaling: InputScaling
    constants: dict[str, Tensor]
    history: pd.DataFrame
    origin_seconds: float


class Epochs:
    """Hands out the next k of `count` indices: shuffled epochs, each index once per epoch. `queue`: the epoch's rest."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator
        self.queue = torch.empty(0, dtype=torch.int64)

    def take(self, k: int) -> Tensor:
        """The next k indices, (k,) int64."""
        while len(self.queue) < k:
            self.queue = torch.cat([self.queue, torch.randperm(self.count, generator=self.generator)])
        taken, self.queue = self.queue[:k], self.queue[k:]
        return taken


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Crop (zero padding 4), horizontal flip and an 8 x 8 cut-out with probability 0.5 of images (N, C, H, W); a new tensor."""
    count, channels, height, width = images.shape
    device = images.device
    corner = send(torch.randint(0, 9, (count, 2), generator=generator), device)
    flip = send(torch.rand(count, generator=generator) < 0.5, device)
    cut = send(torch.rand(count, generator=generator) < 0.5, device)
    hole = [torch.randint(0, side, (count,), generator=generator) for side in (height, width)]
    hole = send(torch.stack(hole, dim=1), device)
    y, x = torch.arange(height, device=device), torch.arange(width, device=device)
    rows = corner[:, :1] + y
    columns = corner[:, 1:] + torch.where(flip[:, None], x.flip(0), x)
    index = torch.arange(count, device=device)[:, None, None, None], torch.arange(channels, device=device)[:, None, None]
    cropped = F.pad(images, (4, 4, 4, 4))[*index, rows[:, None, :, None], columns[:, None, None, :]]
    in_rows = (y >= hole[:, :1] - 4) & (y < hole[:, :1] + 4)
    in_columns = (x >= hole[:, 1:] - 4) & (x < hole[:, 1:] + 4)
    holes = cut[:, None, None] & in_rows[:, :, None] & in_columns[:, None, :]
    return cropped.masked_fill(holes[:, None], 0.0)


def _rate(spec: TrainingSpec, update: int) -> float:
    """The learning rate's factor at an update (counted from 0)."""
    if spec.schedule == "constant":
        return 1.0
    warm_up = spec.warm_up * spec.updates
    return min(1.0, (update + 1) / warm_up if warm_up else 1.0) * (1 - update / spec.updates)


def train(
    run: str,
    network_spec: NetworkSpec | ModuleSpec,
    spec: TrainingSpec,
    mask: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    seed: int,
    device: torch.device,
    report: Callable[[int, dict[str, float]], None] = lambda update, row: None,
    probe_updates: Container[int] = (),
    probe: Callable[[int, Plane], None] = lambda update, plane: None,
    state: StateFile | None = None,
) -> TrainingResult:
    """Train a plane whose loss surface shows `mask` (H, W), int8: +1 white, -1 black, 0 not trained.

    images (N, H, W, C) uint8 and labels (N,); `run` names the run in errors; `report(update, row)` is called now and then.
    `probe(update, plane)` is called after each of `probe_updates` (counted from 1) to look at the plane, which it must not
    change; the time it takes is not the training's, and no `seconds` of the history hold it.
    With a `state` the training goes on from what that file holds, to the same bits as if never stopped, and saves into it.
    InputError if the mask lacks a colour or if a loss stops being finite.
    """
    for value, colour in ((1, "white"), (-1, "black")):
        if not (mask == value).any():
            raise InputError(f"{run}: the mask has no {colour} pixel to train; a picture needs both colours")
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    scaling = InputScaling.of(inputs, spec.standardise, device)
    inputs, targets = inputs.to(device), torch.from_numpy(labels.astype(np.int64)).to(device)
    stream = Epochs(len(inputs), generator)

    def next_images(*shape: int) -> tuple[Tensor, Tensor]:
        index = send(stream.take(int(np.prod(shape))), device)
        batch = inputs[index].float() / 255
        if spec.augmentation == "crop_flip_cutout":
            batch = augment(batch, generator)
        return scaling(batch).unflatten(0, shape), targets[index].view(*shape)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        modules = [build(network_spec, inputs.shape[1:], classes) for _ in range(3)]
    vectors = [FlatNetwork(module).vector() for module in modules]
    if torch.equal(vectors[0], vectors[1]):
        raise InputError(
            f"{run}: the network starts from the same weights every time; initialise it from torch's random numbers"
        )
    vectors = [vector.to(device) for vector in vectors]
    network = FlatNetwork(modules[0].to(device))
    if isinstance(network_spec, ModuleSpec):
        for line in layers_with_state(modules[0]):
            tqdm.write(f"{run}: {line}", file=sys.stderr)
    saved = state.load() if state else None
    if saved is None:
        started = time.perf_counter()
        warm_up_origin(modules[0], spec, next_images)
        origin_seconds = time.perf_counter() - started
        origin = network.vector()
        moved = origin - vectors[0]
        plane = Plane(origin, vectors[1] + moved, vectors[2], torch.tensor(spec.step, device=device), mask.shape)
        initial = Plane(**{name: tensor.clone() for name, tensor in plane.tensors().items()}, shape=mask.shape)
        chunk = spec.pixels_per_chunk or chunk_for(
            network, inputs.shape[1:], spec.images, device, getattr(torch, spec.precision)
        )
    else:
        generator.set_state(saved["generator"])
        stream.queue = saved["queue"]
        plane, initial = (
            Plane(**{name: tensor.to(device) for name, tensor in saved[which].items()}, shape=mask.shape)
            for which in ("plane", "initial")
        )
        chunk, origin_seconds = saved["chunk"], saved["origin_seconds"]
        for name, buffer in modules[0].named_buffers():
            buffer.copy_(saved["constants"][name])
    constants = dict(modules[0].named_buffers())

    def save(**progress: Any) -> None:
        assert state is not None
        random = {"generator": generator.get_state(), "queue": stream.queue}
        begin = {"initial": initial.tensors(), "constants": constants, "origin_seconds": origin_seconds}
        state.save({**random, **begin, **progress})

    due = (lambda: state.due) if state else (lambda: False)
    history = _optimise(
        run, network, plane, spec, mask, chunk, next_images, generator, report, probe_updates, probe, saved, due, save
    )
    return TrainingResult(initial, _detached(plane), scaling, constants, history, origin_seconds)


def _detached(plane: Plane) -> Plane:
    """The same plane (shared memory) without gradients."""
    return replace(plane, **{name: tensor.detach() for name, tensor in plane.tensors().items()})


def warm_up_origin(module: torch.nn.Module, spec: TrainingSpec, next_images: Callable[..., tuple[Tensor, Tensor]]) -> None:
    """`spec.origin_updates` ordinary Adam updates of the module alone, in place."""
    optimizer = torch.optim.Adam(module.parameters(), spec.origin_learning_rate)
    for _ in range(spec.origin_updates):
        images, labels = next_images(spec.origin_images)
        optimizer.zero_grad()
        F.cross_entropy(module(images), labels).backward()
        optimizer.step()
    for parameter in module.parameters():
        parameter.grad = None


def make_optimizer(network: FlatNetwork, plane: Plane, spec: TrainingSpec) -> torch.optim.Optimizer:
    """The optimizer of a plane, whose parameters must require gradients. Clear gradients with `set_to_none=False`.

    `soap` sees every layer of every vector as the matrix (outputs, inputs) that it is, as a view, and preconditions both sides;
    Adam needs no such structure (SOAP: Vyas et al., arXiv 2409.11321).
    """
    rates = {"origin": 1.0, "right_parameter": spec.direction_rate, "up_parameter": spec.direction_rate}
    if spec.learn_step:
        rates["step"] = 1.0
    groups = []
    for name, factor in rates.items():
        vector = getattr(plane, name)
        vector.grad = torch.zeros_like(vector)
        parts = [vector]
        if spec.optimizer == "soap":
            shapes = [(1,)] if name == "step" else [(shape[0], -1) if len(shape) > 1 else shape for shape in network.shapes]
            sizes = [1] if name == "step" else network.sizes
            flat, slope = vector.detach().view(-1), vector.grad.view(-1)
            parts = []
            for part, gradient, shape in zip(flat.split(sizes), slope.split(sizes), shapes, strict=True):
                parts.append(part.view(shape).requires_grad_())
                parts[-1].grad = gradient.view(shape)
        groups.append({"params": parts, "lr": spec.learning_rate * factor})
    return pytorch_optimizer.SOAP(groups, **SOAP) if spec.optimizer == "soap" else torch.optim.Adam(groups)


def _optimise(
    run: str,
    network: FlatNetwork,
    plane: Plane,
    spec: TrainingSpec,
    mask: np.ndarray,
    chunk: int,
    next_images: Callable[..., tuple[Tensor, Tensor]],
    generator: torch.Generator,
    report: Callable[[int, dict[str, float]], None],
    probe_updates: Container[int],
    probe: Callable[[int, Plane], None],
    saved: dict[str, Any] | None,
    due: Callable[[], bool],
    save: Callable[..., None],
) -> pd.DataFrame:
    """Run the updates on `plane`, in place, at most `chunk` pixels at once; the history, a row an update.

    `saved` is what `save` was given by a run that was stopped, or None; `due` tells when to save.
    """
    device = plane.origin.device
    pixels = {sign: torch.from_numpy(np.argwhere(mask == sign)) for sign in (1, -1)}
    asked = {1: spec.white_pixels, -1: spec.black_pixels}
    drawn = {sign: min(len(pixels[sign]), asked[sign]) for sign in (1, -1)}
    signs = torch.cat([torch.full((drawn[sign],), float(sign)) for sign in (1, -1)]).to(device)
    # A colour with fewer pixels than asked for still weighs as much as the other one.
    factors = torch.cat([torch.full((drawn[sign],), asked[sign] / drawn[sign]) for sign in (1, -1)]).to(device)
    clipped = [plane.origin, plane.right_parameter, plane.up_parameter]
    for parameter in clipped:
        parameter.requires_grad_(True)
    plane.step.requires_grad_(spec.learn_step)
    optimizer = make_optimizer(network, plane, spec)
    full_rates = [group["lr"] for group in optimizer.param_groups]
    epochs = {sign: Epochs(len(pixels[sign]), generator) for sign in (1, -1)}
    white, passes = drawn[1], spec.passes_per_update(len(pixels[1]), len(pixels[-1]))
    rows: list[dict[str, float]] = []
    pending: list[Tensor] = []
    if saved is not None:
        optimizer.load_state_dict(saved["optimizer"])
        epochs[1].queue, epochs[-1].queue = saved["pixel_queues"]
        rows = [dict(zip(saved["columns"], row, strict=True)) for row in saved["rows"].tolist()]

    def draw(sign: int) -> Tensor:
        if spec.pixel_sampling == "epochs":
            return pixels[sign][epochs[sign].take(drawn[sign])]
        return pixels[sign][torch.randperm(len(pixels[sign]), generator=generator)[: drawn[sign]]]

    started = time.perf_counter() - (rows[-1]["seconds"] if rows else 0.0)
    for update in range(len(rows), spec.updates):
        for group, rate in zip(optimizer.param_groups, full_rates, strict=True):
            group["lr"] = rate * _rate(spec, update)
        coordinates = send(torch.cat([draw(1), draw(-1)]), device)
        images, labels = next_images(spec.images) if spec.shared_images else next_images(len(coordinates), spec.images)
        optimizer.zero_grad(set_to_none=False)
        arguments = network, plane, coordinates, signs, factors, images, labels, spec.tau
        gradient = partial(add_plane_gradient, *arguments, precision=getattr(torch, spec.precision))
        results, chunk = with_less_memory(f"{run}: pixels_per_chunk", gradient, chunk)
        norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in clipped])
        if spec.total_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(clipped, spec.total_clip, norm)
        try:
            optimizer.step()
        except torch.linalg.LinAlgError:  # of numbers that are not finite: SOAP meets them before the check below does
            raise InputError(f"{run}: update {update + 1}: the numbers are no longer finite; {REMEDY}") from None
        with torch.no_grad():
            right, up = plane.right_parameter - plane.origin, plane.up_parameter
            cosine = F.cosine_similarity(right, up, dim=0)
            measures = [results.losses[:white], results.losses[white:], results.accuracies[:white], results.accuracies[white:]]
            state = [norm, plane.step, plane.origin.norm(), right.norm(), torch.rad2deg(torch.acos(cosine.clamp(-1, 1)))]
            pending.append(torch.stack([m.mean() for m in measures] + [s.detach() for s in state]))
        probed = update + 1 in probe_updates
        saving = due()
        if len(pending) == CHECK_INTERVAL or update + 1 == spec.updates or probed or saving:
            seconds = time.perf_counter() - started
            for k, values in enumerate(torch.stack(pending).double().cpu().tolist()):
                at = update + 2 - len(pending) + k
                rows.append(_row(at, values, at * passes, seconds, _rate(spec, at - 1)))
                if not np.isfinite(values).all():
                    raise InputError(
                        f"{run}: update {at}: the numbers are no longer finite (loss of white pixels {values[0]}, of black "
                        f"pixels {values[1]}); {REMEDY}"
                    )
            pending.clear()
            report(update + 1, rows[-1])
        if saving:
            save(
                plane=_detached(plane).tensors(),
                optimizer=optimizer.state_dict(),
                pixel_queues=[epochs[1].queue, epochs[-1].queue],
                chunk=chunk,
                columns=list(rows[-1]),
                rows=torch.tensor([list(row.values()) for row in rows], dtype=torch.float64),
            )
        if probed:
            paused = time.perf_counter()
            probe(update + 1, _detached(plane))
            started += time.perf_counter() - paused
    return pd.DataFrame(rows).astype({"update": int, "image_passes": int})  # floats, where they come from a saved state


def _row(update: int, values: list[float], passes: int, seconds: float, rate: float) -> dict[str, float]:
    """One line of the history: means over the update's pixels, on its training images; seconds since the first update."""
    loss_white, loss_black, accuracy_white, accuracy_black, norm, step, origin, direction, angle = values
    return {
        "update": update,
        "image_passes": passes,
        "seconds": round(seconds, 3),
        "loss_white": loss_white,
        "loss_black": loss_black,
        "accuracy_white": accuracy_white,
        "accuracy_black": accuracy_black,
        "accuracy_gap": accuracy_white - accuracy_black,
        "step": step,
        "origin_norm": origin,
        "direction_norm": direction,
        "angle_degrees": angle,
        "gradient_norm": norm,
        "rate": rate,
    }
