"""What comes from elsewhere is data: no file is run, unpacked blindly or decoded without bound; only what a config names as
`module:` is executed."""

import contextlib
import io
import json
import os
import pickle
import re
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from configs import layered, runs_of
from losspatterns.config.reading import read
from losspatterns.data import datasets, image_file, masks
from losspatterns.data.dataset_file import load_dataset
from losspatterns.data.datasets import fetch
from losspatterns.data.image_folder import read_image_folder
from losspatterns.data.mask_settings import parse_mask
from losspatterns.data.settings import DatasetSettings
from losspatterns.errors import InputError
from losspatterns.records import artifacts
from losspatterns.records.artifacts import load_arrays, load_labelled, load_mask, load_table, load_tensors
from PIL import Image
from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from test_datasets import BATCHES, PICTURES, left_behind, picture, small_cifar, write_folder, write_tar

ROOT = Path(__file__).parents[2]


class Mark:
    """A pickle of this makes a folder when it is opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


# -------------------------------------------------------------------------------------------------------------- configs


def test_a_config_s_texts_stay_texts_in_snakemake_s_own_reader(tmp_path: Path) -> None:
    """Snakemake runs expressions in a config that says `__use_yte__: true`, which the workflow refuses, and in no other."""
    file = tmp_path / "c.yaml"
    file.write_text(f"?__import__('os').mkdir({str(tmp_path / 'ran')!r}): ?__import__('os').mkdir({str(tmp_path / 'ran')!r})")
    assert [type(part) for part in (*load_configfile(file).keys(), *load_configfile(file).values())] == [str, str]
    for tag in ("!!python/object/apply:os.mkdir [ran]", "!!python/object/new:os.mkdir [ran]", "!!python/module:os ''"):
        file.write_text(f"a: {tag}".replace("ran", str(tmp_path / "ran")))
        with pytest.raises(WorkflowError, match="not valid JSON or YAML"):
            load_configfile(file)
    file.write_text("masks: !!python/name:os.mkdir ''")  # a function, not called
    with pytest.raises(InputError, match="^masks: found <built-in function mkdir>; input should be a valid dictionary$"):
        runs_of(layered() | load_configfile(file))
    assert not (tmp_path / "ran").exists()


# ------------------------------------------------------------------------------------------------------------ downloads


def test_every_published_file_has_a_checksum_and_an_address_of_the_web() -> None:
    """Some servers know plain http only: the checksum decides what is kept, wherever it came from."""
    files = {}
    for kind in datasets.LICENCES:
        servers, archives = datasets.published(kind)
        files |= {f"{server}{archive.place}": archive.md5 for server in servers for archive in archives}
        assert kind not in ("MNIST", "CIFAR10", "CIFAR100") or servers[0].startswith("https://")
    assert len(files) == 4 * 2 + 4 + 4 + 2
    for address, md5 in files.items():
        assert re.match("https?://", address) and re.fullmatch("[0-9a-f]{32}", md5), address


def test_addresses_in_the_shipped_configs_are_https() -> None:
    for file in (ROOT / "config").glob("*.yaml"):
        text = yaml.safe_dump(yaml.safe_load(file.read_text(encoding="utf-8")))
        assert set(re.findall(r"\b\w+://", text)) <= {"https://"}


# -------------------------------------------------------------------------------------------------------------- pickles


@pytest.mark.parametrize("name", ["data_batch_1", "data_batch_2", "test_batch", "batches.meta"])
def test_an_altered_cifar_batch_in_a_mirror_is_refused_before_it_is_opened(tmp_path: Path, monkeypatch, name: str) -> None:
    _, files = small_cifar(monkeypatch)
    folder = write_folder(tmp_path / "mirror", {f"{BATCHES}/{key}": data for key, data in files.items()})
    settings = read(DatasetSettings, "d", {"kind": "CIFAR10", "sources": [{"mirror": [str(folder)]}, "shapes"]})
    assert fetch("d", settings).source == "mirror"
    (folder / BATCHES / name).write_bytes(pickle.dumps(Mark(tmp_path / "ran")))
    with pytest.raises(InputError, match=rf"^{folder}: CIFAR10's train files are damaged, or not the published ones"):
        fetch("d", settings)
    assert not (tmp_path / "ran").exists()


def with_record(file: Path) -> Path:
    """The file with a record of its own: whoever can forge the one can forge the other."""
    whole = artifacts.file_checksum(file)
    record = {"sha256": whole, "content": whole, "made_by": {}, "inputs": {}}
    with contextlib.suppress(*artifacts.UNREADABLE):
        record["content"] = artifacts._content(file, whole)
    outer = {"record": record, "sha256": artifacts._record_checksum(record)}
    artifacts.record_path(file).write_text(json.dumps(outer), encoding="utf-8")
    return file


@pytest.mark.parametrize("load", [load_arrays, load_dataset])
def test_a_pickle_in_an_npz_is_not_opened_and_no_entry_is_unpacked(tmp_path: Path, load) -> None:
    file = tmp_path / "folder/a.npz"
    file.parent.mkdir()
    np.savez(file, a=np.array([Mark(tmp_path / "ran")], dtype=object))
    with pytest.raises(InputError, match=r"a\.npz: damaged \(.*allow_pickle=False"):
        load(with_record(file))
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    for name in ("../evil.npy", f"{tmp_path}/evil.npy"):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(name, buffer.getvalue())
        with pytest.raises(InputError, match=r"a\.npz: carries no provenance"):
            load(with_record(file))
    file.write_bytes(pickle.dumps(Mark(tmp_path / "ran")))
    for reader in (load, load_mask):
        with pytest.raises(InputError, match=r"a\.npz: damaged \(.*pickle"):
            reader(with_record(file))
    assert sorted(left_behind(tmp_path)) == ["a.npz", "a.npz.json"] and not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("load", "name"), [(load_labelled, "a.nc"), (load_tensors, "a.safetensors")])
def test_a_pickle_named_as_surfaces_or_a_plane_is_not_opened(tmp_path: Path, load, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Mark(tmp_path / "ran")))
    with pytest.raises(InputError, match=rf"{name}: damaged \(.*delete it and run again$"):
        load(with_record(tmp_path / name))
    assert not (tmp_path / "ran").exists()


def mutated(content: bytes, seed: int) -> bytes:
    """The content with up to four bytes changed, a part taken out, a part doubled, or its end missing."""
    draws = np.random.default_rng(seed)
    at = int(draws.integers(len(content)))
    before, part, after = content[:at], content[at : at + 4], content[at + 4 :]
    return before + (draws.bytes(len(part)) + after, after, part + part + after, b"")[draws.integers(4)]


@pytest.mark.parametrize("name", ["mask.npy", "arrays.npz", "weights.safetensors", "table.csv"])
def test_any_damage_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    """Also if the record is made for the damaged file, so that the reader itself sees it."""
    file = tmp_path / name
    load, save = {
        "mask.npy": (load_mask, lambda: artifacts.save_mask(file, np.ones((4, 4), np.int8), {})),
        "arrays.npz": (load_arrays, lambda: artifacts.save_arrays(file, {"x": np.arange(99.0)}, {})),
        "weights.safetensors": (load_tensors, lambda: artifacts.save_tensors(file, {"x": torch.ones(3, 4)}, {})),
        "table.csv": (load_table, lambda: artifacts.save_table(file, [{"a": 1, "mask": "x"}, {"a": 2.5, "mask": "NA"}], {})),
    }[name]
    save()
    whole, refused = file.read_bytes(), 0
    for seed in range(300):
        file.write_bytes(mutated(whole, seed))
        try:
            load(with_record(file))
        except InputError as error:
            refused += 1
            assert "\n" not in str(error) and name in str(error)
    assert refused > 150


# ------------------------------------------------------------------------------------------------------------- archives

ENTRIES = [
    *[(name, tarfile.REGTYPE, "", "points outside the archive") for name in ("../x.png", "train/cat/../../../x.png", "/x.png")],
    *[(name, tarfile.REGTYPE, "", "points outside the archive") for name in (".//x.png", "./../x.png", "train/cat/..")],
    ("train/cat/x.png", tarfile.SYMTYPE, "/etc/hostname", "is a link or a device"),
    ("train/cat/x.png", tarfile.SYMTYPE, "a.png", "is a link or a device"),
    ("train/cat/x.png", tarfile.LNKTYPE, "train/cat/a.png", "is a link or a device"),
    ("train/cat", tarfile.SYMTYPE, "/tmp", "is a link or a device"),
    ("elsewhere", tarfile.SYMTYPE, "..", "is a link or a device"),
    ("train/cat/x.png", tarfile.CHRTYPE, "", "is a link or a device"),
    ("train/cat/x.png", tarfile.FIFOTYPE, "", "is a link or a device"),
]


@pytest.mark.parametrize("suffix, mode", [(".tar", "w"), (".tar.gz", "w:gz"), (".tgz", "w:gz"), (".tar.xz", "w:xz")])
@pytest.mark.parametrize("name, kind, target, message", ENTRIES, ids=[f"{entry[0]}-{entry[2]}" for entry in ENTRIES])
def test_an_archive_s_entries_stay_inside_and_are_plain_files(
    tmp_path: Path, suffix: str, mode: str, name: str, kind: bytes, target: str, message: str
) -> None:
    path = tmp_path / f"a{suffix}"
    with tarfile.open(path, mode) as archive:
        for place, data in PICTURES.items():
            member = tarfile.TarInfo(place)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        archive.addfile(member, io.BytesIO())
    with pytest.raises(InputError, match=rf"a{suffix}: entry '.*' {message}.*refused$"):
        read_image_folder(path, (8, 8, 3))
    assert left_behind(tmp_path) == [path.name]


# --------------------------------------------------------------------------------------------------------------- images


def mask_of(path: Path) -> np.ndarray:
    return masks.binary("m", parse_mask("masks.m", {"kind": "image", "path": str(path), "size": [9, 9]}))


def refused_everywhere(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    """As a mask's picture, in an image folder, in a tar: one line each."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=rf"^masks\.m\.path: '.*{name}'.*{message}") as caught:
        mask_of(tmp_path / name)
    assert "\n" not in str(caught.value)
    files = PICTURES | {f"train/cat/{name}": data}
    for path in (write_folder(tmp_path / "folder", files), write_tar(tmp_path / "a.tar", files, "w")):
        with pytest.raises(InputError, match=rf"^{path}.*train/cat/{name}.*{message}") as caught:
            read_image_folder(path, (8, 8, 3))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("side", [5001, 10_000, 15_000])  # beyond our bound; where pillow warns; where pillow refuses
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP"])
def test_a_decompression_bomb_is_refused(tmp_path: Path, kind: str, side: int) -> None:
    """A real file of one colour for the smallest; above it, its header alone claims the size."""
    data = picture(0, size=(5001, 5001), mode="L", kind=kind)
    if kind == "PNG":
        data = data.replace((5001).to_bytes(4, "big") * 2, side.to_bytes(4, "big") * 2)
        data = data[:29] + zlib.crc32(data[12:29]).to_bytes(4, "big") + data[33:]
    elif side != 5001:
        order = "big" if kind == "JPEG" else "little"
        data = data.replace((5001).to_bytes(2, order), side.to_bytes(2, order))
    refused_everywhere(tmp_path, "bomb.png", data, r"more than 25000000 pixels; refused")


