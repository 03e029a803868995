"""A network of the user's own: a torch module from the file that the config names, made fit for a plane, and tried out.

A loss surface is a function of the weights alone, so layers with state are dealt with first (`layers_with_state` says how, a
line each): batch norm becomes ours, the module is held in eval mode, and buffers and frozen parameters are constants. What does
not suit is an `InputError` in one line; whether the engine runs it rightly is found by `method.trial`.
"""

import contextlib
import copy
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..records.artifacts import checksum
from ..records.closure import code_files
from ..torchvision_compat import with_torchvision
from .batch_norm import BatchNorm
from .settings import ModuleNetwork

TORCH_BATCH_NORMS = (nn.BatchNorm2d.forward, nn.SyncBatchNorm.forward)  # of 1d and 3d, too
RANDOM_IN_TRAINING = (nn.modules.dropout._DropoutNd, nn.RReLU)
TRIAL_IMAGES = 8
NEARBY = 1e-6  # relative change of the numbers that a computation starts from
OF_CHANGE, OF_VALUE = 100, 0.01  # what may differ: in units of what NEARBY changes, and of the value
AGAIN = 1e-4  # relative change of logits that are computed again


def source_checksum(settings: ModuleNetwork) -> str:
    """SHA-256 (hex) of the user's file and those beside it that it imports. InputError if it is missing or no Python."""
    if not settings.file.is_file():
        raise refusal(settings, f"no such file: {settings.file.resolve()}")
    with one_line(settings, "cannot be read"):
        return checksum(*(file.read_bytes() for file in code_files(settings.file)))


def build_module(
    settings: ModuleNetwork, image_shape: Sequence[int], classes: int, device: torch.device | str = "cpu"
) -> nn.Module:
    """The user's module on `device`, in eval mode, ready for `FlatNetwork`: images (N, C, H, W) -> logits (N, classes).

    Initialised from the global random generator. InputError if the module cannot be made, does not classify such images, or
    keeps state that is not supported.
    """
    with one_line(settings, "cannot be used"), unchanged_process(settings):
        network = _construct(settings)
        network.eval()
        for name, parameter in network.named_parameters():
            if parameter.requires_grad and parameter.dtype != torch.float32:
                found = f"parameter {name} is {parameter.dtype}"
                raise refusal(settings, f"{found}, expected torch.float32 (or requires_grad=False)")
        network.register_forward_pre_hook(own_images, prepend=True)
        images = trial_images(image_shape)
        check_logits(settings, network, images, classes)  # makes the parameters of lazy layers, too
        with torch.random.fork_rng(devices=[]):
            _make_layers_ours(settings, network, images)
            _freeze_constants(network)
            if not list(network.parameters()):
                raise refusal(settings, "has no parameters to train")
            norms = sum(isinstance(m, BatchNorm) for m in network.modules())
            if bool(norms) != settings.batch_norm:
                found = f"batch norm layers ({norms})" if norms else "no batch norm layers"
                raise refusal(settings, f"has {found}, but its entry says batch_norm: {str(settings.batch_norm).lower()}")
            network.to(device)
            _check_state(settings, network, images.to(device))
    return network


@contextlib.contextmanager
def unchanged_process(settings: ModuleNetwork) -> Iterator[None]:
    """Put back what the user's code changes for the whole process, with a line on stderr: it would change other results too."""
    global_state: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
        "torch.set_num_threads": (torch.get_num_threads, torch.set_num_threads),
        "torch.set_grad_enabled": (torch.is_grad_enabled, torch.set_grad_enabled),
        "torch.set_default_dtype": (torch.get_default_dtype, torch.set_default_dtype),
        "torch.set_float32_matmul_precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        "torch.use_deterministic_algorithms": (
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
        ),
        "os.chdir": (os.getcwd, os.chdir),
    }
    before = {name: get() for name, (get, _) in global_state.items()}
    try:
        yield
    finally:
        for name, (get, put) in global_state.items():
            if get() != before[name]:
                print(f"network module {settings.module}: {name} acts on the whole job, so it was put back", file=sys.stderr)
                put(before[name])


