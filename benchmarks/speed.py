"""Time the engine beside a plain loop: image passes per second in a training and on a surface (.csv).

The one idea: on a shared machine only measurements taken in turn can be compared. So every round times all contestants and the
matrix product that bounds them, ratios are taken within a round, and the median over the rounds is reported.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lib.plain import CLASSES, flops, plain_plane_gradient, plain_points, stock_module
from losspatterns.cpu import SWITCH, switched_on
from losspatterns.errors import run_script
from losspatterns.method.devices import claim_device, cpu_threads, device_label
from losspatterns.method.images import InputScaling
from losspatterns.method.origin import initialisations
from losspatterns.method.plane import Plane
from losspatterns.method.surface import evaluate_points
from losspatterns.method.update import chunk_for, plane_gradient
from losspatterns.networks.flat import FlatNetwork
from losspatterns.records.artifacts import provenance, save_table
from losspatterns.settings import NO_BATCH_NORM, ConvNetwork, from_json, parse_network
from torch import Tensor
from tqdm import tqdm

TAU = 2.5  # nats; random models lie below it, so that every pixel has a gradient
STEP = 0.1
MATMUL_SIDE = {"cpu": 1024, "cuda": 2048}
MIN_SECONDS = 0.2  # a measurement repeats its work for at least this long
LIMIT_SECONDS = 30
OURS, NO_KERNELS, BFLOAT16, PLAIN, MATMUL = "ours", "ours_no_kernels", "ours_bfloat16", "plain", "matmul"


@dataclass(frozen=True)
class Case:
    """One setting: the models of `pixels` pixels or points, `images` images (C, H, W) each."""

    network: ConvNetwork
    image_shape: tuple[int, int, int]
    pixels: int
    images: int


def device_name(device: torch.device) -> str:
    """What the device calls itself."""
    if device.type == "cuda":
        return device_label(device)
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def random_plane(case: Case, device: torch.device) -> tuple[FlatNetwork, Plane, Tensor]:
    """A network, a plane of three of its initialisations, and the coordinates (pixels, 2) of that many pixels."""
    side = math.ceil(math.sqrt(case.pixels))
    networks = initialisations(case.network, case.image_shape, CLASSES, 0, 3, device)
    plane = Plane(tuple(network.vector() for network in networks), torch.tensor(STEP, device=device), (side, side))
    return networks[0], plane, torch.cartesian_prod(torch.arange(side), torch.arange(side))[: case.pixels].to(device)


def contestants(case: Case, training: bool, device: torch.device) -> dict[str, Callable[[], Any]]:
    """What is timed. In training: the plane's gradient at all pixels, each on its own images; else the loss and accuracy of
    all points on the same images. By the engine, on a CPU also without its kernels, on a GPU in bfloat16; by a plain loop."""
    network, plane, coordinates = random_plane(case, device)
    shape = (case.pixels, case.images) if training else (case.images,)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(*shape, *case.image_shape, generator=generator).to(device)
    labels = torch.randint(CLASSES, shape, generator=generator).to(device)
    nothing = torch.zeros(case.image_shape[0], device=device)
    # The engine gets them in the layout that trainings and surfaces use.
    inputs = InputScaling(nothing, nothing + 1)(images.view(-1, *case.image_shape)).unflatten(0, shape)
    module = stock_module(case.network, case.image_shape).to(device)
    work: dict[str, Callable[[], Any]] = {}
    if training:
        signs = torch.where(torch.arange(case.pixels, device=device) % 2 == 0, 1.0, -1.0)
        pixels = plane, coordinates, signs, torch.full_like(signs, 2 / case.pixels)
        for name, precision in ((OURS, torch.float32), (BFLOAT16, torch.bfloat16)):
            if name == OURS or device.type == "cuda":
                chunk = chunk_for(network, case.image_shape, case.images, device, precision)
                work[name] = partial(plane_gradient, network, *pixels, inputs, labels, TAU, chunk, precision)
        work[PLAIN] = partial(plain_plane_gradient, module, *pixels, images, labels, TAU)
    else:
        protocol = "batch" if case.network.batch_norm else NO_BATCH_NORM
        work[OURS] = partial(evaluate_points, network, plane, coordinates, inputs, labels, protocol)
        work[PLAIN] = partial(plain_points, module, plane, coordinates, images, labels)
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


def in_turn(work: Mapping[str, Callable[[], Any]], rounds: int, device: torch.device) -> dict[str, np.ndarray]:
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
    times: dict[str, list[float]] = {name: [] for name in work}
    started = time.perf_counter()
    for _ in range(rounds):
        for name, call in work.items():
            times[name].append(seconds(call, calls[name]))
        if time.perf_counter() - started > LIMIT_SECONDS:
            break
    return {name: np.array(values) for name, values in times.items()}


def speeds(case: Case, training: bool, threads: int, rounds: int, device: torch.device) -> list[dict[str, Any]]:
    """A row per contestant: image passes per second (median, low and high of the rounds), and its measures.

    A pass is one image through one model, in training forward and backward: `mflop` operations. `share_of_matmul`: operations
    per second over those of a float32 matrix product; ratios are medians over the rounds.
    """
    work, side = contestants(case, training, device), MATMUL_SIDE[device.type]
    left, right, out = (torch.rand(side, side, device=device) for _ in range(3))
    with cpu_threads(threads):
        times = in_turn({MATMUL: partial(torch.mm, left, right, out=out), **work}, rounds, device)
    operations, matmul = flops(case.network, case.image_shape, training), 2 * side**3 / times[MATMUL]
    rows = []
    for engine in work:
        speed = case.pixels * case.images / times[engine]
        spread = {"passes_per_second": np.median(speed), "low": speed.min(), "high": speed.max(), "rounds": len(speed)}
        measures = {
            "mflop": operations / 1e6,
            "matmul_gflop_per_second": np.median(matmul) / 1e9,
            "share_of_matmul": np.median(speed * operations / matmul),
            "speedup_over_plain": np.median(times[PLAIN] / times[engine]),
        }
        rows.append({"pixels": case.pixels, "images": case.images, "engine": engine, **spread, **measures})
    return rows


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
            columns = {"device": device.type, "device_name": device_name(device), "threads": threads}
            columns |= {"network": name, "batch_norm": normed, "work": part}
            case = Case(network.model_copy(update={"batch_norm": normed}), tuple(spec["image_shape"]), pixels, images)
            rows += [{**columns, **row} for row in speeds(case, part == "training", threads, spec["rounds"], device)]
    save_table(arguments.output, pd.DataFrame(rows), provenance(spec=spec))


if __name__ == "__main__":
    run_script(main)
