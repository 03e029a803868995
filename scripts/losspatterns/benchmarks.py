"""Speed and memory of the engine, beside the same work written plainly with stock layers, one pixel after the other.

The one idea: on a shared machine only measurements taken in turn can be compared. So every round times all contestants and the
matrix product that bounds them, ratios are taken within a round, and the median over the rounds is reported.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .method.devices import cpu_threads
from .method.plane import Plane
from .method.plane_file import InputScaling, save_trained
from .method.surface import evaluate_points
from .method.training import train
from .method.update import add_plane_gradient, chunk_for
from .networks.modules import FlatNetwork, build
from .records.artifacts import save_tensors
from .records.state import StateFile
from .specs import NO_BATCH_NORM, NetworkSpec, TrainingSpec

CLASSES = 10
TAU = 2.5  # nats; random models lie below it, so that every pixel has a gradient
STEP = 0.1
MATMUL_SIDE = {"cpu": 1024, "cuda": 2048}
MIN_SECONDS = 0.2  # a measurement repeats its work for at least this long
LIMIT_SECONDS = 30
SAVES = 8  # of a training's state, to tell what one costs
MODELS_WRITTEN = 16  # separate models that are written to measure a file's size
K = TypeVar("K")
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


# The plain way


class StockLayer(nn.Module):
    """A 3 x 3 convolution with torch's own batch norm, activation and max pool, in the order that papers write them."""

    def __init__(self, inputs: int, outputs: int, spec: NetworkSpec) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs, track_running_stats=False) if spec.batch_norm else nn.Identity()
        self.identity = spec.residual and inputs == outputs
        self.activation = ACTIVATIONS[spec.activation]()
        self.pool = nn.MaxPool2d(2) if spec.pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        return self.pool(self.activation(y + x if self.identity else y))


