"""The digest of a script's code: it covers the modules that it imports, and is the same under every Python."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from losspatterns.records import closure
from losspatterns.records.closure import SCRIPTS, code_files, reached, script_digest

NAMES = sorted(p.name for p in SCRIPTS.glob("*.py")) + sorted(
    f"benchmarks/{p.name}" for p in SCRIPTS.parent.glob("benchmarks/*.py") if "__main__" in p.read_text(encoding="utf-8")
)

ELSEWHERE = """
import json, sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
spec = spec_from_file_location("closure", sys.argv[1] + "/losspatterns/records/closure.py")  # without the packages it is in
closure = sys.modules["closure"] = module_from_spec(spec)
spec.loader.exec_module(closure)
print(json.dumps([closure.script_digest(name) for name in sys.argv[2:]]))
"""


def test_digests_are_the_same_under_every_python() -> None:
    expected = [script_digest(name) for name in NAMES]
    assert len(set(expected)) == len(NAMES)  # of their own
    for python in Path(sys.base_prefix).parent.glob("*/bin/python3.1[1-9]"):  # installed beside this one
        done = subprocess.run([python, "-c", ELSEWHERE, str(SCRIPTS), *NAMES], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == expected, python


ENGINE = '''"""A module."""
import math


def area(radius: float) -> float:
    """Of a circle."""
    found, what = f"found {radius}", "a circle"
    left = "take another"
    if radius < 0:
        print(f"{left}, as {math} says")
        raise ValueError(f"{found}" + "!" + left)
    report("done")
    parser.add_argument("--radius", help="of what")
    return math.pi * radius**2  # Archimedes


class Empty:
    """Nothing but words."""


SIDE = Field(3, ge=1, description="Of the square.", examples=[1, 2])
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# Archimedes", "# known since Archimedes", True),
        ('"""Of a circle."""', '"""Of a disc, in square units."""', True),
        ('"""A module."""\n', "", True),
        ("math.pi * radius**2", "(math.pi\n        * radius ** 2)", True),
        ('description="Of the square."', 'description="Of the " + OTHER', True),
        (", examples=[1, 2]", "", True),
        ('"""Nothing but words."""', "pass", True),
        ('f"{found}" + "!"', 'f"{found}," + "?"', True),
        ('"take another"', 'f"take {what}"', True),
        ('"take another"', '"take one more"', True),
        ('f"{left}, as', 'f"{left}; as', True),
        ('report("done")', 'report("ready")', True),
        ('report("done")', 'deport("ready")', False),
        ('help="of what"', 'help="of the circle"', True),
        ('"--radius"', '"--side"', False),
        ('"a circle"', '"a disc"', False),
        ("ValueError", "TypeError", False),
        ("Field(3, ge=1,", "Field(3, ge=2,", False),
        ('Field(3, ge=1, description="Of the square."', 'Text(3, ge=1, description="Of the square."', False),
        ("radius**2", "radius**3", False),
        ("radius**2", "radius**2.0", False),
        ("radius**2", 'radius**"2"', False),
        ("area(", "surface(", False),
        ("import math", "import math as math", False),
        ("    return", "    1\n    return", False),
    ],
)
def test_code_is_compared_by_what_it_means(tmp_path: Path, old: str, new: str, same: bool) -> None:
    before, after = tmp_path / "before.py", tmp_path / "after.py"
    assert old in ENGINE
    before.write_text(ENGINE)
    after.write_text(ENGINE.replace(old, new, 1))
    assert (closure._read(before)[1] == closure._read(after)[1]) is same


FILES = {
    "scripts/train.py": "from house.shared import Conv\nimport house.tables as t\ndef main():\n    from house.late import x\n",
    "scripts/house/shared.py": "from . import base\nif TYPE_CHECKING:\n    from .types import Hint\n",
    "scripts/house/base.py": "from .sub.deep import X\n",
    "scripts/house/sub/__init__.py": "from .. import errors\n",
    "scripts/house/late.py": "from .effects import *\n",
    "scripts/house/unused.py": "from .sub.deep import X\n",
    "benchmarks/clock.py": "from house.sub.deep import X\nfrom ticks import tick\nimport math\n",
    "benchmarks/ticks.py": "",
} | dict.fromkeys((f"scripts/house/{name}.py" for name in "__init__ errors types tables effects sub/deep".split()), "")
PACKAGES = {"house/__init__.py", "house/errors.py", "house/sub/__init__.py", "house/sub/deep.py"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_script_reaches_what_it_imports(project: Path) -> None:
    """Wherever the import stands, through packages and their __init__.py, but not what is imported for types alone."""
    clock, train = (reached([project / name], project / "scripts") for name in ("benchmarks/clock.py", "scripts/train.py"))
    of_train = {f"house/{name}.py" for name in "shared base tables late effects".split()}
    assert clock == {project / "scripts" / name for name in PACKAGES} | {
        project / "benchmarks" / f for f in ("clock.py", "ticks.py")
    }
    assert train == {project / "scripts" / name for name in PACKAGES | of_train | {"train.py"}}
    assert code_files(project / "scripts/train.py") == [
        project / "scripts/train.py",
        *sorted(train - {project / "scripts/train.py"}),
    ]


def test_a_module_that_a_script_imports_by_name_counts() -> None:
    named = [(), ("losspatterns.figures.method",), ("losspatterns.figures.study",)]
    assert len({script_digest("draw_figure.py", *modules) for modules in named}) == 3


IMPORTED = """
import json, pathlib, runpy, sys
found = {}
for script in sys.argv[2:]:
    for name in [name for name in sys.modules if name.split(".")[0] == "losspatterns"]:
        del sys.modules[name]
    sys.path[:0] = folders = [str(pathlib.Path(script).parent), sys.argv[1]]
    before = set(sys.modules)
    runpy.run_path(script, run_name="imported")
    files = [getattr(sys.modules[name], "__file__", None) for name in set(sys.modules) - before]
    found[script] = [file for file in files if file and file.startswith(tuple(folders))]
    del sys.path[:2]
print(json.dumps(found))
"""


def test_every_module_that_is_imported_is_known() -> None:
    scripts = [str((SCRIPTS.parent if "/" in name else SCRIPTS) / name) for name in NAMES]
    out = subprocess.run([sys.executable, "-c", IMPORTED, str(SCRIPTS), *scripts], capture_output=True)
    assert out.returncode == 0, out.stderr.decode()
    for script, files in json.loads(out.stdout.splitlines()[-1]).items():
        found = reached([Path(script)], SCRIPTS)
        assert {Path(file) for file in files} <= found, script
        assert len(found) < len(list(SCRIPTS.rglob("*.py")))


def test_no_module_is_imported_without_being_named() -> None:
    """But by those whose digests are told its name, and torchvision."""
    files = [file for folder in (SCRIPTS, SCRIPTS.parent / "benchmarks") for file in folder.rglob("*.py")]
    unnamed = {file.name for file in files if re.search(r"import_module\(|__import__\(", file.read_text(encoding="utf-8"))}
    assert unnamed == {"kinds.py", "torchvision_compat.py"}


def test_no_edit_of_a_figure_a_score_or_a_claim_trains_again() -> None:
    drawing, training = (
        {file.relative_to(SCRIPTS).parent.name for file in reached([SCRIPTS / name], SCRIPTS)}
        for name in ("draw_figure.py", "train_plane.py")
    )
    assert not {"method", "cpu"} & drawing and not {"figures", "analysis", "runs", "explore", "beyond"} & training
    assert {"method", "networks", "records"} <= training
