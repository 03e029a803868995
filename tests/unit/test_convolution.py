"""Convolutions and batch norms of many models at once equal torch's own, one model after the other, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import run_program
from losspatterns.cpu import convolution as cached_convolution
from losspatterns.cpu import kernels
from losspatterns.cpu.convolution import CachedConvolution
from losspatterns.cpu.norm import CachedNorm
from losspatterns.networks.convolution import PixelConvolution, Settings
from torch import Tensor
from torch.func import vmap

MODELS, IMAGES = 5, 3
AFTER = {"alone": {}, "relu": {"relu": True}, "relu and pool": {"relu": True, "pool": True}}


def drawer(dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()


def compare(ours: Tensor, theirs: Tensor, inputs: list[Tensor]) -> None:
    """Equal values, and equal gradients of a weighted sum of them."""
    torch.testing.assert_close(ours, theirs)
    slopes = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(1), dtype=theirs.dtype)
    gradients = [torch.autograd.grad((result * slopes).sum(), inputs, retain_graph=True) for result in (ours, theirs)]
    for gradient, reference in zip(*gradients, strict=True):
        assert float(reference.norm()) > 0.1
        torch.testing.assert_close(gradient, reference)


def followed(output: Tensor, relu: bool = False, pool: bool = False) -> Tensor:
    output = F.max_pool2d(output, 2) if pool else output
    return output.relu() if relu else output


@pytest.mark.parametrize("images", ["own", "shared", "shared, with a gradient"])
@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "stride", "padding"),
    [
        (1, 4, (3, 3), (1, 1), (1, 1)),
        (3, 37, (3, 3), (2, 1), (0, 2)),
        (2, 8, (1, 1), (2, 2), (0, 0)),
        (1, 5, (5, 2), (1, 3), (2, 0)),
        (16, 33, (3, 3), (1, 1), (1, 1)),
    ],
)
@pytest.mark.parametrize("way", ["torch", *AFTER])
def test_a_convolution_equals_torch_s_of_each_model(
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    channels: int,
    outputs: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    images: str,
) -> None:
    monkeypatch.setattr(cached_convolution, "CACHE_BYTES", 2 * 2 * 8 * outputs * channels * math.prod(kernel))  # groups of two
    draw = drawer()
    settings = Settings(stride, padding, **AFTER.get(way, {}))
    data = draw(*((MODELS,) if images == "own" else ()), IMAGES, channels, 9, 8)
    data.requires_grad_(images != "shared")
    places, stack, bias = draw(MODELS, 3).detach(), draw(3, outputs, channels, *kernel), draw(3, outputs)

    def one(place: Tensor, images: Tensor) -> Tensor:
        if way == "torch":
            return PixelConvolution.apply(images, place, stack, bias, settings)
        return CachedConvolution.apply(images, place, stack, bias, settings)[0]

    output = vmap(one, in_dims=(0, 0 if images == "own" else None))(places, data)
    weights = torch.einsum("kp,pocij->kocij", places, stack)
    expected = [
        F.conv2d(data[k] if images == "own" else data, weights[k], places[k] @ bias, stride, padding) for k in range(MODELS)
    ]
    compare(output, followed(torch.stack(expected).flatten(0, 1), settings.relu, settings.pool).unflatten(0, (MODELS, -1)), [
        tensor for tensor in (data, stack, bias) if tensor.requires_grad
    ])  # fmt: skip


@pytest.mark.parametrize(("wide", "tall"), [(16, 6), (32, 14), (5, 2)])
def test_tiles_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch, wide: int, tall: int) -> None:
    monkeypatch.setattr(kernels, "WIDE", wide)
    monkeypatch.setattr(kernels, "TALL", tall)
    kernels.convolution_kernels.cache_clear()
    draw = drawer()
    images, places = draw(MODELS, IMAGES, 4, 7, 17), draw(MODELS, 3).detach()
    stack, bias = draw(3, 40, 4, 3, 3), draw(3, 40)
    output, _ = CachedConvolution.apply(images, places, stack, bias, Settings((1, 1), (1, 1)))
    kernels.convolution_kernels.cache_clear()
    weights, biases = torch.einsum("kp,pocij->kocij", places, stack), places @ bias
    expected = torch.stack([F.conv2d(images[k], weights[k], biases[k], padding=1) for k in range(MODELS)])
    compare(output, expected, [images, stack, bias])


@pytest.mark.parametrize("channels", [1, 6, 19])
@pytest.mark.parametrize("after", AFTER)
def test_a_batch_norm_equals_torch_s_of_each_model(after: str, channels: int) -> None:
    draw = drawer()
    images, scales, shifts = draw(MODELS, IMAGES, channels, 7, 6), draw(MODELS, channels), draw(MODELS, channels)
    relu, pool = (AFTER[after].get(key, False) for key in ("relu", "pool"))

    def one(images: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return CachedNorm.apply(images, scale, shift, 1e-3, relu, pool)[0]

    expected = [
        followed(F.batch_norm(images[k], None, None, scales[k], shifts[k], training=True, eps=1e-3), relu, pool)
        for k in range(MODELS)
    ]
    compare(vmap(one)(images, scales, shifts), torch.stack(expected), [images, scales, shifts])


def test_a_batch_norm_keeps_its_precision_far_from_zero() -> None:
    draw = drawer(torch.float32)
    images, scales, shifts = draw(2, 16, 3, 28, 28) + 100, draw(2, 3), draw(2, 3)
    output = CachedNorm.apply(images, scales, shifts, 1e-5, False, False)[0]
    expected = [F.batch_norm(images[k].double(), None, None, scales[k].double(), shifts[k].double(), True) for k in range(2)]
    torch.testing.assert_close(output.double(), torch.stack(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("after", AFTER)
def test_a_nan_is_never_hidden(after: str) -> None:
    draw = drawer(torch.float32)
    images = draw(1, 1, 2, 8, 8).detach()
    images[0, 0, 0, 3, 4] = math.nan
    stack, bias, places = draw(3, 4, 2, 1, 1), draw(3, 4), draw(1, 3).detach()
    convolved, _ = CachedConvolution.apply(images, places, stack, bias, Settings((1, 1), (0, 0), **AFTER[after]))
    assert int(convolved.isnan().sum()) == 4  # the four outputs at one place
    relu, pool = (AFTER[after].get(key, False) for key in ("relu", "pool"))
    normed = CachedNorm.apply(images, torch.ones(1, 2), torch.zeros(1, 2), 1e-5, relu, pool)[0]
    assert normed[0, 0, 0].isnan().all()
    assert not normed[0, 0, 1].isnan().any()


def test_a_result_may_be_changed_in_place() -> None:
    draw = drawer()
    images, places, stack, bias = draw(2, 1, 2, 5, 5), draw(2, 3).detach(), draw(3, 3, 2, 3, 3), draw(3, 3)
    settings = Settings((1, 1), (1, 1))
    for apply in (lambda: CachedConvolution.apply(images, places, stack, bias, settings)[0], lambda: PixelConvolution.apply(
        images, places, stack, bias, settings
    )):  # fmt: skip
        compare(apply().relu_(), apply().relu(), [images, stack, bias])


def test_a_second_process_finds_the_compiled_code(tmp_path: Path) -> None:
    program = (
        "from losspatterns.cpu.kernels import Shape, convolution_kernels\n"
        "import torch\n"
        "from losspatterns.cpu.convolution import CachedConvolution\n"
        "from losspatterns.networks.convolution import Settings\n"
        "images, stack, bias = torch.zeros(1, 1, 2, 6, 6), torch.ones(3, 3, 2, 3, 3, requires_grad=True), torch.zeros(3, 3)\n"
        "CachedConvolution.apply(images, torch.ones(1, 3), stack, bias, Settings((1, 1), (1, 1)))[0].sum().backward()\n"
        "functions = convolution_kernels(Shape(3, 6, 2, 16, 6, 3, False, False))\n"
        "print(sum(sum(function.stats.cache_hits.values()) for function in functions))\n"
    )
    hits = [run_program(program, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2)]
    assert [int(hit) for hit in hits] == [0, 2]


def test_code_that_can_be_kept_nowhere_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    njit = kernels.numba.njit

    def without_a_place(*functions: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        if options.get("cache"):
            tried.append(functions)
            raise RuntimeError("cannot cache function: no locator available")  # as Numba says it
        return njit(*functions, **options)

    monkeypatch.setattr(kernels.numba, "njit", without_a_place)
    assert kernels.compiled(lambda number: number + 1)(1) == 2
    assert len(tried) == 1
