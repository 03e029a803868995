"""Files: whole or absent, and damage is noticed on reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from losspatterns.artifacts import (
    atomic_path,
    file_checksum,
    load_arrays,
    load_mask,
    load_table,
    load_tensors,
    save_arrays,
    save_mask,
    save_table,
    save_tensors,
)
from losspatterns.errors import InputError


def write_all(folder: Path) -> dict[str, Path]:
    """One file of each kind."""
    files = {kind: folder / f"file.{kind}" for kind in ("npz", "npy", "safetensors", "csv")}
    save_arrays(files["npz"], {"a": np.arange(1000.0)}, {"seed": 1})
    save_mask(files["npy"], np.eye(5, dtype=np.int8))
    save_tensors(files["safetensors"], {"a": torch.arange(100.0)}, {"seed": 1})
    save_table(files["csv"], pd.DataFrame({"a": [1, 2]}))
    return files


READ = {"npz": load_arrays, "npy": load_mask, "safetensors": load_tensors, "csv": load_table}


def test_what_is_written_is_read_and_bytes_repeat(tmp_path: Path) -> None:
    files, again = write_all(tmp_path), write_all(tmp_path / "deeper/folder")
    for kind in files:
        assert file_checksum(files[kind]) == file_checksum(again[kind]), kind
    arrays, made_by = load_arrays(files["npz"])
    np.testing.assert_array_equal(arrays["a"], np.arange(1000.0))
    assert made_by == load_tensors(files["safetensors"])[1] == {"seed": 1}
    np.testing.assert_array_equal(load_mask(files["npy"]), np.eye(5))


@pytest.mark.parametrize("kind", ["npz", "npy", "safetensors"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text"])
def test_damage_is_one_line_that_names_the_file(tmp_path: Path, kind: str, damage: str) -> None:
    file = write_all(tmp_path)[kind]
    if damage == "missing":
        file.unlink()
    else:
        whole = file.read_bytes()
        file.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"hello"}[damage])
    with pytest.raises(InputError, match=str(file)) as caught:
        READ[kind](file)
    assert "\n" not in str(caught.value)


def test_foreign_arrays_and_masks_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "foreign.npz", a=np.ones(3))
    with pytest.raises(InputError, match="no provenance"):
        load_arrays(tmp_path / "foreign.npz")
    np.save(tmp_path / "foreign.npy", np.full((3, 3), 7, np.int8))
    with pytest.raises(InputError, match="expected a two-dimensional int8 mask"):
        load_mask(tmp_path / "foreign.npy")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "kept.txt"
    file.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(file) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
