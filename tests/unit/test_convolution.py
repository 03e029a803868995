"""Convolutions of many models at once equal torch's own, one model after the other, forward and backward."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from losspatterns import convolution
from losspatterns.convolution import PixelConvolution
from torch.func import vmap

MODELS, IMAGES, OUTPUTS = 5, 3, 4


@pytest.mark.parametrize("patch_bytes", [1, 2**20])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "padding"),
    [(1, (3, 3), (1, 1), (1, 1)), (3, (3, 3), (2, 1), (0, 2)), (2, (1, 1), (2, 2), (0, 0)), (1, (5, 2), (1, 3), (2, 0))],
)
def test_it_equals_torch_s_convolution_of_each_model(
    monkeypatch: pytest.MonkeyPatch, channels: int, kernel: tuple, stride: tuple, padding: tuple, shared: bool, patch_bytes: int
) -> None:
    monkeypatch.setattr(convolution, "PATCH_BYTES", patch_bytes)
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    images = draw(*(() if shared else (MODELS,)), IMAGES, channels, 9, 8)
    if shared:
        images.requires_grad_(False)
    places, stack, bias = draw(MODELS, 3).detach(), draw(3, OUTPUTS, channels, *kernel), draw(3, OUTPUTS)

    def one(place: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        weights = stack.permute(0, 1, 3, 4, 2).flatten(2)
        return PixelConvolution.apply(images, place, weights, bias, kernel, stride, padding)

    output = vmap(one, in_dims=(0, None if shared else 0))(places, images)
    expected = torch.stack(
        [
            F.conv2d(
                images if shared else images[k],
                torch.einsum("p,pocij->ocij", places[k], stack),
                places[k] @ bias,
                stride,
                padding,
            )
            for k in range(MODELS)
        ]
    )
    torch.testing.assert_close(output, expected)
    slopes = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    inputs = [tensor for tensor in (images, stack, bias) if tensor.requires_grad]
    ours, theirs = (torch.autograd.grad((result * slopes).sum(), inputs) for result in (output, expected))
    for gradient, reference in zip(ours, theirs, strict=True):
        assert float(reference.norm()) > 1
        torch.testing.assert_close(gradient, reference)
