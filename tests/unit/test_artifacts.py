"""Files: whole or absent, and damage is noticed on reading."""

import errno
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from losspatterns.errors import InputError
from losspatterns.records import artifacts
from losspatterns.records.artifacts import (
    atomic_path,
    file_checksum,
    load_arrays,
    load_labelled,
    load_mask,
    load_table,
    load_tensors,
    read_record,
    record_path,
    recorded_path,
    save_arrays,
    save_labelled,
    save_mask,
    save_table,
    save_tensors,
    unfinished,
)
from losspatterns.records.tracing import trace

LABELLED = {
    "split": (("split",), ["train", "test"]),
    "row": (("row",), np.arange(-2, 5) / 2),
    "loss": (("split", "row", "column"), np.random.default_rng(0).random((2, 7, 40))),
    "mask": (("mask_row", "mask_column"), np.eye(5, dtype=np.int8)),
    "images": (("split", "image"), np.array([[3, 4], [5, -1]])),
}


def write_all(folder: Path) -> dict[str, Path]:
    """One file of each kind."""
    files = {kind: folder / f"file.{kind}" for kind in ("npz", "npy", "safetensors", "nc", "csv")}
    save_arrays(files["npz"], {"a": np.arange(1000.0)}, {"seed": 1})
    save_mask(files["npy"], np.eye(5, dtype=np.int8), {"seed": 1})
    save_tensors(files["safetensors"], {"a": torch.arange(100.0)}, {"seed": 1})
    save_labelled(files["nc"], LABELLED, {"seed": 1})
    save_table(files["csv"], pd.DataFrame({"a": [1, 2], "seconds": [0.5, 1.5]}), {"script": "score_surfaces.py"})
    return files


READ = {"npz": load_arrays, "npy": load_mask, "safetensors": load_tensors, "nc": load_labelled, "csv": load_table}


def test_what_is_written_is_read_and_bytes_repeat(tmp_path: Path) -> None:
    files, again = write_all(tmp_path), write_all(tmp_path / "deeper/folder")
    for kind in files:
        assert file_checksum(files[kind]) == file_checksum(again[kind]), kind
    arrays, made_by = load_arrays(files["npz"])
    np.testing.assert_array_equal(arrays["a"], np.arange(1000.0))
    assert made_by == load_tensors(files["safetensors"])[1] == load_labelled(files["nc"])[1] == {"seed": 1}
    np.testing.assert_array_equal(load_mask(files["npy"]), np.eye(5))


def test_labelled_arrays_are_anybody_s_netcdf(tmp_path: Path) -> None:
    file = write_all(tmp_path)["nc"]
    ours, _ = load_labelled(file)
    with xr.open_dataset(file) as anybody_s:
        xr.testing.assert_identical(ours, anybody_s.load().drop_attrs())
    assert set(ours.coords) == {"split", "row"} and set(ours.data_vars) == {"loss", "mask", "images"}
    for name, (dimensions, values) in LABELLED.items():
        expected = np.asarray(values)
        assert ours[name].dims == dimensions and ours[name].dtype.kind == expected.dtype.kind
        np.testing.assert_array_equal(ours[name], expected)
    assert ours["mask"].dtype == np.int8 and ours["images"].dtype == np.int64
    assert float(ours["loss"].sel(split="test", row=-0.5)[3]) == LABELLED["loss"][1][1, 1, 3]


LABELLED_WRITER = """
import sys
import numpy as np
from losspatterns.records.artifacts import save_labelled
labelled = {"split": (("split",), ["train", "test"]), "loss": (("split", "x"), np.arange(2e4).reshape(2, -1) ** 0.5)}
save_labelled(sys.argv[1], labelled, {"network": {"kind": "conv"}})
print(sorted({"xarray", "pandas", "torch"} & set(sys.modules)))
"""


