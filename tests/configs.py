"""Configs as the workflow reads them: recipes, beyond and default scale, and the files given with --configfile over them."""

import copy
import functools
import json
from pathlib import Path
from typing import Any

import yaml
from losspatterns.runs.planning import Runs
from losspatterns.runs.settings import check
from snakemake.utils import update_config

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config"
SCALES = ("default", "smoke", "hour", "study", "cluster", "paper")
REMOVED = ...  # a value that stands for none; it reads the same in every process


@functools.cache
def _merged(scale: str) -> str:
    config: dict[str, Any] = {}
    for name in ("recipes", "beyond", "config", *([scale] if scale != "default" else [])):
        update_config(config, yaml.load((CONFIG / f"{name}.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader))
    return json.dumps(config)


def layered(scale: str = "smoke", *more: dict[str, Any]) -> dict[str, Any]:
    """A fresh config of a scale, with `more` merged over it, by Snakemake's own merge."""
    config = json.loads(_merged(scale))
    for layer in more:
        update_config(config, copy.deepcopy(layer))
    return config


def edited(path: str, value: Any, scale: str = "smoke") -> dict[str, Any]:
    """A config of a scale with one value replaced; `path` is its keys and numbers, with slashes; REMOVED takes it out."""
    config = layered(scale)
    *parents, last = (int(key) if key.isdigit() else key for key in path.split("/"))
    entry: Any = config
    for key in parents:
        entry = entry[key]
    if value is REMOVED:
        del entry[last]
    else:
        entry[last] = copy.deepcopy(value)
    return config


def runs_of(raw: Any) -> Runs:
    """What the workflow makes of a config before it runs a job. InputError for a wrong one."""
    runs = Runs(check(raw))
    runs.check_files()
    return runs
