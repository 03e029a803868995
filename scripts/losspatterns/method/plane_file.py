"""A plane together with what is needed to run it: its network and how images are fed to it. One .safetensors file.

The file's tensors are the plane's parameters, the directions `right` and `up` that follow from them, the input scaling, and the
buffers of the network if it has any; its provenance holds the network and everything else that made it, so a plane can be
evaluated with no config at hand. A user's own module is made again from its file, which must be the one it was trained with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..networks.modules import FlatNetwork, build
from ..networks.user_module import source_checksum
from ..records.artifacts import load_tensors, save_tensors
from ..specs import ModuleSpec, recorded_network
from .plane import Plane

CONSTANT = "constant."  # before the names of the network's buffers


@dataclass(frozen=True)
class InputScaling:
    """Network inputs are (image / 255 - mean) / std, per channel; mean and std (C,) float32."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, images: Tensor, standardise: bool, device: torch.device) -> InputScaling:
        """From training images (N, C, H, W) uint8, for use on `device`; without `standardise` inputs stay in [0, 1]."""
        channels = images.shape[1]
        if not standardise:
            return cls(torch.zeros(channels, device=device), torch.ones(channels, device=device))
        values = torch.arange(256, dtype=torch.float64) / 255
        counts = torch.stack([images[:, c].reshape(-1).bincount(minlength=256) for c in range(channels)]).double()
        mean = (counts @ values) / counts.sum(1)
        std = ((counts @ values**2) / counts.sum(1) - mean**2).clamp(min=1e-12).sqrt()
        return cls(mean.float().to(device), std.float().to(device))

    def __call__(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> network inputs of the same shape, channels last in memory: convolutions are fastest so."""
        inputs = torch.empty_like(images, memory_format=torch.channels_last)
        return torch.div(images - self.mean[:, None, None], self.std[:, None, None], out=inputs)


@dataclass
class TrainedPlane:
    """A plane, its network as a function of weights, the input scaling, and the provenance of all three."""

    plane: Plane
    network: FlatNetwork
    scaling: InputScaling
    provenance: dict[str, Any]


def save_trained(
    path: str | Path, plane: Plane, scaling: InputScaling, constants: Mapping[str, Tensor], made_by: Mapping[str, Any]
) -> None:
    """Write a plane; `constants` are its network's buffers. `made_by` must name `network` (with the `checksum` of a user's own
    module), `seed`, `image_shape` (C, H, W), `classes` and `mask_shape`."""
    right, up = plane.basis()
    tensors = {**plane.tensors(), "right": right, "up": up, "input_mean": scaling.mean, "input_std": scaling.std}
    tensors |= {CONSTANT + name: tensor.clone() for name, tensor in constants.items()}
    save_tensors(path, {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, made_by)


def load_trained(path: str | Path, device: torch.device | str = "cpu") -> TrainedPlane:
    """Read a plane written by `save_trained`. InputError if it is damaged, does not fit the network it names, or was trained
    with another version of a user's own module."""
    tensors, made_by = load_tensors(path)
    try:
        spec = recorded_network(made_by["network"])
        if isinstance(spec, ModuleSpec) and source_checksum(spec) != made_by["network"]["checksum"]:
            raise InputError(
                f"{path}: {spec.file} is not what it was trained with (another checksum); restore it or train again"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(made_by["seed"])  # what a user's module draws beside its parameters and buffers comes out again
            network = FlatNetwork(build(spec, made_by["image_shape"], made_by["classes"], device))
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        buffers = dict(network.module.named_buffers())
        for name in [name for name in tensors if name.startswith(CONSTANT)]:
            buffers[name.removeprefix(CONSTANT)].data = tensors.pop(name)
        scaling = InputScaling(tensors.pop("input_mean"), tensors.pop("input_std"))
        del tensors["right"], tensors["up"]  # follow from the parameters; in the file for readers without this library
        plane = Plane(**tensors, shape=tuple(made_by["mask_shape"]))
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a plane of this workflow (missing or foreign entry: {error})") from None
    if plane.origin.shape != (network.size,):
        raise InputError(f"{path}: has {plane.origin.numel()} weights, its network {network.size}; delete it and run again")
    return TrainedPlane(plane, network, scaling, made_by)
