"""The plane: its geometry, and what its points are."""

import numpy as np
import pytest
import torch
from losspatterns.method.plane import Plane, direction_names


@pytest.mark.parametrize("size", [3, 1000, 10**7])
def test_directions_are_orthogonal_and_of_equal_length(size: int) -> None:
    torch.manual_seed(0)
    shared = torch.randn(size)  # the raw directions have a large common part: the hard case for a projection
    origin, right, up = torch.randn(size), shared + 0.1 * torch.randn(size), shared + 0.1 * torch.randn(size)
    plane = Plane((origin, origin + right, up), torch.tensor(0.1), (4, 4))
    r, u = (direction.double() for direction in plane.basis())
    assert abs(float(r @ u / (r.norm() * u.norm()))) < 1e-5
    assert abs(float(u.norm() / r.norm()) - 1) < 1e-5


@pytest.mark.parametrize("axes", [1, 2, 3, 6])
def test_any_number_of_directions_is_orthogonal_and_spans_what_the_parameters_span(axes: int) -> None:
    torch.manual_seed(1)
    vectors = torch.randn(axes + 1, 500).unbind()
    basis = torch.stack(Plane(vectors, torch.tensor(0.1), (2,) * axes).basis()).double()
    parameters = torch.stack([vectors[1] - vectors[0], *vectors[2:]]).double()
    expected, triangle = torch.linalg.qr(parameters.T)  # Gram-Schmidt, up to signs and lengths
    expected = (expected * triangle.diagonal().sign()).T * parameters[0].norm()
    torch.testing.assert_close(basis, expected, rtol=1e-4, atol=1e-4)


def test_with_more_axes_the_last_direction_belongs_to_the_first_axis() -> None:
    plane = Plane(torch.randn(4, 50, dtype=torch.float64).unbind(), torch.tensor(0.2).double(), (2, 3, 4))
    named = dict(zip(direction_names(3), plane.basis(), strict=True))
    assert list(plane.tensors())[1:] == [*(f"{name}_parameter" for name in named), "step"]
    offsets = {"direction_1": 1 - 0.5, "direction_2": 0 - 1, "direction_3": 3 - 1.5}
    moved = sum(offset * named[name] for name, offset in offsets.items())
    [point] = plane.weights(torch.tensor([[1, 0, 3]]))
    torch.testing.assert_close(point, plane.origin + 0.2 * moved)


def test_points_follow_the_formula_row_first() -> None:
    torch.manual_seed(0)
    plane = Plane(torch.randn(3, 50, dtype=torch.float64).unbind(), torch.tensor(0.2).double(), (5, 8))
    right, up = plane.basis()
    points = plane.weights(torch.tensor([[0.0, 0.0], [4.0, 7.0], [2.0, 3.5], [1.25, -3.0]]))
    for point, (i, j) in zip(points, [(0, 0), (4, 7), (2, 3.5), (1.25, -3)], strict=True):
        torch.testing.assert_close(point, plane.origin + plane.step * ((i - 2) * up + (j - 3.5) * right))
    torch.testing.assert_close(points[2], plane.origin)


def test_basis_matches_an_independent_gram_schmidt() -> None:
    torch.manual_seed(3)
    plane = Plane((torch.randn(40), torch.randn(40), torch.randn(40)), torch.tensor(0.1), (3, 3))
    origin, right_parameter, up_parameter = (vector.double().numpy() for vector in plane.vectors)
    r = right_parameter - origin
    q, _ = np.linalg.qr(np.stack([r, up_parameter], axis=1))
    u = q[:, 1] * np.sign(q[:, 1] @ up_parameter) * np.linalg.norm(r)
    np.testing.assert_allclose(plane.basis()[1].numpy(), u, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axes", [1, 2, 4])
def test_the_basis_has_the_gradient_of_its_formula(axes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = [torch.randn(12, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(axes + 1)]

    def basis(*vectors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return Plane(vectors, torch.tensor(0.1), (3,) * axes).basis()

    assert torch.autograd.gradcheck(basis, vectors)
