"""Convolutions and batch norms of many models, compiled by Numba for the processor at hand when first called.

Images are channels last, so a kernel's row sees one run of `columns * channels` numbers of a row of an image, and its weights
lie run after run as (rows, columns * channels, O). Forward pass, gradient of the weights and gradient of the images are one
`product` each, of overlapping runs with a matrix: nothing is laid out for it, and one image at a time goes through convolution,
bias, ReLU and pool, all within a core's first two caches.

Loops go over slices from 0 on: an index that is a sum might be negative for all that the compiler knows, which would count from
the array's end, and such a loop is not vectorised.
"""

import math
from collections.abc import Callable
from functools import cache

import numba
import numpy as np
from numba import literally

from .cache import compiled
from .vectors import TALL, WIDE, pool_relu, pool_relu_backward, tile

Arrays = tuple[np.ndarray, ...]
Sizes = tuple[int, int, int, int]
Given = tuple[np.ndarray, bool, int, int, int, np.ndarray, Sizes]

# A part of what is `compiled`, and kept with it; Python never calls it.
inlined = numba.njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@inlined
def product(
    tall: int, last: int, wide: int, narrow: int, target_step: int, a_step: int, group: int, jump: int, b_inner: int, add: int,
    total: int, length: int, lines: int, target: np.ndarray, at: int, target_line: int, a: np.ndarray, a_at: int, a_line: int,
    outer_a: int, inner_a: int, b: np.ndarray, b_at: int, outer_b: int, outer: int, inner: int,
) -> None:  # fmt: skip
    """A `tile` of any size, in tiles of `tall` by `wide` (see `sizes`): for `lines` lines, `total` tall and `length` wide.

    target_line and a_line lead from line to line; group and jump stand for a_group and a_jump, and serve a single tile. What
    comes before `total` is constant.
    """
    literally(tall), literally(last), literally(wide), literally(narrow), literally(target_step)
    literally(a_step), literally(group), literally(jump), literally(b_inner), literally(add)
    for q in range(0, length, wide):
        u = b_at + q
        for line in range(lines):
            t, s = at + line * target_line + q, a_at + line * a_line
            for p in range(0, total, tall):
                # Each size of a tile is code of its own.
                if p + tall <= total and q + wide <= length:
                    tile(target, t, target_step, a, s, a_step, group, jump, outer_a, inner_a, b, u, outer_b, b_inner,
                         outer, inner, tall, wide, add)  # fmt: skip
                elif q + wide <= length:
                    tile(target, t, target_step, a, s, a_step, group, jump, outer_a, inner_a, b, u, outer_b, b_inner,
                         outer, inner, last, wide, add)  # fmt: skip
                elif p + tall <= total:
                    tile(target, t, target_step, a, s, a_step, group, jump, outer_a, inner_a, b, u, outer_b, b_inner,
                         outer, inner, tall, narrow, add)  # fmt: skip
                else:
                    tile(target, t, target_step, a, s, a_step, group, jump, outer_a, inner_a, b, u, outer_b, b_inner,
                         outer, inner, last, narrow, add)  # fmt: skip
                t += tall * target_step
                s += tall * a_step


def sizes(total: int, length: int) -> tuple[int, int, int, int]:
    """For a product `total` tall and `length` wide: its tiles' tall, last, wide and narrow; those tall as even as may be."""
    tall = math.ceil(total / math.ceil(total / TALL))
    return tall, total % tall, WIDE, length % WIDE


@inlined
def fill(padded: np.ndarray, image: np.ndarray, top: int, left: int, row: int) -> None:
    """An image (H, W * C) into its place in a padded one with `row` numbers in a line."""
    for y in range(image.shape[0]):
        at = (y + top) * row + left
        source, target = image[y], padded[at : at + image.shape[1]]
        for x in range(len(source)):
            target[x] = source[x]


@inlined
def spread(values: np.ndarray, at: int, channels: int, line: np.ndarray) -> None:
    """The channels' values, from `at` on, in every place of a line (width * channels,), so that it is worked on end to end."""
    for start in range(0, len(line), channels):
        for c in range(channels):
            line[start + c] = values[at + c]


@inlined
def gather(line: np.ndarray, values: np.ndarray, at: int, channels: int, share: float) -> None:
    """The other way round: the channels' sums over a line, times `share`."""
    for c in range(channels):
        total = 0.0
        for x in range(c, len(line), channels):
            total += line[x]
        values[at + c] = total * share


