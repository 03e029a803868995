"""A plane in weight space: one vector for every pixel of a picture.

Pixel (i, j) is the weight vector  origin + step * ((i - i0) * up + (j - j0) * right)  with (i0, j0) the picture's centre.
`right` is kept as right_parameter - origin; `up` is up_parameter made orthogonal to it and given its length (Gram-Schmidt in
float64: float32 projections of vectors of 10^5 and more entries are visibly not orthogonal).

A picture may have any number d of axes. Then there are d directions, the first for the last axis. Each further one is made
orthogonal to all before it, in the same way. What is said here of a plane holds for every d.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

Basis = tuple[Tensor, ...]


def axis_names(count: int) -> tuple[str, ...]:
    """What the axes of a picture are called."""
    return ("row", "column") if count == 2 else tuple(f"axis_{k}" for k in range(1, count + 1))


def direction_names(count: int) -> tuple[str, ...]:
    """What the directions of a plane are called, in the order of `basis`: direction_k belongs to axis_k."""
    return ("right", "up") if count == 2 else tuple(f"direction_{k}" for k in range(count, 0, -1))


def vector_names(count: int) -> tuple[str, ...]:
    """What the vectors of a plane with so many directions are called."""
    return "origin", *(f"{name}_parameter" for name in direction_names(count))


@dataclass
class Plane:
    """Parameters of a plane: `vectors`, each (n,), the origin, right_parameter and up_parameter, and `step` (), float32;
    `shape` (H, W) of the picture."""

    vectors: tuple[Tensor, ...]
    step: Tensor
    shape: tuple[int, ...]

    @classmethod
    def of(cls, parameters: Tensor, shape: tuple[int, ...]) -> "Plane":
        """The plane of all its parameters as one vector (3 n + 1,), in the order of `tensors`; views of it."""
        return cls(parameters[:-1].view(len(shape) + 1, -1).unbind(), parameters[-1], shape)

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> "Plane":
        """The same plane of changed tensors: moved, copied, in another type."""
        return Plane(tuple(map(change, self.vectors)), change(self.step), self.shape)

    @property
    def origin(self) -> Tensor:
        """The weights (n,) at the picture's centre."""
        return self.vectors[0]

    def tensors(self) -> dict[str, Tensor]:
        """The parameters by name, the step last."""
        return dict(zip(vector_names(len(self.shape)), self.vectors, strict=True)) | {"step": self.step}

    def basis(self) -> Basis:
        """(right, up), each (n,): orthogonal and of equal length. Differentiable in the parameters."""
        origin, first, *others = self.vectors
        found = [first - origin]
        for direction in others:
            for before in found:
                direction = _MadeOrthogonal.apply(before, direction)
            found.append(direction)
        return tuple(found)

    def offsets(self, coordinates: Tensor) -> Tensor:
        """Pixel coordinates (K, 2), rows then columns, minus the picture's centre, in the type of the weights."""
        axes = coordinates.to(self.origin.dtype).unbind(-1)
        return torch.stack([axis - (side - 1) / 2 for axis, side in zip(axes, self.shape, strict=True)], dim=-1)

    def weights(self, coordinates: Tensor, basis: Basis | None = None) -> Tensor:
        """The weight vectors (K, n) at pixel coordinates (K, 2); fractions and points outside the picture are welcome.

        `basis`: what `basis()` gives, for a caller that asks for many points of one plane in turn.
        """
        axes = (basis or self.basis())[::-1]
        return torch.addmm(self.origin, self.step * self.offsets(coordinates), torch.stack(axes))


class _MadeOrthogonal(Function):
    """(right, up), each (n,) -> up made orthogonal to right and given its length.

    scale * (up - share * right)  with share = (up, right) / (right, right) and scale = |right| / |up - share * right|. Autograd
    would go over the vectors in float64 some thirty times for what are two sums of three vectors.
    """

    @staticmethod
    def forward(ctx: Any, right: Tensor, up: Tensor) -> Tensor:
        wide, rest = right.double(), up.double()
        length = wide @ wide
        share = (rest @ wide) / length
        rest = rest - share * wide
        left = rest @ rest
        scale = torch.sqrt(length / left)
        ctx.save_for_backward(right, up, length, share, left, scale)
        return rest.mul_(scale).to(right.dtype)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
        right, up, length, share, left, scale = ctx.saved_tensors
        wide = slope.double()
        along_right, along_up = wide @ right.double(), wide @ up.double()
        to_scale, to_share = along_up - share * along_right, -scale * along_right
        # scale and share depend on the vectors through three products: (right, right), (right, up), (up, up).
        to_length = to_scale * scale / 2 * (1 / length - share**2 / left) - to_share * share / length
        to_product = to_scale * scale * share / left + to_share / length
        to_up_length = -to_scale * scale / (2 * left)
        sums = [[-scale * share, 2 * to_length, to_product], [scale, to_product, 2 * to_up_length]]
        factors = torch.stack([torch.stack(row) for row in sums]).to(slope.dtype)
        to_right, to_up = factors @ torch.stack([slope, right, up])
        return to_right, to_up
