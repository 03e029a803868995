"""Compiled kernels for CPUs. README.md says what they gain and how to do without them.

The one door for the rest of the library. Numba is imported when a CPU tensor first needs it.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import InputError
from .layout import channels_last, with_models

__all__ = ["SWITCH", "Kernels", "channels_last", "kernels", "switched_on", "with_models"]
SWITCH = "LOSSPATTERNS_KERNELS"


class Kernels(NamedTuple):
    """Layers of many models at once, for use under `vmap` over models, which takes the leading K away.

    `convolution(images, places, stack, bias, (stride, padding, relu, pool))`: images (K, B, C, H, W), or (B, C, H, W) for all
    models, places (K, P), stack (P, O, C, rows, columns), bias (P, O) -> (K, B, O, H', W'). Model k's weights are
    places[k] @ stack. Stride and padding are pairs (rows, columns). ReLU and 2 x 2 max pool follow if asked for; a pool goes
    with ReLU only.
    `norm(images, scales, shifts, epsilon, relu, pool)`: batch norm by each model's own images (K, B, C, H, W), scales and
    shifts (K, C), and what follows as above; then the means and one over the standard deviations, (K, C).
    """

    convolution: Callable[[Tensor, Tensor, Tensor, Tensor, tuple[tuple[int, int], tuple[int, int], bool, bool]], Tensor]
    norm: Callable[[Tensor, Tensor, Tensor, float, bool, bool], tuple[Tensor, Tensor, Tensor]]


def kernels(*tensors: Tensor | None) -> Kernels | None:
    """The kernels for a layer of these tensors, None among them not counted; None if torch has to compute it: on a GPU, in
    bfloat16, in mixed types, or if the environment says LOSSPATTERNS_KERNELS=off."""
    kinds = {(tensor.device.type, tensor.dtype) for tensor in tensors if tensor is not None}
    if kinds not in ({("cpu", torch.float32)}, {("cpu", torch.float64)}) or not switched_on():
        return None
    from .convolution import CachedConvolution
    from .norm import CachedNorm

    return Kernels(lambda *given: CachedConvolution.apply(*given)[0], lambda *given: CachedNorm.apply(*given)[:3])


def switched_on() -> bool:
    """What LOSSPATTERNS_KERNELS says: `on` (the default) or `off`. InputError for anything else."""
    found = os.environ.get(SWITCH, "on")
    if found not in ("on", "off"):
        raise InputError(f"{SWITCH}: found {found!r}, expected on or off")
    return found == "on"
