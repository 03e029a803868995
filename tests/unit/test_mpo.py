"""The objective's gradient: batched equals a plain loop of ordinary modules and autograd, pixel by pixel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers import NETWORKS, random_batch, random_network, random_plane
from losspatterns.mpo import add_plane_gradient, pixel_gradients

COORDINATES = torch.cartesian_prod(torch.arange(5), torch.arange(4))
SIGNS = torch.tensor([1.0, -1.0] * 10)


def objective(loss: torch.Tensor, sign: float, tau: float) -> torch.Tensor:
    """The paper's objective for one pixel, written plainly."""
    return loss if sign > 0 else -torch.minimum(loss, torch.tensor(tau))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_batched_gradients_equal_autograd_on_ordinary_modules(name: str, shared: bool) -> None:
    network = random_network(NETWORKS[name])
    weights = random_plane(network, NETWORKS[name]).weights(COORDINATES)
    images, labels = random_batch(6 if shared else 6 * len(weights))
    if not shared:
        images, labels = images.view(len(weights), 6, *images.shape[1:]), labels.view(len(weights), 6)
    # tau is the median loss, so that some black pixels are beyond it
    tau = 1.6
    gradients, results = pixel_gradients(network, weights, images, labels, SIGNS, tau)
    clamped = 0
    for k, sign in enumerate(SIGNS.tolist()):
        module = network.ordinary(weights[k])
        x, y = (images, labels) if shared else (images[k], labels[k])
        logits = module(x)
        loss = F.cross_entropy(logits, y)
        objective(loss, sign, tau).backward()
        expected = torch.cat([p.grad.reshape(-1) for p in module.parameters()])
        scale = max(1e-3, float(expected.norm()))
        assert float((gradients[k] - expected).norm()) <= 1e-5 * scale
        assert results.losses[k].item() == pytest.approx(loss.item(), rel=1e-5)
        assert results.accuracies[k].item() == pytest.approx((logits.argmax(1) == y).float().mean().item())
        clamped += sign < 0 and loss.item() > tau
    assert clamped > 0


@pytest.mark.parametrize("chunk", [1, 7, 20])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_plane_gradient_equals_autograd_through_the_plane(chunk: int, clip: float | None) -> None:
    spec = NETWORKS["plain"]
    network = random_network(spec)
    plane, reference = random_plane(network, spec), random_plane(network, spec)
    for tensor in (*plane.tensors().values(), *reference.tensors().values()):
        tensor.requires_grad_(True)
    images, labels = random_batch(6)
    factors = torch.linspace(0.5, 2, len(SIGNS))
    add_plane_gradient(network, plane, COORDINATES, SIGNS, factors, images, labels, 1.6, clip, chunk)
    weights = reference.weights(COORDINATES)
    total = torch.zeros(())
    for k, sign in enumerate(SIGNS.tolist()):
        value = objective(F.cross_entropy(network(weights[k], images), labels), sign, 1.6)
        factor = factors[k]
        if clip is not None:
            norm = torch.autograd.grad(value, weights, retain_graph=True)[0][k].norm()
            factor = factor * min(1.0, clip / max(norm.item(), 1e-12))
        total = total + factor * value
    total.backward()
    for name, tensor in plane.tensors().items():
        expected = getattr(reference, name).grad
        assert float((tensor.grad - expected).norm()) <= 1e-5 * float(expected.norm()), name


def test_a_black_pixel_beyond_tau_has_no_gradient() -> None:
    network = random_network(NETWORKS["plain"])
    weights = random_plane(network, NETWORKS["plain"]).weights(COORDINATES)
    images, labels = random_batch(6)
    gradients, results = pixel_gradients(
        network, weights, images, labels, -torch.ones(20), float(results_median(network, weights))
    )
    beyond = results.losses > results_median(network, weights)
    assert 0 < beyond.sum() < 20
    assert (gradients[beyond] == 0).all()
    assert (gradients[~beyond].norm(dim=1) > 0).all()


def results_median(network, weights: torch.Tensor) -> torch.Tensor:
    """The median loss of the models, by a loop."""
    images, labels = random_batch(6)
    return torch.stack([F.cross_entropy(network(w, images), labels) for w in weights]).median()