def trial_images(image_shape: Sequence[int]) -> Tensor:
    """Random images (TRIAL_IMAGES, C, H, W) in [0, 1], always the same: enough for a batch norm of one pixel."""
    return torch.rand(TRIAL_IMAGES, *image_shape, generator=torch.Generator().manual_seed(0))


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


def own_images(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A forward pre-hook: the module gets a copy of its images, which it may change, contiguous in memory."""
    return tuple(images.clone(memory_format=torch.contiguous_format) for images in given)


def refusal(settings: ModuleNetwork, reason: str) -> InputError:
    """The error that says why a user's module does not suit."""
    return InputError(f"network module {settings.module}: {reason}")


@contextlib.contextmanager
def one_line(settings: ModuleNetwork, what: str) -> Iterator[None]:
    """Whatever the user's code raises becomes one line: what was tried, the error, and the last line of theirs it passed."""
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        folder = settings.file.resolve().parent
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == folder]
        where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
        raise refusal(settings, f"{what}: {type(error).__name__}: {' '.join(str(error).split())}{where}") from None


def _construct(settings: ModuleNetwork) -> nn.Module:
    """Load the file, with its folder importable meanwhile, and make the class with the entry's arguments."""
    file = settings.file.resolve()
    if not file.is_file():
        raise refusal(settings, f"no such file: {file}")
    sys.path.insert(0, str(file.parent))
    before = set(sys.modules)
    try:
        with one_line(settings, "cannot be loaded"):
            loader = importlib.util.spec_from_file_location(f"user_module {file}".replace(".", "_"), file)
            loaded = importlib.util.module_from_spec(loader)
            sys.modules[loader.name] = loaded  # as an import does: dataclasses and pickles look there
            with_torchvision(lambda: loader.loader.exec_module(loaded))
        if not hasattr(loaded, settings.class_name):
            raise refusal(settings, f"{file} has no class {settings.class_name}")
        made_by = getattr(loaded, settings.class_name)
        if not (isinstance(made_by, type) and issubclass(made_by, nn.Module)):
            raise refusal(settings, f"{settings.class_name} is not a subclass of torch.nn.Module")
        with one_line(settings, f"cannot be made with arguments {settings.arguments}"):
            made = with_torchvision(lambda: made_by(**copy.deepcopy(settings.arguments)))
        followed = code_files(file)
        for name in set(sys.modules) - before:
            other = Path(getattr(sys.modules[name], "__file__", None) or "/")
            if other.is_relative_to(file.parent) and other.suffix == ".py" and other not in followed:
                found = f"imports {other.relative_to(file.parent)} by a name that no import statement has"
                raise refusal(settings, f"{found}, so an edit of it would go unseen; import it by a statement")
        return made
    finally:
        sys.path.remove(str(file.parent))


def check_logits(settings: ModuleNetwork, network: nn.Module, images: Tensor, classes: int) -> None:
    """InputError if the module does not make finite logits (N, classes) of images (N, C, H, W)."""
    called = f"forward of images {tuple(images.shape)}"
    with one_line(settings, f"{called} failed"), torch.no_grad():
        logits = network(images)
    found, expected = type(logits).__name__, (len(images), classes)
    if isinstance(logits, Tensor):
        found = f"{str(logits.dtype).removeprefix('torch.')} {tuple(logits.shape)}"
    if found != f"float32 {expected}":
        raise refusal(settings, f"{called} returned {found}, expected float32 logits {expected}, one for each image and class")
    if not logits.isfinite().all():
        low, high = (f"{extreme.item():.2g}" for extreme in images.aminmax())
        raise refusal(settings, f"{called} between {low} and {high} returned NaN or infinity, expected finite logits")


