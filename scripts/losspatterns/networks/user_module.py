"""A network of the user's own: a torch module from the file that the config names, made fit for a plane, and tried out.

A loss surface is a function of the weights alone, so layers with state are dealt with first (`layers_with_state` says how, a
line each): batch norm becomes ours, the module is held in eval mode, and buffers and frozen parameters are constants. What the
engine could not run, or would run wrongly, is found by a small trial, before any training: an `InputError` in one line.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ..errors import InputError
from ..records.artifacts import checksum
from ..records.closure import code_files
from ..settings import ModuleNetwork
from .batch_norm import BatchNorm

TORCH_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
RANDOM_IN_TRAINING = (nn.modules.dropout._DropoutNd, nn.RReLU)
TRIAL_IMAGES = 2


def source_checksum(settings: ModuleNetwork) -> str:
    """SHA-256 (hex) of the user's file and those beside it that it imports. InputError if it is missing or no Python."""
    if not settings.file.is_file():
        raise _refusal(settings, f"no such file: {settings.file.resolve()}")
    with _one_line(settings, "cannot be read"):
        return checksum(*(file.read_bytes() for file in code_files(settings.file)))


def build_module(
    settings: ModuleNetwork, image_shape: Sequence[int], classes: int, device: torch.device | str = "cpu"
) -> nn.Module:
    """The user's module on `device`, in eval mode, ready for `FlatNetwork`: images (N, C, H, W) -> logits (N, classes).

    Initialised from the global random generator. InputError if the module cannot be made, or if a trial finds that it does not
    classify such images, does not run for many models at once, or keeps state that is not supported.
    """
    network = _construct(settings).eval()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            raise _refusal(settings, f"parameter {name} is {parameter.dtype}, expected torch.float32 (or requires_grad=False)")
    images = torch.rand(TRIAL_IMAGES, *image_shape, generator=torch.Generator().manual_seed(0))
    _check_logits(settings, network, images, classes)  # makes the parameters of lazy layers, too
    _replace_layers(network)
    _freeze_constants(network)
    network.eval()
    if not list(network.parameters()):
        raise _refusal(settings, "has no parameters to train")
    norms = sum(isinstance(m, BatchNorm) for m in network.modules())
    if bool(norms) != settings.batch_norm:
        found = f"batch norm layers ({norms})" if norms else "no batch norm layers"
        raise _refusal(settings, f"has {found}, but its entry says batch_norm: {str(settings.batch_norm).lower()}")
    network.to(device)
    with torch.random.fork_rng(devices=[]):
        _check_state(settings, network, images.to(device))
        _check_many_at_once(settings, network, images.to(device))
    return network


def layers_with_state(network: nn.Module) -> list[str]:
    """What was done about layers with state in a module that `build_module` made: one line for each of the three kinds."""
    norms = sum(isinstance(m, BatchNorm) for m in network.modules())
    random = sorted({type(m).__name__ for m in network.modules() if isinstance(m, RANDOM_IN_TRAINING)})
    constants = len(list(network.buffers()))
    lines = ["held in eval mode: what acts in training mode only is off" + (f" ({', '.join(random)})" if random else "")]
    if norms:
        lines.append(f"batch norm layers replaced by ours: {norms} (no running statistics, scale stored as gamma - 1)")
    if constants:
        lines.append(f"buffers and frozen parameters held constant: {constants} (never updated, no part of the weights)")
    return lines


def _refusal(settings: ModuleNetwork, reason: str) -> InputError:
    return InputError(f"network module {settings.module}: {reason}")


@contextlib.contextmanager
def _one_line(settings: ModuleNetwork, what: str) -> Iterator[None]:
    """Whatever the user's code raises becomes one line: what was tried, the error, and the last line of theirs it passed."""
    try:
        yield
    except Exception as error:
        folder = settings.file.resolve().parent
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == folder]
        where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
        raise _refusal(settings, f"{what}: {type(error).__name__}: {' '.join(str(error).split())}{where}") from None


def _construct(settings: ModuleNetwork) -> nn.Module:
    """Load the file, with its folder importable meanwhile, and make the class with the entry's arguments."""
    file = settings.file.resolve()
    if not file.is_file():
        raise _refusal(settings, f"no such file: {file}")
    sys.path.insert(0, str(file.parent))
    try:
        with _one_line(settings, "cannot be loaded"):
            loader = importlib.util.spec_from_file_location(f"user_module {file}", file)
            loaded = importlib.util.module_from_spec(loader)
            sys.modules[loader.name] = loaded  # as an import does: dataclasses and pickles look there
            loader.loader.exec_module(loaded)
        if not hasattr(loaded, settings.class_name):
            raise _refusal(settings, f"{file} has no class {settings.class_name}")
        made_by = getattr(loaded, settings.class_name)
        if not (isinstance(made_by, type) and issubclass(made_by, nn.Module)):
            raise _refusal(settings, f"{settings.class_name} is not a subclass of torch.nn.Module")
        with _one_line(settings, f"cannot be made with arguments {settings.arguments}"):
            return made_by(**copy.deepcopy(settings.arguments))
    finally:
        sys.path.remove(str(file.parent))


