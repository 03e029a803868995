"""Time the engine beside a plain loop: image passes per second in a training and on a surface (.csv).

The one idea: on a shared machine only measurements taken in turn can be compared. So every round times all contestants and the
matrix product that bounds them, ratios are taken within a round, and the median over the rounds is reported.
"""

import argparse
import math
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import lib  # noqa: F401
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from losspatterns.config.reading import from_json
from losspatterns.cpu import SWITCH, switched_on
from losspatterns.errors import run_script
from losspatterns.method.devices import claim_device, device_label
from losspatterns.method.images import InputScaling
from losspatterns.method.objective import TwoColours
from losspatterns.method.origin import initialisations
from losspatterns.method.plane import Plane
from losspatterns.method.surface import evaluate_points
from losspatterns.method.update import chunk_for, plane_gradient
from losspatterns.networks.modules import ACTIVATIONS
from losspatterns.networks.settings import NO_BATCH_NORM, ConvNetwork, parse_network
from losspatterns.records.artifacts import provenance, save_table
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

CLASSES = 10
TAU = 2.5  # nats; random models lie below it, so that every pixel has a gradient
STEP = 0.1
MATMUL_SIDE = {"cpu": 1024, "cuda": 2048}
MIN_SECONDS = 0.2  # a measurement repeats its work for at least this long
LIMIT_SECONDS = 30
OURS, NO_KERNELS, BFLOAT16, PLAIN, MATMUL = "ours", "ours_no_kernels", "ours_bfloat16", "plain", "matmul"
Work = dict[str, Callable[[], Any]]


# The plain loop: an ordinary model of stock layers for one pixel after the other, as the published procedure has it.
class Residual(nn.Sequential):
    """Layers beside the identity."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def stock_module(network: ConvNetwork, image_shape: tuple[int, int, int]) -> nn.Module:
    """The network from stock layers, parameters in the order of `networks.build`; images (C, H, W)."""
    layers: list[nn.Module] = []
    channels, activation = image_shape[0], ACTIVATIONS[network.activation]
    for outputs in network.channels:
        kind = Residual if network.residual and channels == outputs else nn.Sequential
        norm = [nn.BatchNorm2d(outputs, track_running_stats=False)] if network.batch_norm else []
        layers += [kind(nn.Conv2d(channels, outputs, 3, padding=1), *norm), activation()]
        layers += [nn.MaxPool2d(2)] if network.pool else []
        channels = outputs
    layers += [nn.AdaptiveAvgPool2d(network.pooled_size)] if network.channels else []
    widths = channels * network.pooled_size**2 if network.channels else math.prod(image_shape), *network.dense
    hidden = [layer for pair in zip(widths, network.dense, strict=False) for layer in (nn.Linear(*pair), activation())]
    return nn.Sequential(*layers, nn.Flatten(), *hidden, nn.Linear(widths[-1], CLASSES))


def flops(network: ConvNetwork, image_shape: tuple[int, int, int], training: bool) -> int:
    """Floating point operations (matrix products and convolutions) of one image pass, backward too if in training."""
    with FlopCounterMode(display=False) as counter:
        logits = stock_module(network, image_shape)(torch.zeros(1, *image_shape))
        if training:
            logits.sum().backward()
    return counter.get_total_flops()


@torch.no_grad()
def load_weights(module: nn.Module, weights: Tensor) -> None:
    """Copy a weight vector (n,) of the plane into a stock module; the plane keeps batch norm's scale as gamma - 1."""
    nn.utils.vector_to_parameters(weights.clone(), module.parameters())
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight += 1


