"""A plane in weight space: one vector for every pixel of a picture.

Pixel (i, j) is the weight vector  origin + step * ((i - i0) * up + (j - j0) * right)  with (i0, j0) the picture's centre.
`right` is kept as right_parameter - origin; `up` is up_parameter made orthogonal to it and given its length (Gram-Schmidt in
float64: float32 projections of vectors of 10^5 and more entries are visibly not orthogonal).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


@dataclass
class Plane:
    """Parameters of a plane: `origin`, `right_parameter`, `up_parameter` (n,) and `step` (), float32; `shape` (H, W)."""

    origin: Tensor
    right_parameter: Tensor
    up_parameter: Tensor
    step: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, parameters: Tensor, shape: tuple[int, int]) -> Plane:
        """The plane of all its parameters as one vector (3 n + 1,), in the order of `tensors`; views of it."""
        return cls(*parameters[:-1].view(3, -1), parameters[-1], shape)

    def tensors(self) -> dict[str, Tensor]:
        """The four parameters by name."""
        return {name: getattr(self, name) for name in ("origin", "right_parameter", "up_parameter", "step")}

    def basis(self) -> tuple[Tensor, Tensor]:
        """(right, up), each (n,): orthogonal and of equal length. Differentiable in the parameters."""
        right = self.right_parameter - self.origin
        return right, _MadeOrthogonal.apply(right, self.up_parameter)

    def offsets(self, coordinates: Tensor) -> Tensor:
        """Pixel coordinates (K, 2), rows then columns, minus the picture's centre, in the type of the weights."""
        rows, columns = coordinates.to(self.origin.dtype).unbind(-1)
        return torch.stack([rows - (self.shape[0] - 1) / 2, columns - (self.shape[1] - 1) / 2], dim=-1)

    def weights(self, coordinates: Tensor, basis: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """The weight vectors (K, n) at pixel coordinates (K, 2); fractions and points outside the picture are welcome.

        `basis`: what `basis()` gives, for a caller that asks for many points of one plane in turn.
        """
        right, up = basis or self.basis()
        return torch.addmm(self.origin, self.step * self.offsets(coordinates), torch.stack([up, right]))


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
