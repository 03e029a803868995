"""Write a plane's surfaces for other tools: a structured grid for ParaView (.vts), and a line per point (.csv)."""

import argparse
from itertools import product

from losspatterns.errors import run_script
from losspatterns.figures.surfaces import require_rows_and_columns
from losspatterns.records.artifacts import load_labelled, provenance, save_grid, save_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surface", required=True, help="the plane's surfaces (.nc)")
    parser.add_argument("--grid", required=True, help="output: loss_<stage>_<split>_<protocol> and accuracy_... (.vts)")
    parser.add_argument("--points", required=True, help="output: stage, split, protocol, row, column, loss, accuracy (.csv)")
    arguments = parser.parse_args()
    surface, made_by = load_labelled(arguments.surface)
    require_rows_and_columns(arguments.surface, surface)
    made_by = made_by | provenance()
    values = {
        "_".join((name, *which)).replace(" ", "_"): surface[name].sel(stage=which[0], split=which[1], protocol=which[2]).values
        for name in ("loss", "accuracy")
        for which in product(*(surface[axis].values.tolist() for axis in ("stage", "split", "protocol")))
    }
    save_grid(arguments.grid, surface["row"].values, surface["column"].values, values, made_by)
    save_table(arguments.points, surface[["loss", "accuracy"]].to_dataframe().reset_index(), made_by)


if __name__ == "__main__":
    run_script(main)
