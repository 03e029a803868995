"""How training images reach the networks: shuffled epochs, augmentation, scaling.

All images lie on the device as uint8; a batch is picked, augmented and scaled there. Random numbers come from a CPU generator.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .devices import send
from .settings import WarmUp


@dataclass(frozen=True)
class InputScaling:
    """Network inputs are (image / 255 - mean) / std, per channel; mean and std (C,) float32."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, images: Tensor, standardise: bool, device: torch.device) -> "InputScaling":
        """From training images (N, C, H, W) uint8, for use on `device`; without `standardise` inputs stay in [0, 1]."""
        channels = images.shape[1]
        if not standardise:
            return cls(torch.zeros(channels, device=device), torch.ones(channels, device=device))
        values = torch.arange(256, dtype=torch.float64) / 255
        counts = torch.stack([images[:, c].flatten().bincount(minlength=256) for c in range(channels)]).double()
        mean = (counts @ values) / counts.sum(1)
        std = ((counts @ values**2) / counts.sum(1) - mean**2).clamp(min=1e-12).sqrt()
        return cls(mean.float().to(device), std.float().to(device))

    def __call__(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> network inputs of the same shape, channels last in memory: convolutions are fastest so."""
        inputs = torch.empty_like(images, memory_format=torch.channels_last)
        return torch.sub(images, self.mean[:, None, None], out=inputs).div_(self.std[:, None, None])

    def inputs(self, images: np.ndarray) -> Tensor:
        """Images (N, H, W, C) uint8 of a data set -> network inputs (N, C, H, W), on the device of mean and std."""
        return self(channels_first(images).to(self.mean.device).float() / 255)


def channels_first(images: np.ndarray) -> Tensor:
    """(N, H, W, C) as data sets have them -> (N, C, H, W), contiguous."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def labels_on(device: torch.device, labels: np.ndarray) -> Tensor:
    """Labels (N,) of a data set as int64 on the device."""
    return torch.from_numpy(labels.astype(np.int64)).to(device)


@dataclass(frozen=True)
class TrainingImages:
    """`images` (N, C, H, W) uint8 and `labels` (N,) int64, of `classes`, on the device, and what is done to a batch."""

    images: Tensor
    labels: Tensor
    classes: int
    scaling: InputScaling
    augmentation: str

    @classmethod
    def of(
        cls, images: np.ndarray, labels: np.ndarray, classes: int, settings: WarmUp, device: torch.device
    ) -> "TrainingImages":
        """Of a data set's images (N, H, W, C) uint8, labels (N,) and number of classes."""
        first = channels_first(images)
        scaling = InputScaling.of(first, settings.standardise, device)
        return cls(first.to(device), labels_on(device, labels), classes, scaling, settings.augmentation)


class Epochs:
    """Hands out the next k of `count` indices: shuffled epochs, each index once per epoch. `queue`: the epoch's rest."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator
        self.queue = torch.empty(0, dtype=torch.int64)

    def take(self, k: int) -> Tensor:
        """The next k indices, (k,) int64."""
        while len(self.queue) < k:
            self.queue = torch.cat([self.queue, torch.randperm(self.count, generator=self.generator)])
        taken, self.queue = self.queue[:k], self.queue[k:]
        return taken


class ImageStream:
    """Batches of training images, in shuffled epochs, by the random numbers of `generator`."""

    def __init__(self, data: TrainingImages, generator: torch.Generator) -> None:
        self.data, self.generator = data, generator
        self.epochs = Epochs(len(data.images), generator)

    def take(self, *shape: int) -> tuple[Tensor, Tensor]:
        """The next network inputs (*shape, C, H, W) and labels (*shape)."""
        data = self.data
        index = send(self.epochs.take(math.prod(shape)), data.images.device)
        picked = data.images.flatten(1).index_select(0, index).view(-1, *data.images.shape[1:])
        batch = picked.float().div_(255)
        if data.augmentation == "crop_flip_cutout":
            batch = augment(batch, self.generator)
        return data.scaling(batch).unflatten(0, shape), data.labels[index].view(shape)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Crop (zero padding 4), horizontal flip and an 8 x 8 cut-out with probability 0.5 of images (N, C, H, W); a new tensor."""
    count, channels, height, width = images.shape
    device = images.device
    corner = send(torch.randint(0, 9, (count, 2), generator=generator), device)
    flip = send(torch.rand(count, generator=generator) < 0.5, device)
    cut = send(torch.rand(count, generator=generator) < 0.5, device)
    hole = [torch.randint(0, side, (count,), generator=generator) for side in (height, width)]
    hole = send(torch.stack(hole, dim=1), device)
    y, x = torch.arange(height, device=device), torch.arange(width, device=device)
    rows = corner[:, :1] + y
    columns = corner[:, 1:] + torch.where(flip[:, None], x.flip(0), x)
    index = torch.arange(count, device=device)[:, None, None, None], torch.arange(channels, device=device)[:, None, None]
    cropped = F.pad(images, (4, 4, 4, 4))[*index, rows[:, None, :, None], columns[:, None, None, :]]
    in_rows = (y >= hole[:, :1] - 4) & (y < hole[:, :1] + 4)
    in_columns = (x >= hole[:, 1:] - 4) & (x < hole[:, 1:] + 4)
    holes = cut[:, None, None] & in_rows[:, :, None] & in_columns[:, None, :]
    return cropped.masked_fill(holes[:, None], 0.0)
