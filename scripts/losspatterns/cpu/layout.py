"""How the tensors of many models lie in memory, and how `vmap` hands them over."""

import torch
from torch import Tensor


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
