"""From a figure back to the dataset: what made each file is told, and a file that is not what was written is refused."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import SMOKE, jobs, snakemake, succeeds
from losspatterns.records.artifacts import checksum, file_checksum, read_record, record_path
from PIL import Image

FIGURE = "figures/smoke/fig5_cifar10.png"
RUN = "cifar10/corner/resnet/seed0"
SURFACE = f"results/smoke/surfaces/{RUN}.nc"
PLANE = f"results/smoke/planes/{RUN}.safetensors"
MASK = "results/smoke/masks/corner.npy"
DATA = "results/smoke/data/cifar10.npz"


def origin(folder: Path, network: str) -> str:
    """The file of the only origin of a network on its data set."""
    (file,) = (folder / "results/smoke/origins").glob(f"*/{network}/seed0-????????.safetensors")
    return file.relative_to(folder).as_posix()


def provenance(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/provenance.py", *arguments]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True)


def flip_a_bit(file: Path) -> None:
    """One bit in the middle of a file; its times stay."""
    before = file.stat()
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes(whole)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_figure_tells_what_made_it_back_to_the_dataset(smoke: Path) -> None:
    told = provenance(smoke, FIGURE)
    assert told.returncode == 0, told.stderr
    names = [line for line in told.stdout.splitlines() if line and not line.startswith(" ")]
    from_origin = origin(smoke, "resnet")
    assert names[0] == FIGURE and set(names[1:-1]) == {SURFACE, PLANE, from_origin, MASK, DATA}
    steps = dict(re.findall(r"^(\S+/\S+)\n((?: .*\n)+)", told.stdout, re.M))
    for file, inputs in (
        (FIGURE, {SURFACE}),
        (SURFACE, {PLANE, from_origin, MASK, DATA}),
        (PLANE, {from_origin, MASK, DATA}),
        (from_origin, {DATA}),
        (MASK, set()),
        (DATA, set()),
    ):
        assert set(re.findall(r"^    from     (\S+)$", steps[file], re.M)) == inputs, file
    for fact in ("train_plane.py (the code here", "torch", '"recipe": "fast"', "seed     0", "device   cpu"):
        assert fact in steps[PLANE], fact
    for fact in ("warm_origin.py (the code here", '"origin_updates": 10', "seed     0"):
        assert fact in steps[from_origin], fact
    assert "synthetic shapes" in steps[DATA]


def test_figures_carry_a_short_form(smoke: Path) -> None:
    with Image.open(smoke / FIGURE) as image:
        facts = json.loads(image.text["Provenance"])
    assert facts["script"] == "draw_figure.py" and facts["inputs"][SURFACE] == file_checksum(smoke / SURFACE)
    assert f'"{SURFACE}'.encode() in (smoke / FIGURE.replace(".png", ".pdf")).read_bytes().replace(b"\\", b"")


def test_the_manifest_lists_everything_with_its_checksum(smoke: Path) -> None:
    entries = json.loads((smoke / "results/smoke/manifest.json").read_text(encoding="utf-8"))
    files = {p.relative_to(smoke).as_posix() for part in ("results", "figures") for p in (smoke / part).rglob("*")}
    kinds = (".npz", ".npy", ".safetensors", ".nc", ".pdf", ".png")
    assert {f for f in files if f.endswith(kinds)} <= set(entries)
    assert {"results/smoke/scores.csv", "results/smoke/study.csv", f"results/smoke/planes/{RUN}.history.csv"} <= set(entries)
    for name, entry in entries.items():
        if name.endswith(kinds):
            assert entry["checksum"] == file_checksum(smoke / name), name
    assert SURFACE in entries[FIGURE]["inputs"] and PLANE in entries[SURFACE]["inputs"]


def test_bit_flipped_artifacts_are_named_with_their_rules(finished: Path) -> None:
    """One of every kind, each read by another job of one run, which names them all; then they are made again."""
    pictures, squares = ("fashion_mnist/heart/conv/seed0", "fashion_mnist/corner/conv/seed0"), "fashion_mnist/batch_norm_study"
    damaged = {  # file -> the rule that wrote it, and what is removed, so that the file is read again
        DATA: ("fetch_dataset", SURFACE),
        "results/smoke/masks/batch_norm_study_p60_0.npy": (
            "make_mask",
            f"results/smoke/surfaces/{squares}_p60_0/study_plain/seed60000.nc",
        ),
        origin(finished, "conv"): ("warm_origin", f"results/smoke/surfaces/{pictures[0]}.nc"),
        f"results/smoke/planes/{squares}_p30_0/study_plain/seed30000.safetensors": (
            "train_plane",
            f"results/smoke/surfaces/{squares}_p30_0/study_plain/seed30000.nc",
        ),
        f"results/smoke/surfaces/{pictures[1]}.nc": ("evaluate_surface", "figures/smoke/fig2_method.png"),
    }
    removed = [target for _, target in damaged.values()]
    for file in damaged:
        flip_a_bit(finished / file)
    for file in removed:
        (finished / file).unlink()
    done = snakemake(finished, *removed, "--cores", "2", *SMOKE)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    errors = {line.strip() for line in done.stdout.splitlines() if line.strip().startswith("error: ")}
    assert len(errors) == len(damaged), errors
    for file, (rule, _) in damaged.items():
        (line,) = (line for line in errors if line.startswith(f"error: {file}: damaged"))
        assert f"{rule} wrote" in line and "delete it and run again" in line
        (finished / file).unlink()
    succeeds(finished, *removed, "--cores", "2", *SMOKE)
    assert provenance(finished, *removed, "--brief").returncode == 0


def test_bit_flipped_tables_are_named_with_their_rules(finished: Path) -> None:
    history = f"results/smoke/planes/{RUN}.history.csv"
    for damaged, rule, removed in (
        ("results/smoke/scores.csv", "score_surfaces", "figures/smoke/fig6_fill_probability.png"),
        (history, "train_plane", "results/smoke/scores.csv"),
    ):
        flip_a_bit(finished / damaged)
        (finished / removed).unlink()
        done = snakemake(finished, removed, "--cores", "2", *SMOKE)
        assert done.returncode != 0 and "Traceback" not in done.stdout
        (line,) = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("error: ")]
        assert line.startswith(f"error: {damaged}: damaged") and f"{rule} wrote" in line


def test_damage_anywhere_behind_a_figure_is_found(finished: Path) -> None:
    assert "are whole" in provenance(finished, FIGURE, "--brief").stdout
    flip_a_bit(finished / PLANE)
    found = provenance(finished, FIGURE)
    assert found.returncode == 1 and found.stdout == ""
    assert found.stderr.startswith(f"error: {PLANE}: damaged") and found.stderr.count("\n") == 1
    told = snakemake(finished, "provenance", "--cores", "1", *SMOKE)
    assert told.returncode != 0 and f"error: {PLANE}: damaged" in told.stdout


def test_a_file_made_anew_behind_a_figure_s_back_is_found(finished: Path) -> None:
    other = "results/smoke/surfaces/fashion_mnist/corner/conv/seed0.nc"
    for file, copied in ((SURFACE, other), (record_path(SURFACE), record_path(other))):
        (finished / file).write_bytes((finished / copied).read_bytes())
    read_record(finished / SURFACE)  # whole by itself
    os.utime(finished / SURFACE, (0, 0))  # as a copy that keeps dates; Snakemake sees nothing to do
    found = provenance(finished, FIGURE)
    assert found.returncode == 1
    assert found.stderr.startswith("error: ") and f"was made from another {SURFACE}" in found.stderr
    assert f"touch {SURFACE}, then run snakemake again" in found.stderr
    (finished / SURFACE).touch()
    assert jobs(finished)["fig5_cifar10"] == 1


def test_what_is_there_of_a_scale_is_verified_and_nothing_made(finished: Path) -> None:
    given = ("provenance", "--cores", "1", *SMOKE)
    (finished / FIGURE).unlink()
    told = succeeds(finished, *given)
    assert f" results are not there, so not verified: {FIGURE} ..." in told and "artifacts are whole" in told
    assert not (finished / FIGURE).exists() and "made by different versions" not in told
    one, other = (finished / f"figures/smoke/fig{name}.png" for name in ("1_landscapes", "2_method"))
    for suffix in ("", ".json"):  # two figures change places with their records: nothing was made from them
        one_s, other_s = Path(f"{one}{suffix}"), Path(f"{other}{suffix}")
        one_s.rename(one_s.with_suffix(".x")), other_s.rename(one_s), one_s.with_suffix(".x").rename(other_s)
    told = snakemake(finished, *given).stdout
    assert "error: figures/smoke/fig1_landscapes.png: is not the file that results/smoke/manifest.json lists; delete it" in told
    manifest = finished / "results/smoke/manifest.json"
    flip_a_bit(manifest)
    assert "error: results/smoke/manifest.json: damaged" in snakemake(finished, *given).stdout


def test_results_of_two_versions_are_told(finished: Path) -> None:
    for record in (finished / f"{FIGURE}.json", finished / f"{PLANE}.json"):
        outer = json.loads(record.read_text(encoding="utf-8"))
        outer["record"]["made_by"] |= {"kernels": "off", "versions": outer["record"]["made_by"]["versions"] | {"torch": "0"}}
        outer["sha256"] = checksum(json.dumps(outer["record"], sort_keys=True).encode())
        record.write_text(json.dumps(outer), encoding="utf-8")
    told = provenance(finished, FIGURE, "--brief").stdout
    assert re.search(r"^made by different versions of torch: \S+ \(4 files\), 0 \(2 files\)", told, re.M)
    assert "made by different versions of compiled kernels: on (4 files), off (2 files)" in told