def plain_gradient(
    module: nn.Module, plane: Plane, coordinates: Tensor, images: Tensor, labels: Tensor, objective: TwoColours
) -> Tensor:
    """The `vectors` (3, n) of `update.plane_gradient`, with the same arguments, images of each pixel's own."""
    parameters = tuple(vector.detach().requires_grad_() for vector in plane.vectors)
    right, up = Plane(parameters, plane.step, plane.shape).basis()
    sums = torch.zeros(3, len(plane.origin), device=plane.origin.device)
    for k, (a, b) in enumerate((plane.step * plane.offsets(coordinates)).tolist()):
        load_weights(module, plane.origin + a * up.detach() + b * right.detach())
        loss = F.cross_entropy(module(images[k]), labels[k])
        loss, _ = objective(slice(k, k + 1), loss.view(1, 1), labels[k : k + 1])
        gradient = nn.utils.parameters_to_vector(torch.autograd.grad(loss, [*module.parameters()]))
        for total, offset in zip(sums, (1, a, b), strict=True):
            total += offset * gradient
    return torch.stack(torch.autograd.grad([parameters[0], up, right], parameters, [*sums]))


@torch.no_grad()
def plain_points(module: nn.Module, plane: Plane, coordinates: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """What `surface.evaluate_points` returns (batch norm: `batch`), as one tensor (2, K)."""
    right, up = plane.basis()
    found = []
    for a, b in (plane.step * plane.offsets(coordinates)).tolist():
        load_weights(module, plane.origin + a * up + b * right)
        logits = module(images)
        found.append(torch.stack([F.cross_entropy(logits, labels), (logits.argmax(1) == labels).float().mean()]))
    return torch.stack(found, 1).cpu()


def contestants(
    network: ConvNetwork, image_shape: tuple[int, int, int], pixels: int, images: int, training: bool, device: torch.device
) -> Work:
    """What is timed. In training: the plane's gradient at `pixels` pixels, each on `images` images (C, H, W) of its own; else
    loss and accuracy of that many points on the same images. By the engine, on a CPU also without its kernels, on a GPU in
    bfloat16; by a plain loop."""
    side = math.ceil(math.sqrt(pixels))
    networks = initialisations(network, image_shape, CLASSES, 0, 3, device)
    plane = Plane(tuple(each.vector() for each in networks), torch.tensor(STEP, device=device), (side, side))
    coordinates = torch.cartesian_prod(torch.arange(side), torch.arange(side))[:pixels].to(device)
    shape = (pixels, images) if training else (images,)
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(*shape, *image_shape, generator=generator).to(device)
    labels = torch.randint(CLASSES, shape, generator=generator).to(device)
    nothing = torch.zeros(image_shape[0], device=device)
    # The engine gets them in the layout that trainings and surfaces use.
    inputs = InputScaling(nothing, nothing + 1)(given.view(-1, *image_shape)).unflatten(0, shape)
    module, work = stock_module(network, image_shape).to(device), {}
    if training:
        signs = torch.where(torch.arange(pixels, device=device) % 2 == 0, 1.0, -1.0)
        objective = TwoColours(signs, torch.full_like(signs, 2 / pixels), TAU)
        for name, precision in ((OURS, torch.float32), (BFLOAT16, torch.bfloat16)):
            if name == OURS or device.type == "cuda":
                chunk = chunk_for(networks[0], image_shape, images, device, precision)
                work[name] = partial(
                    plane_gradient, networks[0], plane, coordinates, inputs, labels, objective, chunk, precision
                )
        work[PLAIN] = partial(plain_gradient, module, plane, coordinates, given, labels, objective)
    else:
        protocol = "batch" if network.batch_norm else NO_BATCH_NORM
        work[OURS] = partial(evaluate_points, networks[0], plane, coordinates, inputs, labels, protocol)
        work[PLAIN] = partial(plain_points, module, plane, coordinates, given, labels)
    if device.type == "cpu" and switched_on():
        work[NO_KERNELS] = partial(without_kernels, work[OURS])
    return work


def without_kernels(call: Callable[[], Any]) -> Any:
    """What a call returns while the compiled kernels are switched off."""
    os.environ[SWITCH] = "off"
    try:
        return call()
    finally:
        os.environ[SWITCH] = "on"


def in_turn(work: Mapping[str, Callable[[], Any]], rounds: int, threads: int) -> dict[str, np.ndarray]:
    """Seconds of one call of each, (rounds,): every round times all of them in turn, each for MIN_SECONDS or longer.

    No round starts after LIMIT_SECONDS, so that a busy machine cannot stretch the benchmarks to hours.
    """
    timers = {name: Timer("call()", globals={"call": call}, num_threads=threads) for name, call in work.items()}
    times: dict[str, list[float]] = {name: [] for name in work}
    started = time.perf_counter()
    while len(times[MATMUL]) < rounds and (time.perf_counter() - started < LIMIT_SECONDS or not times[MATMUL]):
        for name, timer in timers.items():
            times[name].append(timer.blocked_autorange(min_run_time=MIN_SECONDS).median)
    return {name: np.array(values) for name, values in times.items()}


def speeds(work: Work, passes: int, operations: int, threads: int, rounds: int, device: torch.device) -> list[dict[str, Any]]:
    """A row per contestant: image passes per second (median, low and high of the rounds), and its measures.

    A call makes `passes` passes of one image through one model, of so many operations each. `share_of_matmul`: operations per
    second over those of a float32 matrix product; ratios are medians over the rounds.
    """
    side = MATMUL_SIDE[device.type]
    left, right, out = (torch.rand(side, side, device=device) for _ in range(3))
    times = in_turn({MATMUL: partial(torch.mm, left, right, out=out), **work}, rounds, threads)
    matmul = 2 * side**3 / times[MATMUL]
    rows = []
    for engine in work:
        speed = passes / times[engine]
        row = {"engine": engine, "passes_per_second": np.median(speed), "low": speed.min(), "high": speed.max()}
        row |= {"rounds": len(speed), "mflop": operations / 1e6, "matmul_gflop_per_second": np.median(matmul) / 1e9}
        row |= {"share_of_matmul": np.median(speed * operations / matmul)}
        rows.append(row | {"speedup_over_plain": np.median(times[PLAIN] / times[engine])})
    return rows


def device_name(device: torch.device) -> str:
    """What the device calls itself."""
    facts = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.+)", facts.read_text(encoding="utf-8")) if facts.is_file() else None
    return device_label(device) if device.type == "cuda" else named[1] if named else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", required=True, help="JSON: what to measure, see lib/runs.py")
    parser.add_argument("--cores", type=int, required=True, help="threads to measure with, beside one")
    parser.add_argument("--output", required=True, help="output: a row per setting and contestant (.csv)")
    arguments = parser.parse_args()

    spec, device = from_json("--spec", arguments.spec), claim_device()
    networks = {name: parse_network(f"networks.{name}", entry) for name, entry in spec["networks"].items()}
    counts = [1] if device.type == "cuda" else sorted({1, arguments.cores})
    parts = [("training", *sizes) for sizes in product(spec["pixels"], spec["images"])]
    parts += [("surface", spec["points"], spec["images_per_point"])]
    rows: list[dict[str, Any]] = []
    settings = list(product(counts, networks.items(), (False, True), parts))
    for threads, (name, network), normed, (part, pixels, images) in tqdm(settings, unit="setting", file=sys.stderr):
        if network.channels or not normed:  # without convolutions there is nothing to normalise
            columns = {"device": device.type, "device_name": device_name(device), "threads": threads, "network": name}
            columns |= {"batch_norm": normed, "work": part, "pixels": pixels, "images": images}
            case = network.model_copy(update={"batch_norm": normed}), tuple(spec["image_shape"])
            work = contestants(*case, pixels, images, part == "training", device)
            costs = pixels * images, flops(*case, part == "training")
            rows += [{**columns, **row} for row in speeds(work, *costs, threads, spec["rounds"], device)]
    save_table(arguments.output, pd.DataFrame(rows), provenance(spec=spec))


if __name__ == "__main__":
    run_script(main)
