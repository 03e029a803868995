"""Kinds: modules of one folder that each hold all of one figure or of one part of `snakemake beyond`."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from .errors import InputError


def modules_with_options(init: str) -> list[str]:
    """Names of the modules beside the file `init` that define `Options`, sorted."""
    files = Path(init).parent.glob("*.py")
    return sorted(file.stem for file in files if "\nclass Options(" in file.read_text(encoding="utf-8"))


def module_of(package: str, kinds: Sequence[str], name: str, key: str) -> ModuleType:
    """The module of this name in a package. InputError, naming `key`, if it is none of `kinds`."""
    if name not in kinds:
        raise InputError(f"{key}: found {name!r}, expected one of {', '.join(kinds)}")
    return importlib.import_module(f"{package}.{name}")
