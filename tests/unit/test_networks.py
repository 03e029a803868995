"""Networks: a flat vector is the module, and batch norm does what its protocol says."""

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from helpers import NETWORKS, random_batch, random_network, random_plane, run_program
from losspatterns.errors import InputError
from losspatterns.networks.batch_norm import PROTOCOLS, BatchNorm
from losspatterns.networks.flat import FlatNetwork
from losspatterns.networks.modules import ConvLayer, build
from losspatterns.networks.settings import BN_PROTOCOLS, NO_BATCH_NORM, ConvNetwork
from torch import nn
from torch.func import vmap


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """Rounding is then far below what tells a wrong layer from a right one."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_functional_call_equals_the_ordinary_module(name: str) -> None:
    network = random_network(NETWORKS[name])
    weights = random_plane(network, NETWORKS[name]).weights(torch.tensor([[0.0, 0.0], [4.0, 3.0]]))
    images, _ = random_batch(7)
    together = vmap(network, in_dims=(0, None))(weights, images)
    for row, logits in zip(weights, together, strict=True):
        torch.testing.assert_close(network.ordinary(row)(images), logits)


def test_flat_vector_round_trip() -> None:
    network = random_network(NETWORKS["resnet_batch_norm"])
    images, _ = random_batch(3)
    torch.testing.assert_close(network(network.vector(), images), network.module(images))


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d])
def test_batch_norm_equals_torch_with_gamma_stored_minus_one(kind: type[nn.Module]) -> None:
    x = 3 + 2 * torch.randn(8, 3, 5, 4, 2)
    shapes = {nn.BatchNorm1d: [(8, 3), (8, 3, 40)], nn.BatchNorm2d: [(8, 3, 5, 8)], nn.BatchNorm3d: [(8, 3, 5, 4, 2)]}
    ours, theirs = BatchNorm(3, epsilon=0.1), kind(3, eps=0.1, track_running_stats=False)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor([0.5, 1.5, -1.0]))
        theirs.bias.copy_(torch.tensor([0.1, -0.2, 0.3]))
        ours.weight.copy_(theirs.weight - 1)
        ours.bias.copy_(theirs.bias)
    for shape in shapes[kind]:
        images = x.flatten(2)[..., 0] if len(shape) == 2 else x.reshape(shape)
        torch.testing.assert_close(ours(images), theirs(images))
        torch.testing.assert_close(ours.eval()(images), ours.train()(images), rtol=0, atol=0)
    assert BatchNorm(3).weight.abs().max() == 0


def test_recalibrated_statistics_are_those_of_the_calibration_images() -> None:
    spec = NETWORKS["batch_norm"]
    network = random_network(spec)
    calibration, _ = random_batch(20, seed=5)
    moments = network.calibrate(network.vector(), calibration)
    first = network.module[0].conv(calibration)
    torch.testing.assert_close(moments[0][0], first.mean((0, 2, 3)))
    torch.testing.assert_close(moments[0][1], first.var((0, 2, 3), correction=0))
    assert len(moments) == 2
    # With the statistics of a batch given, that batch itself gives what the batch protocol gives.
    with network.statistics(network.moments("recalibrated", lambda: moments)):
        given = network(network.vector(), calibration)
    torch.testing.assert_close(given, network(network.vector(), calibration))


def test_every_protocol_of_the_settings_has_its_row_and_no_other_is_known() -> None:
    assert set(PROTOCOLS) == {NO_BATCH_NORM, *BN_PROTOCOLS}
    network = random_network(NETWORKS["batch_norm"])
    for wrong in ("none", "frozen"):
        with pytest.raises(InputError, match=f"protocol: found '{wrong}' .*allowed are batch, recalibrated, identity$"):
            network.moments(wrong, list)


def test_identity_protocol_leaves_no_trace_of_the_batch() -> None:
    network = random_network(NETWORKS["batch_norm"])
    images, _ = random_batch(6)
    with network.statistics(network.moments("identity", list)):
        whole = network(network.vector(), images)
        alone = network(network.vector(), images[:1])
    torch.testing.assert_close(whole[:1], alone)
    assert not torch.allclose(network(network.vector(), images)[:1], network(network.vector(), images[:2])[:1])


def test_paper_network_has_the_paper_s_layers() -> None:
    """Facts: conv 1-8-32-64 with pools, adaptive pool 4 x 4, dense 1024-128-10 (arXiv 1910.03867, appendix)."""
    module = build(ConvNetwork(channels=(8, 32, 64), dense=(128,)), (1, 28, 28), 10)
    shapes = [tuple(p.shape) for p in module.parameters()]
    assert shapes[::2] == [(8, 1, 3, 3), (32, 8, 3, 3), (64, 32, 3, 3), (128, 1024), (10, 128)]
    assert sum(p.numel() for p in module.parameters()) == 153_402
    assert module(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_too_many_pools_are_refused() -> None:
    with pytest.raises(InputError, match="images of 6 x 9 are too small for 3 pools"):
        build(ConvNetwork(channels=(2, 2, 2)), (1, 6, 9), 10)


def test_reckoning_memory_does_not_load_torchs_compiler() -> None:
    """Every job does so first, and the compiler would take a second of it."""
    program = """
import sys
from losspatterns.networks.flat import FlatNetwork
from losspatterns.networks.modules import build
from losspatterns.networks.settings import ConvNetwork

network = FlatNetwork(build(ConvNetwork(channels=(4,), dense=(8,)), (1, 12, 12), 3))
assert max(network.layer_outputs((1, 12, 12))) == 4 * 12 * 12
assert "torch._dynamo" not in sys.modules
"""
    run_program(program)


@pytest.mark.parametrize("changes", [{}, {"activation": "gelu", "pool": False}, {"residual": True}], ids=str)
def test_fixed_statistics_give_what_torchs_batch_norm_gives(changes: dict) -> None:
    """Such a norm is taken into its convolution's weights."""
    torch.manual_seed(0)
    spec = ConvNetwork(channels=(4, 4), dense=(8,), batch_norm=True, **changes)
    network = FlatNetwork(build(spec, (2, 12, 12), 3))
    weights = network.vector() + 0.1 * torch.randn(network.size)
    moments = [(torch.randn(4), torch.rand(4) + 0.5) for _ in network.norms]
    images = torch.randn(6, 2, 12, 12)
    with network.statistics(moments):
        logits = network(weights, images)
    stock = network.ordinary(weights)
    for layer in stock:
        if isinstance(layer, ConvLayer):
            norm, (mean, variance) = torch.nn.BatchNorm2d(4).eval(), moments.pop(0)
            norm.weight.data, norm.bias.data = 1 + layer.norm.weight, layer.norm.bias
            norm.running_mean, norm.running_var = mean, variance
            # A stock norm in the place of ours: the layer's parts in their plain order.
            layer.forward = partial(_in_plain_order, layer, norm)
    torch.testing.assert_close(logits, stock(images))


def _in_plain_order(layer: ConvLayer, norm: torch.nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    y = norm(layer.conv(x))
    y = layer.activation(y + x if layer.identity else y)
    return y if layer.pool is None else layer.pool(y)
