"""The digest of a script's code: it covers what the script reaches, nothing else, and is the same under every Python."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from losspatterns.records import closure
from losspatterns.records.closure import SCRIPTS, closure_digest, code_files, reached, script_digest, script_name
from losspatterns.settings import Recipe

NAMES = sorted(p.name for p in SCRIPTS.glob("*.py")) + sorted(
    f"benchmarks/{p.name}" for p in SCRIPTS.parent.glob("benchmarks/*.py") if "__main__" in p.read_text(encoding="utf-8")
)

# ------------------------------------------------------------------------------------- the same under every Python

SYNTAX = r'''"""A module."""
from __future__ import annotations
import os.path as path, sys
from collections.abc import (Callable as C)

@decorate(1, *rest, key="v", **options)
class A(Base, metaclass=M):
    """Words."""
    kind: Literal["conv"] = "conv"
    text: str = Field("x", description="words", examples=["a"], min_length=1)
    def method(self, a, /, b: "A | None" = None, *c, d=1, e, **f) -> int: ...

async def g(x):
    global COUNT
    async with x as y, z() as (p, *q):
        return [await i async for i in x if i if not i]

def f(n=1_000, m=0x10, *, s='it''s', u=u"\u00e9\U0001F600\N{BULLET}", r=r"\d", b=b"\x00'", c=2j, v=1e999, big=10**40):
    "Words."
    if (k := n) > 1 and n < m != s or not r is None: pass
    elif ...: x, = 1,; del x[1:2, ..., ::3]
    t = f"{n!r:>{m}.{k}} {{}} {n=} {m = !s} {'a' 'b'}" f"" "plain" f'{f"{n}" + "q"}\n' rf"\d{n:%Y-%m}" f"{n:}" f"{n:{'>'}{9}}"
    e = f"" f"nothing", "a" "b", "", f"{n}{m}" "", "" f"{n}"
    try: yield from (yield)
    except (A, B) as error: raise X from error
    else: chosen = lambda *a, k=1, **b: (a, k, b)
    finally: assert t, "no"
    match n:
        case [1, -2.5, *_] | {"k": None, **rest} | A(1, x=True) as whole if whole: pass
        case "a" | b.c | None: pass
        case _: return {**n, 1: 2, "x": {1, 2}, **m}
    for i, *j in (*n, 1): continue
    else: print(*n, **m, sep="")
    while True: break
    return n if m else -n ** ~m // 2 @ k, a[*b], {k: v for k, v in n for m in k}
'''
SYNTAX_DIGEST = "32402d74580315a6d02c5bd825c12dfd6fbcada30410dd75075bae56566f20ce"

ELSEWHERE = """
import json, sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
spec = spec_from_file_location("closure", sys.argv[1] + "/losspatterns/records/closure.py")  # without the packages it is in
closure = sys.modules["closure"] = module_from_spec(spec)
spec.loader.exec_module(closure)
file = Path(sys.argv[2])
closure.KEPT = file.with_name("none.json")
syntax = closure.closure_digest(file, (), file.parent / "library")
print(json.dumps([syntax, *(closure.script_digest(name) for name in sys.argv[3:])]))
"""


def other_pythons() -> list[str]:
    """An interpreter for each other version of Python, from 3.11 on, that is on the path or installed beside this one."""
    folders = [*os.environ["PATH"].split(os.pathsep), os.path.join(sys.base_prefix, "../*/bin")]
    found = {}
    for file in (file for folder in folders for file in glob.glob(os.path.join(folder, "python3.*[0-9]"))):
        version = int(file.rpartition(".")[2])
        if (
            version >= 11
            and version != sys.version_info.minor
            and subprocess.run([file, "-c", ""], capture_output=True).returncode == 0
        ):
            found[version] = file
    return list(found.values())


def test_digests_are_the_same_under_every_python(tmp_path: Path) -> None:
    file = tmp_path / "syntax.py"
    file.write_text(SYNTAX, encoding="utf-8")
    assert closure_digest(file, (), tmp_path / "library") == SYNTAX_DIGEST
    expected = [SYNTAX_DIGEST, *(script_digest(name) for name in NAMES)]
    for python in other_pythons():
        command = [python, "-c", ELSEWHERE, str(SCRIPTS), str(file), *NAMES]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == expected, python


# ------------------------------------------------------------------------------------------------ what code means

ENGINE = '''"""A module."""
import math


def area(radius: float) -> float:
    """Of a circle."""
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
    file = tmp_path / "engine.py"
    file.write_text(ENGINE)
    before = closure_digest(file, (), tmp_path / "library")
    assert old in ENGINE
    file.write_text(ENGINE.replace(old, new, 1))
    assert (closure_digest(file, (), tmp_path / "library") == before) is same


# --------------------------------------------------------------------------------------------- what a script reaches

PROJECT = {
    "scripts/train.py": """
