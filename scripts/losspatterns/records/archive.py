"""A scale's results as one file that travels, and is put in place only if every byte is as it was packed.

The one idea: the archive is a zip whose member `packed.json` names the scale and the sha256 of every other member. Beside the
results and their records it holds Snakemake's own records of them. So nothing runs again elsewhere, and an edit still reruns
what it touches. Members have no times and are not compressed: equal results give equal bytes on every machine.
"""

import base64
import hashlib
import io
import json
import shutil
import stat
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import InputError
from .artifacts import UNREADABLE, atomic_path, file_checksum, may_travel, record_path
from .tracing import trace

SNAKEMAKE = Path(".snakemake/metadata")  # where Snakemake keeps what made each output, by the output's name in base64
PACKED = "packed.json"  # the member that lists the others
FORMAT = 1  # of the archive
WITHOUT_RECORD = "snakemake --touch, without --persistence-backend, writes that; then run this again without it"
RESULTS = ".npz .npy .safetensors .nc .csv .md .html .json .png .pdf .svg .gif .mp4 .vts".split()


def write_zip(path: str | Path, members: Mapping[str, str | Path | bytes]) -> None:
    """Write a zip of these members in this order, name -> file or bytes, with neither times nor compression."""
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)  # its time is 1980-01-01
            info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16  # as on Unix
            info.file_size = len(content) if isinstance(content, bytes) else Path(content).stat().st_size
            with io.BytesIO(content) if isinstance(content, bytes) else open(content, "rb") as source:
                with archive.open(info, "w") as member:
                    shutil.copyfileobj(source, member, 1 << 20)


def with_records(traced: Mapping[str, dict[str, Any]]) -> list[str]:
    """The paths, sorted, of what `trace` found and of the records, but for data that may not be passed on."""
    return sorted([*map(str, map(record_path, traced)), *(path for path, record in traced.items() if may_travel(record))])


def inside(name: str, folders: Iterable[str]) -> bool:
    """Whether a file lies in one of these folders."""
    return name.startswith(tuple(f"{folder}/" for folder in folders))


def snakemake_records() -> dict[str, Path]:
    """Snakemake's record of each output in the working directory, by the output's path."""
    return {_output(file.relative_to(SNAKEMAKE).parts): file for file in SNAKEMAKE.rglob("*") if file.is_file()}


def pack(path: str | Path, scale: str, folders: Sequence[str], artifacts: Iterable[str], manifest: str) -> int:
    """Write everything behind these artifacts of a scale, and its manifest, into one archive; returns the number of files.

    `folders`: of the scale's results and figures. Not packed is what lies elsewhere: data that this repository includes.

    InputError if an artifact is not whole, or if Snakemake has no record of what made it: it would run again elsewhere.
    """
    files = [file for file in with_records(trace([*artifacts, manifest])) if inside(file, folders)]
    made = snakemake_records()
    for file in files:
        if file not in made and not file.endswith(".json"):
            raise InputError(f"{file}: {SNAKEMAKE} does not say what made it; {WITHOUT_RECORD}")
    files += sorted(made[file].as_posix() for file in files if file in made)
    listed = {"format": FORMAT, "scale": scale, "files": {file: file_checksum(file) for file in files}}
    write_zip(path, {PACKED: json.dumps(listed, indent=1).encode(), **{file: file for file in files}})
    return len(files)


def unpack(path: str | Path, scale: str, folders: Sequence[str]) -> int:
    """Put an archive of this scale into the working directory; returns the number of files that were not there before.

    First everything is read: the archive must be whole, hold exactly what it lists, and nothing that lies elsewhere or differs
    from a result that is here. Otherwise InputError, and nothing is put in place.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            files = _listed(archive, path, scale, folders)
            for name, expected in files.items():
                with archive.open(name) as member:
                    if hashlib.file_digest(member, "sha256").hexdigest() != expected:
                        raise InputError(f"{path}: {name!r} is not as it was packed; get the archive again")
            new = [name for name in files if not Path(name).exists()]
            ours = [name for name in files if name not in new and not name.startswith(f"{SNAKEMAKE}/")]
            if other := [name for name in ours if file_checksum(name) != files[name]]:
                found = f"differs from that in {path}" + (f", as do {len(other) - 1} more" if other[1:] else "")
                raise InputError(f"{other[0]}: {found}; move {' and '.join(folders)} away, then unpack again")
            for name in files:
                if name not in ours:
                    with archive.open(name) as member, atomic_path(name) as temporary, open(temporary, "wb") as file:
                        shutil.copyfileobj(member, file, 1 << 20)
            return len(new)
    except OSError as error:
        if error.filename not in (None, str(path)):
            raise
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{path}: damaged, or no archive of results ({error}); get it again") from None


def _listed(archive: zipfile.ZipFile, path: str | Path, scale: str, folders: Sequence[str]) -> dict[str, str]:
    """What an archive lists: name -> sha256. InputError unless it holds just this, in places of this scale's results."""
    names = [info.filename for info in archive.infolist()]
    if PACKED not in names:
        raise InputError(f"{path}: no archive of results: {PACKED} is missing; expected what `snakemake pack` wrote")
    for info in archive.infolist():
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG) or info.compress_type != zipfile.ZIP_STORED:
            raise InputError(f"{path}: {info.filename!r} is a link, a folder or compressed, expected plain files; refused")
    found = json.loads(archive.read(PACKED))
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("files"), dict):
        raise InputError(f"{path}: {PACKED} has another form; unpack it with the version of this workflow that packed it")
    files = found["files"]
    if found.get("scale") != scale:
        left = "give its config file with --configfile="
        raise InputError(f"{path}: holds the scale {found.get('scale')!r}, but the config's is {scale!r}; {left}")
    for name in files:
        of_snakemake = name.startswith(f"{SNAKEMAKE}/") and _output(Path(name).relative_to(SNAKEMAKE).parts) in files
        outside = {"", ".", ".."} & set(name.split("/")) or "\\" in name
        result = inside(name, folders) and Path(name).suffix in RESULTS and (name.endswith(".json") or f"{name}.json" in files)
        if outside or not (of_snakemake or result):
            raise InputError(f"{path}: {name!r} is no place for a result of the scale {scale}; refused")
    for name in files:
        if above := {place.as_posix() for place in PurePosixPath(name).parents} & files.keys():
            raise InputError(f"{path}: {name!r} lies below {above.pop()!r}, which is a file; refused")
    listed, held = Counter([PACKED, *files]), Counter(names)
    for wrong, what in ((listed - held, "is listed, but not in it"), (held - listed, "is in it, but not listed")):
        for name in wrong:
            raise InputError(f"{path}: {name!r} {what}; get the archive again")
    return files


def _output(parts: Iterable[str]) -> str:
    """The output that a file of Snakemake's records is about: a long name is cut into folders that begin with @."""
    return base64.urlsafe_b64decode("".join(part.removeprefix("@") for part in parts)).decode(errors="replace")
