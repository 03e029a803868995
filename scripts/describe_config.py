"""Write what follows from the settings: config/README.md, below its introduction, and config/config.schema.json for editors.

Run it after a change of a key; a test holds the files to what it writes.

    python scripts/describe_config.py
"""

import argparse
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Union

from pydantic import Field, create_model

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from lib.settings import Benchmarks
from losspatterns import beyond, figures
from losspatterns.config.fields import LARGEST_SEED
from losspatterns.drawing import Drawing
from losspatterns.errors import run_script
from losspatterns.runs.settings import Settings

ROOT = Path(__file__).parents[1]
BOUNDS = {
    "minimum": "{:g} or more",
    "exclusiveMinimum": "more than {:g}",
    "maximum": "to {:g}",
    "exclusiveMaximum": "below {:g}",
}


def of_kinds(section: str, package: ModuleType) -> Any:
    """The field of a section whose entries are described by a module each: its options, with its `kind`."""
    models = []
    for kind in package.kinds():
        module = package.kind_module(kind)
        field = Literal[kind], Field(description=module.Options.model_fields["kind"].description)
        words = module.__doc__.partition("\n\n")[0]
        models.append(create_model(f"{section}_{kind}", __base__=module.Options, __doc__=words, kind=field))
    return dict[str, Union[(*models, None)]], Settings.model_fields[section]  # noqa: UP007 (of as many as there are)


def schema() -> dict[str, Any]:
    """The JSON schema of a whole config, and of the keys of `snakemake draw`."""
    fields = {section: of_kinds(section, package) for section, package in (("figures", figures), ("beyond", beyond))}
    fields |= {"benchmarks": (Benchmarks, ...), "draw": (Drawing, ...)}
    return create_model("Config", __base__=Settings, **fields).model_json_schema()


def for_editors() -> dict[str, Any]:
    """The JSON schema of a config file. One that is merged over others may lack any key, so none is required."""

    def partial(node: dict[str, Any]) -> dict[str, Any]:
        """Without what is required (an entry may then fit several kinds) and without titles."""
        kept = {key: value for key, value in node.items() if (key, type(value)) not in (("required", list), ("title", str))}
        return {{"oneOf": "anyOf"}.get(key, key): value for key, value in kept.items()}

    whole = json.loads(json.dumps(schema()), object_hook=partial)
    del whole["properties"]["draw"]
    whole["properties"] |= whole["$defs"].pop("Drawing")["properties"]
    sources = whole["$defs"]["DatasetSettings"]["properties"]["sources"]
    sources["items"] = {"anyOf": [sources["items"], {"enum": ["download", "bundled", "shapes"]}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}


def type_of(node: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a value may be, in words."""
    match node:
        case {"$ref": reference}:
            found = definitions[reference.rpartition("/")[2]]
            return "keys below" if found.get("type") == "object" else type_of(found, definitions)
        case {"const": value}:
            return f"`{value}`"
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"anyOf": options} | {"oneOf": options}:
            return " or ".join(dict.fromkeys(type_of(option, definitions) for option in options))
        case {"prefixItems": items}:
            return f"[{', '.join(type_of(item, definitions) for item in items)}]"
        case {"type": "array", "items": item}:
            return f"list of: {type_of(item, definitions)}"
    bounds = [word.format(node[name]) for name, word in BOUNDS.items() if node.get(name, LARGEST_SEED) < LARGEST_SEED]
    words = {"string": "text", "boolean": "`true` or `false`", "object": "mapping"}
    kind, limits = node.get("type", "any"), " and ".join(bounds).replace(" or more and to", " to")
    return ", ".join(filter(None, [words.get(kind, kind), limits]))


def table(model: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    """A table of a model's keys: meaning, type, default."""
    lines = ["| key | meaning | type | default |", "|---|---|---|---|"]
    for key, node in model["properties"].items():
        default = f"`{json.dumps(node['default'], ensure_ascii=False)}`" if "default" in node else "none"
        default = "required" if key in model.get("required", []) else default
        meaning = node.get("description") or definitions[node["$ref"].rpartition("/")[2]]["description"]
        lines.append(f"| `{key}` | {meaning} | {type_of(node, definitions)} | {default} |")
    return [*lines, ""]


def readme() -> str:
    """config/README.md: the keys of each section, then those of the models that they name, each where it is named first."""
    whole = schema()
    definitions, draw = whole["$defs"], whole["properties"].pop("draw")
    head = (ROOT / "config/README.md").read_text(encoding="utf-8").partition("## Top level")[0]
    lines, told = [f"{head}## Top level\n", *table(whole, definitions)], set()

    def tell(node: Any) -> None:
        for name in re.findall(r'"#/\$defs/(\w+)"', json.dumps(node)):
            model = definitions[name]
            if name not in told and model.get("properties"):
                told.add(name)
                kind = model["properties"].get("kind", {}).get("const")
                lines.extend([f"### `{kind}`\n"] if kind else [])
                lines.extend([f"{' '.join(model.get('description', f'`{name}`:').split())}\n", *table(model, definitions)])
                tell(model)

    for section, node in {"snakemake draw": draw, **whole["properties"]}.items():
        if "$ref" in json.dumps(node):
            lines.append(f"## `{section}`\n")
            tell(node)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT, help="where to write (the repository)")
    folder = parser.parse_args().folder
    (folder / "config").mkdir(exist_ok=True)
    editors = json.dumps(for_editors(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    for file, text in {"README.md": readme(), "config.schema.json": editors}.items():
        (folder / "config" / file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run_script(main)
