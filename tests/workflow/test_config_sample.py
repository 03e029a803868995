"""A sample of the configs of tests/unit/test_config_fuzz.py, through real dry runs: Snakemake says what the check says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from config_cases import built, spoiled, valid
from conftest import copy_project, snakemake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from losspatterns.errors import InputError


def sample(made_by: st.SearchStrategy[Any], drawn: int, every: int) -> list[Any]:
    """Each `every`th of `drawn` cases, the same in every run."""
    found: list[Any] = []

    @settings(max_examples=drawn, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(made_by)
    def collect(raw: Any) -> None:
        found.append(raw)

    collect()
    return found[every - 1 :: every]


SPOILED, VALID = sample(spoiled(), 80, 10), sample(valid(), 40, 10)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("project") / "with a space")


@pytest.mark.parametrize("raw", SPOILED + VALID, ids=[f"spoiled{i}" for i in range(8)] + [f"valid{i}" for i in range(4)])
def test_a_dry_run_says_what_the_check_says(project: Path, raw: Any) -> None:
    file = project / "case.yaml"
    file.write_text(yaml.safe_dump(raw, allow_unicode=True, sort_keys=False), encoding="utf-8")
    try:
        built(yaml.safe_load(file.read_text(encoding="utf-8")))
        expected = None
    except InputError as error:
        expected = f"config: {error}"
    done = snakemake(project, "all", "benchmarks", "--dry-run", "--cores", "2", "--configfile", "case.yaml")
    assert "Traceback" not in done.stdout
    if expected is None:
        assert done.returncode == 0, done.stdout[-3000:]
        assert "train_plane" in done.stdout and "plot_benchmarks" in done.stdout
    else:
        assert done.returncode != 0
        assert expected in done.stdout.splitlines(), done.stdout[-3000:]