from house.shared import Conv, helper as h
import house.tables as tables
def main():
    from house.late import lazy
    return Conv(), h, lazy, tables.X
""",
    "scripts/house/__init__.py": "",
    "scripts/house/shared.py": """
from __future__ import annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING
import logging, math
from .base import Base, OtherBase
from .checks import positive, unused_check
if TYPE_CHECKING:
    from .types import Hint
LIMIT = 3
DEFAULT = "d"
UNUSED = 7
KINDS = {"conv": lambda: made()}
logging.captureWarnings(True)
class Conv(Base):
    size: Size = LIMIT
    @positive(bound=10)
    def check(self, word=DEFAULT) -> Quoted: return KINDS[word]
class Other(OtherBase):
    size: int = UNUSED
class Size: unit = 1
def helper(x: "list[Quoted]"): return math.sqrt(x)
def made(): return 1
def unused(): return UNUSED, unused_check
class Quoted: mark = 1
""",
    "scripts/house/base.py": "import typing\nclass Base: root = 1\nclass OtherBase: root = 2\n",
    "scripts/house/checks.py": """
from .deep import depth
def positive(bound): return lambda f: depth(f, bound)
def unused_check(): return 1
""",
    "scripts/house/deep.py": "def depth(f, bound): return f\ndef other_depth(): return 2\n",
    "scripts/house/types.py": "class Hint: pass\nprint('types')\n",
    "scripts/house/tables.py": "from .registry import TABLE\nX = 1\nY = 2\n",
    "scripts/house/registry.py": """
