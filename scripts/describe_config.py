"""Write config/README.md, a table of every key, and config/config.schema.json, for editors, from the models of the settings.

Run it after a change of settings.py or of a figure's options; a test holds the files to what it writes.

    python scripts/describe_config.py
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from losspatterns.errors import run_script
from losspatterns.figures import kind_module, kinds
from losspatterns.settings import Settings

HEAD = """# Every key of a config

`config/recipes.yaml` and `config/config.yaml` (the default scale) are always read. A file given with `--configfile` is merged over
them and says only what differs: mappings key by key, lists as a whole; `null` takes a figure or a study out. So
`smoke.yaml`, `hour.yaml` and `paper.yaml` are short, and a file of your own can be, too:

```yaml
masks:
  logo: {kind: image, path: logo.png, size: [32, 32]}
figures:
  mine: {kind: landscapes, panels: [{experiment: fashion_pictures, mask: logo}]}
```

    snakemake --cores all --configfile=mine.yaml

A wrong key ends in one line that names it, what was found and what would be right. Names become file names: letters, digits, `_`
and `-`. Editors that read JSON schemas complete and check keys (`config.schema.json`, named in the first line of each file).
"""
ONE_OF = {  # sections whose entries are of several kinds
    "datasets": ["DatasetSettings", "Source", "Download", "Shapes"],
    "masks": ["GlyphMask", "TextMask", "ImageMask", "RandomSquareMask", "GridMask", "AsciiMask"],
    "networks": ["ConvNetwork", "ResNetwork", "ModuleNetwork"],
    "recipes": ["Recipe"],
    "experiments": ["Experiment", "SurfaceSettings"],
    "studies": ["StudySettings"],
    "benchmarks": ["Benchmarks", "Throughput", "SurfaceSpeed", "Quality", "QualityRuns", "Variant"],
}


def schema() -> dict[str, Any]:
    """The JSON schema of a config file. A file that is merged over others may lack any key, so none is required."""
    whole = Settings.model_json_schema()
    figures = []
    for kind in kinds():
        options = kind_module(kind).Options.model_json_schema()
        whole["$defs"] |= options.pop("$defs", {})
        options["properties"]["kind"] = {"const": kind} | options["properties"]["kind"]
        whole["$defs"][f"Figure_{kind}"] = options
        figures.append({"$ref": f"#/$defs/Figure_{kind}"})
    whole["properties"]["figures"]["additionalProperties"] = {"anyOf": [*figures, {"type": "null"}]}
    sources = whole["$defs"]["DatasetSettings"]["properties"]["sources"]
    sources["items"] = {"anyOf": [sources["items"], {"enum": ["download", "bundled", "shapes"]}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_partial(whole)}


def _partial(node: Any) -> Any:
    """A schema in which no key is required (so an entry may fit several kinds), and without titles."""
    if isinstance(node, list):
        return [_partial(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        {"oneOf": "anyOf"}.get(key, key): _partial(value)
        for key, value in node.items()
        if not (key == "required" and isinstance(value, list)) and not (key == "title" and isinstance(value, str))
    }


def type_of(node: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a value may be, in words."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        return "keys below" if definitions[name].get("type") == "object" else type_of(definitions[name], definitions)
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if options := node.get("anyOf") or node.get("oneOf"):
        return " or ".join(dict.fromkeys(type_of(option, definitions) for option in options))
    kind = node.get("type")
    if kind == "array":
        if "prefixItems" in node:
            return f"[{', '.join(type_of(item, definitions) for item in node['prefixItems'])}]"
        return f"list of: {type_of(node['items'], definitions)}"
    if kind in ("integer", "number"):
        words = "integer" if kind == "integer" else "number"
        low, high = node.get("minimum"), node.get("maximum")
        low = f"{low:g} or more" if low is not None else None
        if node.get("exclusiveMinimum") is not None:
            low = "more than 0" if node["exclusiveMinimum"] == 0 else f"more than {node['exclusiveMinimum']:g}"
        if node.get("exclusiveMaximum") is not None:
            low = f"{low or ''} and below {node['exclusiveMaximum']:g}".strip()
        if high is not None and high < 2**32 - 1:
            low = f"{node.get('minimum', 0):g} to {high:g}"
        return f"{words}, {low}" if low else words
    return {"string": "text", "boolean": "`true` or `false`", "object": "mapping", "null": "null"}.get(kind, "any")


def table(model: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A table of a model's keys: meaning, type, default."""
    lines = ["| key | meaning | type | default |", "|---|---|---|---|"]
    for key, node in model["properties"].items():
        default = "required" if key in model.get("required", []) else f"`{json.dumps(node.get('default'), ensure_ascii=False)}`"
        if "default" not in node and default != "required":
            default = "none"
        meaning = node.get("description") or definitions.get(node.get("$ref", "").rpartition("/")[2], {}).get("description", "")
        lines.append(f"| `{key}` | {' '.join(meaning.split())} | {type_of(node, definitions)} | {default} |")
    return "\n".join(lines).replace("||", "| |")


def readme() -> str:
    """config/README.md."""
    whole = Settings.model_json_schema()
    definitions = whole["$defs"]
    parts = [HEAD, "## Top level\n", table(whole, definitions), ""]
    for section, models in ONE_OF.items():
        parts.append(f"## `{section}`\n")
        for name in models:
            model = definitions[name]
            kind = model["properties"].get("kind", {}).get("const")
            parts += [f"### `{kind}`\n"] if kind else []
            parts += [f"{' '.join(model['description'].split())}\n", table(model, definitions), ""]
    parts.append("## `figures`\n\nOptions of each kind; the kind is the module in scripts/losspatterns/figures/ that draws it.\n")
    for kind in kinds():
        options = kind_module(kind).Options.model_json_schema()
        words = " ".join((kind_module(kind).__doc__ or "").split("\n\n")[0].split())
        parts += [f"### `{kind}`\n", f"{words}\n", table(options, options.get("$defs", {})), ""]
        for name, model in options.get("$defs", {}).items():
            parts += [f"`{name}`:\n", table(model, options["$defs"]), ""]
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1] / "config", help="where to write (config/)")
    folder = parser.parse_args().folder
    (folder / "README.md").write_text(readme(), encoding="utf-8")
    text = json.dumps(schema(), indent=1, ensure_ascii=False, sort_keys=True)
    (folder / "config.schema.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_script(main)
