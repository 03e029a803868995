"""Write the paper's claims beside what a scale measured: scores.csv, study.csv -> claims.csv and claims.md."""

from __future__ import annotations

import argparse

from losspatterns.analysis.claims import claims, markdown
from losspatterns.errors import run_script
from losspatterns.records.artifacts import load_table, provenance, recorded_path, save_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", required=True, help="scores (.csv)")
    parser.add_argument("--study", required=True, help="the studies' table (.csv)")
    parser.add_argument("--table", required=True, help="output: a row per claim (.csv)")
    parser.add_argument("--page", required=True, help="output: the same in Markdown (.md)")
    arguments = parser.parse_args()
    table = claims(load_table(arguments.scores), load_table(arguments.study))
    save_table(arguments.table, table, provenance())
    with recorded_path(arguments.page, provenance()) as temporary:
        temporary.write_text(markdown(table), encoding="utf-8")


if __name__ == "__main__":
    run_script(main)
