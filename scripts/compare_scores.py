"""Compare the scores of a scale with those of another run of it, row by row; ends with status 1 unless all of them agree."""

import argparse
import sys
from pathlib import Path

from losspatterns.analysis.comparison import ROW, RUN, compared, other_settings, rows
from losspatterns.errors import InputError, run_script
from losspatterns.records.artifacts import load_table, read_record


def settings(path: str) -> dict[str, str]:
    """The settings of each run, from the record of its scores. InputError if it has none."""
    found = read_record(path)["made_by"].get("settings")
    if not isinstance(found, dict):
        raise InputError(f"{path}: its record tells no settings, so nothing can be compared; make it with this version")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", required=True, help="scores (.csv)")
    parser.add_argument("--reference", required=True, help="scores to compare them with (.csv)")
    arguments = parser.parse_args()
    if not Path(arguments.reference).exists():
        raise InputError(f"{arguments.reference}: no such file; name the scores to compare with by --config scores=FILE")
    found, expected = (rows(path, load_table(path)) for path in (arguments.scores, arguments.reference))
    ours, theirs = found.index, expected.index
    if not len(ours.intersection(theirs)):
        raise InputError(
            f"{arguments.reference}: has no row in common with {arguments.scores}; expected the same scale's scores"
        )
    missing = [f"missing here: {name}" for name in theirs.difference(ours)]
    missing += [f"missing in the reference: {name}" for name in ours.difference(theirs)]
    other = other_settings(settings(arguments.scores), settings(arguments.reference))
    apart = {run for runs in other.values() for run in runs}
    for text, runs in other.items():
        print(f"other settings: {text} ({runs[0]}{f' and {len(runs) - 1} more' if runs[1:] else ''})")
    for text in missing:
        print(text)
    counts = {"agree": 0, "differ": 0, "not compared": 0}
    for row in compared(found, expected):
        if row.name.rsplit("/", len(ROW) - len(RUN))[0] in apart:
            verdict, told = "not compared", "other settings"
        else:
            verdict = "differ" if row.differences else "agree"
            parts = [f"{key} {a:.4f}, reference {b:.4f} (+-{bound})" for key, (a, b, bound) in row.differences.items()]
            told = "; ".join(parts)
        counts[verdict] += 1
        print(f"{verdict:12}  {row.name}{told and ': ' + told}")
    well = counts["agree"] == len(ours) == len(theirs)
    print(f"{', '.join(f'{count} {what}' for what, count in counts.items())}, {len(missing)} missing: {arguments.reference}")
    sys.exit(not well)


if __name__ == "__main__":
    run_script(main)
