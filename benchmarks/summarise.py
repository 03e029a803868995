"""All curves of the gap as one table, what each gap cost, and the figure of the benchmarks."""

from __future__ import annotations

import argparse
import json

import pandas as pd
from lib.curves import passes_to_gap
from lib.figure import benchmarks
from losspatterns.errors import run_script
from losspatterns.figures.style import save_figure
from losspatterns.records.artifacts import load_table, provenance, save_table

TABLES = ("throughput", "surfaces", "memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", nargs="+", required=True, help="curves of single trainings (.csv)")
    for name in TABLES:
        parser.add_argument(f"--{name}", required=True, help="of speed.py (.csv)")
    parser.add_argument("--labels", required=True, help="JSON: what the legend calls each variant, in its order")
    parser.add_argument("--quality", required=True, help="output: all curves (.csv)")
    parser.add_argument("--passes-to-gap", required=True, help="output: passes and seconds to each gap over the seeds (.csv)")
    parser.add_argument("--output-stem", required=True, help="output: the figure's path without .pdf and .png")
    arguments = parser.parse_args()
    quality = pd.concat([load_table(path) for path in arguments.curves], ignore_index=True)
    save_table(arguments.quality, quality, provenance())
    save_table(arguments.passes_to_gap, passes_to_gap(quality), provenance())
    tables, labels = {name: load_table(getattr(arguments, name)) for name in TABLES}, json.loads(arguments.labels)
    figure = benchmarks(quality, **tables, labels=labels)
    save_figure(figure, arguments.output_stem, provenance(figure="benchmarks", labels=labels))


if __name__ == "__main__":
    run_script(main)
