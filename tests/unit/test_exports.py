"""Surfaces for other tools: VTK's own reader and pandas read every number of the surface file back."""

import sys
from itertools import product
from pathlib import Path

import export_surface
import numpy as np
import pandas as pd
import pytest
from losspatterns.errors import InputError
from losspatterns.records.artifacts import load_labelled, read_record, save_labelled
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkIOXML import vtkXMLStructuredGridReader

AXES = ("stage", "split", "protocol", "row", "column")
LABELS = (["untrained", "update 10", "trained"], ["train", "test"], ["batch", "none"], np.arange(-2, 9) / 2, np.arange(-1, 3.0))


@pytest.fixture
def surface(tmp_path: Path) -> Path:
    """Surfaces of a picture that is not square, with losses of all sizes."""
    shape = tuple(map(len, LABELS))
    loss, accuracy = np.exp(np.random.default_rng(0).normal(0, 20, (2, *shape)))
    loss[0, 0, 0, 0] = np.inf, np.nan, 5e-324, 1 / 3
    axes = {axis: ((axis,), labels) for axis, labels in zip(AXES, LABELS, strict=True)}
    save_labelled(tmp_path / "a.nc", {**axes, "loss": (AXES, loss), "accuracy": (AXES, accuracy)}, {"seed": 7})
    return tmp_path / "a.nc"


def export(monkeypatch: pytest.MonkeyPatch, surface: Path, folder: Path) -> tuple[Path, Path]:
    """The grid and the table of a surface file."""
    grid, points = folder / "a.vts", folder / "a.csv"
    monkeypatch.setattr(sys, "argv", ["x", "--surface", str(surface), "--grid", str(grid), "--points", str(points)])
    export_surface.main()
    return grid, points


def test_every_number_comes_back(surface: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, points = export(monkeypatch, surface, tmp_path / "out")
    data, _ = load_labelled(surface)

    reader = vtkXMLStructuredGridReader()
    reader.SetFileName(str(grid))
    reader.Update()
    found = reader.GetOutput()
    rows, columns = np.meshgrid(*LABELS[3:], indexing="ij")
    place = np.stack([columns, -rows, np.zeros_like(rows)], -1)
    np.testing.assert_array_equal(vtk_to_numpy(found.GetPoints().GetData()).reshape(place.shape), place)
    arrays = found.GetPointData()
    assert arrays.GetNumberOfArrays() == 2 * 3 * 2 * 2
    for name, (stage, split, protocol) in product(("loss", "accuracy"), product(*LABELS[:3])):
        there = vtk_to_numpy(arrays.GetArray(f"{name}_{stage}_{split}_{protocol}".replace(" ", "_")))
        np.testing.assert_array_equal(there.reshape(rows.shape), data[name].sel(stage=stage, split=split, protocol=protocol))

    table = pd.read_csv(points)
    assert list(table) == [*AXES, "loss", "accuracy"]
    lines = list(product(*LABELS))
    assert list(table[list(AXES)].itertuples(index=False, name=None)) == lines
    for name in ("loss", "accuracy"):
        np.testing.assert_array_equal(table[name], data[name].values.ravel())


def test_equal_surfaces_give_equal_bytes_with_a_record(surface: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (export(monkeypatch, surface, tmp_path / folder) for folder in ("one", "two"))
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert read_record(one)["made_by"]["seed"] == 7 and surface.name in read_record(one)["inputs"]


def test_a_damaged_surface_is_told(surface: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    surface.write_bytes(surface.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"a\.nc: damaged"):
        export(monkeypatch, surface, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_picture_of_three_axes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = (*AXES[:3], "axis_1", "axis_2", "axis_3")
    values = np.ones((1, 1, 1, 2, 2, 2))
    axes = {name: ((name,), [name] if k < 3 else [0, 1]) for k, name in enumerate(names)}
    save_labelled(tmp_path / "a.nc", {**axes, "loss": (names, values), "accuracy": (names, values)}, {"seed": 7})
    with pytest.raises(InputError, match=r"a\.nc: found a picture of axis_1, axis_2, axis_3; only one of rows and columns"):
        export(monkeypatch, tmp_path / "a.nc", tmp_path)
