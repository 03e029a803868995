"""Reading and writing every file of the workflow: atomically, checked, and with provenance.

A file appears under its name only when it is whole: it is written beside its place and renamed. Data sets are compressed .npz,
weights .safetensors (never pickles), labelled arrays NetCDF (.nc), tables .csv, grids for ParaView .vts. Beside every artifact
stands its record, <file>.json: its checksum, what made it, and the checksums of the artifacts that were read for it. Every file
is checked against its record before it is used. Arrays and weights carry what made them inside too.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import fcntl
import hashlib
import io
import json
import os
import platform
import socket
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from safetensors import SafetensorError, safe_open

from ..errors import InputError, out_of_memory
from .closure import script_digest, script_name

if TYPE_CHECKING:  # imported where they are needed: pandas takes 0.5 s, and xarray imports pandas
    import pandas as pd
    import xarray as xr

PROVENANCE_KEY = "provenance"
NO_LICENCE = "no licence stated"  # of data that may not be passed on: their records travel without them
NAMES = ("dataset", "mask", "network")  # columns of tables that hold names of the config
TEXTS = (*NAMES, "study", "recipe", "variant", "dataset_label")  # those that may be called NA, 007 or nan
CLOCK = ("seconds", "train_seconds")  # columns of tables that no two runs have alike: no part of what a table is
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what a file system without locks answers
# What readers raise
UNREADABLE = (OSError, EOFError, ValueError, LookupError, RuntimeError, zipfile.BadZipFile, zlib.error, csv.Error, TokenError)
_inputs: dict[str, str] = {}  # name -> checksum of every artifact that this process has read


def take_lock(path: str | Path) -> TextIO | None:
    """The file at `path`, made if need be, open and locked until it is closed; None if another process holds it."""
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
    with contextlib.suppress(BlockingIOError, FileNotFoundError):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            _tell_no_locks(str(Path(path).parent), error.strerror)
        if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):  # not one whose name its process has just taken away
            return file
    file.close()
    return None


@cache
def _tell_no_locks(folder: str, reason: str) -> None:
    left = "this goes on without them, so start nothing else that writes the same results"
    print(f"{folder}: this file system has no locks ({reason}); {left}", file=sys.stderr)


def unfinished(path: str | Path) -> Path:
    """Where this machine writes what then takes the place of `path`; others write elsewhere, as they may see no locks of it."""
    return Path(path).with_name(f".{Path(path).stem}.{socket.gethostname()}{Path(path).suffix}")


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix); rename it to `path` on success, delete it on failure. What a killed
    process left there is written over; one that lives and writes the same file is waited for."""
    path, temporary = Path(path), unfinished(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while not (lock := take_lock(temporary)):
            time.sleep(0.05)
        with lock:
            lock.truncate(0)
            try:
                yield temporary
                os.replace(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except FileExistsError:
        require_writable(path.parent)
        raise
    except OSError as error:  # a full disk names no file, a folder that cannot be written the temporary one
        if error.errno and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise


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
            "content": _content(temporary, whole),
            "made_by": json.loads(json.dumps(made_by)),
            "inputs": inputs_read(),
        }
        text = json.dumps({"record": record, "sha256": _record_checksum(record)}, sort_keys=True, ensure_ascii=False, indent=1)
        with atomic_path(record_path(path)) as beside:
            beside.write_text(text + "\n", encoding="utf-8")


def may_travel(record: Mapping[str, Any]) -> bool:
    """Whether the licence of the data in an artifact lets it be passed on."""
    return not str(record["made_by"].get("licence", "")).startswith(NO_LICENCE)


def read_record(path: str | Path) -> dict[str, Any]:
    """The record of an artifact: sha256 of its bytes, content (that of all but clock times), made_by, inputs.

    InputError if artifact or record are missing, or if the one is not as the other says. Data that may not be passed on can
    be missing: their record tells which they were.
    """
    beside = record_path(path)
    try:
        found = file_checksum(path) if os.path.exists(path) or not beside.exists() else None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        outer = json.loads(beside.read_text(encoding="utf-8"))
        record = outer["record"]
        if outer["sha256"] != _record_checksum(record):
            raise ValueError("its checksum is wrong")
        expected, script = record["sha256"], record["made_by"].get("script")
        if found is None and not may_travel(record):
            return record
        if found == expected and record["content"] != _content(Path(path), found):
            raise ValueError("its content is not that of the file")
    except FileNotFoundError:
        raise InputError(f"{path}: its record {beside.name} is not beside it; copy both, or delete it and run again") from None
    except (*UNREADABLE, TypeError, AttributeError) as error:
        raise InputError(f"{beside}: the record is damaged ({error}); delete {path} and run again") from None
    if found is None:
        raise InputError(f"{path}: no such file, though its record {beside.name} is there")
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
    if not os.path.exists(path):
        raise InputError(f"{path}: is not here, as its licence does not let it be passed on; get it again: snakemake {path}")
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


def _content(path: Path, whole: str) -> str:
    """SHA-256 (hex) of what a file holds: that of the `whole`; of a table without the columns of clock times."""
    if path.suffix != ".csv":
        return whole
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
    """Read a file written by `save_labelled`: (dataset in memory, provenance). InputError if missing, damaged or foreign, or
    with data that stand in another file, which could be any."""
    import h5py
    import xarray as xr

    with _reading(path):
        content = io.BytesIO(Path(path).read_bytes())  # by path, HDF5 would lock the file
        with h5py.File(content) as file:
            for name in file:
                if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
                    raise ValueError(f"{name!r} is a link or a group")
                if file[name].external or file[name].is_virtual:
                    raise ValueError(f"{name!r} is read from another file")
        dataset = xr.load_dataset(content, engine="h5netcdf")
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


def save_text(path: str | Path, text: str, made_by: Mapping[str, Any]) -> None:
    """Write a text: a page in HTML or Markdown, or JSON."""
    with recorded_path(path, made_by) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_table(path: str | Path, table: pd.DataFrame | Sequence[Mapping[str, Any]], made_by: Mapping[str, Any]) -> None:
    """Write a table, or rows of equal keys, to a .csv file with a header line and no index."""
    with recorded_path(path, made_by) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        if isinstance(table, Sequence):
            writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(table)
        else:
            table.to_csv(file, index=False, lineterminator="\n")


def load_table(path: str | Path) -> pd.DataFrame:
    """Read a .csv file with a header line; names of the config are text, also 007 and NA. InputError if it is missing, damaged
    or not a table."""
    import pandas as pd

    with _reading(path):
        head = pd.read_csv(path, nrows=0).columns
        missing = {name: [""] if name in TEXTS else ["", "nan"] for name in head}
        return pd.read_csv(path, dtype=dict.fromkeys(TEXTS, str), keep_default_na=False, na_values=missing)
