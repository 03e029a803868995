"""A finished scale as a Provenance Run Crate 0.5: an RO-Crate (zip) that tells other tools which step made what from what.

The one idea: all is taken from the records that stand beside the files, and from Snakemake's own, which know the steps and
their times. The crate holds the code too, so its scripts/provenance.py verifies it where it is unpacked.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from .archive import inside, snakemake_records, with_records, write_zip
from .artifacts import file_checksum, read_record, versions
from .closure import SCRIPTS
from .tracing import trace

ROOT = SCRIPTS.parent
CODE = ("Snakefile", "workflow", "scripts", "benchmarks", "config", "envs", "LICENSE", "CITATION.cff", "README.md")
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
LICENCE = "https://spdx.org/licenses/MIT"


def code_members() -> dict[str, Path]:
    """This repository's files that a run needs, by their place in it."""
    files = [file for part in CODE for file in [ROOT / part, *sorted((ROOT / part).rglob("*"))] if file.is_file()]
    return {file.relative_to(ROOT).as_posix(): file for file in files if "__pycache__" not in file.parts}


def when(seconds: float) -> str:
    """A time as ISO 8601, in UTC, to the second."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def write_crate(
    path: str | Path, scale: str, folders: Sequence[str], artifacts: Iterable[str], manifest: str, settings: str
) -> None:
    """Write the crate of a scale: everything behind these artifacts, its manifest, and its settings (JSON). Equal results
    give equal bytes. InputError if an artifact is not whole, or if Snakemake has no record of what made it."""
    traced = trace(artifacts)
    members: dict[str, Any] = {name: ROOT / name for name in code_members()}
    members |= {file: file for file in [*with_records(artifacts), manifest] if file not in members}
    members["settings.json"] = settings.encode()
    jobs: dict[str, list[str]] = defaultdict(list)
    records = snakemake_records()
    made = {name: json.loads(records[name].read_text(encoding="utf-8")) for name in traced if name in records}
    for name in traced:
        if name in made:
            jobs[Path(made[name]["log"][0]).relative_to(f"{folders[0]}/logs").with_suffix("").as_posix()].append(name)
        elif inside(name, folders):
            raise InputError(f"{name}: Snakemake has no record of what made it; snakemake --touch writes that")
    text = json.dumps(_metadata(scale, members, traced, jobs, made), indent=1, sort_keys=True, ensure_ascii=False)
    write_zip(path, {"ro-crate-metadata.json": text.encode(), **dict(sorted(members.items()))})


def _metadata(scale: str, members: dict[str, Any], traced: dict[str, Any], jobs: dict[str, list[str]], made: dict) -> dict:
    """The crate's description, as JSON-LD."""
    from rocrate.model import ContextEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")
    crate.metadata.extra_terms["sha256"] = "https://w3id.org/ro/terms/workflow-run#sha256"

    def add(address: str, kind: Any, **properties: Any) -> Any:
        return crate.add(ContextEntity(crate, address, {"@type": kind, **properties}))

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    names = [author.get("name") or f"{author['given-names']} {author['family-names']}" for author in citation["authors"]]
    authors = [add(f"#author/{number}", "Organization", name=name) for number, name in enumerate(names)]
    profiles = [add(url, "CreativeWork", name=name, version=url.rsplit("/", 1)[1]) for url, name in PROFILES.items()]
    licence = add(LICENCE, "CreativeWork", name="MIT License", identifier=LICENCE)
    paper = citation["preferred-citation"]
    add(paper["url"], "ScholarlyArticle", name=paper["title"], datePublished=str(paper["year"]))
    kinds = {f"scripts/{record['made_by'].get('script')}": ["File", "SoftwareSourceCode"] for record in traced.values()}
    kinds["Snakefile"] = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
    files = {}
    for name, content in members.items():
        source = content if isinstance(content, (str, Path)) else None
        facts = {"name": Path(name).name, "contentSize": str(Path(source).stat().st_size if source else len(content))}
        if name in kinds:
            facts["@type"] = kinds[name]
        if name in traced:
            facts["sha256"] = file_checksum(source)
        files[name] = crate.add_file(source or name, name, properties=facts, validate_url=False)
    crate.root_dataset["hasPart"] = list(files.values())
    language = add(
        "https://w3id.org/workflowhub/workflow-ro-crate#snakemake",
        "ComputerLanguage",
        name="Snakemake",
        url="https://snakemake.readthedocs.io",
        identifier="https://doi.org/10.12688/f1000research.29032.1",
    )
    engine = add(
        "#snakemake",
        "SoftwareApplication",
        name="Snakemake",
        url="https://snakemake.github.io",
        softwareVersion=version("snakemake"),
    )
    software = [
        add(
            f"#software/{name}",
            "SoftwareApplication",
            name=name,
            softwareVersion=found,
            url=f"https://pypi.org/project/{name}/",
        )
        for name, found in versions().items()
    ]
    tools, steps, runs, controls = {}, {}, [], []
    for job, outputs in sorted(jobs.items()):
        rule, record = made[outputs[0]]["rule"], read_record(outputs[0])
        script = f"scripts/{record['made_by'].get('script')}"
        tool = tools.setdefault(script, files.get(script) or add(f"#tool/{script}", "SoftwareApplication", name=script))
        if rule not in steps:
            steps[rule] = add(f"#step/{rule}", "HowToStep", name=rule, position=str(len(steps) + 1), workExample=tool)
        start, end = (made[outputs[0]][key] for key in ("starttime", "endtime"))
        inputs = sorted(name for name in record["inputs"] if name in files)
        run = add(
            f"#job/{job}",
            "CreateAction",
            name=f"Run of {rule}: {job}",
            instrument=tool,
            agent=authors,
            object=[files[name] for name in [*inputs, "settings.json"]],
            result=[files[name] for name in outputs],
            startTime=when(start),
            endTime=when(end),
        )
        runs.append((start, end))
        controls.append(add(f"#control/{job}", "ControlAction", name=f"Step {rule}", instrument=steps[rule], object=run))
    for tool in tools.values():
        tool["softwareRequirements"] = software
    start, end = when(min(run[0] for run in runs)), when(max(run[1] for run in runs))
    workflow = files["Snakefile"]
    workflow.append_to("hasPart", list(tools.values()))
    workflow.append_to("step", list(steps.values()))
    for key, value in {
        "name": "Loss patterns",
        "programmingLanguage": language,
        "license": licence,
        "author": authors,
        "version": citation["version"],
    }.items():
        workflow[key] = value
    results = [files[name] for name in traced if name in made]
    whole = add(
        "#run",
        "CreateAction",
        name=f"Run of the scale {scale}",
        instrument=workflow,
        agent=authors,
        object=[files["settings.json"]],
        result=results,
        startTime=start,
        endTime=end,
    )
    add(
        "#engine",
        "OrganizeAction",
        name="Snakemake's run",
        instrument=engine,
        agent=authors,
        object=controls,
        result=whole,
        startTime=start,
        endTime=end,
    )
    root = crate.root_dataset
    for key, value in {
        "name": f"Loss patterns: results of the scale {scale}",
        "description": citation["title"],
        "datePublished": end,
        "license": licence,
        "author": authors,
        "publisher": authors,
        "mainEntity": workflow,
        "mentions": [whole],
        "conformsTo": profiles,
        "citation": {"@id": paper["url"]},
    }.items():
        root[key] = value
    description = crate.metadata.generate()
    description["@graph"].sort(key=lambda entity: entity["@id"])
    return description
