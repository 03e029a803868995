"""The batch norm of many pixels' models on a CPU, with the ReLU and the 2 x 2 max pool that follow it.

It goes model after model, so that a model's images are read again from a core's cache.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from .layout import channels_last
from .loops import norm_kernels


class CachedNorm(Function):
    """images (K, B, C, H, W), scales and shifts (K, C) -> (K, B, C, H', W'), channels last in memory; then means and one over
    standard deviations (K, C), and what the pool chose, for the backward pass alone. A pool goes with ReLU only.

    Made for `vmap`: inside it, none of them has its K.
    """

    @staticmethod
    def forward(
        images: Tensor, scales: Tensor, shifts: Tensor, epsilon: float, relu: bool, pool: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        pixels = images.movedim(-3, -1).contiguous()
        models, each, height, width, channels = pixels.shape
        size = (height // 2, width // 2) if pool else (height, width)
        output = channels_last(pixels, models, each, channels, *size)
        result = output.movedim(-3, -1)
        where = torch.empty(result.shape if pool else 0, dtype=torch.uint8)
        means, inverses = torch.empty_like(scales), torch.empty_like(scales)
        forward, _ = norm_kernels(channels, relu, pool)
        given = _flat(pixels, scales.contiguous(), shifts.contiguous())
        forward((models, each, height, width), epsilon, *given, _flat(means, inverses, result, where))
        return output, means, inverses, where

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        images, scales, _, _, ctx.relu, ctx.pool = inputs
        result, *known = output
        ctx.mark_non_differentiable(*known)
        ctx.save_for_backward(images, scales, *known, *([result] if ctx.relu and not ctx.pool else []))

    @staticmethod
    def backward(ctx: Any, slopes: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        images, scales, means, inverses, where, *output = ctx.saved_tensors
        pixels = images.movedim(-3, -1).contiguous()
        models, each, height, width, channels = pixels.shape
        last = [tensor.movedim(-3, -1).contiguous() for tensor in (slopes, *output)]
        to_pixels, to_scales, to_shifts = torch.empty_like(pixels), torch.empty_like(means), torch.empty_like(means)
        _, backward = norm_kernels(channels, ctx.relu, ctx.pool)
        known = _flat(means, inverses, last[0], last[-1], where)
        results = _flat(to_pixels, to_scales, to_shifts)
        backward((models, each, height, width), *_flat(pixels, scales.contiguous()), known, results)
        return to_pixels.movedim(-1, -3), to_scales, to_shifts, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        tensors = [
            tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(arguments[:3], in_dims, strict=False)
        ]
        results = CachedNorm.apply(*tensors, *arguments[3:])
        return results, tuple(0 if len(tensor) else None for tensor in results)


def _flat(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(tensor.view(-1).numpy() for tensor in tensors)
