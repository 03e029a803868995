"""Tell what made a figure or any other artifact, back to the dataset, and verify every checksum on the way.

    python scripts/provenance.py figures/default/fig1_landscapes.png

Run it where Snakemake runs. It ends with status 1 and one line if a file is missing, damaged, or not the one that was read.
"""

import argparse
import json
from pathlib import Path

from losspatterns.errors import InputError, one_line, run_script
from losspatterns.records.tracing import compare_with_manifest, mixtures, same_code, trace

CODE = {True: "the code here", False: "other code than is here", None: "no script of this project"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifacts", nargs="+", help="figures, scores, surfaces, planes, masks or datasets")
    parser.add_argument("--brief", action="store_true", help="verify, and tell only whether all is well")
    parser.add_argument("--manifest", help="verify what is there of a whole scale, of which this is the manifest (.json)")
    arguments = parser.parse_args()
    there = [path for path in arguments.artifacts if arguments.manifest is None or Path(path).exists()]
    if not there:
        raise InputError(f"{arguments.artifacts[0]} and all others are not there; run snakemake first")
    found = trace(there)
    if arguments.manifest and Path(arguments.manifest).exists():
        compare_with_manifest(arguments.manifest, found)
    for path, record in () if arguments.brief else found.items():
        facts = dict(record["made_by"])
        script, code, versions = (facts.pop(key, None) for key in ("script", "code", "versions"))
        print(f"{path}\n    checksum {record['content']}")
        print(f"    made by  {script} ({CODE[same_code(record)]}; digest {(code or '')[:12]})")
        print(f"    versions {', '.join(f'{name} {version}' for name, version in (versions or {}).items())}")
        for key, value in facts.items():
            print(f"    {key:8} {value if isinstance(value, str) else one_line(json.dumps(value, ensure_ascii=False))}")
        for name in record["inputs"]:
            print(f"    from     {name}")
    if missing := [path for path in arguments.artifacts if path not in there]:
        print(f"{len(missing)} of {len(arguments.artifacts)} results are not there, so not verified: {missing[0]} ...")
    for line in mixtures(found):
        print(line)
    differing = [path for path, record in found.items() if same_code(record) is False]
    print(f"{len(found)} artifacts are whole, and each is the one that was read for what was made from it.")
    if differing:
        print(f"{len(differing)} of them were made by other code than is here: {', '.join(differing[:3])} ...")


if __name__ == "__main__":
    run_script(main)
