"""A plane in weight space: one vector for every pixel of a picture.

Pixel (i, j) is the weight vector  origin + step * ((i - i0) * up + (j - j0) * right)  with (i0, j0) the picture's centre.
`right` is kept as right_parameter - origin; `up` is up_parameter made orthogonal to it and given its length (Gram-Schmidt in
float64: float32 projections of vectors of 10^5 and more entries are visibly not orthogonal).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Plane:
    """Parameters of a plane: `origin`, `right_parameter`, `up_parameter` (n,) and `step` (), float32; `shape` (H, W)."""

    origin: Tensor
    right_parameter: Tensor
    up_parameter: Tensor
    step: Tensor
    shape: tuple[int, int]

    def tensors(self) -> dict[str, Tensor]:
        """The four parameters by name."""
        return {name: getattr(self, name) for name in ("origin", "right_parameter", "up_parameter", "step")}

    def basis(self) -> tuple[Tensor, Tensor]:
        """(right, up), each (n,): orthogonal and of equal length. Differentiable in the parameters."""
        right = self.right_parameter - self.origin
        wide, up = right.double(), self.up_parameter.double()
        up = up - wide * ((up @ wide) / (wide @ wide))
        up = up * (wide.norm() / up.norm())
        return right, up.to(right.dtype)

    def offsets(self, coordinates: Tensor) -> Tensor:
        """Pixel coordinates (K, 2), rows then columns, minus the picture's centre, as float32."""
        rows, columns = coordinates.to(torch.float32).unbind(-1)
        return torch.stack([rows - (self.shape[0] - 1) / 2, columns - (self.shape[1] - 1) / 2], dim=-1)

    def weights(self, coordinates: Tensor) -> Tensor:
        """The weight vectors (K, n) at pixel coordinates (K, 2); fractions and points outside the picture are welcome."""
        right, up = self.basis()
        return weights_at(self.origin, right, up, self.step, self.offsets(coordinates))


def weights_at(origin: Tensor, right: Tensor, up: Tensor, step: Tensor, offsets: Tensor) -> Tensor:
    """origin + step * offsets @ (up, right): (K, n) for offsets (K, 2) from the centre, rows (up) first."""
    return torch.addmm(origin, step * offsets, torch.stack([up, right]))