def test_a_file_beyond_the_bound_is_not_decoded(tmp_path: Path, monkeypatch) -> None:
    data = picture(0) + bytes(2000)
    monkeypatch.setattr(image_file, "MAX_BYTES", 1000)
    refused_everywhere(tmp_path, "long.png", data, "larger than 0 MiB")


def test_a_format_that_runs_a_program_is_no_image(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "EPS")
    refused_everywhere(tmp_path, "picture.png", buffer.getvalue(), "not an image")


def svg(inside: str, before: str = "") -> str:
    return (
        f'{before}<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">'
        f'<rect width="9" height="4"/>{inside}</svg>'
    )


def test_an_svg_draws_in_no_other_file(tmp_path: Path) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "black.png")
    black, path = tmp_path / "black.png", tmp_path / "m.svg"
    path.write_text(svg('<g id="g"/><use href="#g"/><a href="https://example.org"><rect width="1" height="1"/></a>'))
    alone = mask_of(path)
    assert alone.any() and not alone.all()
    for inside in (
        f'<image href="{black}" width="9" height="9"/>',
        f'<image xlink:href="file://{black}" width="9" height="9"/>',
        f'<s:image xmlns:s="http://www.w3.org/2000/svg" title=">" href=" {black}" width="9" height="9"/>',
        f'<filter id="f"><feImage href="{black}"/></filter><rect width="9" height="9" filter="url(#f)"/>',
    ):
        path.write_text(svg(inside))
        with pytest.raises(InputError, match=r"m\.svg' is not a readable SVG \(it draws in another file or .*black\.png'"):
            mask_of(path)
    path.write_text(svg('<image href="&p;" width="9" height="9"/>', f'<!DOCTYPE svg [<!ENTITY p "{black}">]>'))
    with pytest.raises(InputError, match="draws in another file"):
        mask_of(path)
    path.write_text(svg("", '<?xml-stylesheet href="a.css"?>'))
    with pytest.raises(InputError, match="its style sheet is another file"):
        mask_of(path)


