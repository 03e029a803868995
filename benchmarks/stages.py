"""Where the time of a finished scale went, rule by rule, by Snakemake's own clock files: markdown on stdout, and a .csv.

By hand: python benchmarks/stages.py results/default
"""

import argparse
from pathlib import Path

import lib  # noqa: F401
import pandas as pd
from losspatterns.errors import InputError, run_script
from losspatterns.records.artifacts import provenance, save_table

HEAD = f"| stage | jobs | core-seconds | share | seconds per job | longest | memory, MB |\n{'|---' * 7}|"
ROW = "| `{stage}` | {jobs} | {core_seconds:,.0f} | {share:.1%} | {mean:.1f} | {longest:.1f} | {memory} |"


def stages(folder: Path) -> pd.DataFrame:
    """A row per rule, dearest first, of the clock files below benchmarks/ in a scale's folder of results.

    jobs; core_seconds of all jobs, and their share; mean and longest: seconds of a job; largest_mb: the largest resident size.
    The rules of `snakemake benchmarks` itself do not count. InputError if there are no such files.
    """
    top = folder / "benchmarks"
    clocks = [(file.relative_to(top).parts[0].removesuffix(".tsv"), file) for file in sorted(top.rglob("*.tsv"))]
    tables = [pd.read_csv(file, sep="\t", na_values="-").assign(stage=rule) for rule, file in clocks if "benchmark" not in rule]
    if not tables:
        raise InputError(f"{folder}: no clock files below benchmarks/; expected a finished scale such as results/default")
    jobs = pd.concat(tables)
    jobs["cpu_time"] = jobs["cpu_time"].fillna(jobs["s"])  # a job too short for Snakemake to look at
    clock = {"mean": ("s", "mean"), "longest": ("s", "max"), "largest_mb": ("max_rss", "max")}
    table = jobs.groupby("stage").agg(jobs=("s", "size"), core_seconds=("cpu_time", "sum"), **clock)
    table.insert(2, "share", table["core_seconds"] / table["core_seconds"].sum())
    return table.sort_values("core_seconds", ascending=False).reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="a scale's folder of results")
    parser.add_argument("--output", help="output: the same as a table (.csv)")
    arguments = parser.parse_args()
    table = stages(arguments.results)
    if arguments.output:
        save_table(arguments.output, table, provenance())
    memory = [f"{size:,.0f}" if size == size else "-" for size in table["largest_mb"]]
    print(HEAD, *(ROW.format(**row) for row in table.assign(memory=memory).to_dict("records")), sep="\n")
    print(f"| all | {table['jobs'].sum()} | {table['core_seconds'].sum():,.0f} | | | | |")


if __name__ == "__main__":
    run_script(main)
