"""A user's own module: it runs in the engine as torch runs it, and what cannot is refused in one line."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import (
    CLASSES,
    IMAGE_SHAPE,
    check_engine_against_plain_loop,
    random_batch,
    random_network,
    random_plane,
    run_program,
)
from losspatterns.errors import InputError
from losspatterns.method.images import TrainingImages
from losspatterns.method.layers import OneModel
from losspatterns.method.objective import TwoColours
from losspatterns.method.origin import initialisations, warm_origin
from losspatterns.method.plane import Plane
from losspatterns.method.plane_file import InputScaling, load_trained, save_trained
from losspatterns.method.settings import Recipe
from losspatterns.method.surface import evaluate_points
from losspatterns.method.training import Training, run_training
from losspatterns.method.trial import try_out
from losspatterns.method.update import IMAGES_PER_THREAD, plane_gradient
from losspatterns.networks.batch_norm import BatchNorm
from losspatterns.networks.flat import FlatNetwork
from losspatterns.networks.settings import ModuleNetwork
from losspatterns.networks.user_module import build_module, layers_with_state, source_checksum, trial_images
from test_training import MASK, RECIPE, column, run
from torch import nn
from torch.func import vmap

FILE = Path(__file__).parents[1] / "user_networks/networks.py"
PIXELS = {"pixels": 2 * 9 * 11, "classes": CLASSES}


def user(name: str, batch_norm: bool = False, **arguments: Any) -> ModuleNetwork:
    """The entry of one of the example networks."""
    return ModuleNetwork(module=f"{FILE}:{name}", arguments=arguments, batch_norm=batch_norm)


NETWORKS = {
    "MLP": user("MLP", True, **PIXELS),
    "ConvNet": user("ConvNet", True, channels=2, classes=CLASSES),
    "Tied": user("Tied", **PIXELS),
    "Frozen": user("Frozen", **PIXELS),
    "Lazy": user("Lazy", True, classes=CLASSES),
    "Bare": user("Bare", **PIXELS),
    "Attention": user("Attention", row=2 * 11, classes=CLASSES),
    "Views": user("Views", True, channels=2, pixels=9 * 11, classes=CLASSES),
    "Odd": user("Odd", **PIXELS),
    "Norms": user("Norms", True, channels=2, classes=CLASSES),
}
COORDINATES = torch.tensor([[0, 0], [4, 3], [2, 1], [1, 3]])
each_network = pytest.mark.parametrize("name", NETWORKS)


def exact(name: str) -> tuple[FlatNetwork, Plane]:
    """The network and a plane of it in float64: rounding is then far below what tells a wrong layer from a right one."""
    network = random_network(NETWORKS[name])
    plane = random_plane(network, NETWORKS[name])
    network.module.double()
    return network, plane.with_tensors(torch.Tensor.double)


def original(name: str, seed: int = 0) -> nn.Module:
    """The module as its own file makes it, by plain Python."""
    spec = NETWORKS[name]
    network = random_network(spec)  # so that the file is loaded
    torch.manual_seed(seed)
    return type(network.module)(**spec.arguments)


@each_network
def test_functional_call_equals_the_ordinary_module(name: str) -> None:
    network, plane = exact(name)
    weights, images = plane.weights(COORDINATES), random_batch(7)[0].double()
    together = vmap(network, in_dims=(0, None))(weights, images)
    for row, logits in zip(weights, together, strict=True):
        torch.testing.assert_close(network.ordinary(row)(images), logits)


@pytest.mark.parametrize("shared", [True, False])
@each_network
def test_engine_gradients_equal_autograd_on_ordinary_modules(name: str, shared: bool) -> None:
    network = random_network(NETWORKS[name])
    plane = random_plane(network, NETWORKS[name])
    images, labels = random_batch(6 if shared else 24)
    if not shared:
        images, labels = images.view(4, 6, *IMAGE_SHAPE), labels.view(4, 6)
    check_engine_against_plain_loop(network, plane, COORDINATES, torch.tensor([1.0, -1.0, 1.0, -1.0]), images, labels, 100.0)


@pytest.mark.parametrize(
    ("name", "protocol"),
    [(n, p) for n, s in NETWORKS.items() for p in (["batch", "recalibrated", "identity"] if s.batch_norm else ["none"])],
)
def test_surface_points_equal_torch_s_own_layers(name: str, protocol: str) -> None:
    """The user's module as torch runs it: batch norm in training mode, or in eval mode with given running statistics."""
    network, plane = exact(name)
    images, labels = random_batch(9)
    images, calibration = images.double(), random_batch(12, seed=7)[0].double()
    losses, _ = evaluate_points(network, plane, COORDINATES, images, labels, protocol, calibration)
    images, calibration = images.contiguous(), calibration.contiguous()
    plain = original(name).double().eval()
    plain(images)  # sizes of lazy layers
    layers = [m for m in plain.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if name == "Frozen":
        plain = copy.deepcopy(network.module)  # constants are random: the same ones
    for weights, loss in zip(plane.weights(COORDINATES), losses, strict=True):
        parts = network.unflatten(weights)
        with torch.no_grad():
            for key, parameter in plain.named_parameters():
                owner = plain.get_submodule(key.rpartition(".")[0])
                parameter.copy_(parts[key] + (1 if owner in layers and key.endswith("weight") else 0))
            for layer in layers:
                layer.reset_running_stats()
                layer.train(protocol != "identity")
            if protocol == "recalibrated":
                seen: dict[nn.Module, torch.Tensor] = {}
                hooks = [layer.register_forward_pre_hook(lambda m, x, seen=seen: seen.update({m: x[0]})) for layer in layers]
                plain(calibration)
                for layer, hook in zip(layers, hooks, strict=True):
                    hook.remove()
                    values = seen[layer].transpose(0, 1).flatten(1)
                    layer.running_mean.copy_(values.mean(1))
                    layer.running_var.copy_(values.var(1, correction=0))
                    layer.eval()
            expected = F.cross_entropy(plain(images), labels).item()
        assert loss == pytest.approx(expected, rel=1e-9)


def test_batch_norm_keeps_its_own_epsilon_scale_and_shift() -> None:
    network = random_network(NETWORKS["MLP"]).module
    assert isinstance(network.norm, BatchNorm) and network.norm.epsilon == 1e-3
    assert network.norm.weight.abs().max() == network.norm.bias.abs().max() == 0
    free = random_network(NETWORKS["ConvNet"]).module.features[3]
    assert free.weight is None and free.bias is None


def test_training_and_eval_mode_are_the_same_but_for_dropout() -> None:
    network = random_network(NETWORKS["MLP"])
    images, _ = random_batch(6)
    assert not any(m.training for m in network.module.modules())
    before = network.module(images)
    torch.testing.assert_close(network.module(images), before, rtol=0, atol=0)
    network.module.norm.train()
    torch.testing.assert_close(network.module(images), before, rtol=0, atol=0)
    network.module.train()
    assert not torch.allclose(network.module(images), before)


def test_arguments_and_seed_make_the_same_weights_as_plain_torch() -> None:
    for name in ("Tied", "Attention"):
        torch.testing.assert_close(
            random_network(NETWORKS[name]).module.state_dict(), original(name).state_dict(), rtol=0, atol=0
        )
    assert random_network(user("MLP", True, **PIXELS, width=33)).module.hidden.out_features == 33


def test_tied_weights_are_one_part_of_the_vector() -> None:
    network = random_network(NETWORKS["Tied"])
    pixels = PIXELS["pixels"]
    assert network.size == (pixels + 1) * 10 + 100 + 10 + 10 + 11 * CLASSES
    assert network.module.third.weight is network.module.second.weight
    copied = network.ordinary(torch.randn(network.size))
    assert copied.third.weight is copied.second.weight


def test_frozen_parameters_are_constants() -> None:
    network = random_network(NETWORKS["Frozen"])
    assert network.names == ["out.weight", "out.bias"]
    plain = original("Frozen")
    torch.testing.assert_close(network.module.fixed.weight, plain.fixed.weight.detach(), rtol=0, atol=0)
    copied = network.ordinary(torch.zeros(network.size))
    torch.testing.assert_close(copied.fixed.weight, plain.fixed.weight.detach(), rtol=0, atol=0)


def test_what_happens_to_state_is_told_in_a_line_each() -> None:
    told = {name: layers_with_state(random_network(spec).module) for name, spec in NETWORKS.items()}
    assert told["MLP"] == [
        "held in eval mode: what acts in training mode only is off (Dropout)",
        "batch norm layers replaced by ours: 1 (no running statistics, scale stored as gamma - 1)",
    ]
    assert "RReLU" in told["ConvNet"][0] and "ours: 2 (" in told["ConvNet"][1]
    assert told["Frozen"][1:] == ["buffers and frozen parameters held constant: 3 (never updated, no part of the weights)"]
    assert len(told["Bare"]) == 1


def write(folder: Path, body: str, start: str = "") -> ModuleNetwork:
    """A file with a class Net whose methods are `body`."""
    file = folder / "mine.py"
    lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    file.write_text(
        f"import torch\nimport torch.nn.functional as F\nfrom torch import nn\n{start}\n\nclass Net(nn.Module):\n{lines}\n"
    )
    return ModuleNetwork(module=f"{file}:Net")


def net(forward: str, layer: str = "nn.Linear(198, 5)", more: str = "pass") -> str:
    """The methods of a class with one layer; DENSE in `forward` is its output for flat images."""
    return f"""
def __init__(self):
    super().__init__()
    self.layer = {layer}
    {more}

def forward(self, x):
    {forward.replace("DENSE", "self.layer(x.flatten(1))")}
"""


PLAIN = "return DENSE"
NORM, CONV_IN = "self.norm = nn.BatchNorm1d(5)", "self.conv = nn.Conv2d(2, 2, 3, padding=1)"
OTHER_LOGITS = "returns other logits for the same images when it is called again: it must keep no state .* and draw no random"
NOT_ALONE, MANY = "is not that of the module alone: .*by torch's functions alone", "cannot run for many models at once"
REFUSED = {
    "constructor": (
        net(PLAIN, more="raise KeyError('a\\nb')"),
        r"cannot be made with arguments {}: KeyError: .*mine.py, line 10\)",
    ),
    "exit": (net(PLAIN, more="raise SystemExit(2)"), r"cannot be made with arguments {}: SystemExit: 2 \(mine.py, line 10\)"),
    "forward": (net("return self.layer(x)"), r"forward of images \(8, 2, 9, 11\) failed: RuntimeError: .*\(mine.py, line 13\)"),
    "no forward": ("def other(self):\n    pass", "failed: NotImplementedError"),
    "unhashable": ("__eq__ = None\n" + net(PLAIN), "cannot be used: TypeError: unhashable type"),
    "not finite": (net("return self.layer(x.log().flatten(1))", more="self.layer.weight.data[0] = torch.inf"), "NaN or"),
    "python's random numbers": (net("return DENSE * random.random()"), OTHER_LOGITS),
    "state": (net("self.calls += 1; return DENSE * self.calls", more="self.calls = 0"), OTHER_LOGITS),
    "kept by the number of images": (
        net("y = DENSE; return y + self.kept.setdefault(len(y), torch.zeros_like(y))", more="self.kept = {}"),
        "cannot run as this workflow runs it: RuntimeError: .*mine.py, line 13",
    ),
    "norm read": (
        net("y = self.norm(DENSE); return y * self.norm.weight", more=NORM),
        "forward returns other logits with our batch norm.*: it must only call its batch norm layers",
    ),
    "own forward in norm": (
        net("return self.norm(DENSE)", more="self.norm = Norm(5)"),
        r"forward updates norm.running_mean, .* supported in batch norm layers with torch's own forward only",
    ),
    "fails in training mode": (net("return None + x if self.training else DENSE"), "forward in training mode failed"),
    "no parameters": (net("return x.flatten(1)[:, :5]", "None"), "has no parameters to train"),
    "only frozen": (net(PLAIN, more="self.requires_grad_(False)"), "has no parameters to train"),
    "classes": (net(PLAIN, "nn.Linear(198, 7)"), r"returned float32 \(8, 7\), expected float32 logits \(8, 5\)"),
    "tuple": (net("return DENSE, x"), r"returned tuple, expected float32 logits \(8, 5\)"),
    "double logits": (net("return DENSE.double()"), r"returned float64 \(8, 5\), expected float32"),
    "double": (net(PLAIN, more="self.double()"), r"parameter layer.weight is torch.float64, expected torch.float32"),
    "complex": (net(PLAIN, more="self.w = nn.Parameter(torch.ones(3) * 1j)"), "parameter w is torch.complex64, expected"),
    "instance norm": (
        net("return self.layer(self.norm(x).flatten(1))", more="self.norm = nn.InstanceNorm2d(2, track_running_stats=True)"),
        r"updates norm.running_mean, norm.running_var: running statistics.*track_running_stats=False",
    ),
    "counter": (
        net("self.n += len(x); return DENSE", more="self.register_buffer('n', torch.zeros(()))"),
        "forward updates n: ",
    ),
    "spectral": (
        net(PLAIN, "nn.utils.parametrizations.spectral_norm(nn.Linear(198, 5))"),
        "forward updates layer.parametrizations.weight.0._u, .*: running statistics and other state",
    ),
    "norm twice": (
        net("return self.norm(F.relu(self.norm(DENSE)))", more=NORM),
        "norm runs 2 times .* in eval mode, expected once",
    ),
    "norm in training only": (net("return self.norm(DENSE) if self.training else DENSE", more=NORM), "layer norm runs 0 times"),
    "norm unused": (net(PLAIN, more=NORM), r"norm runs 0 times .*, none for what is unused \(an auxiliary head\)"),
    "control flow": (
        net("y = DENSE; return y if y.sum() > 0 else -y"),
        rf"{MANY} \(torch.func.vmap\): RuntimeError: vmap: .*control flow.*mine.py, line 13",
    ),
    "item": (net("return DENSE * x.mean().item()"), r"cannot run .*vmap.*\.item\(\)"),
    "captured": (net("y = torch.zeros(len(x), 5); y += DENSE; return y"), rf"{MANY} .*: RuntimeError: .*mine.py, line 13"),
    "random": (net("return self.layer(F.dropout(x.flatten(1), 0.5))"), f"{MANY} .*random"),
    "recurrent": (net("return self.layer(x.flatten(2))[0][:, -1]", "nn.GRU(99, 5, batch_first=True)"), f"{MANY} .*gru"),
    "hidden weights": (net("return F.linear(x.flatten(1), self.kept[0])", more="self.kept = [self.layer.weight]"), NOT_ALONE),
    "hidden once": (
        net("return F.linear(x.flatten(1), self.kept)", more="self.kept = 2 * self.layer.weight"),
        "cannot run|failed",
    ),
    "script": (net(PLAIN, "torch.jit.script(nn.Linear(198, 5))"), f"the gradient of layer.weight {NOT_ALONE} .*TorchScript"),
    "script function": (net("return product(x.flatten(1), self.layer.weight)"), f"the gradient of layer.weight {NOT_ALONE}"),
    "view in place": (
        net("y = self.conv(x); y.view(len(y), -1).mul_(2); return self.layer(y.flatten(1))", more=CONV_IN),
        f"the gradient of .* {NOT_ALONE} .*a view changed in place",
    ),
    "checkpoint": (
        net("return torch.utils.checkpoint.checkpoint(self.layer, x.flatten(1))", more="import torch.utils.checkpoint"),
        "forward or backward failed: RuntimeError",
    ),
    "nothing trained": (net("return DENSE.detach()"), "forward or backward failed: RuntimeError: .*grad"),
}
START = """
import random
class Norm(nn.BatchNorm1d):
    def forward(self, x):
        return super().forward(x).relu()
@torch.jit.script
def product(x: torch.Tensor, weight: torch.Tensor):
    return torch.relu(x) @ weight.t()
"""


def tried(spec: ModuleNetwork, image_shape: tuple[int, int, int] = IMAGE_SHAPE, classes: int = CLASSES) -> FlatNetwork:
    """The network, after its trial."""
    [network] = initialisations(spec, image_shape, classes, 0, 1)
    try_out(spec, network, trial_images(image_shape), classes)
    return network


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_run_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    body, message = REFUSED[case]
    spec = write(tmp_path, body, START if re.search(r"product\(|Norm\(|random\.", body) else "")
    if "norm " in case:
        spec = ModuleNetwork(module=spec.module, batch_norm=True)
    with pytest.raises(InputError, match=message) as caught:
        tried(spec)
    assert str(caught.value).startswith(f"network module {spec.module}: ")
    assert "\n" not in str(caught.value)


def train_once(spec: ModuleNetwork, image_shape: tuple[int, int, int], classes: int, precision: str = "float32") -> None:
    """Warm-up, an update with shared images, one with own images, a surface under every protocol: all on channels last."""
    rng, cpu = np.random.default_rng(0), torch.device("cpu")
    channels, *size = image_shape
    images, labels = rng.integers(0, 256, (24, *size, channels), dtype=np.uint8), rng.integers(0, classes, 24)
    recipe = Recipe(**{**RECIPE, "updates": 1, "origin_updates": 1, "origin_images": 4, "images": 3, "white_pixels": 2})
    origin = warm_origin(spec, recipe, images, labels, classes, 0, cpu)
    for shared in (True, False):
        one = recipe.model_copy(update={"shared_images": shared, "precision": precision})
        training = Training("run", one, origin, TrainingImages.of(images, labels, CLASSES, recipe, cpu), MASK, 0)
        run_training(training)
        assert not torch.equal(training.plane.origin, origin.origin)
    inputs, answers = origin.scaling.inputs(images[:5]), torch.from_numpy(labels[:5])
    for protocol in ("batch", "recalibrated", "identity") if spec.batch_norm else ("none",):
        losses, _ = evaluate_points(origin.network, training.plane, COORDINATES[:2], inputs, answers, protocol, inputs)
        assert np.isfinite(losses).all()


FAMILIES = {
    "resnet20": ("ResNet", {"widths": [2, 4, 8], "blocks": 3}),
    "resnet18": ("ResNet", {"widths": [2, 4, 8, 16], "blocks": 2, "large_stem": True}),
    "vgg11_bn": ("VGG11", {"width": 2}),
    "vit": ("ViT", {}),
    "own vit": ("OwnViT", {}),
    "mobilenet": ("MobileNet", {}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_well_known_networks_train(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSPATTERNS_KERNELS", "off")  # compiling a kernel for each of their layers would take minutes
    name, arguments = FAMILIES[family]
    spec = ModuleNetwork(module=f"{FILE.parent}/families.py:{name}", arguments=arguments, batch_norm="vit" not in family)
    train_once(spec, (3, 32, 32), 10)


@pytest.mark.parametrize("kernels", ["on", "off"])
@pytest.mark.parametrize("channels", [1, 2])
def test_view_and_group_norm_work_in_training(channels: int, kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSPATTERNS_KERNELS", kernels)
    train_once(user("Views", True, channels=channels, pixels=9 * 11, classes=CLASSES), (channels, 9, 11), CLASSES)


CONV = "nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU(inplace=True))"
HEAD, HEADED = "self.head = nn.Linear(198, 5)", "self.head(self.layer(x).flatten(1))"
WORKS = {
    "old weight norm": net(PLAIN, "nn.utils.weight_norm(nn.Linear(198, 5))"),
    "orthogonal": net(PLAIN, "nn.utils.parametrizations.orthogonal(nn.Linear(198, 5))"),
    "kept activation": net("self.seen = self.layer(x); return self.head(self.seen.view(len(x), -1))", CONV, HEAD),
    "float64 inside": net("return F.linear(x.flatten(1).double(), self.layer.weight.double()).float()"),
    "frozen by no_grad": net("with torch.no_grad(): x = self.layer(x)\n    return self.head(x.flatten(1))", CONV, HEAD),
    "one output in eval mode": net("return (DENSE, x) if self.training else DENSE"),
    "buffer of weights": net("return DENSE + self.twice.sum()", more="self.register_buffer('twice', 2 * self.layer.weight)"),
    "hooks": net(PLAIN, more="self.layer.register_forward_hook(lambda module, given, output: 2 * output)"),
    "channels last": net(f"return {HEADED}", CONV, HEAD + "; self.to(memory_format=torch.channels_last)"),
    "complex inside": net("return self.layer(torch.fft.fft2(x).abs().flatten(1))"),
    "empty parameter": net(PLAIN, more="self.none = nn.Parameter(torch.zeros(0))"),
    "train without return": net(PLAIN) + "\ndef train(self, mode=True):\n    super().train(mode)\n",
    "no batch": net("return DENSE.squeeze()"),
}


KEEPS = "y = x.flatten(1); time.sleep(0.01); return self.layer(self.kept{})"


@pytest.mark.parametrize(
    "body",
    [
        net(KEEPS.format("['x']").replace("time", "self.kept['x'] = y; time"), more="self.kept = {}"),
        net(KEEPS.format(".pop()").replace("time", "self.kept.append(y); time"), more="self.kept = []"),
        net(
            KEEPS.format("['x']").replace("y =", "self.first(x); y ="),
            more="self.kept, self.first = {}, nn.Flatten()\n"
            "    self.first.register_forward_hook(lambda module, given, output: self.kept.update(x=output))",
        ),
    ],
)
def test_what_forward_keeps_is_not_that_of_another_thread(body: str, tmp_path: Path) -> None:
    spec = write(tmp_path, body, "import time")
    network = random_network(spec)
    plane, signs = random_plane(network, spec), torch.ones(4)
    images, labels = random_batch(4 * IMAGES_PER_THREAD)
    batches = images.view(4, -1, *IMAGE_SHAPE), labels.view(4, -1)
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(plane_gradient(network, plane, COORDINATES, *batches, TwoColours(signs, signs, torch.inf), 1))
    torch.testing.assert_close(found[0].vectors, found[1].vectors)


def test_layers_that_know_no_bfloat16_train_in_it(tmp_path: Path) -> None:
    layers = "nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 1, groups=2), nn.PReLU(2), nn.ConvTranspose2d(2, 2, 1)"
    spec = write(tmp_path, net("return self.head(self.layer(x).view(len(x), -1))", f"nn.Sequential({layers})", HEAD))
    train_once(spec, IMAGE_SHAPE, CLASSES, "bfloat16")


def test_attention_with_a_learned_key_trains_in_bfloat16(tmp_path: Path) -> None:
    """It joins its keys, which are bfloat16, to a parameter."""
    layer = "nn.MultiheadAttention(22, 2, bias=False, add_bias_kv=True, batch_first=True)"
    body = "x = x.transpose(1, 2).flatten(2); return self.head(self.layer(x, x, x, need_weights=False)[0].flatten(1))"
    train_once(write(tmp_path, net(body, layer, HEAD)), IMAGE_SHAPE, CLASSES, "bfloat16")


@pytest.mark.parametrize("change", [lambda x, y: x.index_add_(0, torch.tensor([0]), y), lambda x, y: x.__ior__(y)])
def test_what_cannot_be_changed_in_place_is_no_changed_copy(change: Callable) -> None:
    x, y = torch.zeros(1, dtype=torch.bfloat16), torch.ones(1)
    with OneModel(), pytest.raises(RuntimeError):
        change(x, y)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("case", WORKS)
def test_unusual_networks_train(case: str, tmp_path: Path) -> None:
    train_once(write(tmp_path, WORKS[case]), IMAGE_SHAPE, CLASSES)


def test_a_user_s_constructor_may_import_torchvision(tmp_path: Path) -> None:
    """Also where it needs help (`torchvision_compat`): the weights are the same at the first import and later."""
    spec = write(tmp_path, net(PLAIN, more="from torchvision import ops"))
    program = f"""
import torch
from losspatterns.networks.user_module import build_module
from losspatterns.networks.settings import ModuleNetwork
for _ in range(2):
    torch.manual_seed(0)
    print(build_module(ModuleNetwork(module={spec.module!r}), {IMAGE_SHAPE}, {CLASSES}).layer.weight.sum().item())
"""
    first, second = run_program(program).split()
    assert first == second


@pytest.mark.parametrize(
    ("start", "name", "message"),
    [
        (
            "import nothing_of_this_name",
            "Net",
            r"cannot be loaded: ModuleNotFoundError: .*nothing_of_this_name.*\(mine.py, line 4\)",
        ),
        ("x = (", "Net", "cannot be loaded: SyntaxError"),
        ("", "Nett", "has no class Nett"),
        ("", "F", "F is not a subclass of torch.nn.Module"),
        ("Dictionary = dict", "Dictionary", "Dictionary is not a subclass of torch.nn.Module"),
    ],
)
def test_what_is_no_module_is_refused_in_one_line(start: str, name: str, message: str, tmp_path: Path) -> None:
    spec = write(tmp_path, net(PLAIN), start)
    with pytest.raises(InputError, match=message) as caught:
        build_module(ModuleNetwork(module=f"{spec.file}:{name}"), IMAGE_SHAPE, CLASSES)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_wrong_arguments_are_refused(tmp_path: Path) -> None:
    spec = ModuleNetwork(module=f"{tmp_path}/none.py:Net")
    for attempt in (lambda: build_module(spec, IMAGE_SHAPE, CLASSES), lambda: source_checksum(spec)):
        with pytest.raises(InputError, match=r"none\.py:Net: no such file: .*none\.py"):
            attempt()
    with pytest.raises(
        InputError, match=r"networks\.py:Tied: cannot be made with arguments {'width': 3}: TypeError: .*'width'"
    ):
        build_module(user("Tied", width=3), IMAGE_SHAPE, CLASSES)


@pytest.mark.parametrize(("name", "found"), [("MLP", r"batch norm layers \(1\)"), ("Tied", "no batch norm layers")])
def test_the_entry_must_say_whether_there_is_batch_norm(name: str, found: str) -> None:
    said = not NETWORKS[name].batch_norm
    with pytest.raises(InputError, match=f"has {found}, but its entry says batch_norm: {str(said).lower()}"):
        build_module(user(name, said, **PIXELS), IMAGE_SHAPE, CLASSES)


def test_paths_are_of_the_working_directory_or_the_home(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path, net(PLAIN))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("mine.py", "~/mine.py"):
        assert build_module(ModuleNetwork(module=f"{path}:Net"), IMAGE_SHAPE, CLASSES).layer.out_features == CLASSES


TOY = {"pixels": 64, "classes": 4}


def test_a_user_s_network_trains() -> None:
    result = run(updates=200, network=user("MLP", True, **TOY, width=16))
    assert np.mean(column(result, "accuracy_gap")[-30:]) > 0.3


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = (run(network=user("Frozen", **TOY)) for _ in range(2))
    for name, tensor in first.plane.tensors().items():
        assert torch.equal(tensor, second.plane.tensors()[name]), name


def test_a_network_that_always_starts_from_the_same_weights_is_refused(tmp_path: Path) -> None:
    spec = write(tmp_path, net(PLAIN, "nn.Linear(64, 4)", more="[nn.init.constant_(p, 0.1) for p in self.parameters()]"))
    with pytest.raises(InputError, match="network: starts from the same weights every time"):
        run(network=spec)


def test_weights_from_other_random_numbers_than_torch_s_are_refused(tmp_path: Path) -> None:
    start = "import numpy as np"
    more = "self.layer.weight = nn.Parameter(torch.from_numpy(np.random.randn(4, 64)).float())"
    spec = write(tmp_path, net(PLAIN, "nn.Linear(64, 4)", more), start)
    with pytest.raises(InputError, match="network: starts from other weights with the same seed"):
        run(network=spec)


def test_forward_meets_images_as_the_recipe_scales_them(tmp_path: Path) -> None:
    body = "return self.head(self.layer((x * 9).long()).flatten(1))"
    spec = write(tmp_path, net(body, "nn.Embedding(10, 1)", HEAD))
    tried(spec)
    with pytest.raises(InputError, match=r"forward of images \(8, 2, 9, 11\) failed: IndexError: .*\(mine.py, line 13\)"):
        train_once(spec, IMAGE_SHAPE, CLASSES)


def saved(folder: Path, spec: ModuleNetwork) -> tuple[Path, FlatNetwork, torch.Tensor]:
    """A plane's file, the network that it was trained with, and its weights at the centre."""
    network = random_network(spec, seed=3)
    plane = random_plane(network, spec)
    made_by = {
        "network": {
            "name": "mine",
            "kind": "module",
            "module": spec.module,
            "arguments": spec.arguments,
            "checksum": source_checksum(spec),
        },
        "seed": 3,
        "image_shape": list(IMAGE_SHAPE),
        "classes": CLASSES,
        "mask_shape": [5, 4],
    }
    path = folder / "plane.safetensors"
    save_trained(
        path,
        plane,
        InputScaling.of(torch.zeros(1, 2, 3, 3, dtype=torch.uint8), False, torch.device("cpu")),
        dict(network.module.named_buffers()),
        made_by,
        {10: torch.cat([tensor.flatten() + 1 for tensor in plane.tensors().values()])},
    )
    return path, network, plane.origin


def test_a_plane_s_file_brings_the_network_back_with_its_constants(tmp_path: Path) -> None:
    path, network, origin = saved(tmp_path, NETWORKS["Frozen"])
    images, _ = random_batch(4)
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    trained = load_trained(path)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.testing.assert_close(trained.network(origin, images), network(origin, images), rtol=0, atol=0)
    assert list(trained.snapshots) == [10] and trained.snapshots[10].shape == (5, 4)
    for name, tensor in trained.plane.tensors().items():
        assert torch.equal(trained.snapshots[10].tensors()[name], tensor + 1), name


def test_a_plane_s_file_refuses_another_version_of_the_network(tmp_path: Path) -> None:
    spec = write(tmp_path, net(PLAIN), "from beside import width")
    (tmp_path / "beside.py").write_text("width = 5\n")
    path, *_ = saved(tmp_path, spec)
    load_trained(path)
    for file in ("beside.py", "mine.py"):
        text = (tmp_path / file).read_text()
        (tmp_path / file).write_text(text + "\n# edited\n")
        with pytest.raises(InputError, match=r"plane\.safetensors: .*mine\.py is not what it was trained with"):
            load_trained(path)
        (tmp_path / file).write_text(text)
    load_trained(path)
    (tmp_path / "mine.py").unlink()
    with pytest.raises(InputError, match=r"mine\.py:Net: no such file"):
        load_trained(path)


WHOLE_JOB = """
import importlib, os, torch
torch.set_float32_matmul_precision("medium")
class Net(torch.nn.Module):
    def __init__(self, name=None, **others):
        super().__init__()
        torch.set_grad_enabled(False)
        torch.set_num_threads(torch.get_num_threads() + 1)
        os.chdir("/")
        self.layer = torch.nn.Linear(198, 5)
        self.helper = name and importlib.import_module(name)
    def forward(self, x):
        return self.layer(x.flatten(1))
"""


def test_what_a_module_changes_for_the_whole_job_is_put_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(WHOLE_JOB)
    before = torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.is_grad_enabled(), Path.cwd()
    build_module(ModuleNetwork(module=f"{tmp_path}/mine.py:Net"), IMAGE_SHAPE, CLASSES)
    assert before == (torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.is_grad_enabled(), Path.cwd())
    told = capsys.readouterr().err
    for name in ("torch.set_float32_matmul_precision", "torch.set_grad_enabled", "torch.set_num_threads", "os.chdir"):
        assert f"{name} acts on the whole job, so it was put back\n" in told


def test_a_module_imported_by_a_name_is_watched_or_refused(tmp_path: Path) -> None:
    (tmp_path / "helper_by_name.py").write_text("")
    file = tmp_path / "mine.py"
    file.write_text(WHOLE_JOB)
    entry = ModuleNetwork(module=f"{file}:Net", arguments={"name": "helper_by_name"})
    with pytest.raises(InputError, match=r"imports helper_by_name\.py by a name that no import statement has.*; import it by"):
        build_module(entry, IMAGE_SHAPE, CLASSES)
    named = tmp_path / "named.py"
    named.write_text(WHOLE_JOB.replace("import_module(name)", "import_module('helper_by_name')"))
    entry = ModuleNetwork(module=f"{named}:Net", arguments={"name": "helper_by_name"})
    build_module(entry, IMAGE_SHAPE, CLASSES)
    before = source_checksum(entry)
    (tmp_path / "helper_by_name.py").write_text("x = 1")
    assert source_checksum(entry) != before
