"""All curves of the gap as one table, and what each gap cost: by seed, and over the seeds."""

from __future__ import annotations

import argparse

import pandas as pd
from losspatterns.curves import over_seeds, passes_to_gap
from losspatterns.errors import run_script
from losspatterns.records.artifacts import load_table, provenance, save_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", nargs="+", required=True, help="curves of single trainings (.csv)")
    parser.add_argument("--quality", required=True, help="output: all of them (.csv)")
    parser.add_argument("--by-seed", required=True, help="output: passes and seconds to each gap, a row per seed (.csv)")
    parser.add_argument("--passes-to-gap", required=True, help="output: the same over the seeds (.csv)")
    arguments = parser.parse_args()
    quality = pd.concat([load_table(path) for path in arguments.curves], ignore_index=True)
    by_seed = passes_to_gap(quality)
    made_by = provenance()
    save_table(arguments.quality, quality, made_by)
    save_table(arguments.by_seed, by_seed, made_by)
    save_table(arguments.passes_to_gap, over_seeds(by_seed), made_by)


if __name__ == "__main__":
    run_script(main)
