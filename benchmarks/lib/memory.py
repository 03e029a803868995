"""Memory of the engine: what a gradient needs at its peak, what a plane holds, what saving a training's state costs."""

from __future__ import annotations

import contextlib
import multiprocessing
import platform
import resource
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from losspatterns.method.images import TrainingImages
from losspatterns.method.origin import warm_origin
from losspatterns.method.training import Training
from losspatterns.records.state import StateFile
from losspatterns.settings import ConvNetwork, Recipe

from .plain import CLASSES
from .speed import Case, Contestant, random_plane, training_work

SAVES = 8  # of a training's state, to tell what one costs


def peak_memory(jobs: Sequence[tuple[Case, Contestant, int]], workers: int, device: torch.device) -> list[int]:
    """Bytes that one plane gradient needs beyond its inputs, at its peak, for each (case, contestant, threads).

    On a CPU each is measured in a process of its own, `workers` at a time.
    """
    if device.type == "cuda":
        return [_peak_of_gpu(case, contestant, device) for case, contestant, _ in jobs]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, max_tasks_per_child=1) as processes:
        return list(processes.map(_peak_of_process, *zip(*jobs, strict=True)))


def _peak_of_gpu(case: Case, contestant: Contestant, device: torch.device) -> int:
    work = training_work(case, [contestant[1]], device)[contestant]
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return torch.cuda.max_memory_allocated(device) - before


def _peak_of_process(case: Case, contestant: Contestant, threads: int) -> int:
    """Growth in bytes of this process's largest resident size during one call, libraries loaded and inputs in place."""
    torch.set_num_threads(threads)
    device = torch.device("cpu")
    training_work(replace(case, pixels=1, images=1), [contestant[1]], device)[contestant]()
    work = training_work(case, [contestant[1]], device)[contestant]
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: forget the largest size so far
    before = _largest_size()
    work()
    return _largest_size() - before


def _largest_size() -> int:
    """Bytes. Linux: VmHWM, since getrusage there also counts the process that started this one."""
    status = Path("/proc/self/status")
    if status.is_file():
        return 1024 * next(int(line.split()[1]) for line in status.open(encoding="utf-8") if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def plane_memory(settings: ConvNetwork, image_shape: tuple[int, int, int], mask: np.ndarray) -> dict[str, Any]:
    """Bytes of a plane, three vectors and a step, beside those of one model for each trained pixel of `mask` (H, W)."""
    pixels = int((mask != 0).sum())
    network, plane, _ = random_plane(Case(settings, image_shape, pixels, 1), torch.device("cpu"))
    plane_bytes = sum(tensor.nbytes for tensor in plane.tensors().values())
    models_bytes = pixels * plane.origin.nbytes
    sizes = {"plane_bytes": plane_bytes, "models_bytes": models_bytes, "ratio": models_bytes / plane_bytes}
    return {"weights": network.size, "pixels": pixels, **sizes}


def state_cost(
    network: ConvNetwork, recipe: Recipe, image_shape: tuple[int, int, int], every: float, device: torch.device
) -> dict[str, Any]:
    """What saving the state of a training costs: bytes, seconds of one save, and its share of a training that saves every
    `every` seconds. Measured in a training on noise images (C, H, W)."""
    channels, *sides = image_shape
    images = np.random.default_rng(0).integers(0, 256, (64, *sides, channels), dtype=np.uint8)
    labels = np.arange(len(images)) % CLASSES
    short = recipe.model_copy(update={"white_pixels": 2, "black_pixels": 2, "images": 2, "origin_updates": 0})
    origin = warm_origin(network, short, images, labels, CLASSES, 0, device)
    data = TrainingImages.of(images, labels, short, device)
    training = Training("benchmark", short, origin, data, np.array([[1, 1], [-1, -1]], np.int8), 0)
    with tempfile.TemporaryDirectory() as folder, StateFile(Path(folder) / "state.safetensors", "", every) as state:
        for _ in range(SAVES):
            training.step()
            training.look()
            state.save(training.state_dict())
        size = state.path.stat().st_size
    seconds = state.seconds / state.saved
    costs = {"state_bytes": size, "seconds_per_save": seconds, "save_every_seconds": every}
    return {"optimizer": recipe.optimizer, **costs, "share_of_training": seconds / (every + seconds)}
