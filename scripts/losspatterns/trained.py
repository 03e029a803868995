"""A plane together with what is needed to run it: its network and how images are fed to it. One .safetensors file.

The file's tensors are the plane's parameters, the directions `right` and `up` that follow from them, and the input scaling; its
provenance holds the network and everything else that made it, so a plane can be evaluated with no config at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .artifacts import load_tensors, save_tensors
from .errors import InputError
from .networks import FlatNetwork, build
from .plane import Plane
from .specs import NetworkSpec, parse


@dataclass(frozen=True)
class InputScaling:
    """Network inputs are (image / 255 - mean) / std, per channel; mean and std (C,) float32."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, images: Tensor, standardise: bool) -> InputScaling:
        """From training images (N, C, H, W) uint8; without `standardise` inputs stay in [0, 1]."""
        channels = images.shape[1]
        if not standardise:
            return cls(torch.zeros(channels, device=images.device), torch.ones(channels, device=images.device))
        values = torch.arange(256, dtype=torch.float64) / 255
        counts = torch.stack([images[:, c].reshape(-1).bincount(minlength=256) for c in range(channels)]).cpu().double()
        mean = (counts @ values) / counts.sum(1)
        std = ((counts @ values**2) / counts.sum(1) - mean**2).clamp(min=1e-12).sqrt()
        return cls(mean.float().to(images.device), std.float().to(images.device))

    def __call__(self, images: Tensor) -> Tensor:
        """(..., C, H, W) in [0, 1] -> network inputs of the same shape."""
        return (images - self.mean[:, None, None]) / self.std[:, None, None]


@dataclass
class TrainedPlane:
    """A plane, its network as a function of weights, the input scaling, and the provenance of all three."""

    plane: Plane
    network: FlatNetwork
    scaling: InputScaling
    provenance: dict[str, Any]


def save_trained(path: str | Path, plane: Plane, scaling: InputScaling, made_by: Mapping[str, Any]) -> None:
    """Write a plane; `made_by` must name `network`, `image_shape` (C, H, W), `classes` and `mask_shape`."""
    right, up = plane.basis()
    tensors = {**plane.tensors(), "right": right, "up": up, "input_mean": scaling.mean, "input_std": scaling.std}
    save_tensors(path, {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, made_by)


def load_trained(path: str | Path, device: torch.device | str = "cpu") -> TrainedPlane:
    """Read a plane written by `save_trained`. InputError if it is damaged or does not fit the network it names."""
    tensors, made_by = load_tensors(path)
    try:
        network_key = {k: v for k, v in made_by["network"].items() if k != "name"}
        module = build(parse(NetworkSpec, "network", network_key), made_by["image_shape"], made_by["classes"])
        network = FlatNetwork(module.to(device))
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        scaling = InputScaling(tensors.pop("input_mean"), tensors.pop("input_std"))
        del tensors["right"], tensors["up"]  # follow from the parameters; in the file for readers without this library
        plane = Plane(**tensors, shape=tuple(made_by["mask_shape"]))
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a plane of this workflow (missing or foreign entry: {error})") from None
    if plane.origin.shape != (network.size,):
        raise InputError(f"{path}: has {plane.origin.numel()} weights, its network {network.size}; delete it and run again")
    return TrainedPlane(plane, network, scaling, made_by)
