"""A finished scale as a Provenance Run Crate 0.5: an RO-Crate (zip) that tells other tools which step made what from what.

The one idea: all is taken from the records that stand beside the files, and from Snakemake's own, which know the steps and
their times. The crate holds the code too, so its scripts/provenance.py verifies it where it is unpacked.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from mimetypes import guess_type
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from .archive import WITHOUT_RECORD, inside, snakemake_records, with_records, write_zip
from .artifacts import versions
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
FORMATS = {  # of files, by their suffix: what Python's `mimetypes` lacks
    ".nc": "application/netcdf",
    ".npy": "application/x-npy",
    ".npz": "application/x-npz",
    ".safetensors": "application/vnd.safetensors",
    ".md": "text/markdown",
    ".smk": "text/x-snakemake",
    ".yaml": "application/yaml",
    ".cff": "application/yaml",
}
SNAKEMAKE = "https://snakemake.github.io"


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
    """Write the crate of a scale: everything behind these artifacts, its manifest, its settings (JSON), Snakemake's records.
    Equal results give equal bytes. InputError if an artifact is not whole, or if Snakemake has no record of what made it."""
    traced = trace([*artifacts, manifest])
    members: dict[str, Any] = dict(code_members())
    members |= {file: file for file in with_records(traced) if file not in members}
    members["settings.json"] = settings.encode()
    jobs: dict[str, list[str]] = defaultdict(list)
    records = snakemake_records()
    records = {name: records[name] for name in traced if name in records}
    members |= {file.as_posix(): file for file in records.values()}
    made = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in records.items()}
    for name in traced:
        if name in made:
            jobs[Path(made[name]["log"][0]).relative_to(f"{folders[0]}/logs").with_suffix("").as_posix()].append(name)
        elif inside(name, folders):
            raise InputError(f"{name}: Snakemake has no record of what made it; {WITHOUT_RECORD}")
    agent = json.loads(settings).get("agent")
    text = json.dumps(_metadata(scale, members, traced, jobs, made, agent), indent=1, sort_keys=True, ensure_ascii=False)
    write_zip(path, {"ro-crate-metadata.json": text.encode(), **dict(sorted(members.items()))})


def parameter(add: Callable[..., Any], role: str, file: Any) -> Any:
    """A formal input or output of the workflow, of which this file is an example."""
    formal = add(f"#{role}/{file.id}", "FormalParameter", name=file["name"], additionalType="File")
    formal["encodingFormat"], file["exampleOfWork"] = file["encodingFormat"], formal
    return formal


def _metadata(
    scale: str, members: dict[str, Any], traced: dict[str, Any], jobs: dict[str, list[str]], made: dict, agent: str | None
) -> dict:
    """The crate's description, as JSON-LD. agent: a name, or the address of an ORCID, of who ran the scale."""
    from rocrate.model import ContextEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")
    crate.metadata.extra_terms["sha256"] = "https://w3id.org/ro/terms/workflow-run#sha256"

    def add(address: str, kind: str, **properties: Any) -> Any:
        return crate.add(ContextEntity(crate, address, {"@type": kind, **properties}))

    def say(entity: Any, **properties: Any) -> None:
        for key, value in properties.items():
            entity[key] = value

    def program(address: str, name: str, found: str, url: str) -> Any:
        return add(address, "SoftwareApplication", name=name, softwareVersion=found, url=url)

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    paper = citation["preferred-citation"]
    names = [author.get("name") or f"{author['given-names']} {author['family-names']}" for author in citation["authors"]]
    authors = [add(f"#author/{number}", "Organization", name=name) for number, name in enumerate(names)]
    profiles = [add(url, "CreativeWork", name=name, version=url.rsplit("/", 1)[1]) for url, name in PROFILES.items()]
    shared = {"license": add(LICENCE, "CreativeWork", name="MIT License", identifier=LICENCE), "author": authors}
    article = add(paper["url"], "ScholarlyArticle", name=paper["title"], datePublished=str(paper["year"]))

    who = {}
    if agent:
        who = {"agent": add(agent if agent.startswith("https://orcid.org/") else "#agent", "Person", name=agent)}

    kinds = {f"scripts/{record['made_by'].get('script')}": ["File", "SoftwareSourceCode"] for record in traced.values()}
    kinds["Snakefile"] = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
    files = {}
    for name, content in members.items():
        source = None if isinstance(content, bytes) else content
        facts = {"name": Path(name).name, "contentSize": str(Path(source).stat().st_size if source else len(content))}
        facts["encodingFormat"] = FORMATS.get(Path(name).suffix) or guess_type(name)[0] or "text/plain"
        if name in kinds:
            facts["@type"] = kinds[name]
        if name in traced:
            facts["sha256"] = traced[name]["sha256"]
            if licence := traced[name]["made_by"].get("licence"):
                facts["license"] = add(f"#licence/{licence.replace(' ', '-')}", "CreativeWork", name=licence)
        files[name] = crate.add_file(source or name, name, properties=facts, validate_url=False)
    software = [program(f"#software/{n}", n, found, f"https://pypi.org/project/{n}/") for n, found in versions().items()]

    tools, steps, controls, starts, ends = {}, {}, [], [], []
    for job, outputs in sorted(jobs.items(), key=lambda job: (made[job[1][0]]["starttime"], job[0])):
        snakemake_s, record = made[outputs[0]], traced[outputs[0]]
        rule, script = snakemake_s["rule"], f"scripts/{record['made_by'].get('script')}"
        starts.append(snakemake_s["starttime"])
        ends.append(snakemake_s["endtime"])
        if script not in tools:
            tools[script] = files.get(script) or add(f"#tool/{script}", "SoftwareApplication", name=script)
            tools[script]["softwareRequirements"] = software
        if rule not in steps:
            place = {"position": str(len(steps) + 1), "workExample": tools[script]}
            steps[rule] = add(f"#step/{rule}", "HowToStep", name=rule, **place)
        used = [files[name] for name in [*sorted(name for name in record["inputs"] if name in files), "settings.json"]]
        facts = {"name": f"Run of {rule}: {job}", "startTime": when(starts[-1]), "endTime": when(ends[-1]), **who}
        facts |= {"instrument": tools[script], "object": used, "result": [files[name] for name in outputs if name in files]}
        run = add(f"#job/{job}", "CreateAction", **facts)
        controls.append(add(f"#control/{job}", "ControlAction", name=f"Step {rule}", instrument=steps[rule], object=run))

    of_run = {**who, "startTime": when(min(starts)), "endTime": when(max(ends))}
    workflow = files["Snakefile"]
    address, doi = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake", "https://doi.org/10.12688/f1000research.29032.1"
    language = add(address, "ComputerLanguage", name="Snakemake", url=SNAKEMAKE, identifier=doi)
    say(workflow, name="Loss patterns", programmingLanguage=language, version=citation["version"], **shared)
    say(workflow, hasPart=list(tools.values()), step=list(steps.values()))
    results = [files[name] for name in traced if name in made and name in files]
    for role, of_role in (("input", [files["settings.json"]]), ("output", results)):
        say(workflow, **{role: [parameter(add, role, file) for file in of_role]})
    of_all = {"instrument": workflow, "object": [files["settings.json"]], "result": results}
    whole = add("#run", "CreateAction", name=f"Run of the scale {scale}", **of_all, **of_run)
    engine = program("#snakemake", "Snakemake", version("snakemake"), SNAKEMAKE)
    of_engine = {"instrument": engine, "object": controls, "result": whole}
    add("#engine", "OrganizeAction", name="Snakemake's run", **of_engine, **of_run)
    root = {"name": f"Loss patterns: results of the scale {scale}", "description": citation["title"], "publisher": authors}
    root |= {"datePublished": of_run["endTime"], "mainEntity": workflow, "mentions": [whole], "citation": article}
    say(crate.root_dataset, **root, **shared, conformsTo=profiles, hasPart=list(files.values()))
    description = crate.metadata.generate()
    description["@graph"].sort(key=lambda entity: entity["@id"])
    return description
