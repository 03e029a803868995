"""Write what follows from the settings: config/README.md, config/config.schema.json and codecheck.yml.

The first is a table of every key, the second is for editors, the third lists the default scale's figures and tables for a
CODECHECK (https://codecheck.org.uk). Run it after a change of settings.py, of a figure's options, of the default scale or of
CITATION.cff; a test holds the files to what it writes.

    python scripts/describe_config.py
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import yaml
from losspatterns import beyond, figures
from losspatterns.drawing import Drawing
from losspatterns.errors import run_script
from losspatterns.runs import Runs
from losspatterns.settings import LARGEST_SEED, Settings, check

ROOT = Path(__file__).parents[1]

HEAD = """# Every key of a config

No key is required: without a config of your own, the workflow draws every figure at the default scale.
`config/recipes.yaml`, `config/beyond.yaml` and `config/config.yaml` (the default scale) are always read. A file given with
`--configfile` is merged over them and says only what differs: mappings key by key, lists as a whole; `null` takes a figure or
a study out. So `smoke.yaml`, `hour.yaml` and `paper.yaml` are short, and a file of your own can be, too:

```yaml
masks:
  logo: {kind: image, path: logo.png, size: [32, 32]}
figures:
  mine: {kind: landscapes, panels: [{experiment: fashion_pictures, mask: logo}]}
```

    snakemake --cores all --configfile=mine.yaml

A wrong key ends in one line that names it, what was found and what would be right. Names become file names: letters, digits,
`_` and `-`. Editors that read JSON schemas complete and check keys: `config.schema.json`, named in each file's first line.
"""
ONE_OF = {  # sections whose entries are of several kinds
    "datasets": ["DatasetSettings", "Source", "Download", "Shapes"],
    "masks": [
        "GlyphMask",
        "TextMask",
        "ImageMask",
        "PhotographMask",
        "RandomSquareMask",
        "GridMask",
        "AsciiMask",
        "RandomPointsMask",
        "VoxelsMask",
    ],
    "networks": ["ConvNetwork", "ResNetwork", "ModuleNetwork"],
    "recipes": ["Recipe"],
    "experiments": ["Experiment", "SurfaceSettings"],
    "studies": ["StudySettings"],
    "benchmarks": ["Benchmarks", "Throughput", "Quality", "QualityRuns", "Variant"],
}
OF_KINDS = {"figures": figures, "beyond": beyond}  # sections whose entries are described by a module each
TABLES = {
    "scores": "How well each surface shows its picture",
    "study": "The batch norm study, with intervals and tests",
    "claims": "The paper's claims beside our numbers",
}
WORDS = {"string": "text", "boolean": "`true` or `false`", "object": "mapping"}
BOUNDS = {
    "minimum": "{:g} or more",
    "exclusiveMinimum": "more than {:g}",
    "maximum": "to {:g}",
    "exclusiveMaximum": "below {:g}",
}


def schema() -> dict[str, Any]:
    """The JSON schema of a config file. A file that is merged over others may lack any key, so none is required."""
    whole = Settings.model_json_schema()
    for section, package in OF_KINDS.items():
        entries = []
        for kind in package.kinds():
            options = package.kind_module(kind).Options.model_json_schema()
            whole["$defs"] |= options.pop("$defs", {})
            options["properties"]["kind"] = {"const": kind} | options["properties"]["kind"]
            whole["$defs"][f"{section}_{kind}"] = options
            entries.append({"$ref": f"#/$defs/{section}_{kind}"})
        whole["properties"][section]["additionalProperties"] = {"anyOf": [*entries, {"type": "null"}]}
    whole["properties"] |= Drawing.model_json_schema()["properties"]
    sources = whole["$defs"]["DatasetSettings"]["properties"]["sources"]
    sources["items"] = {"anyOf": [sources["items"], {"enum": ["download", "bundled", "shapes"]}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_partial(whole)}


def _partial(node: Any) -> Any:
    """A schema in which no key is required (so an entry may fit several kinds), and without titles."""
    if isinstance(node, list):
        return [_partial(item) for item in node]
    if not isinstance(node, dict):
        return node
    dropped = {"required": list, "title": str}
    kept = {key: value for key, value in node.items() if type(value) is not dropped.get(key)}
    return {{"oneOf": "anyOf"}.get(key, key): _partial(value) for key, value in kept.items()}


def type_of(node: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a value may be, in words."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        return "keys below" if definitions[name].get("type") == "object" else type_of(definitions[name], definitions)
    if values := node.get("enum") or ([node["const"]] if "const" in node else []):
        return ", ".join(f"`{value}`" for value in values)
    if options := node.get("anyOf") or node.get("oneOf"):
        return " or ".join(dict.fromkeys(type_of(option, definitions) for option in options))
    kind = node.get("type", "any")
    if "prefixItems" in node:
        return f"[{', '.join(type_of(item, definitions) for item in node['prefixItems'])}]"
    if kind == "array":
        return f"list of: {type_of(node['items'], definitions)}"
    bounds = [word.format(node[name]) for name, word in BOUNDS.items() if node.get(name, LARGEST_SEED) < LARGEST_SEED]
    limits = " and ".join(bounds).replace(" or more and to", " to")
    return ", ".join(filter(None, [WORDS.get(kind, kind), limits]))


def table(model: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A table of a model's keys: meaning, type, default."""
    lines = ["| key | meaning | type | default |", "|---|---|---|---|"]
    for key, node in model["properties"].items():
        default = f"`{json.dumps(node['default'], ensure_ascii=False)}`" if "default" in node else "none"
        default = "required" if key in model.get("required", []) else default
        meaning = node.get("description") or definitions[node["$ref"].rpartition("/")[2]]["description"]
        lines.append(f"| `{key}` | {meaning} | {type_of(node, definitions)} | {default} |")
    return "\n".join([*lines, ""])


