"""The convolution of many pixels' models on a CPU, with the ReLU and the 2 x 2 max pool that follow it.

The models go through in groups so small that a group's weights and their gradient stay in a core's second-level cache. Here
these are formed and summed; what happens to the images in between is in `loops`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from .layout import channels_last, with_models
from .loops import convolution_kernels

Settings = tuple[tuple[int, int], tuple[int, int], bool, bool]  # stride and padding of rows and columns, ReLU, pool
CACHE_BYTES = 2**20  # for the weights of a group and their gradient: about half of what a core has


class CachedConvolution(Function):
    """images (K, B, C, H, W), or (B, C, H, W) for all models, places (K, P), stack (P, O, C, rows, columns), bias (P, O)
    -> (K, B, O, H', W'), channels last in memory, and what the pool chose, for the backward pass alone.

    Made for `vmap` over places and images: inside it, none of them has its K.
    """

    @staticmethod
    def forward(images: Tensor, places: Tensor, stack: Tensor, bias: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
        work = _Work(images, places, stack, settings)
        output = channels_last(images, len(places), work.each, work.outputs, *work.size)
        pixels = output.movedim(-3, -1)
        where = torch.empty(pixels.shape if work.pool else 0, dtype=torch.uint8)
        by_number = stack.permute(0, 3, 4, 2, 1).flatten(1)  # rows, columns * C, O
        weights, rows = work.weights(), work.rows()
        biases, *results = (_flat(tensor) for tensor in (places @ bias, rows, pixels, where))
        for models, count, given in work.groups():
            torch.mm(places[models], by_number, out=weights[:count])
            work.forward(given, _flat(weights), biases, tuple(results))
        return output, where

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        images, places, stack, _, ctx.settings = inputs
        result, where = output
        _, _, relu, pool = ctx.settings
        ctx.mark_non_differentiable(where)
        ctx.save_for_backward(images, places, stack, where, *([result] if relu and not pool else []))

    @staticmethod
    def backward(ctx: Any, slopes: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        images, places, stack, where, *output = ctx.saved_tensors
        work = _Work(images, places, stack, ctx.settings)
        by_output = stack.permute(0, 1, 3, 4, 2).flatten(1)  # O, rows, columns * C
        to_stack, to_bias = torch.zeros_like(by_output), stack.new_zeros(len(stack), work.outputs)
        to_pixels = torch.empty_like(work.pixels if ctx.needs_input_grad[0] else work.pixels[:0])
        last = [_flat(tensor.movedim(-3, -1).contiguous()) for tensor in (slopes, *output)]
        known = last[0], last[-1], _flat(where)
        weights, to_weights, rows = work.weights(), work.weights(), work.rows()
        to_biases = stack.new_empty(len(weights), work.outputs)
        to_padded = np.empty_like(work.padded)
        results = *(_flat(tensor) for tensor in (rows, to_weights, to_biases)), to_padded, _lines(to_pixels)
        for models, count, given in work.groups():
            here = places[models]
            if len(to_pixels):
                torch.mm(here, by_output, out=weights[:count])
            work.backward(given, _flat(weights), known, results)
            to_stack.addmm_(here.t(), to_weights[:count])
            to_bias.addmm_(here.t(), to_biases[:count])
        _, outputs, channels, rows, columns = stack.shape
        to_stack = to_stack.view(-1, rows, columns, channels, outputs).permute(0, 4, 3, 1, 2)
        return to_pixels.movedim(-1, -3) if len(to_pixels) else None, None, to_stack, to_bias, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], images: Tensor, places: Tensor, *rest: Any) -> tuple[Any, Any]:
        if in_dims[2] is not None:  # stacks of their own become one, of which each model's place takes its part
            places, *own = (
                tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
                for tensor, dim in zip((places, *rest[:2]), in_dims[1:4], strict=True)
            )
            places = (torch.eye(info.batch_size, dtype=places.dtype)[..., None] * places[:, None]).flatten(1)
            in_dims, rest = (in_dims[0], 0), (*(tensor.flatten(0, 1) for tensor in own), rest[2])
        output, where = CachedConvolution.apply(*with_models(in_dims, images, places), *rest)
        return (output, where), (0, 0 if len(where) else None)


class _Work:
    """What forward and backward pass share: `pixels`, the images channels last; `size` (H', W'); the kernels; the groups."""

    def __init__(self, images: Tensor, places: Tensor, stack: Tensor, settings: Settings) -> None:
        self.stack, self.models, self.shared = stack, len(places), images.dim() == 4
        self.pixels = images.movedim(-3, -1).contiguous()
        self.image_lines = _lines(self.pixels)
        self.each, height, width, channels = self.pixels.shape[-4:]
        _, self.outputs, _, rows, columns = stack.shape
        (down, across), (top, left), relu, self.pool = settings
        self.places = (height + 2 * top - rows) // down + 1, (width + 2 * left - columns) // across + 1
        self.size = (self.places[0] // 2, self.places[1] // 2) if self.pool else self.places
        line = (width + 2 * left) * channels
        self.padded = stack.new_zeros((height + 2 * top) * line).numpy()
        self.lines = self.places[0], top, left * channels, down
        lengths = columns * channels, across * channels, line, self.places[1]
        self.forward, self.backward = convolution_kernels(rows, *lengths, self.outputs, relu, self.pool)
        self.group = max(1, min(self.models, CACHE_BYTES // (2 * stack[0].nbytes)))

    def groups(self) -> Iterator[tuple[slice, int, tuple[Any, ...]]]:
        """All models, a group at a time; how many it has; and what both kernels are `given`."""
        for start in range(0, self.models, self.group):
            count = min(self.group, self.models - start)
            given = self.image_lines, self.shared, start, count, self.each, self.padded, self.lines
            yield slice(start, start + count), count, given

    def weights(self) -> Tensor:
        """Room for those of a group."""
        return self.stack.new_empty(self.group, self.stack[0].numel())

    def rows(self) -> Tensor:
        """Room for an image after the convolution."""
        return self.stack.new_empty(*self.places, self.outputs)


def _lines(pixels: Tensor) -> np.ndarray:
    """(..., H, W, C) -> (N, H, W * C), in shared memory."""
    return pixels.view(-1, pixels.shape[-3], pixels.shape[-2] * pixels.shape[-1]).numpy()


def _flat(tensor: Tensor) -> np.ndarray:
    return tensor.view(-1).numpy()
