"""Convolutions of many pixels' models at once, each with its own weights.

torch runs a convolution whose weights differ from model to model as a grouped one, at a small share of the machine's rate. Here
all models form their weights and lay out the patches of their images, channels last, as memory has them, and one batched matrix
product serves them. A CPU would spend its time on moving patches through memory; the kernels of `cpu` keep them in its
cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from ..cpu import kernels
from .batch_norm import followed

Pair = tuple[int, int]


def settings_of(input: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> Settings | None:
    """Of torch's conv2d; None for one of a rare kind, which is not computed here."""
    usual = groups == 1 and not isinstance(padding, str) and _pair(dilation) == (1, 1) and input.dim() == 4
    return Settings(_pair(stride), _pair(padding)) if usual else None


def _pair(value: Any) -> Pair:
    return (value, value) if isinstance(value, int) else tuple(value)


class Settings(NamedTuple):
    """Of a convolution: stride and padding, of rows and of columns; `relu`, `pool`: what follows, in either order."""

    stride: Pair
    padding: Pair
    relu: bool = False
    pool: bool = False  # 2 x 2, only together with relu

    def places(self, images: Tensor, kernel: Pair) -> Pair:
        """(H', W'): how many places a kernel of that many rows and columns has on images (..., C, H, W)."""
        height, width = (
            (side + 2 * edge - length) // step + 1
            for side, edge, length, step in zip(images.shape[-2:], self.padding, kernel, self.stride, strict=True)
        )
        return height, width


def pixel_convolution(images: Tensor, place: Tensor, stack: Tensor, bias: Tensor, settings: Settings) -> Tensor:
    """A pixel's convolution, then ReLU and pool as `settings` say, for use under `vmap` over pixels.

    images (B, C, H, W), the pixel's or the same for all -> (B, O, H', W'), channels last in memory.

    place (3,): what origin, up and right are multiplied with; stack (3, O, C, rows, columns) and bias (3, O) hold those.
    """
    if fast := kernels(images, stack):
        return fast.convolution(images, place, stack, bias, settings)
    return followed(PixelConvolution.apply(images, place, stack, bias, settings), settings.relu, settings.pool)


class PixelConvolution(Function):
    """images (K, B, C, H, W), or (B, C, H, W) for all models, and places (K, 3) -> (K, B, O, H', W'): the convolution alone.

    Made for `vmap`: inside it, none of them has its K.
    """

    @staticmethod
    def forward(images: Tensor, places: Tensor, stack: Tensor, bias: Tensor, settings: Settings) -> Tensor:
        size = settings.places(images, stack.shape[3:])
        patches = _patches(_pad(images, settings.padding), size, stack.shape[3:], settings.stride)
        weights = _weights(places, _by_output(stack)).to(images.dtype)
        output = channels_last(images, len(places), images.shape[-4], stack.shape[1], *size)
        rows = output.movedim(-3, -1).flatten(1, 3)
        biases = (places @ bias).to(images.dtype)[:, None]
        torch.baddbmm(biases, patches.expand(len(places), -1, -1), weights.transpose(1, 2), out=rows)
        return output

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.settings = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
        images, places, stack, _ = ctx.saved_tensors
        rows = slopes.permute(0, 1, 3, 4, 2).contiguous().flatten(1, 3)  # (K, B * H' * W', O)
        padded, size, kernel, stride = (
            _pad(images, ctx.settings.padding),
            slopes.shape[3:],
            stack.shape[3:],
            ctx.settings.stride,
        )
        patches = _patches(padded, size, kernel, stride).expand(len(places), -1, -1)
        by_output = _by_output(stack)
        to_weights = torch.bmm(rows.transpose(1, 2), patches).flatten(1).to(stack.dtype)
        to_stack = (places.t() @ to_weights).view(by_output.shape).permute(0, 1, 4, 2, 3)
        to_images = None
        if ctx.needs_input_grad[0]:
            weights = _weights(places, by_output).to(images.dtype)
            total = _add_patches(torch.bmm(rows, weights), padded.shape, size, kernel, stride)
            (top, left), (height, width) = ctx.settings.padding, images.shape[-2:]
            to_images = total[:, :, top : top + height, left : left + width].movedim(-1, -3)
        return to_images, None, to_stack, places.t() @ rows.sum(1, dtype=stack.dtype), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], images: Tensor, places: Tensor, *rest: Any) -> tuple[Tensor, int]:
        return PixelConvolution.apply(*with_models(in_dims, images, places), *rest), 0


def channels_last(like: Tensor, models: int, images: int, channels: int, height: int, width: int) -> Tensor:
    """A new tensor of that size, uninitialised, in memory as (models, images, height, width, channels).

    No view of another one: what a Function returns may be changed in place then.
    """
    line = width * channels
    strides = images * height * line, height * line, 1, line, channels
    return torch.empty_strided((models, images, channels, height, width), strides, dtype=like.dtype, device=like.device)


def with_models(in_dims: tuple[int | None, ...], images: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Images and places as `vmap` hands them over, with the models first; images that all models share have none."""
    places = places.movedim(in_dims[1], 0)
    if in_dims[0] is not None:
        images = images.movedim(in_dims[0], 0)
    elif images.requires_grad:  # each model has its own gradient of them
        images = images.expand(len(places), *images.shape)
    return images, places


def _weights(places: Tensor, by_output: Tensor) -> Tensor:
    """Every model's (K, O, rows * columns * C), by its place (K, 3)."""
    return (places @ by_output.flatten(1)).unflatten(1, (by_output.shape[1], -1))


def _by_output(stack: Tensor) -> Tensor:
    """(3, O, C, rows, columns) -> (3, O, rows, columns, C), contiguous."""
    return stack.permute(0, 1, 3, 4, 2).contiguous()


def _pad(images: Tensor, padding: Pair) -> Tensor:
    """(..., C, H, W) -> (..., H + 2 * vertical, W + 2 * horizontal, C), zeros around, contiguous."""
    return F.pad(images.movedim(-3, -1), (0, 0, padding[1], padding[1], padding[0], padding[0])).contiguous()


def _patches(padded: Tensor, size: Pair, kernel: Pair, stride: Pair) -> Tensor:
    """(..., B, H, W, C), contiguous -> (..., B * H' * W', rows * columns * C)."""
    run = kernel[1] * padded.shape[-1]  # a kernel's row of numbers is one run in memory
    image, row, column, _ = padded.stride()[-4:]
    strides = image, row * stride[0], column * stride[1], row, 1
    patches = padded.as_strided((padded.shape[:-3].numel(), *size, kernel[0], run), strides)
    return patches.reshape(*padded.shape[:-4], -1, kernel[0] * run)


def _add_patches(slopes: Tensor, padded: torch.Size, size: Pair, kernel: Pair, stride: Pair) -> Tensor:
    """(K, B * H' * W', rows * columns * C) -> (K, B, H, W, C) as `padded`: the sum of all patches' slopes of a number."""
    total = slopes.new_zeros(padded)
    slopes = slopes.view(*padded[:2], *size, *kernel, padded[-1])
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            last = i + stride[0] * (size[0] - 1) + 1, j + stride[1] * (size[1] - 1) + 1
            total[:, :, i : last[0] : stride[0], j : last[1] : stride[1]] += slopes[..., i, j, :]
    return total
