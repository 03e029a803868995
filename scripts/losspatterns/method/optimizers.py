"""Adam and SOAP on one flat tensor of parameters, in few calls: torch's and others' walk over layers one by one.

`step(gradient, rate)` changes the parameters in place. To add one: a class with the same constructor, `step`, `state_dict` and
`load_state_dict`, an entry in OPTIMIZERS, and its name under `optimizer` in settings.py.
Sources: Kingma & Ba, arXiv 1412.6980 (Adam); Vyas et al., arXiv 2409.11321 (SOAP).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

LARGEST_SIDE = 600  # of a layer's matrix that SOAP preconditions
REFRESH = 10  # SOAP steps between two refreshed bases
EPSILON = 1e-8


class Adam:
    """Adam. `factors`: each parameter's learning rate in units of the step's rate. `shapes` plays no part."""

    betas = (0.9, 0.999)

    def __init__(self, parameters: Tensor, factors: Tensor, shapes: Sequence[torch.Size] = ()) -> None:
        self.parameters, self.factors = parameters, factors
        self.steps = 0
        self.mean, self.square = torch.zeros_like(factors), torch.zeros_like(factors)

    def step(self, gradient: Tensor, rate: float) -> None:
        """One step against `gradient`, of the parameters' shape."""
        self.steps += 1
        first, second = self.betas
        self.mean.lerp_(gradient, 1 - first)
        self.square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        scale = self.square.sqrt().div_(math.sqrt(1 - second**self.steps)).add_(EPSILON)
        direction = torch.div(self.mean, scale, out=scale)
        self.parameters.addcmul_(direction, self.factors, value=-rate / (1 - first**self.steps))

    def state_dict(self) -> dict[str, Any]:
        """What a later run goes on from."""
        return {"steps": self.steps, "mean": self.mean, "square": self.square}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.steps = state["steps"]
        self.mean.copy_(state["mean"])
        self.square.copy_(state["square"])


