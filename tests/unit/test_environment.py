"""The pins: one list, in two forms."""

from __future__ import annotations

from pathlib import Path

import yaml

ENVS = Path(__file__).parents[2] / "envs"


def pins(file: str) -> list[str]:
    """The pins of a requirements file, each of which has a reason; no pin of the files that it includes."""
    lines = [line for line in (ENVS / file).read_text(encoding="utf-8").splitlines() if not line.startswith(("#", "-r "))]
    found, reasons = zip(*(line.split("  # ") for line in lines), strict=True)
    assert all("==" in pin for pin in found) and all(reasons)
    return list(found)


def test_conda_environment_has_the_same_pins_and_each_has_a_reason() -> None:
    environment = yaml.safe_load((ENVS / "environment.yaml").read_text(encoding="utf-8"))
    assert environment["dependencies"][-1]["pip"] == pins("requirements.txt")


def test_what_a_cluster_and_the_tests_add_is_pinned_too() -> None:
    assert {pin.split("==")[0] for pin in pins("requirements-slurm.txt")} == {"snakemake-executor-plugin-slurm"}
    assert {pin.split("==")[0] for pin in pins("requirements-dev.txt")} >= {"pytest", "ruff", "snakefmt"}
