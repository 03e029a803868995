"""Sum up the batch norm study: scores.csv -> means over seeds under every protocol, and differences to the first network."""

from __future__ import annotations

import argparse
import json

from losspatterns.artifacts import load_table, provenance, save_table
from losspatterns.errors import run_script
from losspatterns.study import study_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", required=True, help="scores.csv")
    parser.add_argument("--spec", required=True, help="JSON: dataset, networks (the first is compared with), masks, seeds")
    parser.add_argument("--output", required=True, help="output: the study (.csv)")
    arguments = parser.parse_args()
    spec = json.loads(arguments.spec)
    save_table(arguments.output, study_table(load_table(arguments.scores), **spec), provenance(study=spec))


if __name__ == "__main__":
    run_script(main)
