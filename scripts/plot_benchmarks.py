"""Draw the benchmarks to <output-stem>.pdf and <output-stem>.png.

Options: labels, a mapping from each variant's name to what the figure calls it, in the order of the legend.
"""

import argparse

from losspatterns.errors import run_script
from losspatterns.figures.benchmarks import benchmarks, read_labels
from losspatterns.figures.style import save_figure
from losspatterns.records import artifacts

TABLES = ("quality", "throughput", "surfaces", "memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in TABLES:
        parser.add_argument(f"--{name}", required=True, help=f"{name}.csv")
    parser.add_argument("--output-stem", required=True, help="path of the figure without .pdf and .png")
    parser.add_argument("--options", required=True, help="JSON object, see above")
    arguments = parser.parse_args()
    labels = read_labels(arguments.options)
    paths = {name: getattr(arguments, name) for name in TABLES}
    figure = benchmarks(**{name: artifacts.load_table(path) for name, path in paths.items()}, labels=labels)
    save_figure(figure, arguments.output_stem, artifacts.provenance(figure="benchmarks", options={"labels": labels}))


if __name__ == "__main__":
    run_script(main)
