"""The plane before its training: three initialisations of the network, the first of them warmed up by ordinary training.

The one idea: none of it depends on the picture, so one origin serves all pictures of a data set, network and seed.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..networks.flat import FlatNetwork
from ..networks.modules import build
from ..networks.settings import AnyNetwork, ModuleNetwork
from ..networks.user_module import trial_images
from .images import ImageStream, InputScaling, TrainingImages
from .layers import OneModel
from .optimizers import Adam
from .plane import Plane
from .settings import WarmUp
from .trial import try_out


def initialisations(
    network: AnyNetwork, image_shape: Sequence[int], classes: int, seed: int, count: int, device: torch.device | str = "cpu"
) -> list[FlatNetwork]:
    """`count` initialisations of the network, one after the other by the random numbers of `seed`: the only place that makes
    a plane's network, so that what a user's module draws beside its weights (a random buffer) is the same everywhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return [FlatNetwork(build(network, image_shape, classes, device)) for _ in range(count)]


def ordinary_gradient(network: FlatNetwork, images: Tensor, labels: Tensor) -> Tensor:
    """The gradient (n,) of the module's mean cross-entropy on images (N, C, H, W), labels (N,), by its present parameters."""
    with OneModel() if images.device.type == "cpu" else contextlib.nullcontext():
        loss = F.cross_entropy(network.module(images), labels)
    return network.gradient(loss)


@dataclass
class Origin:
    """What a training starts from, whatever the picture: `origin`, `right_parameter` and `up_parameter`, each (n,), the network
    and the scaling of its inputs. `initialised(count)`: so many initialisations, of which they are the first three."""

    origin: Tensor
    right_parameter: Tensor
    up_parameter: Tensor
    network: FlatNetwork
    scaling: InputScaling
    initialised: Callable[[int], list[FlatNetwork]]

    def plane(self, step: float, shape: tuple[int, ...]) -> Plane:
        """The untrained plane of a picture (H, W), of tensors of its own. With d > 2 axes it takes d - 2 further
        initialisations, which are drawn here."""
        device, stored = self.origin.device, (self.origin, self.right_parameter, self.up_parameter)
        vectors = [vector.clone() for vector in stored[: len(shape) + 1]]
        if len(shape) + 1 > len(stored):
            vectors += [each.vector().to(device) for each in self.initialised(len(shape) + 1)[len(stored) :]]
        return Plane(tuple(vectors), torch.tensor(step, device=device), shape)


def warm_origin(
    network: AnyNetwork,
    warm_up: WarmUp,
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    seed: int,
    device: torch.device,
    report: Callable[[int], None] = lambda updates: None,
) -> Origin:
    """Train the first initialisation by `origin_updates` ordinary Adam updates on images (N, H, W, C) uint8, labels (N,).

    The second initialisation moves along with it, so that right_parameter - origin stays what it was. `report` is told of each
    update. InputError if a user's module does not suit or starts from the same weights every time, or if the weights stop
    being finite.
    """
    data = TrainingImages.of(images, labels, classes, warm_up, device)
    initialised = partial(initialisations, network, data.images.shape[1:], classes, seed)
    first, *others = initialised(3)
    start, second, third = (each.vector() for each in (first, *others))
    if torch.equal(start, second):
        raise InputError("network: starts from the same weights every time; initialise it from torch's random numbers")
    start, second, third = (vector.to(device) for vector in (start, second, third))
    flat = FlatNetwork(first.module.to(device))
    if isinstance(network, ModuleNetwork):
        if not torch.equal(initialised(1)[0].vector(), first.vector().cpu()):
            raise InputError("network: starts from other weights with the same seed; initialise it from torch's random numbers")
        try_out(network, flat, data.scaling(trial_images(data.images.shape[1:]).to(device)), classes)
    # A stream of its own: the training that follows draws the images that its seed says, with or without a warm-up.
    own_seed = int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])
    stream = ImageStream(data, torch.Generator().manual_seed(own_seed))
    origin = start.clone()
    optimizer = Adam(origin, torch.ones_like(origin))
    nn.utils.vector_to_parameters(origin, flat.parameters)  # views of it
    for _ in range(warm_up.origin_updates):
        inputs, answers = stream.take(warm_up.origin_images)
        optimizer.step(ordinary_gradient(flat, inputs, answers), warm_up.origin_learning_rate)
        report(1)
    if not origin.isfinite().all():
        raise InputError("the origin's weights are no longer finite; lower the origin_learning_rate of this run's recipe")
    return Origin(origin, second + (origin - start), third, flat, data.scaling, initialised)
