"""Results travel: packed, put in place elsewhere, and nothing runs again; and as a crate that others can check."""

import json
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import rocrate
from conftest import ROOT, SMOKE, copy_project, dry_run, edit_config, jobs, snakemake, succeeds
from losspatterns.records.artifacts import load_table, read_record, save_table
from rocrate_validator import models, services
from rocrate_validator.utils import document_loader, http

PLANE = "results/smoke/planes/cifar10/corner/resnet/seed0.safetensors"


@pytest.fixture
def arrived(finished: Path, tmp_path: Path) -> Path:
    """A fresh copy of the project in which the smoke run's archive was put in place."""
    succeeds(finished, "pack", "--cores", "1", *SMOKE)
    folder = copy_project(tmp_path / "elsewhere")
    shutil.move(finished / "results/smoke.zip", folder.parent / "smoke.zip")
    succeeds(folder, "unpack", "--cores", "1", *SMOKE, "--config", "archive=../smoke.zip")
    return folder


def test_nothing_runs_after_unpacking_and_an_edit_reruns_what_it_touches(arrived: Path) -> None:
    assert jobs(arrived) == {}
    succeeds(arrived, "provenance", "--cores", "1", *SMOKE)
    edit_config(arrived, {"figures": {"fig1_landscapes": {"contours": True}}})
    assert jobs(arrived) == {"fig1_landscapes": 1, "make_manifest": 1}
    edit_config(arrived, {"studies": {"batch_norm_study": {"training": {"updates": 9}}}})
    found = jobs(arrived)
    assert found["train_plane"] == found["evaluate_surface"] == 4 and not {"warm_origin", "fetch_dataset"} & set(found)
    damage = arrived.parent / "smoke.zip"
    damage.write_bytes(damage.read_bytes()[:-100])
    done = snakemake(arrived, "unpack", "--cores", "1", *SMOKE, "--config", "archive=../smoke.zip")
    assert done.returncode != 0 and "error: ../smoke.zip: damaged" in done.stdout and "Traceback" not in done.stdout


def test_a_command_s_file_is_asked_for_and_is_no_setting(project: Path) -> None:
    assert "config: archive: missing; expected what `snakemake pack` wrote" in dry_run(project, "unpack", ends_well=False)
    assert "config: archive: " in dry_run(project, "--config", "archive=a.zip", ends_well=False)


def test_scores_are_compared_with_those_of_another_run(finished: Path, tmp_path: Path) -> None:
    scores, other = finished / "results/smoke/scores.csv", tmp_path / "other.csv"
    for suffix in ("", ".json"):
        shutil.copy(f"{scores}{suffix}", f"{other}{suffix}")
    given = ("compare", "--cores", "1", *SMOKE, "--config", f"scores={other}")
    rows = len(load_table(scores).query("control != 'snapshot' and bn_protocol != 'identity'"))
    assert f"{rows} agree, 0 differ, 0 not compared, 0 missing: {other}" in succeeds(finished, *given)
    save_table(
        other, load_table(scores).assign(accuracy_gap=lambda table: table.accuracy_gap - 0.5), read_record(scores)["made_by"]
    )
    done = snakemake(finished, *given)
    assert done.returncode != 0 and f"0 agree, {rows} differ" in done.stdout and "Traceback" not in done.stdout
    assert jobs(finished) == {}


@pytest.fixture
def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The validator reads the JSON-LD context that rocrate brings, with the name that version 1.1 had for a workflow."""
    context = json.loads((Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_text(encoding="utf-8"))
    context["@context"]["ComputationalWorkflow"] = "https://bioschemas.org/ComputationalWorkflow"
    answer = {"status_code": 200, "json": lambda: context, "headers": {"Content-Type": "application/ld+json"}}
    monkeypatch.setattr(document_loader, "_fetch_json_ld", lambda url: context)
    monkeypatch.setattr(http.HttpRequester, "get", lambda self, url, **_: SimpleNamespace(**answer, url=url), raising=False)


@pytest.mark.usefixtures("without_network")
def test_a_crate_keeps_to_its_profile_and_is_verified_where_it_is_unpacked(finished: Path, tmp_path: Path) -> None:
    crate, folder = finished / "results/smoke.crate.zip", tmp_path / "crate"
    for file in ("CITATION.cff", "LICENSE", "README.md"):
        shutil.copy(ROOT / file, finished / file)
    succeeds(finished, "crate", "--cores", "1", *SMOKE)
    before = crate.read_bytes()
    crate.unlink()
    succeeds(finished, "crate", "--cores", "1", *SMOKE)
    assert crate.read_bytes() == before
    with zipfile.ZipFile(crate) as archive:
        archive.extractall(folder)
    settings = services.ValidationSettings(
        rocrate_uri=str(folder),
        profile_identifier="provenance-run-crate-0.5",
        requirement_severity=models.Severity.REQUIRED,
        offline=True,
    )
    assert [issue.message for issue in services.validate(settings).get_issues()] == []
    entities = {entity["@id"]: entity for entity in json.loads((folder / "ro-crate-metadata.json").read_text())["@graph"]}
    trained = entities["#job/train_plane/cifar10/corner/resnet/seed0"]
    assert {"@id": PLANE} in trained["result"] and {"@id": "results/smoke/data/cifar10.npz"} in trained["object"]
    assert entities["#snakemake"]["softwareVersion"] == version("snakemake")
    command = [sys.executable, "scripts/provenance.py", "--brief", "figures/smoke/fig5_cifar10.png"]
    assert subprocess.run(command, cwd=folder).returncode == 0
    assert jobs(folder) == {}
    whole = (folder / PLANE).read_bytes()
    (folder / PLANE).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True)
    assert done.returncode == 1 and done.stderr.startswith(f"error: {PLANE}: damaged")