def readme() -> str:
    """config/README.md."""
    whole = Settings.model_json_schema()
    definitions = whole["$defs"]
    drawing = Drawing.model_json_schema()
    parts = [HEAD, "## Top level\n", table(whole, definitions)]
    parts += [f"## `snakemake draw`\n\n{drawing['description']}\n", table(drawing, {})]
    for section, models in ONE_OF.items():
        parts.append(f"## `{section}`\n")
        for model in (definitions[name] for name in models):
            kind = model["properties"].get("kind", {}).get("const")
            parts += [f"### `{kind}`\n"] if kind else []
            parts += [f"{' '.join(model['description'].split())}\n", table(model, definitions)]
    for section, package in OF_KINDS.items():
        folder = package.__name__.replace(".", "/")
        parts.append(f"## `{section}`\n\nOptions of each kind; the kind is its module in scripts/{folder}/.\n")
        for kind in package.kinds():
            options = package.kind_module(kind).Options.model_json_schema()
            definitions = options.get("$defs", {})
            words = package.kind_module(kind).__doc__.partition("\n\n")[0].strip()
            parts += [f"### `{kind}`\n", f"{words}\n", table(options, definitions)]
            for name, model in definitions.items():
                parts += [f"`{name}`:\n", table(model, definitions)]
    return "\n".join(parts)


def codecheck() -> str:
    """codecheck.yml: the paper of CITATION.cff, and every figure and table that the default scale makes."""
    paper = _load("CITATION.cff")["preferred-citation"]
    runs = Runs(check(_load("config/recipes.yaml") | _load("config/config.yaml")))
    comments = TABLES | {name: figure.label for name, figure in runs.figures.items()}
    products = [file for file in runs.products() if Path(file).suffix in (".pdf", ".gif", ".csv")]
    whole = {
        "version": "https://codecheck.org.uk/spec/config/1.0/",
        "paper": {
            "title": paper["title"],
            "authors": [{"name": f"{author['given-names']} {author['family-names']}"} for author in paper["authors"]],
            "reference": f"https://doi.org/{paper['doi']}",
        },
        "manifest": [{"file": file, "comment": comments.get(Path(file).stem, f"Film: {Path(file).stem}")} for file in products],
    }
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=120)


def _load(file: str) -> dict[str, Any]:
    """A YAML file of the repository."""
    return yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT, help="where to write (the repository)")
    folder = parser.parse_args().folder
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config/README.md").write_text(readme(), encoding="utf-8")
    text = json.dumps(schema(), indent=1, ensure_ascii=False, sort_keys=True)
    (folder / "config/config.schema.json").write_text(text + "\n", encoding="utf-8")
    (folder / "codecheck.yml").write_text(codecheck(), encoding="utf-8")


if __name__ == "__main__":
    run_script(main)
