"""The pins: one list, in two forms; and the locks, which hold all that they install."""

import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ENVS = Path(__file__).parents[2] / "envs"
LOCKED = {"requirements.lock": ["requirements.txt"]}
LOCKED["requirements-dev.lock"] = [f"requirements{of}.txt" for of in ("", "-slurm", "-docs", "-dev")]


def pins(file: str) -> list[str]:
    """The pins of a requirements file, each of which has a reason; no pin of the files that it includes."""
    lines = [line for line in (ENVS / file).read_text(encoding="utf-8").splitlines() if not line.startswith(("#", "-r "))]
    found, reasons = zip(*(line.split("  # ") for line in lines), strict=True)
    assert all("==" in pin for pin in found) and all(reasons)
    return list(found)


def locked(file: str) -> list[Requirement]:
    """What a lock installs, each with hashes; packaging raises InvalidRequirement for a line that is something else."""
    text = re.sub(r" *#.*", "", (ENVS / file).read_text(encoding="utf-8")).replace("\\\n", "")
    found = []
    for line in text.split("\n"):
        requirement, *hashes = line.split(" --hash=sha256:")
        if requirement.strip():
            assert hashes and all(re.fullmatch(r"[0-9a-f]{64} *", value) for value in hashes), line
            found.append(Requirement(requirement))
    return found


def test_conda_environment_has_the_same_pins_and_each_has_a_reason() -> None:
    environment = yaml.safe_load((ENVS / "environment.yaml").read_text(encoding="utf-8"))
    assert environment["dependencies"][-1]["pip"] == pins("requirements.txt")


def test_what_a_cluster_and_the_tests_add_is_pinned_too() -> None:
    assert {pin.split("==")[0] for pin in pins("requirements-slurm.txt")} == {"snakemake-executor-plugin-slurm"}
    assert {pin.split("==")[0] for pin in pins("requirements-dev.txt")} >= {"pytest", "ruff", "snakefmt"}


@pytest.mark.parametrize("lock", LOCKED)
def test_a_lock_has_every_pin_and_one_version_with_hashes_of_all(lock: str) -> None:
    found = locked(lock)
    assert {pin for file in LOCKED[lock] for pin in pins(file)} <= {f"{entry.name}{entry.specifier}" for entry in found}
    assert all(re.fullmatch(r"==[^,*+]+", str(entry.specifier)) for entry in found), "one version, no machine's own build"
    here = [entry.name for entry in found if entry.marker is None or entry.marker.evaluate()]
    assert len(here) == len(set(here))


def test_who_runs_has_what_the_tests_have() -> None:
    tested = {f"{entry.name}{entry.specifier}" for entry in locked("requirements-dev.lock")}
    used = [entry for entry in locked("requirements.lock") if "win32" not in str(entry.marker)]
    assert [str(entry) for entry in used if f"{entry.name}{entry.specifier}" not in tested] == []


@pytest.mark.parametrize("lock", LOCKED)
def test_a_lock_has_all_that_its_packages_require(lock: str) -> None:
    """As far as they are installed here, by what their own metadata say."""
    names = {entry.name for entry in locked(lock)}
    missing, seen = {}, 0
    for name in names:
        try:
            needs = [Requirement(need) for need in requires(name) or []]
        except PackageNotFoundError:
            continue
        seen += 1
        needs = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
        if lacks := {need.name for need in needs if canonicalize_name(need.name) not in names}:
            missing[name] = lacks
    assert not missing and seen > 50


def test_the_oldest_versions_are_of_the_same_packages_and_no_newer() -> None:
    oldest = dict(line.split("==") for line in (ENVS / "requirements-oldest.txt").read_text().splitlines() if "==" in line)
    pinned = dict(pin.split("==") for pin in pins("requirements.txt"))
    assert list(oldest) == list(pinned)
    assert all(Version(oldest[name]) <= Version(pinned[name]) for name in pinned)
