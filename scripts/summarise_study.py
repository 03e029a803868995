"""Sum up the batch norm studies: scores.csv -> means over runs under every protocol, and differences to the first network."""

from __future__ import annotations

import argparse
import json

import pandas as pd
from losspatterns.analysis.study import study_table
from losspatterns.errors import run_script
from losspatterns.records.artifacts import load_table, provenance, save_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", required=True, help="scores.csv")
    parser.add_argument(
        "--spec",
        required=True,
        help="JSON: a list; of each study: experiment, dataset, networks (the first is compared with), runs (mask, seed)",
    )
    parser.add_argument("--output", required=True, help="output: the studies (.csv)")
    arguments = parser.parse_args()
    studies = json.loads(arguments.spec)
    scores = load_table(arguments.scores)
    table = pd.concat([study_table(scores, **study) for study in studies], ignore_index=True)
    save_table(arguments.output, table, provenance(studies=studies))


if __name__ == "__main__":
    run_script(main)