def test_entities_that_multiply_are_refused(tmp_path: Path) -> None:
    laughs = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 12))
    path = tmp_path / "laughs.svg"
    path.write_text(svg("<desc>&l11;</desc>", f'<!DOCTYPE svg [<!ENTITY l0 "ha">{laughs}]>'))
    with pytest.raises(InputError, match=r"laughs\.svg' is not a readable SVG"):
        mask_of(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_a_flipped_bit_gives_an_image_or_one_line(tmp_path: Path, monkeypatch, kind: str) -> None:
    monkeypatch.setattr(masks, "RENDER_SIDE", 90)  # it is the reading that counts here
    buffer = io.BytesIO()
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 256, (20, 20, 3), np.uint8)).save(buffer, kind)
    whole, told = buffer.getvalue(), 0
    for _ in range(300):
        data = bytearray(whole)
        place = int(generator.integers(0, min(len(whole), 400)))
        data[place] ^= 1 << int(generator.integers(0, 8))
        (tmp_path / "flipped.png").write_bytes(data)
        try:
            assert mask_of(tmp_path / "flipped.png").shape == (9, 9)
        except InputError as error:
            assert str(error).startswith("masks.m.path: ") and "flipped.png" in str(error) and "\n" not in str(error)
            told += 1
    assert told > 0
