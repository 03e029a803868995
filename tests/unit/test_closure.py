"""The code that a rule declares is the code that its script runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from losspatterns.closure import code_files

SCRIPTS = Path(__file__).parents[2] / "scripts"
PROBE = """
import json, runpy, sys
runpy.run_path(sys.argv[1], run_name="imported")
print(json.dumps([m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "losspatterns"]))
"""


@pytest.mark.parametrize("name", sorted(p.name for p in SCRIPTS.glob("*.py")))
def test_declared_code_covers_what_is_imported(name: str) -> None:
    script = SCRIPTS / name
    command = [sys.executable, "-c", PROBE, str(script)]
    out = subprocess.run(command, cwd=SCRIPTS, env={"PYTHONPATH": str(SCRIPTS)}, capture_output=True)
    assert out.returncode == 0, out.stderr.decode()
    loaded = {Path(file) for file in json.loads(out.stdout)} | {script}
    declared = set(code_files(script))
    assert loaded <= declared
    assert len(declared) < len(list(SCRIPTS.rglob("*.py")))


def test_plotting_and_training_do_not_know_each_other() -> None:
    figures = {p.name for p in code_files(SCRIPTS / "plot_fig1_landscapes.py")}
    training = {p.name for p in code_files(SCRIPTS / "train_plane.py")}
    assert not {"training.py", "mpo.py", "networks.py"} & figures
    assert not {"style.py", "surfaces.py", "scores.py", "masks.py", "datasets.py"} & training
    assert {"training.py", "mpo.py", "networks.py", "plane.py", "artifacts.py"} <= training
