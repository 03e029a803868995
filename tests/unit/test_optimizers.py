"""The optimizers: the same steps as the reference implementations, and the same bits after a stop."""

import pytest
import torch
from losspatterns.method import optimizers
from losspatterns.method.optimizers import Adam, Soap
from losspatterns.records.state import flatten, unflatten

FACTORS = (1.0, 3.0, 2.0)  # of origin, right and up
STEP_FACTOR = 0.5
# Equal shapes, sides above the limit, and vectors. A matrix whose longer side has a basis starts with a covariance of a rank
# too low, whose eigenvectors are anyone's choice: here the limit leaves the longer sides out.
SHAPES = [torch.Size(shape) for shape in [(6, 6), (6,), (4, 3, 2, 2), (12, 4), (6, 6), (9, 10), (5,)]]
LIMIT = 8
SIZE = sum(shape.numel() for shape in SHAPES)


def parameters_and_factors() -> tuple[torch.Tensor, torch.Tensor]:
    """(3 n + 1,) each."""
    factors = torch.tensor(FACTORS).repeat_interleave(SIZE)
    return torch.randn(3 * SIZE + 1, generator=torch.Generator().manual_seed(0)), torch.cat(
        [factors, torch.tensor([STEP_FACTOR])]
    )


def gradients(count: int) -> list[torch.Tensor]:
    """Random ones of various sizes."""
    generator = torch.Generator().manual_seed(1)
    sizes = 1 + torch.arange(3 * SIZE + 1) % 7
    return [sizes * torch.randn(3 * SIZE + 1, generator=generator) for _ in range(count)]


def as_groups(flat: torch.Tensor, gradient: torch.Tensor, rate: float) -> list[dict]:
    """The layers of the three vectors, and the step, as an ordinary optimizer's groups: views of both tensors."""
    sizes, groups = [shape.numel() for shape in SHAPES], []
    for k, factor in enumerate(FACTORS):
        part = slice(k * SIZE, (k + 1) * SIZE)
        layers = []
        for values, slopes, shape in zip(flat[part].split(sizes), gradient[part].split(sizes), SHAPES, strict=True):
            matrix = (shape[0], -1) if len(shape) > 1 else shape
            layers.append(values.view(matrix).requires_grad_())
            layers[-1].grad = slopes.view(matrix)
        groups.append({"params": layers, "lr": rate * factor})
    step = flat[-1:].requires_grad_()
    step.grad = gradient[-1:]
    return [*groups, {"params": [step], "lr": rate * STEP_FACTOR}]


def reference(name: str, groups: list[dict]) -> torch.optim.Optimizer:
    """The same optimizer by another author."""
    if name == "adam":
        return torch.optim.Adam(groups)
    library = pytest.importorskip("pytorch_optimizer")
    more = {"max_precondition_dim": LIMIT, "precondition_frequency": 10, "weight_decay": 0.0}
    return library.SOAP(groups, betas=(0.9, 0.95), **more)


@pytest.mark.parametrize("name", ["adam", "soap"])
def test_every_step_is_that_of_the_reference(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "LARGEST_SIDE", LIMIT)
    parameters, factors = (tensor.double() for tensor in parameters_and_factors())
    ours, theirs, current = parameters.clone(), parameters.clone(), torch.zeros_like(parameters)
    optimizer = optimizers.OPTIMIZERS[name](ours, factors, SHAPES)
    other = reference(name, as_groups(theirs, current, 0.01))
    for gradient in gradients(45):
        current.copy_(gradient)
        optimizer.step(gradient.double(), 0.01)
        other.step()
        torch.testing.assert_close(ours, theirs.detach())
    assert (ours - parameters).abs().mean() > 0.05


@pytest.mark.parametrize("steps", [0, 1, 13])
@pytest.mark.parametrize("kind", [Adam, Soap])
def test_a_saved_state_goes_on_to_the_same_bits(kind: type, steps: int) -> None:
    parameters, factors = parameters_and_factors()
    optimizer = kind(parameters, factors, SHAPES)
    given = gradients(30)
    for gradient in given[:steps]:
        optimizer.step(gradient, 0.01)
    tensors: dict[str, torch.Tensor] = {}
    state = unflatten(flatten(optimizer.state_dict(), tensors), tensors)
    copy = parameters.clone()
    resumed = kind(copy, factors, SHAPES)
    resumed.load_state_dict(state)
    for gradient in given[steps:]:
        optimizer.step(gradient, 0.01)
        resumed.step(gradient, 0.01)
    assert torch.equal(parameters, copy)
