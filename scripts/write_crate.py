"""Write a finished scale as a Workflow Run RO-Crate: results, records, code and settings in one zip, for other tools."""

import argparse

from losspatterns.errors import run_script
from losspatterns.records.crate import write_crate
from losspatterns.runs.paths import Files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", required=True, help="the scale's name")
    parser.add_argument("--artifacts", nargs="+", required=True, help="figures, tables and other results")
    parser.add_argument("--manifest", required=True, help="the manifest of the same (.json)")
    parser.add_argument("--settings", required=True, help="the scale's settings (JSON)")
    parser.add_argument("--output", required=True, help="output: the crate (.zip)")
    given = parser.parse_args()
    write_crate(given.output, given.scale, Files(given.scale).folders, given.artifacts, given.manifest, given.settings)


if __name__ == "__main__":
    run_script(main)
