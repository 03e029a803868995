"""A network as a function of one flat weight vector: the one bridge between a module and a point of weight space.

It knows where each parameter lies in the vector and calls the module functionally with any vector. No layer is mirrored.
"""

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .batch_norm import BatchNorm, Moments, protocol_for
from .user_module import own_images


class FlatNetwork:
    """A module as a function of a flat weight vector of length `size`, in the order of `named_parameters`.

    `hooks`: those of its layers on forward; they are the module's own.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.names, self.parameters = (list(items) for items in zip(*module.named_parameters(), strict=True))
        self.shapes = [parameter.shape for parameter in self.parameters]
        self.sizes = [parameter.numel() for parameter in self.parameters]
        self.size = sum(self.sizes)
        self.norms = [m for m in module.modules() if isinstance(m, BatchNorm)]
        hooks = (hook for m in module.modules() for each in (m._forward_hooks, m._forward_pre_hooks) for hook in each.values())
        self.hooks = [hook for hook in hooks if hook is not own_images]
        names = dict(zip(self.parameters, self.names, strict=True))
        self._places = {  # tied ones in full, a layer that stands in two places once: torch's own search leaves it changed
            f"{path}.{name}".lstrip("."): names[parameter]
            for path, layer in module.named_modules()
            for name, parameter in layer._parameters.items()
            if parameter is not None
        }

    def unflatten(self, weights: Tensor) -> dict[str, Tensor]:
        """(n,) -> the module's parameters by name, as views."""
        parts = weights.split(self.sizes)
        return {name: part.view(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}

    def __call__(self, weights: Tensor, images: Tensor) -> Tensor:
        """Logits (N, classes) of the model at `weights` (n,) for images (N, C, H, W). Differentiable, and fit for vmap."""
        parts = self.unflatten(weights)
        placed = {place: parts[name] for place, name in self._places.items()}
        return functional_call(self.module, placed, (images,), tie_weights=False)

    def vector(self) -> Tensor:
        """The module's present parameters as a new flat vector (n,)."""
        return torch.cat([parameter.detach().reshape(-1) for parameter in self.parameters])

    def gradient(self, loss: Tensor) -> Tensor:
        """Of a number by the module's present parameters, (n,); zero where they played no part."""
        slopes = torch.autograd.grad(loss, self.parameters, allow_unused=True, materialize_grads=True)
        return torch.cat([slope.reshape(-1) for slope in slopes])

    def layer_outputs(self, image_shape: Sequence[int]) -> list[int]:
        """How many numbers each operation puts out for one image (C, H, W): what a budget of memory is reckoned from."""
        sizes: list[int] = []

        def note(self: Any, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            if not function.is_view:
                sizes.extend(item.numel() for item in tree_leaves(result) if isinstance(item, Tensor))
            return result

        class Note(TorchDispatchMode):
            pass

        # Not in the class's body: there, torch wraps it in a call that loads its compiler, which takes a second.
        Note.__torch_dispatch__ = note
        image = self.parameters[0].new_zeros(1, *image_shape)
        with torch.no_grad(), Note():
            self.module(image)
        return sizes

    def ordinary(self, weights: Tensor) -> nn.Module:
        """A copy of the module with the weights (n,) loaded: the plain model at that point."""
        module = copy.deepcopy(self.module)
        nn.utils.vector_to_parameters(weights, module.parameters())
        return module

    def moments(self, name: str, calibrate: Callable[[], list[Moments]]) -> list[Moments] | None:
        """What `statistics` is to be given under that protocol (`batch_norm.PROTOCOLS`); `calibrate()` gives the moments of
        calibration images. InputError for an unknown protocol, and for one that does not suit the network."""
        empty = [self.parameters[0].new_empty(norm.channels) for norm in self.norms]
        return protocol_for(name, self.norms).statistics(empty, calibrate)

    @contextlib.contextmanager
    def statistics(self, given: Sequence[Moments] | None) -> Iterator[None]:
        """Within it, batch norm layers use these means and variances, one pair per layer; none: those of the batch."""
        for norm, moments in zip(self.norms, given or [None] * len(self.norms), strict=True):
            norm.statistics = moments
        try:
            yield
        finally:
            for norm in self.norms:
                norm.statistics = None

    def calibrate(self, weights: Tensor, images: Tensor) -> list[Moments]:
        """(mean, variance) of every batch norm layer's input when `images` (N, C, H, W) pass through the model at `weights`."""
        return self.recorded(lambda: self(weights, images))

    def recorded(self, forward: Callable[[], Any]) -> list[Moments]:
        """(mean, variance) of every batch norm layer's input in `forward()`, which runs the module once."""
        for norm in self.norms:
            norm.recording = True
        try:
            with self.statistics(None):
                forward()
            return [norm.recorded for norm in self.norms]
        finally:
            for norm in self.norms:
                norm.recording, norm.recorded = False, None
