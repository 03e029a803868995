"""Reading and writing every file of the workflow: atomically, checked, and with provenance.

A file appears under its name only when it is whole: it is written beside its place and renamed. Data sets are compressed .npz,
weights .safetensors (never pickles), labelled arrays NetCDF (.nc), tables .csv, grids for ParaView .vts. Beside every artifact
stands its record, <file>.json: its checksum, what made it, and the checksums of the artifacts that were read for it. Every file
is checked against its record before it is used. Arrays and weights carry what made them inside too.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import glob
import hashlib
import io
import json
import os
import platform
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from ..errors import InputError, out_of_memory
from .closure import script_digest, script_name

if TYPE_CHECKING:  # imported where they are needed: pandas takes 0.5 s, and xarray imports pandas
    import pandas as pd
    import xarray as xr

PROVENANCE_KEY = "provenance"
NAMES = ("dataset", "mask", "network")  # columns of tables that hold names of the config
CLOCK = ("seconds", "train_seconds")  # columns of tables that no two runs have alike: no part of what a table is
UNREADABLE = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile)  # what readers raise
_inputs: dict[str, str] = {}  # name -> checksum of every artifact that this process has read


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix); rename it to `path` on success, delete it on failure. Those that
    killed processes left behind go first."""
    path = Path(path)
    temporary = handle = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path)
        while temporary is None or not temporary.exists():  # again, if a process took it for abandoned before it was locked
            if handle is not None:
                os.close(handle)
            handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
            temporary = Path(name)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield temporary
        os.umask(umask := os.umask(0o077))  # the only way to ask for it
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except FileExistsError:
        require_writable(path.parent)
        raise
    except OSError as error:  # a full disk names no file, a folder that cannot be written the temporary one
        if error.errno and (error.filename is None or Path(error.filename).name.startswith(f".{path.stem}.")):
            error.filename = str(path)
        raise
    finally:
        if handle is not None:
            os.close(handle)
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_abandoned(path: str | Path) -> None:
    """Delete the temporary files of `path` that no living process writes: a process that is killed leaves its own, unlocked."""
    path = Path(path)
    for file in path.parent.glob(f".{glob.escape(path.stem)}.????????{glob.escape(path.suffix)}"):
        with contextlib.suppress(FileNotFoundError, PermissionError, BlockingIOError), open(file, "r+b") as left:
            fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink()


def require_writable(folder: str | Path) -> None:
    """InputError if files cannot be made in `folder`, or in the nearest folder above it that exists."""
    place = Path(folder)
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        found = "a file" if place.exists() else "a link to nothing"
        raise InputError(f"{place}: found {found}, expected a folder for {folder}; move it away")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{place}: cannot be written to by this user; results go to {folder}")


def checksum(*parts: bytes | np.ndarray) -> str:
    """SHA-256 (hex) of byte strings and arrays; an array counts with its dtype and shape."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            part = np.ascontiguousarray(part).tobytes()
        digest.update(part)
    return digest.hexdigest()


def file_checksum(path: str | Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results, as installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in ("torch", "numba", "numpy", "scipy", "matplotlib"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def provenance(*modules: str, **facts: Any) -> dict[str, Any]:
    """The given facts plus the running script, the digest of its code, whether compiled kernels are used, and package versions.

    modules: those that the script imports by a name in its arguments (see `script_digest`). Holds no time and no path, so that
    equal inputs give equal bytes.
    """
    script = script_name(Path(getattr(sys.modules["__main__"], "__file__", None) or ""))
    code = {"script": script, "code": script and script_digest(script, *modules)} | ({"modules": modules} if modules else {})
    return {**facts, **code, "kernels": os.environ.get("LOSSPATTERNS_KERNELS", "on"), "versions": versions()}


# Records


def record_path(path: str | Path) -> Path:
    """Where an artifact's record stands."""
    return Path(f"{path}.json")


@contextlib.contextmanager
def recorded_path(path: str | Path, made_by: Mapping[str, Any]) -> Iterator[Path]:
    """As `atomic_path`, and the record is written too."""
    with atomic_path(path) as temporary:
        yield temporary
        whole = file_checksum(temporary)
        record = {
            "sha256": whole,
            "content": _content_of_table(temporary) if temporary.suffix == ".csv" else whole,
            "made_by": json.loads(json.dumps(made_by)),
            "inputs": inputs_read(),
        }
        text = json.dumps({"record": record, "sha256": _record_checksum(record)}, sort_keys=True, ensure_ascii=False, indent=1)
        with atomic_path(record_path(path)) as beside:
            beside.write_text(text + "\n", encoding="utf-8")


