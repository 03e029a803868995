"""Table, verdict and figure of a part of `snakemake beyond`, from what was measured on its planes and from their surfaces."""

import argparse

import pandas as pd
from losspatterns.beyond import kind_module, shown_module
from losspatterns.config.reading import from_json, read
from losspatterns.errors import run_script
from losspatterns.figures.style import save_figure, styled
from losspatterns.records.artifacts import load_labelled, load_table, provenance, recorded_path, save_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--options", required=True, help="JSON: the part's kind and its options, losspatterns/beyond/<kind>.py")
    parser.add_argument("--measured", nargs="*", default=[], help="what measure_part.py wrote (.csv), a file for each plane")
    parser.add_argument("--surfaces", nargs="*", default=[], help="surfaces (.nc), a file for each plane")
    parser.add_argument("--table", required=True, help="output: the part's table (.csv)")
    parser.add_argument("--page", required=True, help="output: what it found, in Markdown (.md)")
    parser.add_argument("--output-stem", required=True, help="path of the figure without .pdf and .png")
    arguments = parser.parse_args()
    given = from_json("--options", arguments.options)
    options = read(kind_module(given.get("kind"), "--options: kind").Options, "--options", given)
    part = shown_module(options.kind)
    measured = pd.concat(map(load_table, arguments.measured), ignore_index=True) if arguments.measured else None
    surfaces = [load_labelled(file) for file in arguments.surfaces]
    table = part.table(options, measured, surfaces)
    made_by = provenance(part.__name__, part=given)
    save_table(arguments.table, table, made_by)
    with recorded_path(arguments.page, made_by) as temporary:
        temporary.write_text(part.verdict(options, table), encoding="utf-8")
    save_figure(styled(part.draw)(options, table, surfaces), arguments.output_stem, made_by)


if __name__ == "__main__":
    run_script(main)
