"""Small networks and planes for the tests of the engine."""

from __future__ import annotations

import torch
from losspatterns.networks import FlatNetwork, build
from losspatterns.plane import Plane
from losspatterns.specs import NetworkSpec

NETWORKS = {
    "plain": NetworkSpec("conv", (4, 6), (12,), pooled_size=3),
    "dense": NetworkSpec("conv", (), (16, 8), activation="tanh"),
    "no_pool": NetworkSpec("conv", (4, 4), (8,), pool=False, pooled_size=2, activation="gelu"),
    "batch_norm": NetworkSpec("conv", (4, 4), (8,), batch_norm=True),
    "residual": NetworkSpec("conv", (4, 4), (8,), residual=True),
    "resnet": NetworkSpec("resnet", (4, 8), blocks=1),
    "resnet_batch_norm": NetworkSpec("resnet", (4, 8), batch_norm=True),
}
IMAGE_SHAPE = (2, 9, 11)
CLASSES = 5


def random_network(spec: NetworkSpec, seed: int = 0) -> FlatNetwork:
    """The network of a spec for the tests' images."""
    torch.manual_seed(seed)
    return FlatNetwork(build(spec, IMAGE_SHAPE, CLASSES))


def random_plane(network: FlatNetwork, spec: NetworkSpec, shape: tuple[int, int] = (5, 4)) -> Plane:
    """A plane of three fresh initialisations, batch norm parameters off their zeros."""
    torch.manual_seed(1)
    vectors = [FlatNetwork(build(spec, IMAGE_SHAPE, CLASSES)).vector() + 0.05 * torch.randn(network.size) for _ in range(3)]
    return Plane(*vectors, torch.tensor(0.3), shape)


def random_batch(count: int, seed: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, C, H, W) and labels (N,)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *IMAGE_SHAPE, generator=generator), torch.randint(0, CLASSES, (count,), generator=generator)