class Soap(Adam):
    """SOAP: Adam in the eigenbases of the covariance of each layer's gradient, from both sides; a layer is the matrix (O, I).

    `parameters` (V n + 1,): the V vectors of a plane, then its step; `shapes`: those of the network's n weights in turn. A
    layer's matrices in all vectors are one batch, together with layers of equal shape. A side above LARGEST_SIDE has no
    basis. All else (biases, the step) is one flat Adam. The first step only sets up the bases.
    """

    betas = (0.9, 0.95)

    def __init__(self, parameters: Tensor, factors: Tensor, shapes: Sequence[torch.Size]) -> None:
        starts: dict[tuple[int, int], list[int]] = {}
        vectors = (len(parameters) - 1) // sum(shape.numel() for shape in shapes)
        flat = torch.ones(len(parameters), dtype=torch.bool)
        start = 0
        for shape in shapes:
            size = shape.numel()
            if len(shape) > 1 and min(matrix := (shape[0], size // shape[0])) <= LARGEST_SIDE:
                starts.setdefault(matrix, []).append(start)
                flat[:-1].view(vectors, -1)[:, start : start + size] = False
            start += size
        self.layers = [_Layers(matrix, places, vectors, parameters, factors) for matrix, places in starts.items()]
        self.flat = flat.nonzero().flatten().to(parameters.device)
        super().__init__(parameters, factors[self.flat])

    def step(self, gradient: Tensor, rate: float) -> None:
        """One step against `gradient` (3 n + 1,). torch.linalg.LinAlgError, sooner or later, for one that is not finite."""
        first, second = self.betas
        if self.steps == 0:
            for layers in self.layers:
                layers.begin(gradient, second)
        else:
            length = rate * math.sqrt(1 - second**self.steps) / (1 - first**self.steps)
            slope = gradient[self.flat]
            self.mean.lerp_(slope, 1 - first)
            self.square.mul_(second).addcmul_(slope, slope, value=1 - second)
            move = (self.mean / self.square.sqrt().add_(EPSILON)).mul_(self.factors)
            self.parameters.index_add_(0, self.flat, move, alpha=-length)
            for layers in self.layers:
                layers.step(gradient, length, self.betas, refresh=self.steps % REFRESH == 0)
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "layers": [layers.state for layers in self.layers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        for layers, saved in zip(self.layers, state["layers"], strict=True):
            layers.state = {name: tensor.to(self.mean.device) for name, tensor in saved.items()}


class _Layers:
    """L layers of the shape (O, I), in all V vectors of a plane: a batch of V L matrices.

    `state` holds, each with the batch first: the gradient's `mean` and `square` in the bases, (O, I); and for each side, 1
    (outputs) and 2 (inputs), that has a basis: `gram{side}`, the gradient's averaged covariance, and `basis{side}`.
    """

    def __init__(self, matrix: tuple[int, int], starts: list[int], vectors: int, parameters: Tensor, factors: Tensor) -> None:
        self.matrix, self.starts, self.vectors = matrix, starts, vectors
        self.sides = [side for side in (1, 2) if matrix[side - 1] <= LARGEST_SIDE]
        self.parts = self._views(parameters)
        self.factors = torch.cat([part[:, :1, :1] for part in self._views(factors)])
        self.state: dict[str, Tensor] = {}

    def _views(self, flat: Tensor) -> list[Tensor]:
        """Of (V n + 1,): each layer's matrices (V, O, I)."""
        vectors, size = flat[:-1].view(self.vectors, -1), self.matrix[0] * self.matrix[1]
        return [vectors[:, start : start + size].unflatten(1, self.matrix) for start in self.starts]

    def _matrices(self, flat: Tensor) -> Tensor:
        views = self._views(flat)
        return views[0] if len(views) == 1 else torch.cat(views)

    def begin(self, gradient: Tensor, decay: float) -> None:
        """The first step: covariances and their eigenvectors, largest first."""
        slope, state = self._matrices(gradient), self.state
        state["mean"], state["square"] = torch.zeros_like(slope), torch.zeros_like(slope)
        for side in self.sides:
            state[f"gram{side}"] = torch.bmm(*_factors(slope, side)).mul_(1 - decay)
            tiny = 1e-30 * torch.eye(self.matrix[side - 1], dtype=slope.dtype, device=slope.device)
            state[f"basis{side}"] = torch.linalg.eigh(state[f"gram{side}"] + tiny).eigenvectors.flip(-1)

    def step(self, gradient: Tensor, length: float, betas: tuple[float, float], refresh: bool) -> None:
        """Move the layers by `length` times their factors; then follow the covariances, and the bases if asked to `refresh`."""
        slope, state, (first, second) = self._matrices(gradient), self.state, betas
        turned = self._turn(slope)
        mean = state["mean"].lerp_(turned, 1 - first)
        square = state["square"].mul_(second).addcmul_(turned, turned, value=1 - second)
        move = self._turn(mean / square.sqrt().add_(EPSILON), back=True).mul_(self.factors)
        for part, matrices in zip(self.parts, move.split(self.vectors), strict=True):
            part.sub_(matrices, alpha=length)
        for side in self.sides:
            state[f"gram{side}"].baddbmm_(*_factors(slope, side), beta=second, alpha=1 - second)
        if refresh:
            self._refresh()

    def _turn(self, matrices: Tensor, back: bool = False) -> Tensor:
        """Into the bases, or back out of them."""
        if 1 in self.sides:
            left = self.state["basis1"]
            matrices = torch.bmm(left if back else left.mT, matrices)
        if 2 in self.sides:
            right = self.state["basis2"]
            matrices = torch.bmm(matrices, right.mT if back else right)
        return matrices

    def _refresh(self) -> None:
        """One round of power iteration on each basis, columns sorted by what they stand for; `mean` and `square` go along."""
        state, mean = self.state, self._turn(self.state["mean"], back=True)
        for side in self.sides:
            basis = state[f"basis{side}"]
            product = torch.bmm(state[f"gram{side}"], basis)
            order = (basis * product).sum(1).argsort(descending=True)
            state["square"] = state["square"].take_along_dim(order.unsqueeze(3 - side), side)
            state[f"basis{side}"] = torch.linalg.qr(product.take_along_dim(order[:, None], 2)).Q
        state["mean"] = self._turn(mean)


def _factors(slope: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Whose product is the covariance of the side."""
    return (slope, slope.mT) if side == 1 else (slope.mT, slope)


OPTIMIZERS = {"adam": Adam, "soap": Soap}