def alike(value: Tensor, right: Tensor, nearby: Tensor, least: float | Tensor = 0.0) -> bool:
    """Whether `value` is `right` but for rounding, which `nearby` measures: the same of numbers that differ by NEARBY."""
    return bool((value - right).norm() <= OF_CHANGE * (nearby - right).norm() + OF_VALUE * right.norm() + least)


class RReLU(nn.RReLU):
    """torch's RReLU in eval mode, by an operation that vmap knows."""

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, (self.lower + self.upper) / 2, self.inplace)


def _make_layers_ours(settings: ModuleNetwork, network: nn.Module, images: Tensor) -> None:
    """Make torch's batch norm layers ours (the scale as gamma - 1), and RReLU, in place: what refers to a layer or its weights
    goes on doing so. InputError if the module then returns other logits, or when it is called twice."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    theirs = [layer for layer in norms if type(layer).forward in TORCH_BATCH_NORMS]
    for layer in theirs:
        layer.train()

    def logits(images: Tensor) -> Tensor:
        torch.manual_seed(0)
        with one_line(settings, "forward failed"), torch.no_grad():
            return network(images)

    before = logits(images)
    nearby = logits(images * (1 + NEARBY * torch.randn(images.shape)))
    if (logits(images) - before).norm() > AGAIN * before.norm():
        differs = "forward returns other logits for the same images when it is called again"
        raise refusal(settings, f"{differs}: it must keep no state between calls and draw no random numbers")
    gammas = {layer.weight for layer in theirs if layer.weight is not None}
    for gamma in gammas:
        gamma.data = gamma.data - 1
    for layer in theirs:
        layer.__class__ = type(type(layer).__name__, (BatchNorm, type(layer)), {})
        layer.keep(layer.num_features, layer.eps)
        layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    for layer in network.modules():
        if type(layer) is nn.RReLU:
            layer.__class__ = RReLU
    network.eval()
    if theirs and not alike(logits(images), before, nearby):
        differs = (
            "forward returns other logits with our batch norm, whose scale is kept as gamma - 1, without running statistics"
        )
        raise refusal(settings, f"{differs}: it must only call its batch norm layers, not read their weights or statistics")


def _freeze_constants(network: nn.Module) -> None:
    """Make buffers of the parameters without `requires_grad`: constants, no part of the weight vector. Buffers
    are constants too, also one that was made from weights."""
    for module in network.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and not parameter.requires_grad:
                del module._parameters[name]
                module.register_buffer(name, parameter.detach())
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and buffer.requires_grad:
                module._buffers[name] = buffer.detach()


def _check_state(settings: ModuleNetwork, network: nn.Module, images: Tensor) -> None:
    """Every batch norm layer runs once in a forward pass, and none changes a buffer, also in training mode."""
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    norms = {name: module for name, module in network.named_modules() if isinstance(module, BatchNorm)}
    ran: list[nn.Module] = []
    hooks = [norm.register_forward_hook(lambda module, *_: ran.append(module)) for norm in norms.values()]
    for training, what in ((False, "forward failed"), (True, "forward in training mode failed")):
        with one_line(settings, what), torch.no_grad():
            network.train(training)
            network(images)
        while hooks:
            hooks.pop().remove()
    network.eval()
    for name, norm in norms.items():
        if (times := ran.count(norm)) != 1:
            found = f"batch norm layer {name} runs {times} times in a forward pass in eval mode, expected once"
            unused = "" if times else ", none for what is unused (an auxiliary head)"
            raise refusal(settings, f"{found}: make one for each use{unused}")
    changed = [name for name, buffer in network.named_buffers() if not torch.equal(buffer, before[name])]
    if changed:
        raise refusal(
            settings,
            f"forward updates {', '.join(changed)}: running statistics and other state are supported in batch norm layers with "
            "torch's own forward only (an InstanceNorm has track_running_stats=False)",
        )