@inlined
def unpool(
    channels: int, slopes: np.ndarray, where: np.ndarray, source: int, rows: np.ndarray, at: int, height: int, width: int
) -> None:
    """An image's slopes (height // 2, width // 2, channels), from `source` on, to their places among those before the pool
    (height, width, channels), from `at` on; the others are set to 0. `channels` is constant."""
    literally(channels)
    line = width * channels
    for y in range(height // 2):
        to = at + 2 * y * line
        for x in range(width // 2 * 2 * channels, line):
            rows[to + x] = 0
            rows[to + line + x] = 0
        for _ in range(width // 2):
            pool_relu_backward(slopes, where, source, rows, to, line, channels)
            to += 2 * channels
            source += channels
    for x in range(at + height // 2 * 2 * line, at + height * line):
        rows[x] = 0


@cache
def convolution_kernels(
    kernel_rows: int, run: int, across: int, row: int, width: int, outputs: int, relu: bool, pool: bool
) -> tuple[Callable[..., None], Callable[..., None]]:
    """`forward(given, weights, biases, (rows, output, where))` and
    `backward(given, weights, (slopes, output, where), (rows, to_weights, to_biases, to_padded, to_images))`, with
    `given` = (images, shared, first, models, each, padded, lines): `models` models from `first` on, with `each` images each.

    images (N, H, W * C), those of all models in a row, or `shared`; lines (height, top, left, down): places in a column, rows
    and numbers of padding, rows of a step down; padded and to_padded: room for a padded image, the first all zeros. The rest is
    flat: weights (models, rows * run, O), backward (models, O, rows * run); biases (K, O); rows: room for (height, width, O);
    output and slopes (K, each, H', W', O), where the same in uint8 (what `pool_relu` says; unused without a pool). Set are
    to_weights, like forward's weights, to_biases (models, O) and to_images, like images or empty.

    Compiled in are lengths in numbers, `run` of a kernel's row, `across` of a step to the next place, `row` of a padded row of
    an image; `width` places in a row.
    """
    numbers, line = kernel_rows * run, width * outputs
    in_one = numbers <= TALL  # a small kernel is one tile
    part, kernel_lines = (numbers, 1) if in_one else (run, kernel_rows)
    tall, last, wide, narrow = sizes(width, outputs)
    kernel_tall, kernel_last, _, _ = sizes(part, outputs)
    group, jump = (run, row) if in_one else (kernel_tall, 0)
    _, _, _, run_narrow = sizes(width, run)

    @compiled
    def forward(given: Given, weights: np.ndarray, biases: np.ndarray, results: Arrays) -> None:
        images, shared, first, models, each, padded, (height, top, left, down) = given
        rows, output, where = results
        zero, bias = images.dtype.type(0), np.empty(line, images.dtype)
        for k in range(models):
            shift = (first + k) * outputs
            spread(biases, shift, outputs, bias)
            for n in range(each):
                place = (first + k) * each + n
                fill(padded, images[n if shared else place], top, left, row)
                target, at = (rows, 0) if pool else (output, place * height * line)
                product(
                    tall, last, wide, narrow, outputs, across, tall, 0, outputs, 0, width, outputs,
                    height, target, at, line, padded, 0, down * row, row, 1,
                    weights, k * numbers * outputs, run * outputs, kernel_rows, run,
                )  # fmt: skip
                if pool:
                    to = place * (height // 2) * (width // 2) * outputs
                    for y in range(height // 2):
                        for x in range(width // 2):
                            pool_relu(rows, 2 * (y * line + x * outputs), line, biases, shift, output, where, to, outputs)
                            to += outputs
                else:
                    for y in range(at, at + height * line, line):
                        here = output[y : y + line]
                        for x in range(line):
                            value = here[x] + bias[x]
                            here[x] = zero if relu and value <= 0 else value  # NaN stays

    @compiled
    def backward(given: Given, weights: np.ndarray, known: Arrays, results: Arrays) -> None:
        images, shared, first, models, each, padded, (height, top, left, down) = given
        slopes, output, where = known
        rows, to_weights, to_biases, to_padded, to_images = results
        to_weights[: models * numbers * outputs] = 0
        zero, total = images.dtype.type(0), np.empty(line, images.dtype)
        for k in range(models):
            total[:] = 0
            for n in range(each):
                place = (first + k) * each + n
                if pool:
                    unpool(outputs, slopes, where, place * (height // 2) * (width // 2) * outputs, rows, 0, height, width)
                else:
                    at = place * height * line
                    here, slope = output[at : at + height * line], slopes[at : at + height * line]
                    for x in range(height * line):
                        rows[x] = zero if relu and here[x] <= 0 else slope[x]
                for y in range(0, height * line, line):
                    here = rows[y : y + line]
                    for x in range(line):
                        total[x] += here[x]
                image = n if shared else place
                fill(padded, images[image], top, left, row)
                target = k * numbers * outputs
                product(
                    kernel_tall, kernel_last, wide, narrow, outputs, 1, group, jump, outputs, 1, part, outputs,
                    kernel_lines, to_weights, target, run * outputs, padded, 0, row, down * row, across,
                    rows, 0, line, height, width,
                )  # fmt: skip
                if len(to_images):
                    to_padded[:] = 0
                    for i in range(kernel_rows):
                        source = k * numbers * outputs + i * run
                        product(
                            tall, last, wide, run_narrow, across, outputs, tall, 0, numbers, 1, width, run,
                            height, to_padded, i * row, down * row, rows, 0, line, 0, 1,
                            weights, source, 0, 1, outputs,
                        )  # fmt: skip
                    for y in range(images.shape[1]):
                        at = (y + top) * row + left
                        target, source = to_images[image, y], to_padded[at : at + images.shape[2]]
                        for x in range(len(target)):
                            target[x] = source[x]
            gather(total, to_biases, k * outputs, outputs, 1.0)

    return forward, backward


@cache
def norm_kernels(channels: int, relu: bool, pool: bool) -> tuple[Callable[..., None], Callable[..., None]]:
    """`forward(shape, epsilon, images, scales, shifts, (means, inverses, output, where))` and
    `backward(shape, images, scales, (means, inverses, slopes, output, where), (to_images, to_scales, to_shifts))`, with
    `shape` = (models, each, height, width): `models` models with `each` images (height, width, channels) each.

    All arrays are flat: images and to_images (models, each, height, width, channels); scales, shifts, means, inverses (one over
    the standard deviation) and their like (models, channels); output, slopes and where as in `convolution_kernels`.
    """

    @compiled
    def forward(
        shape: Sizes, epsilon: float, images: np.ndarray, scales: np.ndarray, shifts: np.ndarray, results: Arrays
    ) -> None:
        models, each, height, width = shape
        means, inverses, output, where = results
        size = width * channels
        lines = each * height
        share, zero = 1 / (lines * width), images.dtype.type(0)
        mean, scale, shift, total = np.empty((4, size), images.dtype)
        pair, none = np.empty(2 * size, images.dtype), np.zeros(channels, images.dtype)
        to = 0
        for k in range(models):
            first, of = k * lines * size, k * channels
            total[:] = 0
            for at in range(first, first + lines * size, size):
                here = images[at : at + size]
                for x in range(size):
                    total[x] += here[x]
            gather(total, means, of, channels, share)
            spread(means, of, channels, mean)
            total[:] = 0
            for at in range(first, first + lines * size, size):
                here = images[at : at + size]
                for x in range(size):
                    total[x] += (here[x] - mean[x]) ** 2
            gather(total, inverses, of, channels, share)
            for c in range(of, of + channels):
                inverses[c] = 1 / np.sqrt(inverses[c] + epsilon)
            spread(inverses, of, channels, scale)
            for x in range(size):
                scale[x] *= scales[of + x % channels]
                shift[x] = shifts[of + x % channels] - mean[x] * scale[x]
            if pool:
                for n in range(each):
                    for y in range(height // 2):
                        at = first + (n * height + 2 * y) * size
                        for row in range(2):
                            here, normed = images[at + row * size : at + (row + 1) * size], pair[row * size : (row + 1) * size]
                            for x in range(size):
                                normed[x] = here[x] * scale[x] + shift[x]
                        for x in range(width // 2):
                            pool_relu(pair, 2 * x * channels, size, none, 0, output, where, to, channels)
                            to += channels
            else:
                for at in range(first, first + lines * size, size):
                    here, result = images[at : at + size], output[at : at + size]
                    for x in range(size):
                        value = here[x] * scale[x] + shift[x]
                        result[x] = zero if relu and value <= 0 else value  # NaN stays

    @compiled
    def backward(shape: Sizes, images: np.ndarray, scales: np.ndarray, known: Arrays, results: Arrays) -> None:
        models, each, height, width = shape
        means, inverses, slopes, output, where = known
        to_images, to_scales, to_shifts = results
        size = width * channels
        lines = each * height
        share, zero = 1 / (lines * width), images.dtype.type(0)
        mean, factor, slope, constant, total, moment = np.empty((6, size), images.dtype)
        source = 0
        for k in range(models):
            first, of = k * lines * size, k * channels
            spread(means, of, channels, mean)
            if pool:
                for n in range(each):
                    unpool(channels, slopes, where, source, to_images, first + n * height * size, height, width)
                    source += (height // 2) * (width // 2) * channels
            else:
                last = first + lines * size
                target, here, given = to_images[first:last], output[first:last], slopes[first:last]
                for x in range(lines * size):
                    target[x] = zero if relu and here[x] <= 0 else given[x]
            total[:] = 0
            moment[:] = 0
            for at in range(first, first + lines * size, size):
                here, given = images[at : at + size], to_images[at : at + size]
                for x in range(size):
                    total[x] += given[x]
                    moment[x] += given[x] * (here[x] - mean[x])
            gather(total, to_shifts, of, channels, 1.0)
            gather(moment, to_scales, of, channels, 1.0)
            for c in range(of, of + channels):
                to_scales[c] *= inverses[c]
            for x in range(size):
                c = of + x % channels
                factor[x] = scales[c] * inverses[c]
                slope[x] = -factor[x] * inverses[c] * to_scales[c] * share
                constant[x] = -factor[x] * to_shifts[c] * share
            for at in range(first, first + lines * size, size):
                here, target = images[at : at + size], to_images[at : at + size]
                for x in range(size):
                    target[x] = factor[x] * target[x] + slope[x] * (here[x] - mean[x]) + constant[x]

    return forward, backward
