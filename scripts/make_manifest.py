"""List everything behind the given artifacts, with checksums and what made it, in one JSON file."""

import argparse
import json

from losspatterns.errors import run_script
from losspatterns.records.artifacts import provenance, save_text
from losspatterns.records.tracing import manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifacts", nargs="+", required=True, help="figures, tables and other results")
    parser.add_argument("--output", required=True, help="output: the manifest (.json)")
    arguments = parser.parse_args()
    entries = manifest(arguments.artifacts)
    save_text(arguments.output, json.dumps(entries, indent=1, sort_keys=True, ensure_ascii=False) + "\n", provenance())


if __name__ == "__main__":
    run_script(main)
