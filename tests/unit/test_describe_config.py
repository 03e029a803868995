"""config/README.md and the JSON schema are what the settings' models say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from configs import CONFIG, layered, runs_of
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[2]


def test_the_files_are_what_the_models_say(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts/describe_config.py"), "--folder", str(tmp_path)]
    subprocess.run(command, check=True)
    for name in ("config/README.md", "config/config.schema.json"):
        written, kept = ((folder / name).read_text(encoding="utf-8") for folder in (tmp_path, ROOT))
        assert written == kept, f"{name} is out of step: run python scripts/describe_config.py"


def test_the_codecheck_lists_the_paper_and_the_figures_films_and_tables_of_the_default_scale() -> None:
    """With the keys of https://codecheck.org.uk/spec/config/1.0/ that authors fill in; the codechecker adds the others."""
    entries, citation = (yaml.safe_load((ROOT / f).read_text(encoding="utf-8")) for f in ("codecheck.yml", "CITATION.cff"))
    paper = citation["preferred-citation"]
    authors = [{"name": f"{author['given-names']} {author['family-names']}"} for author in paper["authors"]]
    said = {"title": paper["title"], "authors": authors, "reference": f"https://doi.org/{paper['doi']}"}
    assert list(entries) == ["version", "paper", "manifest"] and entries["paper"] == said
    assert all(set(entry) == {"file", "comment"} and entry["comment"] for entry in entries["manifest"])
    made = [file for file in runs_of(layered("default")).products() if Path(file).suffix in (".pdf", ".gif", ".csv")]
    assert [entry["file"] for entry in entries["manifest"]] == made


def test_every_key_of_every_scale_is_in_the_table() -> None:
    table = (CONFIG / "README.md").read_text(encoding="utf-8")

    def keys(entry: object, depth: int) -> set[str]:
        if not isinstance(entry, dict):
            return set()
        named = depth in (1, 3)  # names of entries, not keys
        return set().union(set() if named else set(entry), *(keys(value, depth + 1) for value in entry.values()))

    for key in keys({k: v for k, v in layered("hour").items() if k not in ("benchmarks", "figures")}, 0):
        assert f"| `{key}` |" in table, key


@pytest.mark.parametrize("file", sorted(CONFIG.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_schema_takes_every_file_and_no_typo(file: Path) -> None:
    check = Draft202012Validator(json.loads((CONFIG / "config.schema.json").read_text(encoding="utf-8")))
    entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert not [error.message for error in check.iter_errors(entries)]
    assert list(check.iter_errors(entries | {"surprise": 1}))
    assert list(check.iter_errors({"recipes": {"mine": {"tauu": 1}}}))
    assert list(check.iter_errors({"masks": {"mine": {"kind": "glyph", "sise": [3, 3]}}}))