import functools
TABLE = {}
def register(f): TABLE[f.__name__] = f; return f
@register
def entered(): return 1
@functools.cache
def cached(): return 1
TABLE["extra"] = 5
""",
    "scripts/house/late.py": "from .effects import *\ndef lazy(): return 1\ndef eager(): return 2\n",
    "scripts/house/effects.py": "for i in range(3): print(i)\nSTAR = 1\n",
    "scripts/house/kinds/__init__.py": "",
    "scripts/house/kinds/circle.py": "from ..deep import other_depth\ndef draw(): return 1\ndef spare(): return other_depth\n",
    "benchmarks/clock.py": "from house.deep import depth\nfrom ticks import tick\nprint(depth, tick)\n",
    "benchmarks/ticks.py": "def tick(): return 1\ndef tock(): return 2\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in PROJECT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def digest(project: Path, script: str = "scripts/train.py", *modules: str) -> str:
    return closure_digest(project / script, modules, project / "scripts")


@pytest.mark.parametrize(
    ("file", "old", "new", "counts"),
    [
        ("train.py", "return Conv(),", "return Conv(1),", True),
        ("house/shared.py", "size: Size = LIMIT", "size: Size = LIMIT + 1", True),
        ("house/shared.py", "LIMIT = 3", "LIMIT = 4", True),
        ("house/shared.py", 'DEFAULT = "d"', 'DEFAULT = "e"', True),
        ("house/shared.py", "unit = 1", "unit = 2", True),
        ("house/shared.py", "mark = 1", "mark = 2", True),
        ("house/shared.py", "def made(): return 1", "def made(): return 2", True),
        ("house/shared.py", "bound=10", "bound=11", True),
        ("house/shared.py", "math.sqrt", "math.cbrt", True),
        ("house/shared.py", "import logging, math", "import logging\nimport cmath as math", True),
        ("house/shared.py", "captureWarnings(True)", "captureWarnings(False)", True),
        ("house/base.py", "root = 1", "root = 0", True),
        ("house/checks.py", "lambda f: depth", "lambda f: 1 + depth", True),
        ("house/deep.py", "return f", "return f()", True),
        ("house/tables.py", "Y = 2", "Y = 3", True),  # imported as a module: whole
        ("house/registry.py", "def entered(): return 1", "def entered(): return 2", True),  # by its decorator
        ("house/registry.py", '"extra"] = 5', '"extra"] = 6', True),
        ("house/late.py", "def lazy(): return 1", "def lazy(): return 2", True),
        ("house/effects.py", "range(3)", "range(4)", True),
        ("house/effects.py", "STAR = 1", "STAR = 2", True),
        ("house/__init__.py", "", "print('imported')", True),
        ("house/shared.py", "UNUSED = 7", "UNUSED = 8", False),
        ("house/shared.py", "class Other(OtherBase)", "class Other(Base)", False),
        ("house/shared.py", "return UNUSED, unused_check", "return UNUSED", False),
        ("house/shared.py", "import Base, OtherBase", "import Base", False),
        ("house/shared.py", "class Size", "def new(): return 5\nclass Size", False),
        ("house/base.py", "root = 2", "root = 3", False),
        ("house/checks.py", "def unused_check(): return 1", "def unused_check(): return 2", False),
        ("house/deep.py", "return 2", "return 3", False),
        ("house/types.py", "print('types')", "print('other types')", False),
        ("house/registry.py", "def cached(): return 1", "def cached(): return 2", False),
        ("house/late.py", "def eager(): return 2", "def eager(): return 3", False),
        ("house/kinds/circle.py", "return 1", "return 2", False),
    ],
)
def test_an_edit_counts_for_the_scripts_that_reach_it(project: Path, file: str, old: str, new: str, counts: bool) -> None:
    before = digest(project)
    place = project / "scripts" / file
    assert old in place.read_text()
    place.write_text(place.read_text().replace(old, new, 1))
    assert (digest(project) != before) is counts


def test_modules_that_a_script_imports_by_name_count_whole(project: Path) -> None:
    circle = ("scripts/train.py", "house.kinds.circle")
    plain, before = digest(project), digest(project, *circle)
    assert plain != before
    for file, old in (("kinds/circle.py", "return 1"), ("deep.py", "return 2")):
        place = project / "scripts/house" / file
        place.write_text(place.read_text().replace(old, "return 9", 1))
        assert digest(project) == plain
        assert digest(project, *circle) != before
        before = digest(project, *circle)


def test_a_function_that_a_script_reaches_by_name_counts_alone(project: Path) -> None:
    place = project / "scripts/house/kinds/pair.py"
    place.write_text("from ..deep import depth\n\ndef one():\n    return depth\n\ndef other():\n    return 4\n")
    pair = ("scripts/train.py", "house.kinds.pair:one")
    before = digest(project, *pair)
    assert before != digest(project)
    place.write_text(place.read_text().replace("return 4", "return 5"))
    assert digest(project, *pair) == before
    place.write_text(place.read_text().replace("return depth", "return -depth"))
    assert digest(project, *pair) != before


def test_a_script_in_benchmarks_reaches_its_own_modules_and_the_library_s(project: Path) -> None:
    script = project / "benchmarks/clock.py"
    found = {
        file.name: [sorted(unit.names) for unit in units] for file, units in reached(script, (), project / "scripts").items()
    }
    assert found["ticks.py"] == [["tick"]] and found["deep.py"] == [["depth"]]
    assert "shared.py" not in found
    assert script_name(SCRIPTS.parent / "benchmarks/x.py") == "benchmarks/x.py"
    assert script_name(SCRIPTS / "x.py") == "x.py" and script_name(SCRIPTS / "losspatterns/errors.py") is None


# -------------------------------------------------------------------------------------------------- this project

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
UNSEEN = r"__init_subclass__|__subclasses__|(?<![.\w])(globals|eval|exec)\("  # by these, code is reached without being named


def test_every_module_that_is_imported_is_known() -> None:
    scripts = [str((SCRIPTS.parent if "/" in name else SCRIPTS) / name) for name in NAMES]
    out = subprocess.run([sys.executable, "-c", IMPORTED, str(SCRIPTS), *scripts], capture_output=True)
    assert out.returncode == 0, out.stderr.decode()
    for script, files in json.loads(out.stdout.splitlines()[-1]).items():
        found = reached(Path(script))
        assert {Path(file) for file in files} <= set(found), script
        assert len(found) < len(list(SCRIPTS.rglob("*.py")))


CALLED = """
import inspect, json, runpy, sys
import h5netcdf, h5py, scipy.stats, torch, xarray  # not while every call is looked at
called = set()
def look(frame, event, argument):
    if frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # a function's, not a class's body
        called.add((frame.f_code.co_filename, frame.f_code.co_qualname))
