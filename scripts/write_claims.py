"""Write the paper's claims beside what a scale measured, and the tables of the report.

scores.csv, study.csv -> claims.csv, claims.md; claims, study, scores and a summary of what was trained as HTML.
"""

import argparse

from losspatterns.analysis.claims import claims
from losspatterns.analysis.report import ends, html, markdown, summary
from losspatterns.errors import run_script
from losspatterns.records.artifacts import load_table, provenance, read_record, save_table, save_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", required=True, help="scores (.csv)")
    parser.add_argument("--study", required=True, help="the studies' table (.csv)")
    parser.add_argument("--table", required=True, help="output: a row per claim (.csv)")
    parser.add_argument("--page", required=True, help="output: the same in Markdown (.md)")
    parser.add_argument("--report", nargs=4, required=True, help="output: claims, study, scores, summary (.html)")
    arguments = parser.parse_args()
    scores, study = load_table(arguments.scores), load_table(arguments.study)
    table = claims(scores, read_record(arguments.study)["made_by"]["studies"])
    save_table(arguments.table, table, provenance())
    final_scores, final_study = ends(scores, study)
    page = markdown(list(table.columns), table.to_numpy().tolist())
    parts = map(html, (table, final_study, final_scores, summary(scores)))
    for path, text in ((arguments.page, page), *zip(arguments.report, parts, strict=True)):
        save_text(path, text, provenance())


if __name__ == "__main__":
    run_script(main)
