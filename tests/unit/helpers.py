"""Small networks and planes for the tests of the engine."""

import copy
import os
import signal
import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from losspatterns.method.objective import TwoColours
from losspatterns.method.plane import Plane
from losspatterns.method.update import plane_gradient
from losspatterns.networks.flat import FlatNetwork
from losspatterns.networks.modules import build
from losspatterns.networks.settings import AnyNetwork, ConvNetwork, ResNetwork
from losspatterns.records.state import StateFile

SCRIPTS = Path(__file__).parents[2] / "scripts"
NETWORKS = {
    "plain": ConvNetwork(channels=(4, 6), dense=(12,), pooled_size=3),
    "dense": ConvNetwork(channels=(), dense=(16, 8), activation="tanh"),
    "no_pool": ConvNetwork(channels=(4, 4), dense=(8,), pool=False, pooled_size=2, activation="gelu"),
    "batch_norm": ConvNetwork(channels=(4, 4), dense=(8,), batch_norm=True),
    "residual": ConvNetwork(channels=(4, 4), dense=(8,), residual=True),
    "resnet": ResNetwork(channels=(4, 8), blocks=1),
    "resnet_batch_norm": ResNetwork(channels=(4, 8), batch_norm=True),
}
IMAGE_SHAPE = (2, 9, 11)
CLASSES = 5


def run_program(program: str, **variables: str) -> str:
    """What a Python program that knows the library prints, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), **variables}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_moved_alike(start: Plane, ours: Plane, theirs: Plane, share: float) -> None:
    """Two trainings from one plane went the same way, but for a share of its length.

    Not weight by weight: an optimizer divides by gradients, so where one is all rounding the step may go either way.
    """
    for name, before in start.tensors().items():
        first, second = (plane.tensors()[name].detach().double() - before.double() for plane in (ours, theirs))
        assert float(second.norm()) > 0, name
        assert float((first - second).norm()) <= share * float(second.norm()), name


def random_network(spec: AnyNetwork, seed: int = 0) -> FlatNetwork:
    """The network of a spec for the tests' images."""
    torch.manual_seed(seed)
    return FlatNetwork(build(spec, IMAGE_SHAPE, CLASSES))


def random_plane(network: FlatNetwork, spec: AnyNetwork, shape: tuple[int, ...] = (5, 4)) -> Plane:
    """A plane of fresh initialisations, batch norm parameters off their zeros."""
    torch.manual_seed(1)
    count = len(shape) + 1
    vectors = [FlatNetwork(build(spec, IMAGE_SHAPE, CLASSES)).vector() + 0.05 * torch.randn(network.size) for _ in range(count)]
    return Plane(tuple(vectors), torch.tensor(0.3), shape)


def random_batch(count: int, seed: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, C, H, W), channels last in memory, as trainings and surfaces have them, and labels (N,)."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, *IMAGE_SHAPE, generator=generator).contiguous(memory_format=torch.channels_last)
    return images, torch.randint(0, CLASSES, (count,), generator=generator)


def plain_loop(network, plane, coordinates, signs, factors, images, labels, tau):
    """The paper's objective written plainly: an ordinary module per pixel, its gradient by autograd, then through the plane.

    Returns the gradients of the plane's tensors by name, and the pixels' losses and accuracies as lists.
    """
    twin = plane.with_tensors(lambda tensor: tensor.detach().clone().requires_grad_())
    weights = twin.weights(coordinates)
    gradients, losses, accuracies = [], [], []
    for k, sign in enumerate(signs.tolist()):
        module = network.ordinary(weights[k].detach())
        x, y = (images, labels) if images.dim() == 4 else (images[k], labels[k])
        logits = module(x.contiguous())
        loss = F.cross_entropy(logits, y)
        (factors[k] * (loss if sign > 0 else -torch.minimum(loss, torch.tensor(tau)))).backward()
        gradients.append(
            torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in module.parameters()])
        )
        losses.append(loss.item())
        accuracies.append((logits.argmax(1) == y).float().mean().item())
    weights.backward(torch.stack(gradients))
    return {name: tensor.grad for name, tensor in twin.tensors().items()}, losses, accuracies


def check_engine_against_plain_loop(network, plane, coordinates, signs, images, labels, tau, chunk=7) -> int:
    """Assert that `plane_gradient` gives the plain loop's numbers; returns how many black pixels lie beyond tau.

    In float64: a gradient is a sum of parts that may cancel, and in float32 its rounding has no bound relative to the sum.
    """
    network, images = FlatNetwork(copy.deepcopy(network.module).double()), images.double()
    plane = plane.with_tensors(lambda tensor: tensor.detach().double())
    factors = torch.linspace(0.5, 2, len(signs), dtype=torch.float64)
    found = plane_gradient(network, plane, coordinates, images, labels, TwoColours(signs, factors, tau), chunk)
    expected, losses, accuracies = plain_loop(network, plane, coordinates, signs, factors, images, labels, tau)
    for name, gradient in zip(plane.tensors(), [*found.vectors, found.step], strict=True):
        assert float(expected[name].norm()) > 1e-3
        assert float((gradient - expected[name]).norm()) <= 1e-9 * float(expected[name].norm()), name
    torch.testing.assert_close(found.losses, torch.tensor(losses, dtype=torch.float64))
    torch.testing.assert_close(found.accuracies, torch.tensor(accuracies, dtype=torch.float64))
    return sum(sign < 0 and loss > tau for sign, loss in zip(signs.tolist(), losses, strict=True))


class Interrupting(StateFile):
    """A state that saves and stops when it has been asked for `due` as often as the next number says."""

    def __init__(self, path: Path, after: list[int]) -> None:
        super().__init__(path, "toy", 1000.0)
        self.after = after

    @property
    def due(self) -> bool:
        if not self.after:
            return False
        self.after[0] -= 1
        if self.after[0] == 0:
            self.after.pop(0)
            self._signal = signal.SIGTERM
            return True
        return False
