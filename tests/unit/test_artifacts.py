"""Files: whole or absent, and damage is noticed on reading."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from losspatterns.errors import InputError
from losspatterns.records.artifacts import (
    atomic_path,
    file_checksum,
    load_arrays,
    load_mask,
    load_table,
    load_tensors,
    read_record,
    record_path,
    recorded_path,
    save_arrays,
    save_mask,
    save_table,
    save_tensors,
)


def write_all(folder: Path) -> dict[str, Path]:
    """One file of each kind."""
    files = {kind: folder / f"file.{kind}" for kind in ("npz", "npy", "safetensors", "csv")}
    save_arrays(files["npz"], {"a": np.arange(1000.0)}, {"seed": 1})
    save_mask(files["npy"], np.eye(5, dtype=np.int8), {"seed": 1})
    save_tensors(files["safetensors"], {"a": torch.arange(100.0)}, {"seed": 1})
    save_table(files["csv"], pd.DataFrame({"a": [1, 2], "seconds": [0.5, 1.5]}), {"script": "score_surfaces.py"})
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


@pytest.mark.parametrize("kind", ["npz", "npy", "safetensors", "csv"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text", "bit", "record missing", "record cut", "record bit"])
def test_damage_is_one_line_that_names_the_file(tmp_path: Path, kind: str, damage: str) -> None:
    file = write_all(tmp_path)[kind]
    if damage == "missing":
        file.unlink()
    else:
        target = record_path(file) if damage.startswith("record") else file
        whole = target.read_bytes()
        at = len(whole) // 2
        flipped = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        kinds = {"empty": b"", "cut": whole[:at], "text": b"hello", "bit": flipped}
        if damage == "record missing":
            target.unlink()
        else:
            target.write_bytes(kinds[damage.removeprefix("record ")])
    with pytest.raises(InputError, match=str(file)) as caught:
        READ[kind](file)
    assert "\n" not in str(caught.value)


def test_a_damaged_artifact_names_the_rule_that_wrote_it(tmp_path: Path) -> None:
    file = write_all(tmp_path)["csv"]
    file.write_text("a,seconds\n1,2\n")
    with pytest.raises(InputError, match="score_surfaces wrote"):
        load_table(file)


def test_a_record_tells_what_was_read_and_clock_times_are_no_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = write_all(tmp_path)
    for kind in files:
        READ[kind](files[kind])
    save_table("made.csv", pd.DataFrame({"a": [1.5]}), {"seed": 7})
    record = read_record("made.csv")
    assert record["made_by"] == {"seed": 7}
    assert record["sha256"] == file_checksum("made.csv")
    for kind, file in files.items():
        assert record["inputs"][file.name] == read_record(file)["content"], kind
    before = read_record("file.csv")
    save_table("file.csv", pd.DataFrame({"a": [1, 2], "seconds": [9.5, 99.5]}), {})
    after = read_record("file.csv")
    assert before["content"] == after["content"] and before["sha256"] != after["sha256"]
    save_table("file.csv", pd.DataFrame({"a": [1, 3], "seconds": [9.5, 99.5]}), {})
    assert read_record("file.csv")["content"] != before["content"]


def test_foreign_arrays_and_masks_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "foreign.npz", a=np.ones(3))
    with pytest.raises(InputError, match="its record foreign.npz.json is not"):
        load_arrays(tmp_path / "foreign.npz")
    with recorded_path(tmp_path / "foreign.npz", {}) as file:
        np.savez(file, a=np.ones(3))
    with pytest.raises(InputError, match="no provenance"):
        load_arrays(tmp_path / "foreign.npz")
    save_mask(tmp_path / "foreign.npy", np.full((3, 3), 7, np.int8), {})
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


WRITER = """
import sys, time
from losspatterns.records.artifacts import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    time.sleep(600)
"""


def test_what_a_killed_writer_left_goes_and_a_living_one_keeps_its_own(tmp_path: Path, root: Path) -> None:
    file, other = tmp_path / "a[1].seed0.txt", tmp_path / "a[1].txt"
    command = [sys.executable, "-c", WRITER, str(file)]
    with (
        subprocess.Popen(command, cwd=root / "scripts", stdout=subprocess.PIPE, text=True) as killed,
        subprocess.Popen(command, cwd=root / "scripts", stdout=subprocess.PIPE, text=True) as living,
    ):
        try:
            left, kept = Path(killed.stdout.readline().strip()), Path(living.stdout.readline().strip())
            killed.kill()
            killed.wait()
            assert set(tmp_path.iterdir()) == {left, kept}
            with atomic_path(other) as temporary:
                temporary.write_text("another file")
            assert set(tmp_path.iterdir()) == {left, kept, other}
            with atomic_path(file) as temporary:
                temporary.write_text("whole")
            assert set(tmp_path.iterdir()) == {kept, other, file}
        finally:
            killed.kill()
            living.kill()
    with atomic_path(file) as temporary:
        temporary.write_text("whole again")
    assert set(tmp_path.iterdir()) == {other, file}
    assert file.read_text() == "whole again"
