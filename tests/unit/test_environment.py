"""The pins: one list, in two forms."""

from __future__ import annotations

from pathlib import Path

import yaml

ENVS = Path(__file__).parents[2] / "envs"


def test_conda_environment_has_the_same_pins_and_each_has_a_reason() -> None:
    lines = [line for line in (ENVS / "requirements.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    pins, reasons = zip(*(line.split("  # ") for line in lines), strict=True)
    assert all("==" in pin for pin in pins) and all(reasons)
    environment = yaml.safe_load((ENVS / "environment.yaml").read_text(encoding="utf-8"))
    assert environment["dependencies"][-1]["pip"] == list(pins)
