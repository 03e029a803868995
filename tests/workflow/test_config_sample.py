"""A sample of the configs of tests/unit/test_config_fuzz.py, over the default scale: a dry run says what the check says."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from config_cases import built, spoiled, valid
from configs import layered
from conftest import copy_project, dry_run
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


def says_what_the_check_says(project: Path, raw: Any) -> bool:
    """Dry run of a config over the default scale; whether it is a valid one."""
    file = project / "case.yaml"
    file.write_text(yaml.safe_dump(raw, allow_unicode=True, sort_keys=False), encoding="utf-8")
    arguments = ("all", "benchmarks", "--cores", "2", "--configfile=case.yaml")
    try:
        built(layered("default", yaml.safe_load(file.read_text(encoding="utf-8"))))
    except InputError as error:
        output = dry_run(project, *arguments, ends_well=False)
        assert "Traceback" not in output
        assert f"config: {error}" in output.splitlines(), output[-3000:]
        return False
    output = dry_run(project, *arguments)
    assert "train_plane" in output and "benchmark_quality" in output
    return True


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("project") / "with a space")


def test_a_dry_run_of_a_spoiled_config_says_what_the_check_says(project: Path) -> None:
    outcomes = [says_what_the_check_says(project, raw) for raw in sample(spoiled(), 80, every=10)]
    assert len(outcomes) == 8 and outcomes.count(False) >= 3


def test_a_dry_run_of_a_config_made_of_valid_parts_plans_its_jobs(project: Path) -> None:
    outcomes = [says_what_the_check_says(project, raw) for raw in sample(valid(), 30, every=10)]
    assert outcomes == [True] * 3
