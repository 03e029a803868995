"""Networks as ordinary torch modules, and as functions of one flat weight vector.

`FlatNetwork` is the one bridge between a module and a point of weight space: it knows where each parameter lies in the vector
and calls the module functionally with any vector. No layer is mirrored.

Where batch norm (`batch_norm`) takes its statistics from at evaluation is the *protocol*:
`batch` (the images at hand), `identity` (mean 0, variance 1), `recalibrated` (statistics of given calibration images).
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode, handle_torch_function, has_torch_function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..specs import ModuleSpec, NetworkSpec
from .batch_norm import BatchNorm, followed, norm_relu
from .convolution import Settings, settings_of
from .user_module import build_module

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


class ConvLayer(nn.Module):
    """3 x 3 convolution, optional batch norm, optional identity (where the channels agree), activation, optional pool.

    The pool stands before the activation: both are monotone, so the order changes nothing but the cost.
    """

    def __init__(self, inputs: int, outputs: int, spec: NetworkSpec) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = BatchNorm(outputs) if spec.batch_norm else None
        self.identity = spec.residual and inputs == outputs
        self.pool = nn.MaxPool2d(2) if spec.pool else None
        self.activation = ACTIVATIONS[spec.activation]()
        self.monotone = spec.activation != "gelu"
        self.whole = spec.activation == "relu" and not self.identity  # pool and ReLU follow the last of convolution and norm

    def forward(self, x: Tensor) -> Tensor:
        pool = self.pool is not None
        weight, bias, norm = self.conv.weight, self.conv.bias, self.norm
        if norm is not None and norm.statistics != "batch":  # it is linear then, and so are both together
            scale, shift = norm.fixed(weight)
            weight, bias, norm = weight * scale.view(-1, 1, 1, 1), bias * scale + shift, None
        if self.whole and norm is None:
            return conv_relu(x, weight, bias, pool)
        y = F.conv2d(x, weight, bias, padding=1)
        if self.whole:
            return norm(y, relu=True, pool=pool)
        if norm is not None:
            y = norm(y)
        if self.identity:
            y = y + x
        if not pool:
            return self.activation(y)
        return self.activation(self.pool(y)) if self.monotone else self.pool(self.activation(y))


def conv_relu(input: Tensor, weight: Tensor, bias: Tensor, pool: bool) -> Tensor:
    """3 x 3 convolution with padding 1, 2 x 2 max pool if asked for, ReLU: one call, which whoever runs it may run as one."""
    if has_torch_function((input, weight, bias)):
        return handle_torch_function(conv_relu, (input, weight, bias), input, weight, bias, pool)
    return followed(F.conv2d(input, weight, bias, padding=1), True, pool)


class LayerMode(TorchFunctionMode):
    """Inside it, a subclass computes convolutions (`by_kernels`) and batch norms (`norm_relu`).

    What these leave, by giving None, and every other call goes to `otherwise`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = {F.conv2d: self.convolution, conv_relu: self.conv_relu, norm_relu: self.norm_relu}

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in self.layers and (output := self.layers[function](*args, **kwargs)) is not None:
            return output
        return self.otherwise(function, args, kwargs)

    def convolution(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor | None:
        """torch's conv2d; None for one of a rare kind."""
        settings = settings_of(input, stride, padding, dilation, groups)
        return self.by_kernels(input, weight, bias, settings) if settings else None

    def conv_relu(self, input: Tensor, weight: Tensor, bias: Any, pool: bool) -> Tensor | None:
        """The function of that name."""
        return self.by_kernels(input, weight, bias, Settings((1, 1), (1, 1), relu=True, pool=pool))

    def by_kernels(self, input: Tensor, weight: Tensor, bias: Any, settings: Settings) -> Tensor | None:
        raise NotImplementedError

    def norm_relu(self, input: Tensor, weight: Any, bias: Any, epsilon: float, relu: bool, pool: bool) -> Tensor | None:
        """`batch_norm.norm_relu`."""
        raise NotImplementedError

    def otherwise(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Any other call."""
        return function(*args, **kwargs)


class SpatialMean(nn.Module):
    """(N, C, H, W) -> (N, C). nn.AdaptiveAvgPool2d(1) does the same, but slowly under vmap with channels last in memory."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((-2, -1))


class AdaptiveMean(nn.Module):
    """(N, C, H, W) -> (N, C, size, size): nn.AdaptiveAvgPool2d as one matrix product, backward several times as fast."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (
            F.adaptive_avg_pool1d(torch.eye(side, dtype=x.dtype, device=x.device), self.size).t() for side in x.shape[-2:]
        )
        return (x.flatten(-2) @ torch.kron(rows, columns).t()).unflatten(-1, (self.size, self.size))


class BasicBlock(nn.Module):
    """The basic block of residual networks: two 3 x 3 convolutions beside the identity (or a 1 x 1 convolution)."""

    def __init__(self, inputs: int, outputs: int, stride: int, spec: NetworkSpec) -> None:
        super().__init__()
        norm = BatchNorm if spec.batch_norm else lambda channels: nn.Identity()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norm1 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.norm2 = norm(outputs)
        plain = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if plain else nn.Conv2d(inputs, outputs, 1, stride)
        self.activation = ACTIVATIONS[spec.activation]()

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.norm1(self.conv1(x)))
        return self.activation(self.norm2(self.conv2(y)) + self.shortcut(x))


def build(
    spec: NetworkSpec | ModuleSpec, image_shape: Sequence[int], classes: int, device: torch.device | str = "cpu"
) -> nn.Module:
    """The network of a spec for images of shape (C, H, W): an ordinary module, images (N, C, H, W) -> logits (N, classes).

    Initialised by torch's own rules from the global random generator, then put on `device`. InputError if pools leave nothing
    of the image, or if a user's module does not suit.
    """
    if isinstance(spec, ModuleSpec):
        return build_module(spec, image_shape, classes, device)
    channels, height, width = image_shape
    spec.check_image("network", height, width)
    layers: list[nn.Module] = []
    if spec.kind == "resnet":
        layers += [nn.Conv2d(channels, spec.channels[0], 3, padding=1), ACTIVATIONS[spec.activation]()]
        channels = spec.channels[0]
        for stage, outputs in enumerate(spec.channels):
            for block in range(spec.blocks):
                layers.append(BasicBlock(channels, outputs, 2 if stage and not block else 1, spec))
                channels = outputs
        layers.append(SpatialMean())
        features = channels
    else:
        for outputs in spec.channels:
            layers.append(ConvLayer(channels, outputs, spec))
            channels = outputs
            if spec.pool:
                height, width = height // 2, width // 2
        if spec.channels:
            if (height, width) != (spec.pooled_size, spec.pooled_size):
                layers.append(AdaptiveMean(spec.pooled_size))
            height = width = spec.pooled_size
        layers.append(nn.Flatten())
        features = channels * height * width
    for outputs in spec.dense:
        layers += [nn.Linear(features, outputs), ACTIVATIONS[spec.activation]()]
        features = outputs
    layers.append(nn.Linear(features, classes))
    return nn.Sequential(*layers).to(device)


class FlatNetwork:
    """A module as a function of a flat weight vector of length `size`, in the order of `named_parameters`."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.names, self.parameters = (list(items) for items in zip(*module.named_parameters(), strict=True))
        self.shapes = [parameter.shape for parameter in self.parameters]
        self.sizes = [parameter.numel() for parameter in self.parameters]
        self.size = sum(self.sizes)
        self.norms = [m for m in module.modules() if isinstance(m, BatchNorm)]

    def unflatten(self, weights: Tensor) -> dict[str, Tensor]:
        """(n,) -> the module's parameters by name, as views."""
        parts = weights.split(self.sizes)
        return {name: part.view(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}

    def __call__(self, weights: Tensor, images: Tensor) -> Tensor:
        """Logits (N, classes) of the model at `weights` (n,) for images (N, C, H, W). Differentiable, and fit for vmap."""
        return functional_call(self.module, self.unflatten(weights), (images,))

    def vector(self) -> Tensor:
        """The module's present parameters as a new flat vector (n,)."""
        return torch.cat([parameter.detach().reshape(-1) for parameter in self.parameters])

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
        image = torch.zeros(1, *image_shape, device=self.parameters[0].device)
        with torch.no_grad(), Note():
            self.module(image)
        return sizes

    def ordinary(self, weights: Tensor) -> nn.Module:
        """A copy of the module with the weights (n,) loaded: the plain model at that point."""
        module = copy.deepcopy(self.module)
        nn.utils.vector_to_parameters(weights, module.parameters())
        return module

    @contextlib.contextmanager
    def protocol(self, statistics: str | Sequence[tuple[Tensor, Tensor]]) -> Iterator[None]:
        """Set the statistics of every batch norm layer ("batch", "identity", or one (mean, variance) per layer) for a while."""
        per_layer = [statistics] * len(self.norms) if isinstance(statistics, str) else statistics
        for norm, value in zip(self.norms, per_layer, strict=True):
            norm.statistics = value
        try:
            yield
        finally:
            for norm in self.norms:
                norm.statistics = "batch"

    def calibrate(self, weights: Tensor, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(mean, variance) of every batch norm layer's input when `images` (N, C, H, W) pass through the model at `weights`."""
        for norm in self.norms:
            norm.recording = True
        try:
            with self.protocol("batch"):
                self(weights, images)
            return [norm.recorded for norm in self.norms]
        finally:
            for norm in self.norms:
                norm.recording, norm.recorded = False, None
