"""The code that a rule declares is the code that its script runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from losspatterns.records.closure import code_digest, code_files, script_digest

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


ENGINE = '''"""A module."""
import math


def area(radius: float) -> float:
    """Of a circle."""
    return math.pi * radius**2  # Archimedes


class Empty:
    """Nothing but words."""
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# Archimedes", "# known since Archimedes", True),
        ('"""Of a circle."""', '"""Of a disc, in square units."""', True),
        ('"""A module."""\n', "", True),
        ("math.pi * radius**2", "(math.pi\n        * radius ** 2)", True),
        ("radius**2", "radius**3", False),
        ("area(", "surface(", False),
        ("import math", "import math as math", False),
        ("    return", "    1\n    return", False),
    ],
)
def test_code_is_compared_by_what_it_means(tmp_path: Path, old: str, new: str, same: bool) -> None:
    file = tmp_path / "engine.py"
    file.write_text(ENGINE)
    before = code_digest([file])
    assert old in ENGINE
    file.write_text(ENGINE.replace(old, new, 1))
    assert (code_digest([file]) == before) is same


def test_scripts_have_digests_of_their_own() -> None:
    digests = {script_digest(p.name) for p in SCRIPTS.glob("*.py")}
    assert len(digests) == len(list(SCRIPTS.glob("*.py")))
