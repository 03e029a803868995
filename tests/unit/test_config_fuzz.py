"""1,000 configs, good and bad: each builds all that a dry run does, or ends in one line that names the key.

The cases are the same in every run. More of them: `CONFIG_CASES=100000 pytest tests/unit/test_config_fuzz.py`. A sample goes
through real dry runs in tests/workflow/test_config_sample.py.
"""

import os
from typing import Any

from config_cases import built, spoiled, valid
from hypothesis import HealthCheck, given, settings
from losspatterns.errors import LONGEST, InputError
from losspatterns.runs.settings import Settings

CASES = int(os.environ.get("CONFIG_CASES", 1000))
SECTIONS = set(Settings.model_fields)
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def cases(count: int) -> settings:
    return settings(max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=SLOW)


@cases(CASES * 4 // 5)
@given(spoiled())
def test_a_spoiled_config_builds_or_is_told_in_one_line(raw: Any) -> None:
    try:
        built(raw)
    except InputError as error:
        line = str(error)
        assert line.isprintable() and len(line) <= LONGEST + 10
        start = line.partition(": ")[0].partition(".")[0].partition("[")[0]
        assert start in {*SECTIONS, *raw, "top level"} or ": unknown key; allowed are scale," in line, line


@cases(CASES // 5)
@given(valid())
def test_a_config_made_of_valid_parts_builds(raw: dict[str, Any]) -> None:
    runs = built(raw)
    (study,) = runs.studies.values()
    entry = raw["studies"][study.name]
    assert len(study.runs) == len(entry["probabilities"]) * entry["squares"] * len(entry["networks"])
    for name, entry in raw["experiments"].items():
        trained = [run for run in runs.runs.values() if run.experiment == f"experiments.{name}"]
        assert len(trained) == len(raw["masks"]) * len(entry["networks"]) * len(entry["seeds"])
    assert len(runs.figures) == len(raw["figures"]) - 1
