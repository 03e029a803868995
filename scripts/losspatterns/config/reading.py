"""From a user's file to a model, or to one line: the key in full, what was found, what would be right."""

import contextlib
import functools
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from pydantic import TypeAdapter
from pydantic_core import ValidationError

from ..errors import InputError


def read(model: Any, key: str, data: Any) -> Any:
    """`data`, found at `key` of the config, as a model. InputError names the first key that is wrong."""
    try:
        try:
            return _adapter(model).validate_python(data)
        except ValidationError as error:
            raise InputError(_line(key, error.errors(include_url=False)[0])) from None
    except RecursionError:
        raise InputError(f"{key or 'top level'}: nested too deeply") from None
    except UnicodeEncodeError as error:  # pydantic cannot name such a key
        raise InputError(f"{key or 'top level'}: found half a character in {error.object!r}, expected Unicode") from None


@functools.cache
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def _line(key: str, error: Mapping[str, Any]) -> str:
    """One line for an error of pydantic's."""
    for part in (*error["loc"], error.get("ctx", {}).get("at", "")):
        if isinstance(part, int):
            key += f"[{part}]"
        elif part and part != "[key]" and not part.startswith("#"):  # what pydantic adds: a key it rejects, the tag of a kind
            key = f"{key}.{part}".lstrip(".")
    key, found = key or "top level", error["input"]
    found = list(found) if isinstance(found, tuple) else found
    if error["type"] == "told":
        return f"{key}: {error['msg']}"
    if error["type"] == "missing":
        return f"{key}: missing"
    hint = ""
    if isinstance(found, str) and re.fullmatch(r"[-+.\d]+e[-+]?\d+", found):
        hint = " (YAML reads 1e-3 as text: write 0.001)"
    text = " ".join(error["msg"].split())
    return f"{key}: found {found!r}; {text[:1].lower()}{text[1:]}{hint}"


def check_keys(entry: Any, key: str = "") -> None:
    """InputError for a key that is no text: YAML reads 1, 2020-01-01, null, yes and on as something else."""
    if isinstance(entry, Mapping):
        for name, value in entry.items():
            if not isinstance(name, str):
                raise InputError(f"{key or 'top level'}: found the key {name!r}, expected a text; put it in quotes")
            check_keys(value, f"{key}.{name}".lstrip("."))
    elif isinstance(entry, list):
        for i, item in enumerate(entry):
            check_keys(item, f"{key}[{i}]")


def check_file(path: Path) -> None:
    """InputError if a YAML file has a key twice (YAML takes the last, in silence), or has Snakemake compute its values.

    A file that is no YAML is not looked at: Snakemake, which reads it first, has told so.
    """

    class EachOnce(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # LibYAML's, where it is there, is ten times as fast
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
            lines: dict[str, int] = {}
            for name, _ in node.value:
                line = name.start_mark.line + 1
                if name.value in lines:
                    found = f"{name.value} stands in lines {lines[name.value]} and {line}"
                    raise InputError(f"{path}: {found}; the last would count, so remove one")
                if name.value == "__use_yte__":
                    raise InputError(f"{path}: __use_yte__: found in line {line}, but a config holds values only")
                lines[name.value] = line
            return super().construct_mapping(node, deep)

    with contextlib.suppress(yaml.YAMLError):
        EachOnce(path.read_text(encoding="utf-8")).get_single_data()


def from_json(option: str, text: str) -> Any:
    """The value of a script's option. InputError, naming the option, if it is no JSON."""
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{option}: found {text!r}, expected JSON ({error})") from None


def user_path(text: str) -> Path:
    """A path of the config: `~` is the home folder; that of a user who is not known stays as written, and is not there.

    In a container, where the home folder is another one, LOSSPATTERNS_HOME says what it is outside. Its bytes are UTF-8, also
    in a locale that has no ü.
    """
    with contextlib.suppress(UnicodeEncodeError):  # half a surrogate pair: the name of no file
        text = os.fsdecode(text.encode("utf-8", "surrogateescape"))
    if "LOSSPATTERNS_HOME" in os.environ and re.match("~(/|$)", text):
        return Path(os.environ["LOSSPATTERNS_HOME"] + text[1:])
    return Path(os.path.expanduser(text))


def open_file(path: str | os.PathLike[str], where: str) -> BinaryIO:
    """A file that the user names, opened to be read. InputError, which starts with `where`, if it cannot be."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a folder; a pipe, which would be waited for
            raise OSError(0, "not a plain file")
        return open(path, "rb")
    except OSError as error:
        raise InputError(f"{where} cannot be read ({error.strerror})") from None
