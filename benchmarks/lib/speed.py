"""Speed of the engine beside the plain loop and a matrix product.

The one idea: on a shared machine only measurements taken in turn can be compared. So every round times all contestants and the
matrix product that bounds them, ratios are taken within a round, and the median over the rounds is reported.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from losspatterns.method.devices import cpu_threads
from losspatterns.method.images import InputScaling
from losspatterns.method.origin import initialisations
from losspatterns.method.plane import Plane
from losspatterns.method.surface import evaluate_points
from losspatterns.method.update import chunk_for, plane_gradient
from losspatterns.networks.flat import FlatNetwork
from losspatterns.settings import NO_BATCH_NORM, ConvNetwork
from torch import Tensor

from .plain import CLASSES, flops, plain_plane_gradient, plain_points, stock_module

TAU = 2.5  # nats; random models lie below it, so that every pixel has a gradient
STEP = 0.1
MATMUL_SIDE = {"cpu": 1024, "cuda": 2048}
MIN_SECONDS = 0.2  # a measurement repeats its work for at least this long
LIMIT_SECONDS = 30
K = TypeVar("K")
Contestant = tuple[str, str]  # what is timed: `ours` or `plain`, and the precision of its products
OURS, PLAIN, MATMUL = ("ours", "float32"), ("plain", "float32"), ("matmul", "float32")


@dataclass(frozen=True)
class Case:
    """One setting: the models of `pixels` pixels, `images` images (C, H, W) each."""

    network: ConvNetwork
    image_shape: tuple[int, int, int]
    pixels: int
    images: int


def thread_counts(wanted: Sequence[int | str], cores: int, device: torch.device) -> list[int]:
    """The numbers of threads to measure: `all` is `cores`, more are cut down to that; on a GPU the first alone."""
    counts = list(dict.fromkeys(cores if entry == "all" else min(entry, cores) for entry in wanted))
    return counts if device.type == "cpu" else counts[:1]


def device_name(device: torch.device) -> str:
    """What the device calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def random_plane(case: Case, device: torch.device) -> tuple[FlatNetwork, Plane, Tensor]:
    """A network, a plane of three of its initialisations, and the coordinates (pixels, 2) of that many pixels."""
    side = math.ceil(math.sqrt(case.pixels))
    networks = initialisations(case.network, case.image_shape, CLASSES, 0, 3, device)
    plane = Plane(*(network.vector() for network in networks), torch.tensor(STEP, device=device), (side, side))
    return networks[0], plane, torch.cartesian_prod(torch.arange(side), torch.arange(side))[: case.pixels].to(device)


def random_batch(case: Case, *shape: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Images (*shape, C, H, W), the same in the layout that training and surfaces feed them in, and labels (*shape)."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(*shape, *case.image_shape, generator=generator).to(device)
    labels = torch.randint(CLASSES, shape, generator=generator).to(device)
    nothing = torch.zeros(case.image_shape[0], device=device)
    return images, InputScaling(nothing, nothing + 1)(images.view(-1, *case.image_shape)).unflatten(0, shape), labels


def training_work(case: Case, precisions: Sequence[str], device: torch.device) -> dict[Contestant, Callable[[], Any]]:
    """The plane's gradient at `pixels` pixels, each on its own images: by the engine in each precision, and by a plain loop."""
    network, plane, coordinates = random_plane(case, device)
    images, inputs, labels = random_batch(case, case.pixels, case.images, device=device)
    signs = torch.where(torch.arange(case.pixels, device=device) % 2 == 0, 1.0, -1.0)
    pixels = plane, coordinates, signs, torch.full_like(signs, 2 / case.pixels)
    work: dict[Contestant, Callable[[], Any]] = {}
    for name in precisions:
        precision = getattr(torch, name)
        chunk = chunk_for(network, case.image_shape, case.images, device, precision)
        work["ours", name] = partial(plane_gradient, network, *pixels, inputs, labels, TAU, chunk, precision)
    module = stock_module(case.network, case.image_shape).to(device)
    return {**work, PLAIN: partial(plain_plane_gradient, module, *pixels, images, labels, TAU)}


def surface_work(case: Case, device: torch.device) -> dict[Contestant, Callable[[], Any]]:
    """Loss and accuracy of `pixels` points on the same images: by the engine, and by a plain loop."""
    network, plane, coordinates = random_plane(case, device)
    images, inputs, labels = random_batch(case, case.images, device=device)
    protocol = "batch" if case.network.batch_norm else NO_BATCH_NORM
    module = stock_module(case.network, case.image_shape).to(device)
    return {
        OURS: partial(evaluate_points, network, plane, coordinates, inputs, labels, protocol),
        PLAIN: partial(plain_points, module, plane, coordinates, images, labels),
    }


def in_turn(work: Mapping[K, Callable[[], Any]], rounds: int, device: torch.device) -> dict[K, np.ndarray]:
    """Seconds of one call of each, (rounds,): every round times all of them in turn, each for MIN_SECONDS or longer.

    No round starts after LIMIT_SECONDS, so that a busy machine cannot stretch the benchmarks to hours.
    """
    synchronise = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None

    def seconds(call: Callable[[], Any], calls: int) -> float:
        synchronise()
        started = time.perf_counter()
        for _ in range(calls):
            call()
        synchronise()
        return (time.perf_counter() - started) / calls

    calls = {}
    for name, call in work.items():
        first = seconds(call, 1)  # with whatever is made at the first call
        calls[name] = 1 if first > 5 * MIN_SECONDS else max(1, math.ceil(MIN_SECONDS / seconds(call, 1)))
    times: dict[K, list[float]] = {name: [] for name in work}
    started = time.perf_counter()
    for _ in range(rounds):
        for name, call in work.items():
            times[name].append(seconds(call, calls[name]))
        if time.perf_counter() - started > LIMIT_SECONDS:
            break
    return {name: np.array(values) for name, values in times.items()}


def speeds(
    case: Case,
    work: Mapping[Contestant, Callable[[], Any]],
    rate: str,
    backward: bool,
    threads: int,
    rounds: int,
    device: torch.device,
) -> list[dict[str, Any]]:
    """A row per contestant: images of pixels per second as `rate` (median, low and high of the rounds), and their measures.

    `mflop`: operations of one, forward and perhaps backward; `share_of_matmul`: operations per second over those of a float32
    matrix product; ratios are medians over the rounds.
    """
    side = MATMUL_SIDE[device.type]
    left, right, out = (torch.rand(side, side, device=device) for _ in range(3))
    with cpu_threads(threads):
        times = in_turn({MATMUL: partial(torch.mm, left, right, out=out), **work}, rounds, device)
    operations, matmul = flops(case.network, case.image_shape, backward), 2 * side**3 / times[MATMUL]
    rows = []
    for engine, precision in work:
        speed = case.pixels * case.images / times[engine, precision]
        spread = {rate: np.median(speed), "low": speed.min(), "high": speed.max(), "rounds": len(speed)}
        measures = {
            "mflop": operations / 1e6,
            "matmul_gflop_per_second": np.median(matmul) / 1e9,
            "share_of_matmul": np.median(speed * operations / matmul),
            "speedup_over_plain": np.median(times[PLAIN] / times[engine, precision]),
        }
        rows.append({"engine": engine, "precision": precision, **spread, **measures})
    return rows
