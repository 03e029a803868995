"""Convolutions of many pixels' models at once, each with its own weights.

torch runs a convolution whose weights differ from model to model as a grouped one, at a small share of the machine's rate. Here
a few models at a time form their weights and lay out the patches of their images, channels last, as memory has them, and one
batched matrix product serves them. What is laid out fits the processor's cache and is laid out again for the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

Pair = tuple[int, int]
PATCH_BYTES = 2**20  # laid out at once on a CPU, half of a core's second-level cache; a GPU takes all that it is given


class PixelConvolution(Function):
    """images (K, B, C, H, W), or (B, C, H, W) for all models -> (K, B, O, H', W'), channels last in memory.

    places (K, 3): what origin, up and right are multiplied with; stack (3, O, rows * columns * C) and bias (3, O) hold those.
    kernel, stride and padding are pairs. Made for `vmap` over places and images: there, none of them has its K.
    """

    @staticmethod
    def forward(
        images: Tensor, places: Tensor, stack: Tensor, bias: Tensor, kernel: Pair, stride: Pair, padding: Pair
    ) -> Tensor:
        padded, (height, width) = _pad(images, padding), _places(images, kernel, stride, padding)
        output = images.new_empty(len(places), images.shape[-4], height, width, stack.shape[1])
        rows = output.flatten(1, 3)
        biases = places @ bias
        for models, patches in _groups(padded, len(places), (height, width), kernel, stride):
            weights = (places[models] @ stack.flatten(1)).unflatten(1, stack.shape[1:])
            torch.baddbmm(biases[models, None], patches, weights.transpose(1, 2), out=rows[models])
        return output.permute(0, 1, 4, 2, 3)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.kernel, ctx.stride, ctx.padding = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
        images, places, stack, _ = ctx.saved_tensors
        rows = slopes.permute(0, 1, 3, 4, 2).contiguous().flatten(1, 3)  # (K, B * H' * W', O)
        padded, size = _pad(images, ctx.padding), slopes.shape[3:]
        to_stack = torch.zeros_like(stack).flatten(1)
        to_padded = torch.zeros_like(padded) if ctx.needs_input_grad[0] else None
        for models, patches in _groups(padded, len(places), size, ctx.kernel, ctx.stride):
            to_weights = torch.bmm(rows[models].transpose(1, 2), patches)
            to_stack.addmm_(places[models].t(), to_weights.flatten(1))
            if to_padded is not None:
                weights = (places[models] @ stack.flatten(1)).unflatten(1, stack.shape[1:])
                _add_patches(to_padded[models], torch.bmm(rows[models], weights), size, ctx.kernel, ctx.stride)
        to_bias = places.t() @ rows.sum(1)
        to_images = None
        if to_padded is not None:
            (vertical, horizontal), (height, width) = ctx.padding, images.shape[-2:]
            inside = to_padded[..., vertical : vertical + height, horizontal : horizontal + width, :]
            to_images = inside.permute(0, 1, 4, 2, 3)
        return to_images, None, to_stack.view_as(stack), to_bias, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], images: Tensor, places: Tensor, *rest: Any) -> tuple[Tensor, int]:
        if in_dims[0] is not None:
            images = images.movedim(in_dims[0], 0)
        return PixelConvolution.apply(images, places.movedim(in_dims[1], 0), *rest), 0


def _pad(images: Tensor, padding: Pair) -> Tensor:
    """(..., C, H, W) -> (..., H + 2 * vertical, W + 2 * horizontal, C), zeros around, contiguous."""
    return F.pad(images.movedim(-3, -1), (0, 0, padding[1], padding[1], padding[0], padding[0])).contiguous()


def _places(images: Tensor, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """(H', W'): how many places a kernel has on images (..., H, W)."""
    height, width = (
        (side + 2 * edge - length) // step + 1
        for side, edge, length, step in zip(images.shape[-2:], padding, kernel, stride, strict=True)
    )
    return height, width


def _groups(padded: Tensor, models: int, size: Pair, kernel: Pair, stride: Pair) -> Iterator[tuple[slice, Tensor]]:
    """Models, a group at a time, and the patches (models, B * H' * W', rows * columns * C) of their padded images.

    padded (K, B, H, W, C), or (B, H, W, C) for all models. A single channel is copied in long runs: there the transpose of the
    patches is what lies in memory.
    """
    count, channels = padded.shape[-4], padded.shape[-1]
    numbers = kernel[0] * kernel[1] * channels
    image, row, column, _ = padded.stride()[-4:]
    run = kernel[1] * channels  # a kernel's row of numbers is one run in memory

    def patches(images: Tensor) -> Tensor:
        if channels == 1:
            strides = row, column, image, row * stride[0], column * stride[1]
            return images.as_strided((*kernel, len(images), *size), strides, images.storage_offset()).reshape(numbers, -1).t()
        strides = image, row * stride[0], column * stride[1], row, 1
        return images.as_strided((len(images), *size, kernel[0], run), strides, images.storage_offset()).reshape(-1, numbers)

    if padded.dim() == 4:
        yield slice(0, models), patches(padded).expand(models, -1, -1)
        return
    at_once = models
    if padded.device.type == "cpu":
        at_once = max(1, PATCH_BYTES // (4 * count * size[0] * size[1] * numbers))
    for start in range(0, models, at_once):
        group = slice(start, min(start + at_once, models))
        yield group, patches(padded[group].flatten(0, 1)).unflatten(0, (group.stop - start, -1))


def _add_patches(total: Tensor, slopes: Tensor, size: Pair, kernel: Pair, stride: Pair) -> None:
    """Add `slopes` (K, B * H' * W', rows * columns * C) to the places of `total` (K, B, H, W, C) where their patches lie."""
    total = total.flatten(0, 1)
    slopes = slopes.view(-1, *size, *kernel, total.shape[-1])
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            last = i + stride[0] * (size[0] - 1) + 1, j + stride[1] * (size[1] - 1) + 1
            total[:, i : last[0] : stride[0], j : last[1] : stride[1]] += slopes[:, :, :, i, j]