def _check_logits(settings: ModuleNetwork, network: nn.Module, images: Tensor, classes: int) -> None:
    given = images.clone()
    called = f"forward of images {tuple(images.shape)}"
    with _one_line(settings, f"{called} failed"), torch.no_grad():
        logits = network(given)
    found, expected = type(logits).__name__, (len(images), classes)
    if isinstance(logits, Tensor):
        found = f"{str(logits.dtype).removeprefix('torch.')} {tuple(logits.shape)}"
    if found != f"float32 {expected}":
        reason = f"returned {found}, expected float32 logits {expected}, one for each image and class"
        raise _refusal(settings, f"{called} {reason}")
    if not torch.equal(given, images):
        raise _refusal(settings, "forward changes its images in place; other models need them as well")


class RReLU(nn.RReLU):
    """torch's RReLU in eval mode, by an operation that vmap knows."""

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, (self.lower + self.upper) / 2, self.inplace)


def _replace_layers(network: nn.Module) -> None:
    """Put our batch norm in the place of torch's, with its parameters (the scale as gamma - 1), and our RReLU. Keeps ties."""
    replaced: dict[nn.Module, nn.Module] = {}
    scales: dict[nn.Parameter | None, nn.Parameter | None] = {None: None}
    for parent in list(network.modules()):
        for name, theirs in parent._modules.items():
            if theirs in replaced:
                pass
            elif type(theirs) in TORCH_BATCH_NORMS:
                gamma = theirs.weight
                if gamma not in scales:
                    scales[gamma] = nn.Parameter(gamma.detach() - 1, gamma.requires_grad)
                ours = BatchNorm(theirs.num_features, theirs.eps)
                ours.weight, ours.bias = scales[gamma], theirs.bias
                replaced[theirs] = ours
            elif type(theirs) is nn.RReLU:
                replaced[theirs] = RReLU(theirs.lower, theirs.upper, theirs.inplace)
            parent._modules[name] = replaced.get(theirs, theirs)


def _freeze_constants(network: nn.Module) -> None:
    """Make buffers of the parameters without `requires_grad`: constants, no part of the weight vector."""
    for module in network.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and not parameter.requires_grad:
                del module._parameters[name]
                module.register_buffer(name, parameter.detach())


def _check_state(settings: ModuleNetwork, network: nn.Module, images: Tensor) -> None:
    """Every batch norm layer runs once in a forward pass, and none changes a buffer, also in training mode."""
    with _one_line(settings, "cannot be copied"):
        twin = copy.deepcopy(network)
    before = {name: buffer.clone() for name, buffer in twin.named_buffers()}
    norms = {name: module for name, module in twin.named_modules() if isinstance(module, BatchNorm)}
    ran: list[nn.Module] = []
    hooks = [norm.register_forward_hook(lambda module, *_: ran.append(module)) for norm in norms.values()]
    with _one_line(settings, "forward failed"), torch.no_grad():
        twin(images)
        for hook in hooks:
            hook.remove()
        twin.train()(images)
    for name, norm in norms.items():
        if (times := ran.count(norm)) != 1:
            reason = f"runs {times} times in a forward pass, expected once: one for each use"
            raise _refusal(settings, f"batch norm layer {name} {reason}")
    changed = [name for name, buffer in twin.named_buffers() if not torch.equal(buffer, before[name])]
    if changed:
        raise _refusal(
            settings,
            f"forward updates {', '.join(changed)}: running statistics and other state are supported in batch norm only "
            "(an InstanceNorm has track_running_stats=False)",
        )


def _check_many_at_once(settings: ModuleNetwork, network: nn.Module, images: Tensor) -> None:
    """The engine's calls in small: gradients of two models at once, on shared and on own images, and their logits. And the
    functional call must be the module with those weights loaded."""
    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.stack([p.detach() + 0.05 * torch.randn(p.shape, generator=generator).to(p.device) for _ in range(2)])
        for name, p in network.named_parameters()
    }

    def logits(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(network, parameters, (x,))

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return F.cross_entropy(logits(parameters, x), labels)

    with _one_line(settings, "cannot run for many models at once (torch.func.vmap)"):
        vmap(grad(loss), in_dims=(0, None))(weights, images)
        vmap(grad(loss), in_dims=(0, 0))(weights, torch.stack([images, images]))
        with torch.no_grad():
            together = vmap(logits, in_dims=(0, None))(weights, images)
    twin = copy.deepcopy(network)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            parameter.copy_(weights[name][1])
        alone = twin(images)
    if not torch.allclose(together[1], alone, rtol=1e-2, atol=1e-3, equal_nan=True):
        raise _refusal(
            settings, "forward does not take its weights from its parameters alone (a copy made earlier, or a random number?)"
        )