def stock_module(spec: NetworkSpec, image_shape: tuple[int, int, int]) -> nn.Module:
    """The network of a spec of kind conv from stock layers, parameters in the order of `networks.build`; images (C, H, W)."""
    channels, *sides = image_shape
    layers: list[nn.Module] = []
    for outputs in spec.channels:
        layers.append(StockLayer(channels, outputs, spec))
        channels = outputs
        sides = [side // 2 for side in sides] if spec.pool else sides
    if spec.channels:
        layers.append(nn.AdaptiveAvgPool2d(spec.pooled_size))
        sides = [spec.pooled_size] * 2
    layers.append(nn.Flatten())
    features = channels * math.prod(sides)
    for outputs in spec.dense:
        layers += [nn.Linear(features, outputs), ACTIVATIONS[spec.activation]()]
        features = outputs
    return nn.Sequential(*layers, nn.Linear(features, CLASSES))


@torch.no_grad()
def load_weights(module: nn.Module, weights: Tensor) -> None:
    """Copy a weight vector (n,) of the plane into a stock module; the plane keeps batch norm's scale as gamma - 1."""
    nn.utils.vector_to_parameters(weights.clone(), module.parameters())
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight += 1


def plain_plane_gradient(
    module: nn.Module,
    plane: Plane,
    coordinates: Tensor,
    signs: Tensor,
    factors: Tensor,
    images: Tensor,
    labels: Tensor,
    tau: float,
) -> None:
    """What `mpo.add_plane_gradient` adds to `.grad`, by the published procedure: an ordinary model for each pixel in turn.

    coordinates (K, 2), signs and factors (K,), images (K, B, C, H, W), labels (K, B). The plane's step is taken as fixed.
    """
    right, up = plane.basis()
    step = plane.step.detach()
    to_origin, to_up, to_right = (torch.zeros_like(plane.origin) for _ in range(3))
    for k, (a, b) in enumerate(plane.offsets(coordinates).tolist()):
        with torch.no_grad():
            weights = plane.origin + step * (a * up + b * right)
        load_weights(module, weights)
        module.zero_grad()
        loss = F.cross_entropy(module(images[k]), labels[k])
        (factors[k] * torch.where(signs[k] > 0, loss, -loss.clamp(max=tau))).backward()
        gradient = nn.utils.parameters_to_vector([parameter.grad for parameter in module.parameters()])
        to_origin += gradient
        to_up += step * a * gradient
        to_right += step * b * gradient
    torch.autograd.backward([plane.origin, up, right], [to_origin, to_up, to_right])


@torch.no_grad()
def plain_points(
    module: nn.Module, plane: Plane, coordinates: Tensor, images: Tensor, labels: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """What `surfaces.evaluate_points` returns (batch norm: `batch`), by an ordinary model for each point in turn."""
    right, up = plane.basis()
    losses, accuracies = [], []
    for a, b in plane.offsets(coordinates).tolist():
        load_weights(module, plane.origin + plane.step * (a * up + b * right))
        logits = module(images)
        losses.append(F.cross_entropy(logits, labels))
        accuracies.append((logits.argmax(1) == labels).double().mean())
    return torch.stack(losses).cpu().double().numpy(), torch.stack(accuracies).cpu().numpy()


def flops_per_pass(spec: NetworkSpec, image_shape: tuple[int, int, int]) -> int:
    """Floating point operations (matrix products and convolutions) of one image forward and backward through one model."""
    module = stock_module(spec, image_shape)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(module(torch.zeros(1, *image_shape)), torch.zeros(1, dtype=torch.int64)).backward()
    return counter.get_total_flops()


# Contestants


@dataclass(frozen=True)
class Case:
    """One setting: the models of `pixels` pixels, `images` images (C, H, W) each."""

    network: NetworkSpec
    image_shape: tuple[int, int, int]
    pixels: int
    images: int


class Contestant(NamedTuple):
    """What is timed: an engine, `ours` or `plain`, and the precision that it computes products in."""

    engine: str
    precision: str = "float32"


PLAIN = Contestant("plain")


def variants_of(spec: NetworkSpec) -> list[NetworkSpec]:
    """The network without and with batch norm; without alone if it has no convolutions to normalise."""
    return [replace(spec, batch_norm=on) for on in ((False, True) if spec.channels else (False,))]


def random_plane(case: Case, device: torch.device) -> tuple[FlatNetwork, Plane, Tensor]:
    """A network, a plane of three of its initialisations, and the coordinates (pixels, 2) of that many pixels."""
    side = math.ceil(math.sqrt(case.pixels))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = [FlatNetwork(build(case.network, case.image_shape, CLASSES, device)) for _ in range(3)]
    plane = Plane(*(network.vector() for network in networks), torch.tensor(STEP, device=device), (side, side))
    grid = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    return networks[0], plane, grid[: case.pixels].to(device)


def as_network_takes_them(images: Tensor) -> Tensor:
    """Images (N, C, H, W) in the layout that training and surfaces feed them in."""
    channels = torch.zeros(images.shape[1], device=images.device)
    return InputScaling(channels, channels + 1)(images)


def training_work(case: Case, precisions: Sequence[str], device: torch.device) -> dict[Contestant, Callable[[], None]]:
    """The plane's gradient at `pixels` pixels, each on its own images: by the engine in each precision, and by a plain loop."""
    network, plane, coordinates = random_plane(case, device)
    for parameter in (plane.origin, plane.right_parameter, plane.up_parameter):
        parameter.requires_grad_()
    generator = torch.Generator().manual_seed(0)
    count = case.pixels, case.images
    images = torch.randn(*count, *case.image_shape, generator=generator).to(device)
    labels = torch.randint(CLASSES, count, generator=generator).to(device)
    signs = torch.where(torch.arange(case.pixels, device=device) % 2 == 0, 1.0, -1.0)
    arguments = plane, coordinates, signs, torch.full_like(signs, 2 / case.pixels)
    inputs = as_network_takes_them(images.flatten(0, 1)).unflatten(0, count)
    module = stock_module(case.network, case.image_shape).to(device)

    def clear() -> None:
        for parameter in plane.tensors().values():
            parameter.grad = None

    def ours(precision: torch.dtype, chunk: int) -> None:
        clear()
        add_plane_gradient(network, *arguments, inputs, labels, TAU, chunk, precision)

    def plain() -> None:
        clear()
        plain_plane_gradient(module, *arguments, images, labels, TAU)

    work: dict[Contestant, Callable[[], None]] = {}
    for name in precisions:
        precision = getattr(torch, name)
        chunk = chunk_for(network, case.image_shape, case.images, device, precision)
        work[Contestant("ours", name)] = partial(ours, precision, chunk)
    return {**work, PLAIN: plain}


def surface_work(case: Case, device: torch.device) -> dict[str, Callable[[], None]]:
    """Loss and accuracy of `pixels` points on the same images: by the engine (ours), and by a plain loop."""
    network, plane, coordinates = random_plane(case, device)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(case.images, *case.image_shape, generator=generator).to(device)
    labels = torch.randint(CLASSES, (case.images,), generator=generator).to(device)
    protocol = "batch" if case.network.batch_norm else NO_BATCH_NORM
    module = stock_module(case.network, case.image_shape).to(device)
    inputs = as_network_takes_them(images)
    return {
        "ours": lambda: evaluate_points(network, plane, coordinates, inputs, labels, protocol),
        "plain": lambda: plain_points(module, plane, coordinates, images, labels),
    }


def matmul_work(device: torch.device) -> tuple[Callable[[], None], int]:
    """A square float32 matrix product, and its floating point operations."""
    side = MATMUL_SIDE[device.type]
    left, right, out = (torch.rand(side, side, device=device) for _ in range(3))
    return lambda: torch.mm(left, right, out=out), 2 * side**3


# Measuring


def in_turn(work: Mapping[K, Callable[[], Any]], rounds: int, device: torch.device) -> dict[K, np.ndarray]:
    """Seconds of one call of each, (rounds,): every round times all of them in turn, each for MIN_SECONDS or longer.

    No round starts after LIMIT_SECONDS, so that a busy machine cannot stretch the benchmarks to hours.
    """

    def seconds(call: Callable[[], Any], calls: int) -> float:
        _synchronise(device)
        started = time.perf_counter()
        for _ in range(calls):
            call()
        _synchronise(device)
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


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _spread(values: np.ndarray, name: str) -> dict[str, float]:
    return {name: float(np.median(values)), "low": float(values.min()), "high": float(values.max()), "rounds": len(values)}


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


def setting_of(name: str, network: NetworkSpec, threads: int, device: torch.device) -> dict[str, Any]:
    """The columns that every table of speeds begins with."""
    return {
        "device": device.type,
        "device_name": device_name(device),
        "threads": threads,
        "network": name,
        "batch_norm": network.batch_norm,
    }


def training_speed(
    case: Case, precisions: Sequence[str], threads: int, rounds: int, device: torch.device
) -> list[dict[str, Any]]:
    """A row per contestant: image passes per second (median, low and high of the rounds), and what they are measured by.

    `share_of_matmul`: the pass's operations per second over those of a matrix product; ratios are medians over the rounds.
    """
    product, operations = matmul_work(device)
    work = training_work(case, precisions, device)
    with cpu_threads(threads):
        times = in_turn({Contestant("matmul"): product, **work}, rounds, device)
    flops, passes = flops_per_pass(case.network, case.image_shape), case.pixels * case.images
    matmul = operations / times[Contestant("matmul")]
    rows = []
    for contestant in work:
        speed = passes / times[contestant]
        rows.append(
            {
                **contestant._asdict(),
                **_spread(speed, "passes_per_second"),
                "mflop_per_pass": flops / 1e6,
                "matmul_gflop_per_second": float(np.median(matmul)) / 1e9,
                "share_of_matmul": float(np.median(speed * flops / matmul)),
                "speedup_over_plain": float(np.median(times[PLAIN] / times[contestant])),
            }
        )
    return rows


def surface_speed(case: Case, threads: int, rounds: int, device: torch.device) -> list[dict[str, Any]]:
    """Two rows, ours and plain: points times images per second (median, low and high of the rounds), and the speed-up."""
    with cpu_threads(threads):
        times = in_turn(surface_work(case, device), rounds, device)
    return [
        {
            "engine": engine,
            **_spread(case.pixels * case.images / seconds, "evaluations_per_second"),
            "speedup_over_plain": float(np.median(times["plain"] / seconds)),
        }
        for engine, seconds in times.items()
    ]


def peak_memory(jobs: Sequence[tuple[Case, Contestant, int]], workers: int, device: torch.device) -> list[int]:
    """Bytes that one plane gradient needs beyond its inputs, at its peak, for each (case, contestant, threads).

    On a CPU each is measured in a process of its own, `workers` at a time.
    """
    if device.type == "cuda":
        return [_peak_of_gpu(case, contestant, device) for case, contestant, _ in jobs]

    def in_fresh_process(job: tuple[Case, Contestant, int]) -> int:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            return process.submit(_peak_of_process, *job).result()

    with ThreadPoolExecutor(workers) as waiting:
        return list(waiting.map(in_fresh_process, jobs))


def _peak_of_gpu(case: Case, contestant: Contestant, device: torch.device) -> int:
    work = training_work(case, [contestant.precision], device)[contestant]
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return torch.cuda.max_memory_allocated(device) - before


def _peak_of_process(case: Case, contestant: Contestant, threads: int) -> int:
    """Growth in bytes of this process's largest resident size during one call, libraries loaded and inputs in place."""
    device = torch.device("cpu")
    with cpu_threads(threads):
        training_work(replace(case, pixels=1, images=1), [contestant.precision], device)[contestant]()
        work = training_work(case, [contestant.precision], device)[contestant]
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: forget the largest size so far
        before = _largest_size()
        work()
    return _largest_size() - before


def _largest_size() -> int:
    """Bytes. Linux: VmHWM, since getrusage there also counts the process that started this one."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)
    if kilobytes is not None:
        return 1024 * kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def plane_memory(name: str, spec: NetworkSpec, image_shape: tuple[int, int, int], mask: np.ndarray) -> dict[str, Any]:
    """Bytes of a plane beside those of one model for each trained pixel of `mask` (H, W), by count and as files.

    A plane is three vectors and a step: 3 n + 1 numbers. Its file also holds the two directions that follow from them, the
    input scaling and the provenance; a model's file holds its n numbers. MODELS_WRITTEN models stand for all K.
    """
    pixels = np.argwhere(mask != 0)
    case = Case(spec, image_shape, len(pixels), 1)
    network, plane, _ = random_plane(case, torch.device("cpu"))
    plane = replace(plane, shape=mask.shape)
    channels = image_shape[0]
    made_by = {
        "network": {"name": name},
        "seed": 0,
        "image_shape": list(image_shape),
        "classes": CLASSES,
        "mask_shape": list(mask.shape),
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plane.safetensors"
        save_trained(file, plane, InputScaling(torch.zeros(channels), torch.ones(channels)), {}, made_by)
        sizes = []
        for k, weights in enumerate(plane.weights(torch.from_numpy(pixels[:MODELS_WRITTEN]))):
            model = Path(folder) / f"model{k}.safetensors"
            save_tensors(model, {key: part.clone() for key, part in network.unflatten(weights).items()}, {})
            sizes.append(model.stat().st_size)
        plane_file, model_file = file.stat().st_size, statistics.mean(sizes)
    plane_bytes = sum(tensor.numel() * tensor.element_size() for tensor in plane.tensors().values())
    models_bytes = len(pixels) * plane.origin.numel() * plane.origin.element_size()
    return {
        "network": name,
        "weights": network.size,
        "pixels": len(pixels),
        "plane_bytes": plane_bytes,
        "models_bytes": models_bytes,
        "ratio": models_bytes / plane_bytes,
        "plane_file_bytes": plane_file,
        "models_file_bytes": round(model_file * len(pixels)),
        "file_ratio": model_file * len(pixels) / plane_file,
        "models_written": len(sizes),
    }


def state_cost(
    network: NetworkSpec, training: TrainingSpec, image_shape: tuple[int, int, int], every: float, device: torch.device
) -> dict[str, Any]:
    """What saving the state of a training costs: bytes, seconds of one save, and its share of a training that saves every
    `every` seconds. Measured in trainings on noise images (C, H, W) that save after every update."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (64, *image_shape[1:], image_shape[0]), dtype=np.uint8)
    short = replace(training, updates=SAVES, white_pixels=2, black_pixels=2, images=2, origin_updates=0)
    mask = np.array([[1, 1], [-1, -1]], np.int8)
    with tempfile.TemporaryDirectory() as folder, StateFile(Path(folder) / "state.safetensors", "", 0.0) as state:
        labels = np.arange(len(images)) % CLASSES
        train("benchmark", network, short, mask, images, labels, CLASSES, 0, device, state=state)
        size = state.path.stat().st_size
    seconds = state.seconds / state.saved
    return {
        "optimizer": training.optimizer,
        "state_bytes": size,
        "seconds_per_save": seconds,
        "save_every_seconds": every,
        "share_of_training": seconds / (every + seconds),
    }
