"""What catalogs and archives read about the repository says one thing."""

import json
import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
CODEMETA = json.loads((ROOT / "codemeta.json").read_text(encoding="utf-8"))


def test_title_and_description_are_the_same_everywhere() -> None:
    assert CITATION["title"] == CODEMETA["name"]
    assert PROJECT["description"] == CITATION["abstract"] == CODEMETA["description"]
    assert PROJECT["keywords"] == CITATION["keywords"] == CODEMETA["keywords"]


def test_version_licence_and_address_are_the_same_everywhere() -> None:
    version = re.search(r"^## (\S+),", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)[1]
    assert PROJECT["version"] == CITATION["version"] == CODEMETA["version"] == version
    assert PROJECT["license"] == CITATION["license"] == CODEMETA["license"].removeprefix("https://spdx.org/licenses/") == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License\n")
    address = PROJECT.get("urls", {}).get("Repository")  # none before the first release
    assert address == CITATION.get("repository-code") == CODEMETA.get("codeRepository")


def test_authors_and_the_paper_are_the_same_everywhere() -> None:
    authors = [author["name"] for author in PROJECT["authors"]]
    assert authors == [author["name"] for author in CITATION["authors"]] == [author["name"] for author in CODEMETA["author"]]
    paper, published = CITATION["preferred-citation"], CODEMETA["referencePublication"]
    assert (paper["title"], paper["url"]) == (published["name"], published["url"])
    assert f"https://doi.org/{paper['doi']}" == published["identifier"]
    assert [author["family-names"] for author in paper["authors"]] == [author["familyName"] for author in published["author"]]


def test_the_containers_install_the_lock_on_one_system() -> None:
    docker, apptainer = ((ROOT / file).read_text(encoding="utf-8") for file in ("Dockerfile", "containers/loss-patterns.def"))
    base, *later = re.findall(r"^FROM (\S+) AS \S+$", docker, re.M)
    assert re.findall(r"^From: (\S+)$", apptainer, re.M) == [base] and "@sha256:" in base and later == ["base", "base"]
    install = "pip install --no-cache-dir --require-hashes --requirement /opt/requirements.lock"
    assert install in docker and install in apptainer
    # What pip, as root, leaves in its home must not be what everyone has as home; and Snakemake wants a name of every user.
    assert docker.index(install) < docker.index("ENV HOME=/tmp USER=")
    conda = yaml.safe_load((ROOT / "envs/environment.yaml").read_text(encoding="utf-8"))["dependencies"]
    assert next(entry for entry in conda if "python" in entry) == "python=" + re.match(r"python:(3\.\d+)\.", base)[1]
    assert 'container: "containers/loss-patterns.sif"' in (ROOT / "Snakefile").read_text(encoding="utf-8")