def read_record(path: str | Path) -> dict[str, Any]:
    """The record of an artifact: sha256 of its bytes, content (that of all but clock times), made_by, inputs.

    InputError if artifact or record are missing, or if the one is not as the other says.
    """
    try:
        found = file_checksum(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    beside = record_path(path)
    try:
        outer = json.loads(beside.read_text(encoding="utf-8"))
        record = outer["record"]
        if outer["sha256"] != _record_checksum(record):
            raise ValueError("its checksum is wrong")
        expected, script = record["sha256"], record["made_by"].get("script")
    except FileNotFoundError:
        raise InputError(f"{path}: its record {beside.name} is not beside it; copy both, or delete it and run again") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{beside}: the record is damaged ({error}); delete {path} and run again") from None
    if found != expected:
        writer = Path(script).stem if script else "its writer"
        raise InputError(f"{path}: damaged (sha256 {found[:12]}, {writer} wrote {expected[:12]}); delete it and run again")
    return record


def inputs_read() -> dict[str, str]:
    """Name and content checksum of every artifact that this process has read so far."""
    return dict(_inputs)


@contextlib.contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    """Check an artifact before it is read, and count it among the inputs of what this process writes."""
    record = read_record(path)
    place, here = Path(os.path.abspath(path)), Path.cwd()  # links are not followed: results/ may be one
    _inputs[place.relative_to(here).as_posix() if place.is_relative_to(here) else place.name] = record["content"]
    try:
        yield
    except (*UNREADABLE, SafetensorError) as error:
        if out_of_memory(error):
            raise
        raise InputError(f"{path}: damaged ({error}); delete it and run again") from None


def _taken_out(path: str | Path, contents: dict[str, Any]) -> dict[str, Any]:
    """The provenance that is stored among these contents, taken out of them."""
    if PROVENANCE_KEY not in contents:
        raise InputError(f"{path}: carries no provenance, so this workflow did not write it")
    return json.loads(str(contents.pop(PROVENANCE_KEY)))


def _content_of_table(path: Path) -> str:
    """SHA-256 (hex) of what a table holds, without the columns of clock times."""
    with open(path, newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    kept = [k for k, name in enumerate(head) if name not in CLOCK]
    return checksum(json.dumps([[row[k] for k in kept] for row in (head, *rows)]).encode())


def _record_checksum(record: Mapping[str, Any]) -> str:
    return checksum(json.dumps(record, sort_keys=True).encode())


# The formats


def save_arrays(path: str | Path, arrays: Mapping[str, np.ndarray], made_by: Mapping[str, Any]) -> None:
    """Write arrays and their provenance to a compressed .npz file: a data set's, which numpy alone can read."""
    with recorded_path(path, made_by) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays, **{PROVENANCE_KEY: np.array(json.dumps(made_by, sort_keys=True))})


def load_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a .npz file written by `save_arrays`: (arrays, provenance). InputError if it is missing, damaged or foreign."""
    with _reading(path), np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return arrays, _taken_out(path, arrays)


def save_mask(path: str | Path, mask: np.ndarray, made_by: Mapping[str, Any]) -> None:
    """Write a ternary mask, int8 (H, W), or the targets of a picture of shades, float32 (H, W, C), to a .npy file."""
    with recorded_path(path, made_by) as temporary:
        buffer = io.BytesIO()  # to a file, numpy would not say why a write failed
        np.save(buffer, mask)
        temporary.write_bytes(buffer.getvalue())


def load_mask(path: str | Path) -> np.ndarray:
    """Read a ternary mask, int8 with one to six axes: +1 white, -1 black, 0 ignored; or the targets of a photograph, float32
    (H, W, C): log losses. InputError if it is anything else."""
    with _reading(path):
        mask = np.load(path, allow_pickle=False)
    if mask.dtype == np.float32 and mask.ndim == 3 and np.isfinite(mask).all():
        return mask
    if not 1 <= mask.ndim <= 6 or mask.dtype != np.int8 or not np.isin(mask, (-1, 0, 1)).all():
        raise InputError(f"{path}: found {mask.dtype} {mask.shape}, expected an int8 mask of -1, 0, +1 with one to six axes")
    return mask


def sides(mask: np.ndarray) -> tuple[int, ...]:
    """The sides of a mask's picture: without the channels of shades."""
    return mask.shape[:-1] if mask.dtype == np.float32 else mask.shape


def save_tensors(path: str | Path, tensors: Mapping[str, Any], made_by: Mapping[str, Any]) -> None:
    """Write torch tensors and their provenance to a .safetensors file."""
    from safetensors.torch import save

    with recorded_path(path, made_by) as temporary:
        temporary.write_bytes(save(dict(tensors), {PROVENANCE_KEY: json.dumps(made_by, sort_keys=True)}))


def load_tensors(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a .safetensors file written by `save_tensors`: (tensors on the CPU, provenance). InputError if damaged."""
    with _reading(path), safe_open(str(path), framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    return tensors, _taken_out(path, metadata)


def save_labelled(path: str | Path, variables: Mapping[str, tuple[tuple[str, ...], Any]], made_by: Mapping[str, Any]) -> None:
    """Write labelled arrays and their provenance to a NetCDF file (.nc) that `xarray.open_dataset` reads.

    `variables`: name -> (names of its dimensions, array or list), as the constructor of xarray.Dataset takes them. A variable
    named after its only dimension holds that dimension's coordinates. Without xarray: its import takes 0.8 s, this one 0.07.
    """
    import h5netcdf
    import h5py

    arrays = {name: (dimensions, np.asarray(values)) for name, (dimensions, values) in variables.items()}
    sizes = [pair for dimensions, array in arrays.values() for pair in zip(dimensions, array.shape, strict=True)]
    with recorded_path(path, made_by) as temporary:
        buffer = io.BytesIO()  # to a file, HDF5 would not say why a write failed
        with h5netcdf.File(buffer, "w") as file:
            file.dimensions = dict(sizes)
            for name, (dimensions, array) in arrays.items():
                if array.dtype.kind == "U":
                    file.create_variable(name, dimensions, h5py.string_dtype(), data=array.astype(object))
                else:
                    file.create_variable(name, dimensions, array.dtype, data=array, compression="gzip", shuffle=True)
            file.attrs[PROVENANCE_KEY] = json.dumps(made_by, sort_keys=True)
        temporary.write_bytes(buffer.getvalue())


def load_labelled(path: str | Path) -> tuple[xr.Dataset, dict[str, Any]]:
    """Read a file written by `save_labelled`: (dataset in memory, provenance). InputError if missing, damaged or foreign."""
    import xarray as xr

    with _reading(path):
        dataset = xr.load_dataset(io.BytesIO(Path(path).read_bytes()), engine="h5netcdf")  # by path, HDF5 would lock the file
    return dataset, _taken_out(path, dataset.attrs)


def save_grid(
    path: str | Path, rows: np.ndarray, columns: np.ndarray, values: Mapping[str, np.ndarray], made_by: Mapping[str, Any]
) -> None:
    """Write arrays (H, W) over rows (H,) and columns (W,) as a structured grid in VTK's XML form (.vts), as ParaView opens it.

    A point lies at x = column, y = -row, z = 0, so that a picture stands upright.
    """
    from pyevtk.hl import gridToVTK

    points = np.meshgrid(columns, -rows, [0.0], indexing="ij")
    with recorded_path(path, made_by) as temporary:
        arrays = {name: np.ascontiguousarray(array.T[:, :, None]) for name, array in values.items()}
        gridToVTK(str(temporary.with_suffix("")), *points, pointData=arrays)


def save_table(path: str | Path, table: pd.DataFrame | Sequence[Mapping[str, Any]], made_by: Mapping[str, Any]) -> None:
    """Write a table, or rows of equal keys, to a .csv file with a header line and no index."""
    with recorded_path(path, made_by) as temporary:
        if not isinstance(table, Sequence):
            table.to_csv(temporary, index=False)
            return
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(table)


def load_table(path: str | Path) -> pd.DataFrame:
    """Read a .csv file with a header line; names of the config are text, also 007. InputError if it is missing, damaged or not
    a table."""
    import pandas as pd

    with _reading(path):
        return pd.read_csv(path, dtype=dict.fromkeys(NAMES, str))
