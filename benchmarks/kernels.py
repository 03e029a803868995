"""What the compiled kernels of losspatterns/cpu gain: the gradient of one update, with and without them, in one thread.

The ways take turns, and a way's time is its fastest turn's: what else runs on the machine disturbs both alike. The rate of a
large float32 matrix product, measured in between, is what they are held against.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from losspatterns.cpu import SWITCH
from losspatterns.method.devices import keep_freed_memory
from losspatterns.method.plane import Plane
from losspatterns.method.update import chunk_for, plane_gradient
from losspatterns.networks.flat import FlatNetwork
from losspatterns.networks.modules import build
from losspatterns.settings import ConvNetwork

IMAGE, PIXELS, TURNS = (1, 28, 28), 64, 12


def update(batch_norm: bool, images: int) -> tuple[Callable[[], object], int]:
    """An update's gradient for 64 pixels with `images` images each, and the arithmetic of its image passes (operations)."""
    torch.manual_seed(0)
    network = FlatNetwork(build(ConvNetwork(channels=(8, 32, 64), dense=(128,), batch_norm=batch_norm), IMAGE, 10))
    plane = Plane(*(network.vector() + 0.05 * torch.randn(network.size) for _ in range(3)), torch.tensor(0.1), (8, 8))
    coordinates = torch.cartesian_prod(torch.arange(8), torch.arange(8))
    signs, factors = torch.tensor([1.0, -1.0]).repeat(PIXELS // 2), torch.ones(PIXELS)
    x, y = torch.rand(PIXELS, images, *IMAGE), torch.randint(0, 10, (PIXELS, images))
    chunk = chunk_for(network, IMAGE, images, torch.device("cpu"))
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(network.module(x[0]), y[0]).backward()
    operations = PIXELS * counter.get_total_flops()
    return lambda: plane_gradient(network, plane, coordinates, signs, factors, x, y, 5.0, chunk), operations


def seconds(call: Callable[[], object], kernels: str = "on") -> float:
    """The processor time of a call: other programs' turns do not count."""
    os.environ[SWITCH] = kernels
    start = time.thread_time()
    call()
    return time.thread_time() - start


def main() -> None:
    """Print a table: milliseconds of an update without and with kernels, their ratio, shares of the product's rate."""
    torch.set_num_threads(1)
    keep_freed_memory()
    square = torch.rand(1536, 1536)
    print(
        f"{'images':>6} {'batch norm':>10} {'off, ms':>8} {'on, ms':>8} {'ratio':>6} {'off, %':>7} {'on, %':>7} {'GFLOP/s':>8}"
    )
    for batch_norm in (False, True):
        for images in (1, 16):
            call, operations = update(batch_norm, images)
            turns = [[seconds(call, "off"), seconds(call), seconds(lambda: square @ square)] for _ in range(TURNS)]
            off, on, product = (min(each) for each in zip(*turns[2:], strict=True))
            rate = 2 * len(square) ** 3 / product
            shares = (100 * operations / way / rate for way in (off, on))
            print(
                f"{images:>6} {'yes' if batch_norm else 'no':>10} {1000 * off:>8.1f} {1000 * on:>8.1f} {off / on:>6.2f}"
                + "".join(f" {share:>7.0f}" for share in shares)
                + f" {rate / 1e9:>8.0f}"
            )


if __name__ == "__main__":
    main()
