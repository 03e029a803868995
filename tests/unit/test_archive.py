"""An archive of results is put in place whole and as it was packed, or not at all."""

import json
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from losspatterns.data.datasets import BUNDLED_SUBSET
from losspatterns.errors import InputError
from losspatterns.records import archive, artifacts
from losspatterns.records.archive import PACKED, pack, snakemake_records, unpack, write_zip
from losspatterns.records.artifacts import NO_LICENCE, load_arrays, load_table, save_table, save_text
from losspatterns.records.tracing import trace

TABLE, FIGURE, MANIFEST = "results/s/a.csv", f"figures/s/{'b' * 200}.csv", "results/s/manifest.json"
FOLDERS = ("results/s", "figures/s")
Members = dict[str, bytes]


def record(folder: Path, output: str) -> None:
    """As Snakemake leaves one."""
    from snakemake.persistence.file import FilePersistence

    FilePersistence(path=folder / ".snakemake")._io_write(str(folder / ".snakemake/metadata"), {"rule": "a"}, output)


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of two tables; the working directory is then an empty folder."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    for file in (TABLE, FIGURE):
        save_table(file, [{"x": 1}], {})
        record(home, file)
    save_text(MANIFEST, "{}", {})
    assert pack("results/s.zip", "s", FOLDERS, [TABLE, FIGURE], MANIFEST) == 8
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    return home / "results/s.zip"


def files() -> dict[str, bytes]:
    """All files of the working directory."""
    return {file.as_posix(): file.read_bytes() for file in sorted(Path().rglob("*")) if file.is_file()}


def test_it_arrives_with_snakemake_s_records_and_equal_results_give_equal_bytes(packed: Path) -> None:
    assert unpack(packed, "s", FOLDERS) == 8 and unpack(packed, "s", FOLDERS) == 0
    assert set(snakemake_records()) == {TABLE, FIGURE}
    os.utime(TABLE, (0, 0))
    pack("again.zip", "s", FOLDERS, [FIGURE, TABLE], MANIFEST)
    assert Path("again.zip").read_bytes() == packed.read_bytes()


def test_what_snakemake_would_make_again_is_not_packed(packed: Path) -> None:
    unpack(packed, "s", FOLDERS)
    snakemake_records()[FIGURE].unlink()
    with pytest.raises(InputError, match=r"b\.csv: \.snakemake/metadata does not say what made it; snakemake --touch"):
        pack("again.zip", "s", FOLDERS, [TABLE, FIGURE], MANIFEST)


def test_results_that_are_here_and_differ_stay(packed: Path) -> None:
    unpack(packed, "s", FOLDERS)
    Path(TABLE).write_text("mine")
    Path(MANIFEST).unlink()
    before = files()
    with pytest.raises(InputError, match=rf"^{TABLE}: differs from that in .*; move results/s and figures/s away, then"):
        unpack(packed, "s", FOLDERS)
    assert files() == before


def listing(change: Callable[[dict], object]) -> Callable[[Members], None]:
    """What changes the list of an archive."""

    def apply(members: Members) -> None:
        listed = json.loads(members[PACKED])
        change(listed)
        members[PACKED] = json.dumps(listed).encode()

    return apply


def elsewhere(name: str) -> Callable[[Members], None]:
    """What adds a file, and lists it."""

    def apply(members: Members) -> None:
        members[name] = b"x"
        digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
        listing(lambda listed: listed["files"].update({name: digest}))(members)

    return apply


CHANGES: list[tuple[Callable[[Members], object], str]] = [
    (lambda members: members.update({TABLE: b"x\n2\n"}), f"'{TABLE}' is not as it was packed; get"),
    (lambda members: members.pop(TABLE), f"'{TABLE}' is listed, but not in it; get"),
    (lambda members: members.update({"results/s/c.csv": b""}), "'results/s/c.csv' is in it, but not listed; get"),
    (lambda members: members.pop(PACKED), "no archive of results: packed.json is missing"),
    (lambda members: members.update({PACKED: b"[]"}), "packed.json has another form"),
    (lambda members: members.update({PACKED: b"{"}), "damaged, or no archive"),
    (listing(lambda listed: listed.update(format=2)), "packed.json has another form"),
    (listing(lambda listed: listed.update(scale="t")), "holds the scale 't', but the config's is 's'; give"),
    (elsewhere(f"{TABLE}/x.json"), f"'{TABLE}/x.json' lies below '{TABLE}', which is a file; refused"),
    *[
        (elsewhere(name), f"'{name}' is no place for a result of the scale s; refused")
        for name in (
            *("../x", "/x", "results/s/../../x", "results/t/x", "results/s", "scripts/x.py", "results/s//x"),
            *("results/s/x.sh", "results/s/x.csv"),  # no result; without its record
            *(".snakemake/metadata/cmVzdWx0cy90L3g=", ".snakemake/locks/0.input.lock"),  # of results/t/x
        )
    ],
]


