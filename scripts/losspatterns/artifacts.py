"""Reading and writing every file of the workflow: atomically, and with provenance.

A file appears under its name only when it is whole: it is written beside its place and renamed. Arrays are compressed .npz,
weights .safetensors (never pickles), tables .csv. Provenance is a JSON text inside the file: what made it, from what.
Paths are handled here and nowhere else in the library.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .errors import InputError

PROVENANCE_KEY = "provenance"


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix); rename it to `path` on success, delete it on failure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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


def code_checksum() -> str:
    """SHA-256 (hex) over the library's own source files, in the order of their names."""
    root = Path(__file__).parent
    return checksum(*(file.read_bytes() for file in sorted(root.rglob("*.py"))))


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results, as installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in ("torch", "torchvision", "numpy", "matplotlib"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def provenance(**facts: Any) -> dict[str, Any]:
    """The given facts plus code checksum and package versions. No clock and no path: equal inputs give equal bytes."""
    return {**facts, "code": code_checksum(), "versions": versions()}


def save_arrays(path: str | Path, arrays: Mapping[str, np.ndarray], made_by: Mapping[str, Any]) -> None:
    """Write arrays and their provenance to a compressed .npz file."""
    with atomic_path(path) as temporary:
        text = np.array(json.dumps(made_by, sort_keys=True))
        np.savez_compressed(temporary, **arrays, **{PROVENANCE_KEY: text})


def load_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a .npz file written by `save_arrays`: (arrays, provenance). InputError if it is missing, damaged or foreign."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it and run again") from None
    if PROVENANCE_KEY not in arrays:
        raise InputError(f"{path}: carries no provenance, so this workflow did not write it")
    return arrays, json.loads(str(arrays.pop(PROVENANCE_KEY)))


def save_mask(path: str | Path, mask: np.ndarray) -> None:
    """Write a ternary mask, int8 (H, W), to a .npy file."""
    with atomic_path(path) as temporary:
        np.save(temporary, mask)


def load_mask(path: str | Path) -> np.ndarray:
    """Read a ternary mask, int8 (H, W) with values +1 white, -1 black, 0 ignored. InputError if it is anything else."""
    try:
        mask = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it and run again") from None
    if mask.ndim != 2 or mask.dtype != np.int8 or not np.isin(mask, (-1, 0, 1)).all():
        raise InputError(f"{path}: found {mask.dtype} {mask.shape}, expected a two-dimensional int8 mask of -1, 0, +1")
    return mask


def save_tensors(path: str | Path, tensors: Mapping[str, Any], made_by: Mapping[str, Any]) -> None:
    """Write torch tensors and their provenance to a .safetensors file."""
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file(dict(tensors), temporary, metadata={PROVENANCE_KEY: json.dumps(made_by, sort_keys=True)})


def load_tensors(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a .safetensors file written by `save_tensors`: (tensors on the CPU, provenance). InputError if damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it and run again") from None
    if PROVENANCE_KEY not in metadata:
        raise InputError(f"{path}: carries no provenance, so this workflow did not write it")
    return tensors, json.loads(metadata[PROVENANCE_KEY])


def save_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table to a .csv file with a header line and no index."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def load_table(path: str | Path) -> pd.DataFrame:
    """Read a .csv file with a header line. InputError if it is missing or not a table."""
    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a CSV table ({error}); delete it and run again") from None
