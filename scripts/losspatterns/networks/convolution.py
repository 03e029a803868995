"""Convolutions of many pixels' models at once, each with its own weights.

torch runs a convolution whose weights differ from model to model as a grouped one, at a small share of the machine's rate. Here
all models form their weights and lay out the patches of their images, channels last, as memory has them, and one batched matrix
product serves them. A CPU would spend its time on moving patches through memory; the kernels of `cpu` keep them in its
cache.
"""

from itertools import product
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.overrides import handle_torch_function, has_torch_function

from ..cpu import channels_last, kernels, with_models
from .batch_norm import followed

Pair = tuple[int, int]


class Settings(NamedTuple):
    """Of a convolution: stride and padding, of rows and of columns; `relu`, `pool`: what follows, in either order."""

    stride: Pair
    padding: Pair
    relu: bool = False
    pool: bool = False  # 2 x 2, only together with relu


def settings_of(input: Tensor, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Settings | None:
    """Of torch's conv2d; None for one of a rare kind, which is not computed here."""
    usual = groups == 1 and not isinstance(padding, str) and _pair(dilation) == (1, 1) and input.dim() == 4
    return Settings(_pair(stride), _pair(padding)) if usual else None


def _pair(value: Any) -> Pair:
    return (value, value) if isinstance(value, int) else tuple(value)


def conv_relu(input: Tensor, weight: Tensor, bias: Tensor, pool: bool) -> Tensor:
    """3 x 3 convolution with padding 1, 2 x 2 max pool if asked for, ReLU: one call, which whoever runs it may run as one."""
    if has_torch_function((input, weight, bias)):
        return handle_torch_function(conv_relu, (input, weight, bias), input, weight, bias, pool)
    return followed(F.conv2d(input, weight, bias, padding=1), True, pool)


def pixel_convolution(images: Tensor, place: Tensor, stack: Tensor, bias: Tensor, settings: Settings) -> Tensor:
    """A pixel's convolution, then ReLU and pool as `settings` say, for use under `vmap` over pixels.

    images (B, C, H, W), the pixel's or the same for all -> (B, O, H', W'), channels last in memory.

    place (P,): what origin, up and right are multiplied with; stack (P, O, C, rows, columns) and bias (P, O) hold those.
    """
    if fast := kernels(images, stack):
        return fast.convolution(images, place, stack, bias, settings)
    return followed(PixelConvolution.apply(images, place, stack, bias, settings), settings.relu, settings.pool)


class PixelConvolution(Function):
    """images (K, B, C, H, W), or (B, C, H, W) for all models, and places (K, P) -> (K, B, O, H', W'): the convolution alone.

    Made for `vmap`: inside it, none of them has its K.
    """

    @staticmethod
    def forward(images: Tensor, places: Tensor, stack: Tensor, bias: Tensor, settings: Settings) -> Tensor:
        patches = _patches(_pad(images, settings.padding), stack.shape[3:], settings.stride).contiguous()
        weights = _weights(places, _by_output(stack)).to(images.dtype)
        output = channels_last(images, len(places), images.shape[-4], stack.shape[1], *patches.shape[-5:-3])
        rows = output.movedim(-3, -1).flatten(1, 3)
        biases = (places @ bias).to(images.dtype)[:, None]
        torch.baddbmm(biases, _for_all(patches, len(places)), weights.transpose(1, 2), out=rows)
        return output

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.settings = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
        images, places, stack, _ = ctx.saved_tensors
        stride, padding, *_ = ctx.settings
        rows = slopes.permute(0, 1, 3, 4, 2).contiguous().flatten(1, 3)  # (K, B * H' * W', O)
        padded, by_output = _pad(images, padding), _by_output(stack)
        patches = _patches(padded, stack.shape[3:], stride).contiguous()
        to_weights = torch.bmm(rows.transpose(1, 2), _for_all(patches, len(places))).flatten(1).to(stack.dtype)
        to_stack = (places.t() @ to_weights).view(by_output.shape).permute(0, 1, 4, 2, 3)
        to_images = None
        if ctx.needs_input_grad[0]:
            total = torch.zeros_like(padded)
            sums = _patches(total, stack.shape[3:], stride)
            parts = torch.bmm(rows, _weights(places, by_output).to(images.dtype)).view(sums.shape)
            for i, j in product(*map(range, stack.shape[3:])):  # patches overlap
                sums[..., i, j, :] += parts[..., i, j, :]
            height, width = images.shape[-2:]
            to_images = total.narrow(-3, padding[0], height).narrow(-2, padding[1], width).movedim(-1, -3)
        return to_images, None, to_stack, places.t() @ rows.sum(1, dtype=stack.dtype), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], images: Tensor, places: Tensor, *rest: Any) -> tuple[Tensor, int]:
        return PixelConvolution.apply(*with_models(in_dims, images, places), *rest), 0


def _weights(places: Tensor, by_output: Tensor) -> Tensor:
    """Every model's (K, O, rows * columns * C), by its place (K, P)."""
    return (places @ by_output.flatten(1)).unflatten(1, (by_output.shape[1], -1))


def _by_output(stack: Tensor) -> Tensor:
    """(P, O, C, rows, columns) -> (P, O, rows, columns, C), contiguous."""
    return stack.permute(0, 1, 3, 4, 2).contiguous()


def _pad(images: Tensor, padding: Pair) -> Tensor:
    """(..., C, H, W) -> (..., H + 2 * vertical, W + 2 * horizontal, C), zeros around, contiguous."""
    return F.pad(images.movedim(-3, -1), (0, 0, padding[1], padding[1], padding[0], padding[0])).contiguous()


def _patches(padded: Tensor, kernel: Pair, stride: Pair) -> Tensor:
    """(..., H, W, C) -> (..., H', W', rows, columns, C): what the kernel covers at each of its places. A view."""
    return padded.unfold(-3, kernel[0], stride[0]).unfold(-3, kernel[1], stride[1]).movedim(-3, -1)


def _for_all(patches: Tensor, models: int) -> Tensor:
    """(K, B, H', W', rows, columns, C), contiguous, or without K -> (K, B * H' * W', rows * columns * C)."""
    return patches.flatten(-3).flatten(-4, -2).expand(models, -1, -1)