@pytest.mark.parametrize(("change", "message"), CHANGES, ids=[message[:50] for _, message in CHANGES])
def test_a_changed_archive_is_told_in_one_line_and_nothing_is_put_in_place(
    packed: Path, change: Callable[[Members], object], message: str
) -> None:
    with zipfile.ZipFile(packed) as found:
        members = {name: found.read(name) for name in found.namelist()}
    change(members)
    write_zip(packed, members)
    with pytest.raises(InputError) as caught:
        unpack(packed, "s", FOLDERS)
    assert f"{packed}: {message}" in str(caught.value) and "\n" not in str(caught.value)
    assert files() == {}


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_a_truncated_or_foreign_file_is_told(packed: Path, share: float) -> None:
    whole = packed.read_bytes()
    packed.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"s\.zip: damaged, or no archive of results"):
        unpack(packed, "s", FOLDERS)
    with pytest.raises(InputError, match=r"^nothing\.zip: cannot be read \(No such file"):
        unpack("nothing.zip", "s", FOLDERS)
    assert files() == {}


def test_a_link_and_a_member_twice_are_refused(packed: Path) -> None:
    with zipfile.ZipFile(packed) as found:
        members = {name: found.read(name) for name in found.namelist()}
    for twice in (False, True):
        with zipfile.ZipFile(packed, "w") as changed:
            for name, data in members.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = (stat.S_IFREG if twice or name != TABLE else stat.S_IFLNK) << 16
                changed.writestr(info, data)
            if twice:
                with pytest.warns(UserWarning, match="Duplicate"):
                    changed.writestr(zipfile.ZipInfo(TABLE), members[TABLE])
        with pytest.raises(InputError, match="not listed" if twice else f"'{TABLE}' is a link, a folder or compressed"):
            unpack(packed, "s", FOLDERS)
    assert files() == {}


def test_a_broken_member_is_told(packed: Path) -> None:
    whole = packed.read_bytes()
    packed.write_bytes(whole.replace(b"x\n1\n", b"x\n2\n", 1))  # its CRC is that of before
    with pytest.raises(InputError, match=r"s\.zip: damaged, or no archive of results \(Bad CRC"):
        unpack(packed, "s", FOLDERS)
    assert archive.FORMAT == 1 and files() == {}


def test_the_data_of_this_repository_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(artifacts, "_inputs", {})
    load_arrays(BUNDLED_SUBSET)
    save_table(TABLE, [{"x": 1}], {})
    assert set(trace([TABLE])) == {TABLE, "fashion_mnist_subset.npz"}


def test_a_list_that_would_fill_the_memory_is_not_read(packed: Path) -> None:
    with zipfile.ZipFile("bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(PACKED, bytes(10**8))
    with pytest.raises(InputError, match=r"'packed.json' is a link, a folder or compressed"):
        unpack("bomb.zip", "s", FOLDERS)


def test_data_without_a_licence_stay_behind_and_their_record_stands_for_them(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    data, table = "results/s/data.csv", "results/s/table.csv"
    save_table(data, [{"x": 1}], {"licence": f"{NO_LICENCE}; cite"})
    load_table(data)
    save_table(table, [{"y": 2}], {})
    monkeypatch.setattr(artifacts, "_inputs", {})
    save_text(MANIFEST, "{}", {})
    for file in (data, table, MANIFEST):
        record(tmp_path, file)
    pack("s.zip", "s", FOLDERS, [table], MANIFEST)
    with zipfile.ZipFile("s.zip") as archive:
        assert f"{data}.json" in archive.namelist() and data not in archive.namelist()
    Path(data).unlink()
    assert data in trace([table])
    with pytest.raises(InputError, match=f"{data}: is not here, as its licence does not let it be passed on; get it again"):
        load_table(data)
    Path(table).unlink()
    with pytest.raises(InputError, match=f"{table}: no such file, though its record table.csv.json is there"):
        trace([table])