def test_labelled_arrays_have_the_same_bytes_in_every_process_and_need_no_xarray(tmp_path: Path, root: Path) -> None:
    files = [tmp_path / "a.nc", tmp_path / "deeper/b.nc"]
    for file, hash_seed in zip(files, "12", strict=True):
        environment = os.environ | {"PYTHONPATH": str(root / "scripts"), "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", LABELLED_WRITER, str(file)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"
        time.sleep(1)  # another second on the clock
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("kind", list(READ))
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
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "whole.nc", engine="h5netcdf")
    whole = (tmp_path / "whole.nc").read_bytes()
    for content, message in ((b"no HDF5", "damaged"), (whole[:-100], "damaged"), (whole, "no provenance")):
        with recorded_path(tmp_path / "foreign.nc", {}) as file:
            file.write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            load_labelled(tmp_path / "foreign.nc")
        assert "\n" not in str(caught.value)
    save_mask(tmp_path / "foreign.npy", np.full((3, 3), 7, np.int8), {})
    with pytest.raises(InputError, match="expected an int8 mask of -1, 0, \\+1 with one to six axes"):
        load_mask(tmp_path / "foreign.npy")


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_a_file_may_be_read_and_written_by_those_whom_the_user_s_umask_allows(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        with atomic_path(tmp_path / "x.npy") as temporary:
            temporary.write_bytes(b"x")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert (tmp_path / "x.npy").stat().st_mode & 0o777 == mode


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "kept.txt"
    file.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(file) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


WRITER = """
import sys
from losspatterns.records.artifacts import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half of the first")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("killed", [True, False])
def test_what_a_killed_writer_left_goes_and_a_living_one_is_waited_for(tmp_path: Path, root: Path, killed: bool) -> None:
    file, other, written = tmp_path / "a[1].seed0.txt", tmp_path / "a[1].txt", []

    def write(path: Path) -> None:
        with atomic_path(path) as temporary:
            assert temporary.read_text() == ""
            temporary.write_text("whole")
        written.append(path)

    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", WRITER, str(file)], cwd=root / "scripts", **streams) as first:
        assert first.stdout.readline() == "writing\n"
        second = threading.Thread(target=write, args=[file])
        second.start()
        write(other)
        second.join(0.3)
        assert written == [other] and set(tmp_path.iterdir()) == {other, unfinished(file)}
        if killed:
            first.kill()
        first.stdin.close()
    second.join(30)
    assert set(tmp_path.iterdir()) == {other, file} and file.read_text() == "whole"


@pytest.mark.parametrize("link", ["results", "results/masks"])
def test_a_link_to_another_disk_changes_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str) -> None:
    here, mask, table = tmp_path / "here", "results/masks/m.npy", "results/t.csv"
    (tmp_path / "disk").mkdir()
    (here / link).parent.mkdir(parents=True)
    (here / link).symlink_to(tmp_path / "disk")
    monkeypatch.chdir(here)
    monkeypatch.setattr(artifacts, "_inputs", {})
    save_mask(mask, np.eye(5, dtype=np.int8), {})
    load_mask(mask)
    save_table(table, pd.DataFrame({"a": [1]}), {})
    assert list(read_record(table)["inputs"]) == [mask]
    here.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    assert list(trace([table])) == [table, mask]


def test_a_record_whose_content_is_not_the_file_s_is_refused(tmp_path: Path) -> None:
    """As one whose `sha256` was made anew for a changed file."""
    table = tmp_path / "scores.csv"
    save_table(table, [{"auc": 0.5, "seconds": 1.0}], {})
    table.write_text("auc,seconds\n0.9,1.0\n")
    record = json.loads(record_path(table).read_text())["record"] | {"sha256": file_checksum(table)}
    whole = artifacts.checksum(json.dumps(record, sort_keys=True).encode())
    record_path(table).write_text(json.dumps({"record": record, "sha256": whole}))
    with pytest.raises(InputError, match=r"scores\.csv\.json: the record is damaged \(its content is not that of the file\)"):
        load_table(table)


def test_names_that_mean_missing_elsewhere_are_names(tmp_path: Path) -> None:
    names = ["NA", "null", "NULL", "nan", "None", "007"]
    rows = [{"mask": name, "study": name, "probability": float("nan"), "auc": 0.5} for name in names]
    save_table(tmp_path / "rows.csv", rows, {})
    save_table(tmp_path / "frame.csv", pd.DataFrame([*rows, {"mask": "heart", "auc": 1.0}]), {})
    for file in ("rows.csv", "frame.csv"):
        table = load_table(tmp_path / file)
        assert table["mask"].tolist()[:6] == table["study"].tolist()[:6] == names
        assert table["probability"].isna().all() and table["auc"].dtype == float
    assert table["study"].isna().tolist() == [False] * 6 + [True]


def test_a_file_that_reads_other_files_is_refused(tmp_path: Path) -> None:
    secret, file = tmp_path / "secret", tmp_path / "surface.nc"
    secret.write_bytes(b"secret")
    save_labelled(tmp_path / "other.nc", LABELLED, {})

    def write(change: Callable[[h5py.File], object]) -> None:
        content = io.BytesIO()
        with h5py.File(content, "w") as opened:
            opened.attrs["provenance"] = "{}"
            change(opened)
        with recorded_path(file, {}) as temporary:
            temporary.write_bytes(content.getvalue())

    write(lambda opened: opened.create_dataset("x", (6,), "u1", external=[(str(secret), 0, 6)]))
    with pytest.raises(InputError, match=r"surface\.nc: damaged \('x' is read from another file\)"):
        load_labelled(file)
    layout = h5py.VirtualLayout((40,), "f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.nc"), "loss", (2, 7, 40))[0, 0]
    write(lambda opened: opened.create_virtual_dataset("x", layout))
    with pytest.raises(InputError, match="'x' is read from another file"):
        load_labelled(file)
    for link in (h5py.ExternalLink("other.nc", "/loss"), h5py.SoftLink("/y")):
        write(lambda opened, link=link: opened.__setitem__("x", link))
        with pytest.raises(InputError, match="'x' is a link or a group"):
            load_labelled(file)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_done_without(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(artifacts.fcntl, "flock", refuse)
    for k in range(2):
        save_table(tmp_path / "a.csv", [{"x": k}], {})
    assert load_table(tmp_path / "a.csv")["x"].tolist() == [1]
    told = f"{tmp_path}: this file system has no locks ({os.strerror(number)}); this goes on without them"
    assert capsys.readouterr().err.count(told) == 1
