"""Origins and planes as files, with what is needed to run them: the network and how images are fed to it (.safetensors).

A file holds the parameters, the input scaling and the network's buffers, if it has any; a plane's also the directions `right`
and `up` that follow. Its provenance holds the network and all else that made it, so that it can be evaluated with no config at
hand. A user's own module is made again from its file, which must be the one it was trained with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.dataset_file import Dataset
from ..errors import InputError
from ..networks.flat import FlatNetwork
from ..networks.user_module import source_checksum
from ..records.artifacts import load_tensors, save_tensors
from ..settings import ModuleNetwork, parse_network
from .images import InputScaling
from .origin import Origin, initialisations
from .plane import Plane

CONSTANT = "constant."  # before the names of the network's buffers


@dataclass
class TrainedPlane:
    """A plane, its network as a function of weights, the input scaling, and the provenance of all three."""

    plane: Plane
    network: FlatNetwork
    scaling: InputScaling
    provenance: dict[str, Any]


def record_of(dataset_name: str, dataset: Dataset, network: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """What the provenance of an origin and of its planes have in common: data set, network (its name and settings; of a user's
    own module also its file's checksum) and seed."""
    settings = parse_network("network", network)
    own = {"checksum": source_checksum(settings)} if isinstance(settings, ModuleNetwork) else {}
    return {
        "dataset": {"name": dataset_name, "label": dataset.label, "checksum": dataset.checksum},
        "network": {**network, **own},
        "seed": seed,
        "image_shape": [dataset.x_train.shape[3], *dataset.x_train.shape[1:3]],
        "classes": len(dataset.class_names),
    }


def check_origin(path: str | Path, made_by: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """InputError if an origin, by its provenance, is not what `expected` says: `record_of` and `warm_up`."""
    for key, value in expected.items():
        if made_by.get(key) != value:
            raise InputError(
                f"{path}: was made with another {key} ({made_by.get(key)}) than this run's ({value}); warm it up again"
            )


def save_origin(path: str | Path, origin: Origin, made_by: Mapping[str, Any]) -> None:
    """Write an origin. `made_by` must name `network` (with the `checksum` of a user's own module), `seed`, `image_shape`
    (C, H, W), `classes`, `dataset` and `warm_up`."""
    vectors = {name: getattr(origin, name) for name in ("origin", "right_parameter", "up_parameter")}
    _save(path, vectors, origin.scaling, dict(origin.network.module.named_buffers()), made_by)


def load_origin(path: str | Path, device: torch.device | str = "cpu") -> tuple[Origin, dict[str, Any]]:
    """Read an origin written by `save_origin`, and its provenance. InputError as in `load_trained`."""
    with _entries(path, "an origin"):
        tensors, network, scaling, made_by = _load(path, device)
        origin = Origin(**tensors, network=network, scaling=scaling)
    _check_size(path, origin.origin, network)
    return origin, made_by


def save_trained(
    path: str | Path, plane: Plane, scaling: InputScaling, constants: Mapping[str, Tensor], made_by: Mapping[str, Any]
) -> None:
    """Write a plane; `constants` are its network's buffers. `made_by` must name `network` (with the `checksum` of a user's own
    module), `seed`, `image_shape` (C, H, W), `classes` and `mask_shape`."""
    right, up = plane.basis()
    _save(path, {**plane.tensors(), "right": right, "up": up}, scaling, constants, made_by)


def load_trained(path: str | Path, device: torch.device | str = "cpu") -> TrainedPlane:
    """Read a plane written by `save_trained`. InputError if it is damaged, does not fit the network it names, or was trained
    with another version of a user's own module."""
    with _entries(path, "a plane"):
        tensors, network, scaling, made_by = _load(path, device)
        del tensors["right"], tensors["up"]  # follow from the parameters; in the file for readers without this library
        plane = Plane(**tensors, shape=tuple(made_by["mask_shape"]))
    _check_size(path, plane.origin, network)
    return TrainedPlane(plane, network, scaling, made_by)


def _save(
    path: str | Path,
    tensors: dict[str, Tensor],
    scaling: InputScaling,
    constants: Mapping[str, Tensor],
    made_by: Mapping[str, Any],
) -> None:
    tensors = tensors | {"input_mean": scaling.mean, "input_std": scaling.std}
    tensors |= {CONSTANT + name: tensor for name, tensor in constants.items()}
    save_tensors(path, {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}, made_by)


def _load(path: str | Path, device: torch.device | str) -> tuple[dict[str, Tensor], FlatNetwork, InputScaling, dict[str, Any]]:
    """The file's other tensors, its network with its buffers, its scaling, its provenance."""
    tensors, made_by = load_tensors(path)
    settings = parse_network("network", made_by["network"])
    if isinstance(settings, ModuleNetwork) and source_checksum(settings) != made_by["network"]["checksum"]:
        raise InputError(
            f"{path}: {settings.file} is not what it was trained with (another checksum); restore it or train again"
        )
    [network] = initialisations(settings, made_by["image_shape"], made_by["classes"], made_by["seed"], 1, device)
    tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
    buffers = dict(network.module.named_buffers())
    for name in [name for name in tensors if name.startswith(CONSTANT)]:
        buffers[name.removeprefix(CONSTANT)].data = tensors.pop(name)
    return tensors, network, InputScaling(tensors.pop("input_mean"), tensors.pop("input_std")), made_by


@contextlib.contextmanager
def _entries(path: str | Path, what: str) -> Iterator[None]:
    """A file that lacks an entry, or has one too many, is `what` it should be no longer: InputError."""
    try:
        yield
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not {what} of this workflow (missing or foreign entry: {error})") from None


def _check_size(path: str | Path, origin: Tensor, network: FlatNetwork) -> None:
    if origin.shape != (network.size,):
        raise InputError(f"{path}: has {origin.numel()} weights, its network {network.size}; delete it and run again")