library, jobs = sys.argv[1], json.load(sys.stdin)
sys.path[:0] = [library]
found = {}
for script, arguments in jobs.items():
    main = runpy.run_path(f"{library}/{script}", run_name="imported")["main"]
    sys.argv = [script, *arguments]
    called.clear()
    sys.settrace(look)
    main()
    sys.settrace(None)
    found[script] = [pair for pair in called if pair[0].startswith(library)]
print(json.dumps(found))
"""


def jobs() -> dict[str, list[str]]:
    """A small run from the data set to the scores: each script with its arguments."""
    dataset = {"kind": "CIFAR10", "sources": [{"shapes": {"train": 40, "test": 10}}]}
    mask = {"name": "m", "kind": "text", "text": "a", "size": [5, 5]}
    recipe = Recipe(**yaml.safe_load((SCRIPTS.parent / "config/recipes.yaml").read_text(encoding="utf-8"))["recipes"]["fast"])
    recipe = recipe.model_copy(update={"updates": 2, "origin_updates": 1, "origin_images": 4})
    common = {"network": {"name": "n", "kind": "conv", "channels": [2], "dense": [], "batch_norm": True}, "seed": 0}
    surface = {"padding": 0, "oversampling": 1, "splits": ["test"], "images": 4, "calibration_images": 4, "image_seed": 0}
    specs = {
        "fetch_dataset.py": dataset,
        "make_mask.py": mask,
        "warm_origin.py": common | {"warm_up": recipe.of_origin.model_dump(mode="json")},
        "train_plane.py": common | {"training": {"recipe": "fast", **recipe.model_dump(mode="json")}},
        "evaluate_surface.py": surface | {"protocols": ["batch", "recalibrated", "identity"], "snapshots": 1},
    }
    files = {
        "fetch_dataset.py": "--name d --output d.npz",
        "make_mask.py": "--output m.npy --preview m.png",
        "warm_origin.py": "--dataset d.npz --dataset-name d --output o.safetensors",
        "train_plane.py": "--dataset d.npz --mask m.npy --origin o.safetensors --dataset-name d"
        " --plane p.safetensors --history h.csv --state p.state",
        "evaluate_surface.py": "--plane p.safetensors --origin o.safetensors --dataset d.npz --mask m.npy"
        " --output s.nc --state s.state",
        "score_surfaces.py": "--surfaces s.nc --histories h.csv --studies [] --scores scores.csv --study study.csv",
    }
    arguments = {script: text.split() for script, text in files.items()}
    arguments["train_plane.py"] += ["--mask-spec", json.dumps(mask)]
    return {
        script: text + (["--spec", json.dumps(specs[script])] if script in specs else []) for script, text in arguments.items()
    }


def test_every_function_that_is_called_is_reached(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CALLED, str(SCRIPTS)]
    streams = {"input": json.dumps(jobs()), "capture_output": True, "text": True}
    plain = os.environ | {"LOSSPATTERNS_KERNELS": "off"}  # to watch the compiler at work takes minutes
    done = subprocess.run(command, cwd=tmp_path, env=plain, **streams)
    assert done.returncode == 0, done.stderr
    for script, pairs in json.loads(done.stdout.splitlines()[-1]).items():
        found = {
            str(file): {name for unit in units for name in unit.names} for file, units in reached(SCRIPTS / script).items()
        }
        called = {(file, name.partition(".")[0]) for file, name in pairs if not name.startswith("<")}
        assert len(called) > 15
        assert [(file, name) for file, name in sorted(called) if name not in found.get(file, ())] == [], script


def test_no_code_is_reached_without_being_named() -> None:
    for file in [*SCRIPTS.rglob("*.py"), *SCRIPTS.parent.glob("benchmarks/*.py")]:
        assert file.name == "closure.py" or not re.search(UNSEEN, file.read_text(encoding="utf-8")), file


def test_plotting_and_training_do_not_know_each_other() -> None:
    figures = {file.relative_to(SCRIPTS / "losspatterns").parts[0] for file in list(reached(SCRIPTS / "draw_figure.py"))[1:]}
    training = {file.relative_to(SCRIPTS / "losspatterns").parts[0] for file in list(reached(SCRIPTS / "train_plane.py"))[1:]}
    assert not {"method", "networks", "cpu"} & figures
    assert not {"figures", "analysis"} & training
    assert {"method", "networks", "records"} <= training


def test_digests_are_kept_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("scripts", "benchmarks"):
        shutil.copytree(SCRIPTS.parent / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    kept, [read] = tmp_path / "kept/digests.json", [closure.closure_digest]
    looked: list[Path] = []
    monkeypatch.setattr(closure, "SCRIPTS", tmp_path / "scripts")
    monkeypatch.setattr(closure, "KEPT", kept)
    monkeypatch.setattr(
        closure, "closure_digest", lambda file, modules: looked.append(file) or read(file, modules, tmp_path / "scripts")
    )

    def forget() -> None:
        for function in (script_digest, closure._kept, closure._sources):
            function.cache_clear()

    def digests() -> list[str]:
        """As a new process has them, of two scripts."""
        looked.clear()
        forget()
        return [script_digest("make_mask.py"), script_digest("draw_figure.py", "losspatterns.figures.method")]

    try:
        first = digests()
        assert len(looked) == 2 and digests() == first and not looked
        method = tmp_path / "scripts/losspatterns/figures/method.py"
        method.write_text(method.read_text(encoding="utf-8").replace("SIDE = 1.85", "SIDE = 1.86"), encoding="utf-8")
        second = digests()
        assert len(looked) == 2 and second[0] == first[0] and second[1] != first[1]
        for damaged in ("", "[]", "{}", kept.read_text()[:-9]):
            kept.write_text(damaged)
            assert digests() == second and len(looked) == 2
        monkeypatch.setattr(closure, "KEPT", method / "digests.json")  # nothing can be kept below a file
        assert digests() == second and len(looked) == 2
    finally:
        forget()


def test_scripts_have_digests_of_their_own() -> None:
    assert len({script_digest(name) for name in NAMES}) == len(NAMES)


def test_a_user_s_files_are_found_through_their_imports(tmp_path: Path) -> None:
    files = {
        "net.py": "import blocks, math\n",
        "blocks.py": "from tools.norm import f\n",
        "other.py": "",
        "tools/norm.py": "f = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "tools/__init__.py").write_text("")
    found = [str(file.relative_to(tmp_path)) for file in code_files(tmp_path / "net.py")]
    assert found == ["net.py", "blocks.py", "tools/__init__.py", "tools/norm.py"]
