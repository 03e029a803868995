"""Origins and planes as files, with what is needed to run them: the network and how images are fed to it (.safetensors).

A file holds the parameters, the input scaling and the network's buffers, if it has any; a plane's also the directions `right`
and `up` that follow, and its snapshots: all parameters after so many updates, as one vector. Its provenance holds the network
and all else that made it, so that it can be evaluated with no config at hand. A user's own module is made again from its file,
which must be the one it was trained with.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.dataset_file import Dataset, load_dataset
from ..errors import InputError
from ..networks.flat import FlatNetwork
from ..networks.settings import ModuleNetwork, parse_network
from ..networks.user_module import source_checksum
from ..records.artifacts import checksum, file_checksum, load_mask, load_tensors, save_tensors
from .images import InputScaling
from .origin import Origin, initialisations
from .plane import Plane, direction_names, vector_names

VECTORS = vector_names(2)  # of an origin
SNAPSHOT = "snapshot."  # before the number of updates
CONSTANT = "constant."  # before the names of the network's buffers
Tensors = Mapping[str, Tensor]


@dataclass
class TrainedPlane:
    """A plane, its snapshots by update, its network as a function of weights, the input scaling, and the provenance of all."""

    plane: Plane
    snapshots: dict[int, Plane]
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
    vectors = {name: getattr(origin, name) for name in VECTORS}
    _save(path, vectors, origin.scaling, dict(origin.network.module.named_buffers()), made_by)


def load_origin(path: str | Path, device: torch.device | str = "cpu") -> tuple[Origin, dict[str, Any]]:
    """Read an origin written by `save_origin`, and its provenance. InputError as in `load_trained`."""
    vectors, network, scaling, made_by = _load(path, device, "an origin", lambda made_by: VECTORS)
    asked = parse_network("network", made_by["network"]), made_by["image_shape"], made_by["classes"], made_by["seed"]
    return Origin(**vectors, network=network, scaling=scaling, initialised=partial(initialisations, *asked)), made_by


def save_trained(
    path: str | Path,
    plane: Plane,
    scaling: InputScaling,
    constants: Tensors,
    made_by: Mapping[str, Any],
    snapshots: Mapping[int, Tensor] = {},  # noqa: B006 (never changed)
) -> None:
    """Write a plane; `constants` are its network's buffers, `snapshots` as `Training` keeps them. `made_by` must name `network`
    (with the `checksum` of a user's own module), `seed`, `image_shape` (C, H, W), `classes` and `mask_shape`."""
    # The directions follow from the parameters; they are for readers without this library.
    tensors = plane.tensors() | dict(zip(direction_names(len(plane.shape)), plane.basis(), strict=True))
    tensors |= {f"{SNAPSHOT}{update}": parameters for update, parameters in snapshots.items()}
    _save(path, tensors, scaling, constants, made_by)


def load_trained(path: str | Path, device: torch.device | str = "cpu") -> TrainedPlane:
    """Read a plane written by `save_trained`. InputError if it is damaged, does not fit the network it names, or was trained
    with another version of a user's own module."""

    def names(made_by: Mapping[str, Any]) -> tuple[str, ...]:
        count = len(made_by["mask_shape"])
        return (*vector_names(count), "step", *direction_names(count))

    tensors, network, scaling, made_by = _load(path, device, "a plane", names)
    shape = tuple(made_by["mask_shape"])
    plane = Plane(tuple(tensors[name] for name in vector_names(len(shape))), tensors["step"], shape)
    kept = {int(name.removeprefix(SNAPSHOT)): tensor for name, tensor in tensors.items() if name.startswith(SNAPSHOT)}
    snapshots = {update: Plane.of(kept[update], shape) for update in sorted(kept)}
    return TrainedPlane(plane, snapshots, network, scaling, made_by)


def load_with_sources(
    path: str | Path, origin: str | Path, dataset: str | Path, mask: str | Path, device: torch.device | str = "cpu"
) -> tuple[TrainedPlane, Origin, Dataset, np.ndarray]:
    """Read a plane and the files that it was made from: the plane, its origin, the dataset, the mask.

    InputError as in `load_trained`, and if a file is not the one that the plane was made from.
    """
    # All are read before any is compared: a damaged file is told as damaged.
    trained, (start, _), images = load_trained(path, device), load_origin(origin, device), load_dataset(dataset)
    facts, pixels = trained.provenance, load_mask(mask)
    if checksum(pixels) != facts["mask_checksum"]:
        raise InputError(f"{mask}: is not the mask that {path} was trained for; draw it again, or train again")
    if images.checksum != facts["dataset"]["checksum"]:
        raise InputError(f"{dataset}: is not the dataset that {path} was trained on; train it again")
    if file_checksum(origin) != facts["origin_checksum"]:
        raise InputError(f"{origin}: is not the origin that {path} was trained from; train it again")
    return trained, start, images, pixels


def _save(path: str | Path, tensors: Tensors, scaling: InputScaling, constants: Tensors, made_by: Mapping[str, Any]) -> None:
    buffers = {CONSTANT + name: tensor for name, tensor in constants.items()}
    tensors = {**tensors, "input_mean": scaling.mean, "input_std": scaling.std, **buffers}
    save_tensors(path, {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}, made_by)


def _load(
    path: str | Path, device: torch.device | str, what: str, names: Callable[[Mapping[str, Any]], Sequence[str]]
) -> tuple[dict[str, Tensor], FlatNetwork, InputScaling, dict[str, Any]]:
    """Of a file that is to be `what`: the tensors of the names that its provenance decides, the network with its buffers, its
    scaling, the provenance."""
    tensors, made_by = load_tensors(path)
    try:
        settings = parse_network("network", made_by["network"])
        if isinstance(settings, ModuleNetwork) and source_checksum(settings) != made_by["network"]["checksum"]:
            raise InputError(
                f"{path}: {settings.file} is not what it was trained with (another checksum); restore it or train again"
            )
        [network] = initialisations(settings, made_by["image_shape"], made_by["classes"], made_by["seed"], 1, device)
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        scaling, found = InputScaling(tensors.pop("input_mean"), tensors.pop("input_std")), {}
        for name in (*names(made_by), *(name for name in list(tensors) if name.startswith(SNAPSHOT))):
            found[name] = tensors.pop(name)
        buffers = dict(network.module.named_buffers())
        for name, tensor in tensors.items():
            buffers[name.removeprefix(CONSTANT)].data = tensor
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not {what} of this workflow (missing or foreign entry: {error})") from None
    if found["origin"].shape != (network.size,):
        raise InputError(f"{path}: has {found['origin'].numel()} weights, its network {network.size}; delete it and run again")
    return found, network, scaling, made_by
